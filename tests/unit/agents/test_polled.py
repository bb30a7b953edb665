"""Faults that have to be asked for: counters, states, and how often to look."""

import pytest

from hcs_agents.detectors.polled import LOOK_INTERVAL_S, Lookout, PolledFaults
from hcs_agents.detectors.port import ActiveFault, FaultSignal
from hcs_bus.events import FaultState
from hcs_bus.names import DeviceId

CARD = DeviceId("card-0")
SIGNAL = FaultSignal(device_id=CARD, code="UMC_UE", state=FaultState.RAISED)


def told(signals: list[FaultSignal]) -> list[tuple[str, str]]:
    """Return what signals say, in short."""
    return [(signal.code, signal.state.value) for signal in signals]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0], [[], []]),
        ([0, 2], [[], ["raised"]]),
        ([2, 2, 5], [["raised"], [], []]),
        ([2, 0, 0], [["raised"], ["cleared"], []]),
        ([2, 1], [["raised"], ["cleared", "raised"]]),
    ],
)
def test_a_counter_tells_of_faults_and_resets(counts: list[int], expected: list[list[str]]) -> None:
    faults = PolledFaults()
    seen = [told(faults.note(CARD, {"UMC_UE": count})) for count in counts]
    assert seen == [[("UMC_UE", state) for state in states] for states in expected]


def test_a_lost_card_keeps_its_faults_until_it_says_that_they_are_over() -> None:
    faults = PolledFaults()
    faults.note(CARD, {"UMC_UE": 1})
    assert told(faults.note_lost(CARD)) == [("lost", "raised")]
    assert faults.note_lost(CARD) == []
    assert told(faults.note(CARD, {"UMC_UE": 0})) == [("lost", "cleared"), ("UMC_UE", "cleared")]


def test_what_an_earlier_run_told_is_not_told_again_but_ended() -> None:
    faults = PolledFaults()
    faults.remember([ActiveFault(device_id=CARD, code="UMC_UE")])
    assert faults.note(CARD, {"UMC_UE": 4}) == []
    assert told(faults.note(CARD, {"UMC_UE": 0})) == [("UMC_UE", "cleared")]


def test_a_counter_that_cannot_be_read_changes_nothing() -> None:
    faults = PolledFaults()
    faults.note(CARD, {"UMC_UE": 1})
    assert faults.note(CARD, {}) == []
    assert faults.told_of(CARD) == {"UMC_UE"}


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looks_at_s: list[float] = []
        self.event_at_s = float("inf")
        self.found: list[FaultSignal] = []

    def pause(self, seconds: float) -> bool:
        """Wait; an event ends it early."""
        woken = self.now_s <= self.event_at_s < self.now_s + seconds
        self.now_s = self.event_at_s if woken else self.now_s + seconds
        if woken:
            self.found = [SIGNAL]
            self.event_at_s = float("inf")
        return woken

    def look(self) -> list[FaultSignal]:
        """Note when somebody looked."""
        self.looks_at_s.append(self.now_s)
        return self.found

    def lookout(self) -> Lookout:
        """Return what is tested, on this clock."""
        return Lookout(self.look, pause=self.pause, monotonic_s=lambda: self.now_s)


def test_looking_keeps_its_pace_however_often_one_waits() -> None:
    clock = Clock()
    lookout = clock.lookout()
    for _ in range(25):
        assert lookout.wait(0.1 * LOOK_INTERVAL_S) == []
    assert len(clock.looks_at_s) == 3
    assert clock.now_s == pytest.approx(2.5 * LOOK_INTERVAL_S)


def test_a_wait_ends_at_its_time_and_not_before() -> None:
    clock = Clock()
    assert clock.lookout().wait(2.5 * LOOK_INTERVAL_S) == []
    assert clock.now_s == pytest.approx(2.5 * LOOK_INTERVAL_S)
    assert clock.looks_at_s == [0.0, LOOK_INTERVAL_S, 2 * LOOK_INTERVAL_S]


def test_what_ends_the_pause_is_looked_at_at_once() -> None:
    clock = Clock()
    clock.event_at_s = 0.3
    assert clock.lookout().wait(10) == [SIGNAL]
    assert clock.now_s == pytest.approx(0.3)
