"""Which readings of a clock are a step, and how large it is said to be."""

import pytest

from hcs_bus.clock_steps import STEP_NS_MIN, ClockSteps
from hcs_bus.names import NANOSECONDS_PER_SECOND as SECOND

START_NS = 1_760_000_000 * SECOND


def fed(*readings: tuple[int, int]) -> list[float | None]:
    """Return what is said of each reading of the wall's clock and of the monotonic one."""
    steps = ClockSteps()
    return [steps.step_s(wall_ns=wall, monotonic_ns=monotonic) for wall, monotonic in readings]


def test_the_first_reading_is_no_step_wherever_the_monotonic_clock_began() -> None:
    assert fed((START_NS, 5)) == [None]


def test_time_that_passes_is_no_step_however_long_it_takes() -> None:
    assert fed((START_NS, 0), (START_NS + 90 * SECOND, 90 * SECOND)) == [None, None]


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0, 1.5, -1.5])
def test_a_step_is_told_once_with_its_size_and_direction(step_s: float) -> None:
    set_to = START_NS + int(step_s * SECOND)
    after = (set_to + SECOND, SECOND)
    assert fed((START_NS, 0), after, (set_to + 2 * SECOND, 2 * SECOND)) == [None, step_s, None]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_within_the_limit_is_none_and_one_nanosecond_more_is(sign: int) -> None:
    within, beyond = sign * STEP_NS_MIN, sign * (STEP_NS_MIN + 1)
    assert fed((START_NS, 0), (START_NS + within, 0)) == [None, None]
    [_, told] = fed((START_NS, 0), (START_NS + beyond, 0))
    assert told == beyond / SECOND


def test_a_clock_that_is_set_little_by_little_never_steps() -> None:
    half = STEP_NS_MIN // 2
    assert fed(*((START_NS + n * half, 0) for n in range(10))) == [None] * 10


def test_a_step_back_to_where_it_was_is_another() -> None:
    ahead = START_NS + 60 * SECOND
    assert fed((START_NS, 0), (ahead, 0), (START_NS, 0)) == [None, 60.0, -60.0]
