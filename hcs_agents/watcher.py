"""The loop of a worker: opens a detector, scans and samples at intervals, waits for faults between.

It says before each call what it calls, because the call may not come back, and a scan only when it
differs from the one before. With each sample goes the list of processes on the cards, unless nobody
is there. Samples are taken at multiples of their interval on the node's own clock, so those of all
vendors belong to one moment. A library that is missing or breaks ends the loop with a last word:
whoever wants another try starts another worker, which loads it anew. If the detector has heard of
faults that it has not told yet, they go before the end.
"""

import contextlib
import time
from collections.abc import Callable

import msgspec
import structlog

from hcs_agents.detectors.port import (
    Detector,
    LibraryBrokenError,
    LibraryMissingError,
)
from hcs_agents.worker_frames import (
    ENCODER,
    Doing,
    Faults,
    Frame,
    Mistake,
    OnCards,
    Operation,
    Order,
    Sampled,
    Scan,
)
from hcs_bus.events import DetectorReport, DetectorState
from hcs_bus.names import Vendor

LOG = structlog.get_logger()

WAIT_S = 0.5  # a worker is heard of that often, and looks whether it shall end


class DetectorWatcher:
    """Runs one detector until its library fails or `stopped` says so."""

    def __init__(
        self,
        detector: Detector,
        order: Order,
        *,
        send: Callable[[Frame], None],
        stopped: Callable[[], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detector = detector
        self._order = order
        self._send = send
        self._stopped = stopped
        self._monotonic_s = monotonic_s
        self._is_open = False
        self._sent: Scan | None = None
        self._told_of_nobody = False  # the worker before may have told of somebody

    def run(self) -> None:
        """Watch. What `send` raises comes out, for then nobody listens any more."""
        try:
            try:
                self._watch()
            except (LibraryMissingError, LibraryBrokenError) as error:
                self._send(_failed(self._detector.vendor, error))
                self._tell_leftovers()
        except ConnectionError:
            raise
        except Exception as error:  # ours: the agent ends on it
            LOG.exception("detector_failed", vendor=self._detector.vendor)
            self._send(Mistake(vendor=self._detector.vendor, detail=repr(error)))
        finally:
            with contextlib.suppress(ConnectionError):
                self._send(Doing(operation=Operation.CLOSE))
            self._detector.close()

    def _watch(self) -> None:
        self._send(Doing(operation=Operation.OPEN))
        self._detector.open(self._order.active)
        self._is_open = True
        scan_at_s = sample_at_s = self._monotonic_s()
        while not self._stopped():
            if self._monotonic_s() >= scan_at_s:
                self._scan()
                scan_at_s = self._monotonic_s() + self._order.scan_interval_s
            if self._monotonic_s() >= sample_at_s:
                self._sample()
                self._list_processes()
                sample_at_s = next_multiple(self._monotonic_s(), self._order.sample_interval_s)
            due_in_s = min(scan_at_s, sample_at_s) - self._monotonic_s()
            if self._tell_faults(min(WAIT_S, max(0.0, due_in_s))):
                scan_at_s = self._monotonic_s()  # a card may have come or gone with it

    def _tell_faults(self, timeout_s: float) -> bool:
        """Wait for faults; true when there were some."""
        self._send(Doing(operation=Operation.WAIT))
        signals = self._detector.wait_faults(timeout_s)
        if signals:
            self._send(Faults(vendor=self._detector.vendor, signals=tuple(signals)))
        return bool(signals)

    def _tell_leftovers(self) -> None:
        """Tell what a detector had heard before its library broke: its driver does not repeat it.

        After the last word, which so is said even if this hangs.
        """
        if self._is_open:
            with contextlib.suppress(LibraryBrokenError):
                self._tell_faults(0.0)

    def _scan(self) -> None:
        self._send(Doing(operation=Operation.SCAN))
        report = DetectorReport(vendor=self._detector.vendor, state=DetectorState.OK)
        scan = Scan(report=report, devices=self._detector.fingerprint())
        if scan != self._sent:
            self._send(scan)
            self._sent = scan

    def _sample(self) -> None:
        self._send(Doing(operation=Operation.SAMPLE))
        readings = tuple(
            msgspec.Raw(ENCODER.encode(reading)) for reading in self._detector.sample()
        )
        self._send(Sampled(vendor=self._detector.vendor, readings=readings))

    def _list_processes(self) -> None:
        self._send(Doing(operation=Operation.PROCESSES))
        looked_at_ns = time.monotonic_ns()
        processes = self._detector.processes()
        if processes or not self._told_of_nobody:
            vendor = self._detector.vendor
            self._send(OnCards(vendor=vendor, looked_at_ns=looked_at_ns, processes=processes))
        self._told_of_nobody = not processes


def next_multiple(now_s: float, interval_s: float) -> float:
    """Return the next multiple of an interval; the same in every process of a node."""
    return (now_s // interval_s + 1) * interval_s


def _failed(vendor: Vendor, error: LibraryMissingError | LibraryBrokenError) -> Scan:
    missing = isinstance(error, LibraryMissingError)
    state = DetectorState.ABSENT if missing else DetectorState.BROKEN
    return Scan(report=DetectorReport(vendor=vendor, state=state, detail=str(error)))
