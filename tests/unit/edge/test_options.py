"""Moments on the command line: times in UTC, times with an offset, and how long ago."""

import time

import click
import pytest

from hcs_bus.names import NANOSECONDS_PER_SECOND
from hcs_edge.cli.options import MomentType

AT_18_NS = 1_795_370_400 * NANOSECONDS_PER_SECOND


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2026-11-22T18:00:00", AT_18_NS),
        ("2026-11-22 18:00:00", AT_18_NS),
        ("2026-11-22T18:00:00Z", AT_18_NS),
        ("2026-11-22T20:00:00+02:00", AT_18_NS),
        ("2026-11-22", AT_18_NS - 18 * 3600 * NANOSECONDS_PER_SECOND),
        ("2026-11-22T18:00:00.123457", AT_18_NS + 123_457_000),
        ("1905-01-01", 0),
    ],
)
def test_a_time_is_read_exactly(text: str, at_ns: int) -> None:
    assert MomentType().convert(text, None, None) == at_ns


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5h", 5400), ("3d", 259_200)]
)
def test_a_duration_counts_back_from_now(text: str, ago_s: int) -> None:
    earliest_ns = time.time_ns()
    found_ns = MomentType().convert(text, None, None)
    latest_ns = time.time_ns()
    assert earliest_ns <= found_ns + ago_s * NANOSECONDS_PER_SECOND <= latest_ns


@pytest.mark.parametrize("text", ["", "10", "10 m", "-10m", "10w", "18:00", "tomorrow", "٣m"])
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(click.BadParameter, match="2026-11-22, or 90s, 10m, 2h, 1d"):
        MomentType().convert(text, None, None)
