"""An occurrence that a driver repeats: one fact per second, and the number of the others."""

import math

import msgspec

from hcs_agents.detectors.port import FaultSignal
from hcs_agents.fault_repeats import INTERVAL_S, NEVER_S, FaultRepeats
from hcs_bus.events import FaultState
from hcs_bus.names import DeviceId

XID = FaultSignal(device_id=DeviceId("card-0"), code="94", state=FaultState.RAISED, lasting=False)


def test_the_first_is_told_at_once_and_the_others_as_one_with_their_number() -> None:
    repeats = FaultRepeats()
    taken = [repeats.take(XID, now_s=10.0 + number / 10_000) for number in range(5_000)]
    assert (taken[0], sum(taken)) == (True, 1)
    assert repeats.due_at_s == 10.0 + INTERVAL_S
    assert repeats.due(now_s=10.9) == []
    (told,) = repeats.due(now_s=11.0)
    assert told == msgspec.structs.replace(XID, detail="4999 times in 1 s")


def test_a_storm_that_goes_on_is_told_once_a_second() -> None:
    repeats = FaultRepeats()
    told = 0
    for number in range(1_000):  # ten seconds of it
        now_s = number / 100
        told += repeats.take(XID, now_s=now_s) + len(repeats.due(now_s=now_s))
    assert told == 10


def test_a_second_one_alone_is_told_as_it_is_and_then_nothing_is_due() -> None:
    repeats = FaultRepeats()
    repeats.take(XID, now_s=0.0)
    repeats.take(XID, now_s=0.5)
    assert repeats.due(now_s=1.0) == [XID]
    assert repeats.due_at_s == NEVER_S
    assert repeats.due(now_s=2.0) == []
    assert repeats.take(XID, now_s=2.5)


def test_other_cards_other_codes_and_faults_that_last_are_told_at_once() -> None:
    repeats = FaultRepeats()
    lasting = msgspec.structs.replace(XID, lasting=True)
    other_card = msgspec.structs.replace(XID, device_id=DeviceId("card-1"))
    other_code = msgspec.structs.replace(XID, code="31")
    signals = (XID, other_card, other_code, lasting, lasting)
    assert all(repeats.take(signal, now_s=0.0) for signal in signals)


def test_at_the_end_all_that_was_counted_is_told() -> None:
    repeats = FaultRepeats()
    for _ in range(3):
        repeats.take(msgspec.structs.replace(XID, detail="channel 7"), now_s=0.0)
    assert [one.detail for one in repeats.due(now_s=math.inf)] == ["channel 7, 2 times in 1 s"]
