"""Drivers count from when they were loaded; facts carry growth, so that summing up counts once.

Every reading is noted, what has grown since is taken when a fact is made. The first sight of a
counter is where growth begins: whether those errors are new, nobody can say. A counter that fell
was reset, so what it says has come since. One that a library does not tell does not grow.
"""

import msgspec

from hcs_agents.detectors.port import Counters
from hcs_bus.names import DeviceId

NAMES = Counters.__struct_fields__


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """By how much each counter of a card has grown."""

    ecc_corrected: int = 0
    ecc_uncorrected: int = 0
    pcie_replays: int = 0
    link_errors: int = 0

    def __add__(self, other: "Growth") -> "Growth":
        return Growth(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})


class CounterGrowth:
    """The counters of a node's cards. A card that goes is remembered: it may come back."""

    def __init__(self) -> None:
        self._last: dict[tuple[DeviceId, str], int] = {}
        self._grown: dict[tuple[DeviceId, str], int] = {}

    def note(self, device_id: DeviceId, counters: Counters) -> None:
        """Take in what a card counts now."""
        for name in NAMES:
            count: int | None = getattr(counters, name)
            if count is None:
                continue
            key = (device_id, name)
            last = self._last.get(key, count)
            grown = count - last if count >= last else count
            self._grown[key] = self._grown.get(key, 0) + grown
            self._last[key] = count

    def take(self, device_id: DeviceId) -> Growth:
        """Return what has grown since the last call."""
        return Growth(**{name: self._grown.pop((device_id, name), 0) for name in NAMES})
