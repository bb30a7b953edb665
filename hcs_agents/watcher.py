"""One thread per detector: opens it, waits for faults, scans now and then, opens it again.

What it sees goes to a sink, which only enqueues. A missing or broken library is an observation like
any other. An exception that no detector may raise is one too: whoever drains the queue ends on it.
"""

import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from hcs_agents.detectors.port import (
    ActiveFault,
    Detector,
    FaultSignal,
    LibraryBrokenError,
    LibraryMissingError,
)
from hcs_bus.events import DetectorReport, DetectorState, DeviceFingerprint
from hcs_bus.names import Vendor

LOG = structlog.get_logger()

WAIT_S = 0.5  # how long a blocking wait may take to notice that the agent ends
JOIN_S = 3.0  # several times what a detector takes to close
REOPEN_S = 10.0  # between tries to open a library that is missing or broken


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """All of one vendor's cards, and how its library is."""

    report: DetectorReport
    devices: tuple[DeviceFingerprint, ...] = ()


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector pushed."""

    vendor: Vendor
    signals: tuple[FaultSignal, ...]


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """The thread ended by a mistake of ours."""

    vendor: Vendor
    error: Exception


Observation = Scan | Faults | Crash


class DetectorWatcher:
    """Runs a detector on a thread of its own until `stop`."""

    def __init__(
        self,
        detector: Detector,
        sink: Callable[[Observation], None],
        *,
        active: Sequence[ActiveFault],
        scan_interval_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detector = detector
        self._sink = sink
        self._active = active
        self._scan_interval_s = scan_interval_s
        self._monotonic_s = monotonic_s
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"watch-{detector.vendor}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread, but not for a driver that hangs in a call."""
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._watch()
                except (LibraryMissingError, LibraryBrokenError) as error:
                    self._sink(_failed(self._detector, error))
                finally:
                    self._detector.close()
                self._stop.wait(REOPEN_S)
        except Exception as error:  # ours: a thread must not die unnoticed
            LOG.exception("watcher_crashed", vendor=self._detector.vendor)
            self._sink(Crash(vendor=self._detector.vendor, error=error))

    def _watch(self) -> None:
        self._detector.open(self._active)
        scan_at_s = self._monotonic_s()
        while not self._stop.is_set():
            if self._monotonic_s() >= scan_at_s:
                self._sink(_scanned(self._detector))
                scan_at_s = self._monotonic_s() + self._scan_interval_s
            signals = self._detector.wait_faults(WAIT_S)
            if signals:
                self._sink(Faults(vendor=self._detector.vendor, signals=tuple(signals)))
                scan_at_s = self._monotonic_s()  # a card may have come or gone with it


def scan_once(detector: Detector) -> Scan:
    """Open a detector, scan, close it."""
    try:
        detector.open()
        return _scanned(detector)
    except (LibraryMissingError, LibraryBrokenError) as error:
        return _failed(detector, error)
    finally:
        detector.close()


def _scanned(detector: Detector) -> Scan:
    report = DetectorReport(vendor=detector.vendor, state=DetectorState.OK)
    return Scan(report=report, devices=detector.fingerprint())


def _failed(detector: Detector, error: LibraryMissingError | LibraryBrokenError) -> Scan:
    missing = isinstance(error, LibraryMissingError)
    state = DetectorState.ABSENT if missing else DetectorState.BROKEN
    return Scan(report=DetectorReport(vendor=detector.vendor, state=state, detail=str(error)))
