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
from hcs_agents.detectors.cards import Answer, Found, KnownCards
from hcs_agents.detectors.mthreads_samples import read_card
from hcs_agents.detectors.mthreads_scan import (
    Card,
    answer,
    attach,
    describe_card,
    detach,
    ecc_errors,
)
from hcs_agents.detectors.pcie import PcieWays, measured
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
        self._cards: KnownCards[int] = KnownCards()
        self._objects: dict[DeviceId, Card] = {}  # of all of them
        self._ways: PcieWays[Card] = PcieWays()
        self._faults = PolledFaults()
        self._lookout = Lookout(self._look)

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load MTML, enumerate; see the port."""
        self._mtml = abi.Mtml()
        self._faults.remember(active)
        self._cards = KnownCards()
        self._ways = PcieWays()
        self._enumerate(self._mtml)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        mtml = self._opened()
        self._enumerate(mtml)
        cards = self._objects
        described = {d: describe_card(mtml, d, cards, self._ways) for d in cards}
        # Asked afterwards: a card that went away while it was described is not reported half.
        told = self._cards.fingerprints(described, self._answers(mtml))
        completed = measured(pci.complete(device, self._sysfs) for device in told)
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask the cards that were seen; see the port."""
        mtml = self._opened()
        by_index = sorted(self._objects.items(), key=lambda card: card[1].index)
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
        cards, self._objects = self._objects, {}
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
        """Attach what answers and is not attached yet; objects of a silent card may be stale."""
        count = ctypes.c_uint()
        if mtml.call("mtmlLibraryCountDevice", mtml.handle, ctypes.byref(count)) != abi.OK:
            raise LibraryBrokenError("mtmlLibraryCountDevice does not answer")
        answers = self._answers(mtml)
        found = {d: c.index for d, c in self._objects.items() if answers[d] is Answer.YES}
        silent, nameless = 0, []
        for index in sorted(set(numbered(count.value)) - set(found.values())):
            attached = attach(mtml, index)
            if isinstance(attached, tuple):
                self._replace(mtml, *attached)
                found[attached[0]] = index
            elif attached is Answer.YES:
                nameless.append(index)
            else:
                silent += attached is Answer.SILENT
        self._cards.note(Found(cards=found, silent=silent, nameless=tuple(nameless)))
        for device_id in self._objects.keys() - self._cards.places.keys():
            detach(mtml, self._objects.pop(device_id))

    def _replace(self, mtml: abi.Mtml, device_id: DeviceId, card: Card) -> None:
        """Speak of a card through new objects from now on."""
        stale = self._objects.get(device_id)
        self._objects[device_id] = card
        if stale is not None:
            detach(mtml, stale)
        for other in self._objects.values():
            other.remotes.clear()  # it may be the new end of an old wire

    def _answers(self, mtml: abi.Mtml) -> dict[DeviceId, Answer]:
        return {device_id: answer(mtml, device_id, c) for device_id, c in self._objects.items()}

    def _look(self) -> list[FaultSignal]:
        mtml, signals = self._opened(), []
        answers = self._answers(mtml)
        for device_id in sorted(self._cards.lost(answers)):
            signals += self._faults.note_lost(device_id)
        self._cards.forget_replaced()
        for device_id, card in self._objects.items():
            if answers[device_id] is Answer.YES:
                signals += self._faults.note(device_id, ecc_errors(mtml, card))
        return signals
