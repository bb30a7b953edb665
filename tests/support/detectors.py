"""A detector that does what a test says, without a library."""

import queue
from collections.abc import Iterable

from hcs_agents.detectors.port import ActiveFault, FaultSignal
from hcs_bus.events import DeviceFingerprint
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


class ScriptedDetector:
    """`cards` is what a scan finds; what is put into `signals` comes out of `wait_faults`."""

    def __init__(self, vendor: Vendor = Vendor.NVIDIA) -> None:
        self.vendor = vendor
        self.cards: tuple[DeviceFingerprint, ...] = ()
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

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Wait for one signal, for a tenth of the time: tests are in a hurry."""
        try:
            return [self.signals.get(timeout=timeout_s / 10)]
        except queue.Empty:
            return []

    def close(self) -> None:
        """Count."""
        self.closed += 1
