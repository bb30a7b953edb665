"""What a card counts of its links: a sum that only new errors make larger."""

from hcs_agents.counters import CounterGrowth
from hcs_agents.detectors.nvidia_samples import LINK_ERRORS, LinkErrors
from hcs_agents.detectors.port import Counters
from hcs_bus.names import DeviceId

CARD = DeviceId("card-0")
ALL = dict.fromkeys(LINK_ERRORS, 100)


def test_a_counter_that_is_missing_once_makes_no_errors() -> None:
    link_errors, growth = LinkErrors(), CounterGrowth()
    missing = dict.fromkeys(LINK_ERRORS[1:], 100)
    for fields in (ALL, missing, ALL):
        told = link_errors.of(CARD, fields, refused=())
        growth.note(CARD, Counters(link_errors=told))
    assert growth.take(CARD).link_errors == 0


def test_a_counter_that_is_missing_at_first_makes_no_errors() -> None:
    link_errors = LinkErrors()
    assert link_errors.of(CARD, {LINK_ERRORS[0]: 5}, refused=()) is None
    assert link_errors.of(CARD, ALL, refused=()) == 400


def test_counters_that_a_card_does_not_have_are_not_waited_for() -> None:
    link_errors = LinkErrors()
    fields = {LINK_ERRORS[0]: 5}
    assert link_errors.of(CARD, fields, refused=set(LINK_ERRORS[1:])) == 5
    assert link_errors.of(CARD, {}, refused=set(LINK_ERRORS)) is None
    assert LinkErrors().of(CARD, {}, refused=set(LINK_ERRORS)) is None
