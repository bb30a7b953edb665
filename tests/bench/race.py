"""Whether processes that race for one quota ever hold more than it, for even a moment.

Twice, with 4 and with 16 processes. Through the library: each round every process fills the card up
to its quota and lets go again; the simulated card keeps the most that it ever had allocated, so a
batch of rounds in which that was too much is an overshoot. And on the ledger alone, where each step
may be somebody else's turn: every round all ask at once for what only one can get, and the holders
count what they hold.

    make bench BENCH=race
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.interceptor import (
    MIB,
    PROGRAMS,
    SOURCES,
    Rig,
    build_libraries,
    compile_c,
    link,
)

ROUNDS = 10_000
ROUNDS_PER_BATCH = 250  # of all processes together
SECONDS_MAX = 90.0  # of each of the two, for each number of processes
QUOTA_BYTES = 64 * MIB


class Outcome(NamedTuple):
    """What a number of processes did."""

    rounds: int
    overshoots: int


def main() -> None:
    """Print one JSON line for each number of processes."""
    build_libraries()
    with tempfile.TemporaryDirectory() as directory:
        programs = Path(directory)
        compile_c(programs / "race", str(PROGRAMS / "race.c"), link("libcuda.so.1"))
        parts = [str(SOURCES / f"{part}.c") for part in ("process", "config", "debug")]
        compile_c(programs / "ledger_race", str(PROGRAMS / "ledger_race.c"), *parts)
        for processes in (4, 16):
            library = repeat(through_the_library, programs, processes)
            ledger = repeat(on_the_ledger, programs, processes)
            line = {
                "bench": "race",
                "processes": processes,
                "overshoots": library.overshoots + ledger.overshoots,
                "rounds": library.rounds,
                "rounds_on_the_ledger": ledger.rounds,
            }
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def repeat(way: Callable[[Path, int], int], programs: Path, processes: int) -> Outcome:
    """Return the rounds that there was time for, and the overshoots."""
    started_s = time.monotonic()
    rounds = overshoots = 0
    while rounds < ROUNDS and time.monotonic() - started_s < SECONDS_MAX:
        overshoots += way(programs, processes)
        rounds += ROUNDS_PER_BATCH
    return Outcome(rounds, overshoots)


def through_the_library(programs: Path, processes: int) -> int:
    """Let real programs race on a simulated card; return whether it ever had too much."""
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(directory=Path(directory), programs=programs)
        rounds = ROUNDS_PER_BATCH // processes + 1
        racers = [
            subprocess.Popen(
                [str(programs / "race"), "1", str(rounds), str(QUOTA_BYTES // 8)],
                env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
            for _ in range(processes)
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"\n")
            racer.stdin.flush()
        for racer in racers:
            racer.communicate()
            assert racer.returncode == 0
        assert rig.peak_bytes() > 0
        return int(rig.peak_bytes() > QUOTA_BYTES)


def on_the_ledger(programs: Path, processes: int) -> int:
    """Let processes race on a ledger; return how often they held too much."""
    command = [programs / "ledger_race", processes, 1, ROUNDS_PER_BATCH, "together"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True
    )
    overshoots, grants, _ = (int(number) for number in done.stdout.split())
    assert grants == ROUNDS_PER_BATCH
    return overshoots


if __name__ == "__main__":
    main()
