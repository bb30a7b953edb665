"""Hygon DCUs through rocm_smi; where it is not installed, through the kernel's own topology.

Hygon pushes nothing that lasts: faults are the RAS counters of uncorrectable errors, which are
looked at again and again, and cards that answer no more.
"""

from collections.abc import Iterable
from pathlib import Path

import structlog

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors.cards import Answer, KnownCards
from hcs_agents.detectors.hygon_kfd import KfdTopology
from hcs_agents.detectors.hygon_smi import RocmSmi
from hcs_agents.detectors.hygon_source import DcuSource, fingerprint
from hcs_agents.detectors.pcie import measured
from hcs_agents.detectors.polled import Lookout, PolledFaults
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryMissingError,
    Reading,
)
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import Vendor

LOG = structlog.get_logger()


class HygonDetector:
    """The adapter; see the module's docstring."""

    vendor = Vendor.HYGON

    def __init__(self, sysfs: Path = pci.SYSFS) -> None:
        self._sysfs = sysfs
        self._source: DcuSource | None = None
        self._cards: KnownCards[int] = KnownCards()
        self._faults = PolledFaults()
        self._lookout = Lookout(self._look)

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load rocm_smi or fall back to sysfs, enumerate; see the port."""
        try:
            self._source = RocmSmi(self._sysfs)
        except LibraryMissingError:
            topology = KfdTopology(self._sysfs)
            if not topology.has_cards():
                raise
            LOG.warning("no_rocm_smi", instead="KFD topology", effect="no RAS counters")
            self._source = topology
        self._faults.remember(active)
        self._cards = KnownCards()
        self._cards.note(self._source.cards())

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        source = self._opened()
        found = source.cards()
        self._cards.note(found)
        dcus = [source.describe(device_id, found.cards) for device_id in found.cards]
        described = {dcu.device_id: fingerprint(dcu) for dcu in dcus if dcu is not None}
        # Asked afterwards: a card that went away while it was described is not reported half.
        answers = source.answers(self._cards.places)
        told = self._cards.fingerprints(described, answers)
        completed = measured(pci.complete(device, self._sysfs) for device in told)
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask the cards that were seen; see the port."""
        return bounds.readings(self._opened().sample(self._cards.places))

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask for the processes of the node, and for each what it has of which card."""
        return bounds.processes(self._opened().processes(self._cards.places))

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Look at the counters; see the port."""
        return self._lookout.wait(timeout_s)

    def close(self) -> None:
        """Shut rocm_smi down; see the port."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _opened(self) -> DcuSource:
        if self._source is None:
            raise AssertionError("the detector is not open")
        return self._source

    def _look(self) -> list[FaultSignal]:
        source, signals = self._opened(), []
        places = self._cards.places
        answers = source.answers(places)
        for device_id in sorted(self._cards.lost(answers)):
            signals += self._faults.note_lost(device_id)
        self._cards.forget_replaced()
        for device_id, answer in answers.items():
            if answer is Answer.YES:
                counts = source.uncorrectable(places[device_id])
                signals += self._faults.note(device_id, counts)
        return signals
