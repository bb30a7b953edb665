"""Faults of libraries that push nothing: when to look, and what a look has changed.

A look gives a count per code: a driver's error counter, or 1 for a state that is in force. A code
is in force while its count is not zero. The drivers' counters begin at zero with each reset of the
card, so one that fell tells of a reset: the fault that was in force is over, and what has been
counted since is a new one. A counter that only grows tells of nothing new: the fault is in force.
"""

import time
import types
from collections.abc import Callable, Iterable, Mapping

from hcs_agents.detectors.port import ActiveFault, FaultSignal
from hcs_agents.fault_catalogue import LOST
from hcs_bus.events import FaultState
from hcs_bus.names import DeviceId

LOOK_INTERVAL_S = 1.0  # with 8 cards of 20 counters each, well below 1 % of a core
NO_DETAILS: Mapping[str, str] = types.MappingProxyType({})


class PolledFaults:
    """The faults that were told and not ended, and the counts last seen."""

    def __init__(self) -> None:
        self._told: set[tuple[DeviceId, str]] = set()
        self._counts: dict[tuple[DeviceId, str], int] = {}

    def remember(self, active: Iterable[ActiveFault]) -> None:
        """Take over what an earlier run of the agent had told."""
        self._told |= {(fault.device_id, fault.code) for fault in active}

    def told_of(self, device_id: DeviceId) -> set[str]:
        """Return the codes in force on a card as far as was told."""
        return {code for of, code in self._told if of == device_id}

    def note_lost(self, device_id: DeviceId) -> list[FaultSignal]:
        """Note that a card does not answer. Its other faults stay: it cannot say that they end."""
        return self._raise((device_id, LOST), "")

    def note(
        self,
        device_id: DeviceId,
        counts: Mapping[str, int],
        details: Mapping[str, str] = NO_DETAILS,
    ) -> list[FaultSignal]:
        """Note that a card answers, and what it counts; a code it does not name stays as it was."""
        signals = self._clear((device_id, LOST))
        for code, count in sorted(counts.items()):
            key = (device_id, code)
            if count < self._counts.get(key, 0) or count == 0:
                signals += self._clear(key)
            if count > 0:
                signals += self._raise(key, details.get(code, ""))
            self._counts[key] = count
        return signals

    def _raise(self, key: tuple[DeviceId, str], detail: str) -> list[FaultSignal]:
        if key in self._told:
            return []
        self._told.add(key)
        return [FaultSignal(device_id=key[0], code=key[1], state=FaultState.RAISED, detail=detail)]

    def _clear(self, key: tuple[DeviceId, str]) -> list[FaultSignal]:
        if key not in self._told:
            return []
        self._told.remove(key)
        return [FaultSignal(device_id=key[0], code=key[1], state=FaultState.CLEARED)]


class Lookout:
    """Looks every `LOOK_INTERVAL_S` while somebody waits, and whenever `pause` says so."""

    def __init__(
        self,
        look: Callable[[], list[FaultSignal]],
        *,
        pause: Callable[[float], bool | None] = time.sleep,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._pause = pause
        self._monotonic_s = monotonic_s
        self._look_at_s = float("-inf")

    def wait(self, timeout_s: float) -> list[FaultSignal]:
        """Look until there is something to tell, for `timeout_s` at most."""
        end_s = self._monotonic_s() + timeout_s
        while True:
            if self._monotonic_s() >= self._look_at_s:
                signals = self._look()
                if signals:
                    return signals  # and look again at the next call: more may come at once
                self._look_at_s = self._monotonic_s() + LOOK_INTERVAL_S
            now_s = self._monotonic_s()
            if now_s >= end_s:
                return []
            if self._pause(max(0.0, min(end_s, self._look_at_s) - now_s)):
                self._look_at_s = now_s
