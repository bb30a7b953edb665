"""A detector that does what a test says, without a library, and workers that are threads."""

import asyncio
import queue
import signal
import socket
import threading
from collections.abc import Iterable

from hcs_agents.detectors.port import (
    ActiveFault,
    Counters,
    DeviceProcess,
    FaultSignal,
    Reading,
)
from hcs_agents.worker_nursery import StartedWorker, work
from hcs_bus.events import DeviceFingerprint, DeviceSample
from hcs_bus.names import DeviceId, Vendor


def fingerprint_of(number: int, vendor: Vendor = Vendor.NVIDIA) -> DeviceFingerprint:
    """Return a card; its id is `card-<number>`."""
    return DeviceFingerprint(
        device_id=DeviceId(f"card-{number}"),
        vendor=vendor,
        model="A100 SXM4 80GB",
        index=number,
        pci_address=f"0000:{number:02x}:00.0",
        numa_node=0,
        vram_bytes=80 * 1024**3,
        memory_bandwidth_gbytes_s=2039,
        fp16_gflops=312_000,
        fp32_gflops=19_500,
        driver_version="550",
    )


def reading_of(number: int, *, replays: int | None = None, used_bytes: int = 0) -> Reading:
    """Return what `card-<number>` does."""
    sample = DeviceSample(
        device_id=DeviceId(f"card-{number}"),
        utilization_percent=12.5,
        vram_used_bytes=used_bytes,
        temperature_celsius=40,
    )
    return Reading(sample=sample, counters=Counters(pcie_replays=replays))


class ScriptedDetector:
    """`cards` is what a scan finds; what is put into `signals` comes out of `wait_faults`."""

    def __init__(self, vendor: Vendor = Vendor.NVIDIA) -> None:
        self.vendor = vendor
        self.cards: tuple[DeviceFingerprint, ...] = ()
        self.readings: tuple[Reading, ...] = ()
        self.on_cards: tuple[DeviceProcess, ...] = ()
        self.signals: queue.Queue[FaultSignal] = queue.Queue()
        self.open_error: Exception | None = None
        self.scan_error: Exception | None = None
        self.active: tuple[ActiveFault, ...] = ()
        self.opened = 0
        self.closed = 0

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Count; fail if told to."""
        self.active = tuple(active)
        if self.open_error is not None:
            raise self.open_error
        self.opened += 1

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Return the cards; fail if told to."""
        if self.scan_error is not None:
            raise self.scan_error
        return self.cards

    def sample(self) -> tuple[Reading, ...]:
        """Return the readings."""
        return self.readings

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Return what is on the cards."""
        return self.on_cards

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Wait for one signal, for a tenth of the time: tests are in a hurry."""
        try:
            return [self.signals.get(timeout=timeout_s / 10)]
        except queue.Empty:
            return []

    def close(self) -> None:
        """Count."""
        self.closed += 1


class ThreadWorkers:
    """Runs detectors of the test's own process as a nursery's workers would; see `WorkerStarter`.

    A thread cannot be killed: who asks for it is told that it is gone.
    """

    def __init__(self, detectors: Iterable[ScriptedDetector]) -> None:
        self._detectors = {detector.vendor: detector for detector in detectors}
        self._threads: dict[int, threading.Thread] = {}
        self._killed: set[int] = set()
        self.started: list[Vendor] = []

    @property
    def vendors(self) -> tuple[Vendor, ...]:
        """Whose detectors these are."""
        return tuple(self._detectors)

    async def start(self, vendor: Vendor) -> StartedWorker:
        """Start a thread."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        number = len(self.started) + 1
        self.started.append(vendor)
        self._threads[number] = threading.Thread(
            target=work, args=(theirs, self._detectors[vendor]), daemon=True
        )
        self._threads[number].start()
        return StartedWorker(pid=number, channel=ours)

    async def kill(self, pid: int) -> None:
        """Note it."""
        self._killed.add(pid)

    async def status(self, pid: int) -> int | None:
        """Return a process's status."""
        if pid in self._killed:
            return -signal.SIGKILL
        return None if self._threads[pid].is_alive() else 0

    async def close(self) -> None:
        """Wait for the threads that nobody has given up."""
        for number, thread in self._threads.items():
            if number not in self._killed:
                await asyncio.to_thread(thread.join)
