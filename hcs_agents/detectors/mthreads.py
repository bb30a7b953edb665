"""Moore Threads cards through MTML.

MTML pushes nothing: faults are the counters of memory errors since the card's last reset, which are
looked at again and again, and cards that answer no more.
"""

import contextlib
import ctypes
from collections.abc import Iterable
from pathlib import Path

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors import mthreads_abi as abi
from hcs_agents.detectors.calls import numbered
from hcs_agents.detectors.mthreads_samples import read_card
from hcs_agents.detectors.mthreads_scan import (
    Card,
    attach,
    describe_card,
    detach,
    ecc_errors,
    vram_bytes,
)
from hcs_agents.detectors.polled import Lookout, PolledFaults
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryBrokenError,
    Reading,
)
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import DeviceId, Vendor


class MooreThreadsDetector:
    """The MTML adapter; see the module's docstring."""

    vendor = Vendor.MTHREADS

    def __init__(self, sysfs: Path = pci.SYSFS) -> None:
        self._sysfs = sysfs
        self._mtml: abi.Mtml | None = None
        self._cards: dict[DeviceId, Card] = {}  # those that were seen since `open`
        self._faults = PolledFaults()
        self._lookout = Lookout(self._look)

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load MTML, enumerate; see the port."""
        self._mtml = abi.Mtml()
        self._faults.remember(active)
        self._enumerate(self._mtml)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        mtml = self._opened()
        self._enumerate(mtml)
        found = [describe_card(mtml, d, card, self._cards) for d, card in self._cards.items()]
        # Asked afterwards: a card that went away while it was described is not reported half.
        answering = [device for device in found if self._answers(mtml, device.device_id)]
        completed = [pci.complete(device, self._sysfs) for device in answering]
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask the cards that were seen; see the port."""
        mtml = self._opened()
        by_index = sorted(self._cards.items(), key=lambda card: card[1].index)
        readings = [read_card(mtml, device_id, card) for device_id, card in by_index]
        return bounds.readings(reading for reading in readings if reading is not None)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """MTML lists none, and its own tools say so; see the port."""
        return ()

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Look at the counters; see the port."""
        return self._lookout.wait(timeout_s)

    def close(self) -> None:
        """Give all objects back; see the port."""
        mtml, self._mtml = self._mtml, None
        cards, self._cards = self._cards, {}
        if mtml is not None:
            with contextlib.suppress(LibraryBrokenError):
                for card in cards.values():
                    detach(mtml, card)
            mtml.close()

    def _opened(self) -> abi.Mtml:
        if self._mtml is None:
            raise AssertionError("the detector is not open")
        return self._mtml

    def _enumerate(self, mtml: abi.Mtml) -> None:
        """Attach what answers and is not attached yet; objects of a lost card may be stale."""
        count = ctypes.c_uint()
        if mtml.call("mtmlLibraryCountDevice", mtml.handle, ctypes.byref(count)) != abi.OK:
            raise LibraryBrokenError("mtmlLibraryCountDevice does not answer")
        answering = {c.index for d, c in self._cards.items() if self._answers(mtml, d)}
        for index in set(numbered(count.value)) - answering:
            attached = attach(mtml, index)
            if attached is None:
                continue
            device_id, card = attached
            stale = self._cards.get(device_id)
            self._cards[device_id] = card
            if stale is not None:
                detach(mtml, stale)

    def _answers(self, mtml: abi.Mtml, device_id: DeviceId) -> bool:
        return vram_bytes(mtml, self._cards[device_id]) is not None

    def _look(self) -> list[FaultSignal]:
        mtml, signals = self._opened(), []
        for device_id, card in self._cards.items():
            if self._answers(mtml, device_id):
                signals += self._faults.note(device_id, ecc_errors(mtml, card))
            else:
                signals += self._faults.note_lost(device_id)
        return signals
