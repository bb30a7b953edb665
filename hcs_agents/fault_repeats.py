"""One fact per card, code and second, however often a driver tells of an occurrence.

A sick card repeats an Xid thousands of times, and each fact of a fault is kept until the bus has
it. The first occurrence is told at once, those that follow within the interval are counted and told
as one with their number when it ends. Faults that last are not counted: a detector tells of them
when they begin and when they end.
"""

from dataclasses import dataclass

import msgspec

from hcs_agents.detectors.port import FaultSignal
from hcs_bus.names import DeviceId

INTERVAL_S = 1.0
NEVER_S = float("inf")


@dataclass(kw_only=True)
class _Series:
    ends_at_s: float
    last: FaultSignal
    untold: int = 0


class FaultRepeats:
    """The occurrences of the last second."""

    def __init__(self) -> None:
        self._series: dict[tuple[DeviceId, str], _Series] = {}

    @property
    def due_at_s(self) -> float:
        """When the next series ends of which something is to be told."""
        return min((one.ends_at_s for one in self._series.values() if one.untold), default=NEVER_S)

    def take(self, signal: FaultSignal, *, now_s: float) -> bool:
        """Say whether a signal is to be told now; if not, it was counted."""
        if signal.lasting:
            return True
        key = (signal.device_id, signal.code)
        series = self._series.get(key)
        if series is None or (now_s >= series.ends_at_s and not series.untold):
            self._series[key] = _Series(ends_at_s=now_s + INTERVAL_S, last=signal)
            return True
        series.untold += 1
        series.last = signal
        return False

    def due(self, *, now_s: float) -> list[FaultSignal]:
        """Return what is to be told of the series that have ended; `now_s` of infinity ends all."""
        told = []
        for key, series in list(self._series.items()):
            if now_s < series.ends_at_s:
                continue
            if series.untold:
                told.append(_summed(series))
                self._series[key] = _Series(ends_at_s=now_s + INTERVAL_S, last=series.last)
            else:
                del self._series[key]
        return told


def _summed(series: _Series) -> FaultSignal:
    words = f"{series.untold} times in {INTERVAL_S:g} s"
    detail = f"{series.last.detail}, {words}" if series.last.detail else words
    return msgspec.structs.replace(series.last, detail=detail) if series.untold > 1 else series.last
