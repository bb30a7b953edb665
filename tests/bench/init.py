"""What the interceptor adds to the start of a program when many start at once.

Sixty-four programs initialise the runtime and ask for the size of a card, which makes the account.
In two ways: "call" is that question alone, asked by all at the same moment, when they are running
already; "start" is everything from before their exec, the loading of the libraries included. With
the interceptor and without it in turn, in the same run, on a fresh ledger each time; the difference
is the figure. On a machine with fewer cores than programs both contain the waiting for a core.

    make bench BENCH=init
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.interceptor import (
    GPUS,
    INTERCEPTOR,
    MIB,
    PROGRAMS,
    Rig,
    build_libraries,
    compile_c,
    link,
)

PROCESSES = 64
ROUNDS = 15


def main() -> None:
    """Print one JSON line."""
    build_libraries()
    # Where a container's ledger lies unless it is told otherwise: in memory.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        rig = Rig(directory=Path(directory), programs=Path(directory))
        header = '-DRUNTIME="runtime_cuda.h"'
        library = link("libcuda.so.1")
        compile_c(rig.programs / "init", str(PROGRAMS / "init_bench.c"), header, library)
        added = {way: added_ms(rig, way) for way in ("call", "start")}
    line = {
        "bench": "init",
        "processes": PROCESSES,
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        **{f"{way}_{name}": ms for way, figures in added.items() for name, ms in figures.items()},
    }
    sys.stdout.write(json.dumps(line) + "\n")


def added_ms(rig: Rig, way: str) -> dict[str, float]:
    """Return the milliseconds with and without the interceptor, and what it added."""
    runs = [(run_all(rig, way, ""), run_all(rig, way, str(INTERCEPTOR))) for _ in range(ROUNDS)]
    bare, full = ([took_ms for run in side for took_ms in run] for side in zip(*runs, strict=True))
    slowest = [max(with_it) - max(without) for without, with_it in runs]
    return {
        "added_p50_ms": round(statistics.median(full) - statistics.median(bare), 2),
        "added_max_ms": round(statistics.median(slowest), 2),
        "bare_p50_ms": round(statistics.median(bare), 2),
        "bare_max_ms": round(max(bare), 2),
        "p50_ms": round(statistics.median(full), 2),
        "max_ms": round(max(full), 2),
    }


def run_all(rig: Rig, way: str, preload: str) -> list[float]:
    """Return how many milliseconds each of the programs took."""
    rig.ledger.unlink(missing_ok=True)
    settings = {
        "HCS_VRAM_QUOTA": str(64 * MIB),
        "HCS_DEVICES": GPUS[0],
        "HCS_BENCH_PRELOAD": preload,
        "LD_PRELOAD": "",
    }
    done = subprocess.run(
        [str(rig.programs / "init"), way, str(PROCESSES)],
        env=rig.environment(**settings),
        capture_output=True,
        text=True,
        check=True,
    )
    took_us = [int(line) for line in done.stdout.split()]
    assert len(took_us) == PROCESSES
    return [us / 1000 for us in took_us]


if __name__ == "__main__":
    main()
