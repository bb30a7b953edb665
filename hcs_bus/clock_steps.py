"""Whether a service's clock was set: how much further it went than time did.

Time is data: every event carries its writer's clock, and releases count from tick to tick. So a
clock that somebody sets is worth a word, though nothing here corrects it. What sets it little by
little (NTP at its gentlest) stays below the limit between any two readings, and is no step. A
machine that slept is one ahead: the monotonic clock stands still meanwhile.
"""

from hcs_bus.names import NANOSECONDS_PER_SECOND

STEP_NS_MIN = NANOSECONDS_PER_SECOND  # the two clocks are read one after the other, far less apart


class ClockSteps:
    """Compares each reading of both clocks with the one before."""

    def __init__(self) -> None:
        self._ahead_ns: int | None = None  # of the monotonic clock, whose zero is anywhere

    def step_s(self, *, wall_ns: int, monotonic_ns: int) -> float | None:
        """Return by how much the clock was set since the last reading: back is negative."""
        before_ns, self._ahead_ns = self._ahead_ns, wall_ns - monotonic_ns
        if before_ns is None or abs(self._ahead_ns - before_ns) <= STEP_NS_MIN:
            return None
        return (self._ahead_ns - before_ns) / NANOSECONDS_PER_SECOND
