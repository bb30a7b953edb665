"""Growth of counters: nothing counts twice, and nothing before it was first seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_agents.counters import CounterGrowth, Growth
from hcs_agents.detectors.port import Counters
from hcs_bus.names import DeviceId

CARD = DeviceId("card-0")
OTHER = DeviceId("card-1")


@pytest.mark.parametrize(
    ("counts", "grown"),
    [
        ([7], [0]),  # whether the seven are new, nobody knows
        ([7, 7, 9], [0, 0, 2]),
        ([7, 9, 3, 4], [0, 2, 3, 1]),  # reset: the three have come since
        ([7, 9, 0, 0], [0, 2, 0, 0]),
        ([None, None], [0, 0]),
        ([7, None, 9], [0, 0, 2]),  # a call that failed once
    ],
)
def test_each_growth_is_told_once(counts: list[int | None], grown: list[int]) -> None:
    growth = CounterGrowth()
    told = []
    for count in counts:
        growth.note(CARD, Counters(pcie_replays=count))
        told.append(growth.take(CARD).pcie_replays)
    assert told == grown


def test_growth_between_two_facts_is_kept_even_over_a_reset() -> None:
    growth = CounterGrowth()
    for count in (10, 12, 1, 4):
        growth.note(CARD, Counters(ecc_corrected=count))
    assert growth.take(CARD) == Growth(ecc_corrected=2 + 1 + 3)
    assert growth.take(CARD) == Growth()


def test_cards_and_counters_are_kept_apart() -> None:
    growth = CounterGrowth()
    for count in (0, 5):
        growth.note(CARD, Counters(ecc_corrected=count, ecc_uncorrected=0))
        growth.note(OTHER, Counters(ecc_uncorrected=2 * count))
    assert growth.take(CARD) == Growth(ecc_corrected=5)
    assert growth.take(OTHER) == Growth(ecc_uncorrected=10)


def test_totals_add_up() -> None:
    assert Growth(ecc_corrected=1, link_errors=2) + Growth(link_errors=3) == Growth(
        ecc_corrected=1, link_errors=5
    )


@given(st.lists(st.integers(0, 100), min_size=1), st.data())
def test_how_often_it_is_asked_does_not_change_the_sum(
    counts: list[int], data: st.DataObject
) -> None:
    seldom, often = CounterGrowth(), CounterGrowth()
    total = 0
    for count in counts:
        seldom.note(CARD, Counters(link_errors=count))
        often.note(CARD, Counters(link_errors=count))
        if data.draw(st.booleans()):
            total += often.take(CARD).link_errors
    total += often.take(CARD).link_errors
    assert total == seldom.take(CARD).link_errors
