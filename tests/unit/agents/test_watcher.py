"""A detector's thread: what it passes on, and what it survives."""

import queue
from typing import Self

import pytest

from hcs_agents import watcher
from hcs_agents.detectors.port import (
    ActiveFault,
    FaultSignal,
    LibraryBrokenError,
    LibraryMissingError,
)
from hcs_agents.watcher import Crash, DetectorWatcher, Faults, Observation, Scan, scan_once
from hcs_bus.events import DetectorState, FaultState
from hcs_bus.names import DeviceId
from tests.support.detectors import ScriptedDetector, fingerprint_of

WAIT_S = 10.0
ACTIVE = ActiveFault(device_id=DeviceId("card-0"), code="79")
SIGNAL = FaultSignal(device_id=DeviceId("card-0"), code="48", state=FaultState.RAISED)


class Watched:
    """A running watcher and what it passed on."""

    def __init__(self, detector: ScriptedDetector, *, scan_interval_s: float = 0.02) -> None:
        self.seen: queue.Queue[Observation] = queue.Queue()
        self._watcher = DetectorWatcher(
            detector, self.seen.put, active=(ACTIVE,), scan_interval_s=scan_interval_s
        )

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        self._watcher.join()

    def next(self) -> Observation:
        """Return what came next."""
        return self.seen.get(timeout=WAIT_S)


def test_the_first_thing_seen_is_the_whole_node() -> None:
    detector = ScriptedDetector()
    detector.cards = (fingerprint_of(0),)
    with Watched(detector) as watched:
        scan = watched.next()
    assert isinstance(scan, Scan)
    assert (scan.report.state, scan.devices) == (DetectorState.OK, detector.cards)
    assert detector.active == (ACTIVE,)
    assert (detector.opened, detector.closed) == (1, 1)


def test_after_a_fault_the_cards_are_looked_at_again_without_delay() -> None:
    detector = ScriptedDetector()
    with Watched(detector, scan_interval_s=3600) as watched:
        assert isinstance(watched.next(), Scan)
        detector.signals.put(SIGNAL)
        faults = watched.next()
        assert isinstance(faults, Faults)
        assert faults.signals == (SIGNAL,)
        assert isinstance(watched.next(), Scan)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (LibraryMissingError("no libx.so"), DetectorState.ABSENT),
        (LibraryBrokenError("dcmi_init: -8005"), DetectorState.BROKEN),
    ],
)
def test_a_library_that_does_not_open_is_a_state_and_tried_again(
    error: Exception, state: DetectorState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "REOPEN_S", 0.01)
    detector = ScriptedDetector()
    detector.open_error = error
    with Watched(detector) as watched:
        scan = watched.next()
        assert isinstance(scan, Scan)
        assert (scan.report.state, scan.report.detail) == (state, str(error))
        detector.open_error = None
        while isinstance(scan, Scan) and scan.report.state is not DetectorState.OK:
            scan = watched.next()


def test_a_library_that_breaks_later_is_closed_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher, "REOPEN_S", 0.01)
    detector = ScriptedDetector()
    with Watched(detector) as watched:
        watched.next()
        detector.scan_error = LibraryBrokenError("gone")
        scan = watched.next()
        while isinstance(scan, Scan) and scan.report.state is DetectorState.OK:
            scan = watched.next()
        detector.scan_error = None
        while isinstance(scan, Scan) and scan.report.state is not DetectorState.OK:
            scan = watched.next()
    assert detector.opened >= 2


def test_a_mistake_of_ours_is_passed_on_not_swallowed() -> None:
    detector = ScriptedDetector()
    detector.scan_error = ZeroDivisionError()
    with Watched(detector) as watched:
        crash = watched.next()
    assert isinstance(crash, Crash)
    assert isinstance(crash.error, ZeroDivisionError)


def test_looking_once_reports_a_missing_library_as_a_state() -> None:
    detector = ScriptedDetector()
    detector.open_error = LibraryMissingError("no libx.so")
    assert scan_once(detector).report.state is DetectorState.ABSENT
    assert detector.closed == 1
