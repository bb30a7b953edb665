"""The faults in force, on disk beside the spool: an agent that was killed still tells of their end.

The memory is written before a raised fault is spooled and after a cleared one is. So after a crash
in between it holds one fault too many, never one too few; the agent tells again at its start of
every fault it remembers, and the detector of the end of those that are over.

A file that was damaged is set aside, for a person to look at, and what can be read of it counts: an
agent that would not start for it would tell of no fault at all.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from hcs_agents.detectors.port import ActiveFault
from hcs_bus.names import DeviceId, Vendor

LOG = structlog.get_logger()

FILE = "faults.json"
DAMAGED = ".damaged"  # the end of a file's name that was set aside; the next one replaces it


class RememberedFault(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A fault that was told of, and whose end was not."""

    vendor: Vendor
    device_id: DeviceId
    code: str


LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
DECODER = msgspec.json.Decoder(RememberedFault)


class FaultMemory:
    """A small set on disk; every change replaces the file."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / FILE
        self._faults = self._load()

    def __iter__(self) -> Iterator[RememberedFault]:
        return iter(sorted(self._faults))

    def active_of(self, vendor: Vendor) -> tuple[ActiveFault, ...]:
        """Return a vendor's faults as its detector wants them."""
        return tuple(
            ActiveFault(device_id=fault.device_id, code=fault.code)
            for fault in self
            if fault.vendor is vendor
        )

    def add(self, fault: RememberedFault) -> None:
        """Remember a fault."""
        if fault not in self._faults:
            self._faults.add(fault)
            self._save()

    def remove(self, fault: RememberedFault) -> None:
        """Forget a fault; allowed when it is not remembered."""
        if fault in self._faults:
            self._faults.remove(fault)
            self._save()

    def _load(self) -> set[RememberedFault]:
        if not self._path.exists():
            return set()
        faults: set[RememberedFault] = set()
        unread = 0
        try:
            listed = LIST_DECODER.decode(self._path.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError):
            listed, unread = [], 1
        for raw in listed:
            try:
                faults.add(DECODER.decode(raw))
            except (msgspec.DecodeError, UnicodeDecodeError):  # e.g. of a vendor of a newer agent
                unread += 1
        if unread:
            aside = self._path.with_suffix(DAMAGED)
            LOG.error("fault_memory_damaged", kept=len(faults), set_aside=str(aside))
            with contextlib.suppress(OSError):
                aside.write_bytes(self._path.read_bytes())
        return faults

    def _save(self) -> None:
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(sorted(self._faults)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
