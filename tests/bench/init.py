"""What the interceptor adds to the start of a program when many start at once.

Sixty-four programs are executed at the same moment, initialise the runtime and allocate once; each
says how long that took from before its exec. With the interceptor and without it in turn, in the
same run, on a fresh ledger each time; the difference is the figure. On a machine with fewer cores
than programs both contain the waiting for a core.

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
ROUNDS = 7


def main() -> None:
    """Print one JSON line."""
    build_libraries()
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(directory=Path(directory), programs=Path(directory))
        header = '-DRUNTIME="runtime_cuda.h"'
        library = link("libcuda.so.1")
        compile_c(rig.programs / "init", str(PROGRAMS / "init_bench.c"), header, library)
        runs = [(start_all(rig, ""), start_all(rig, str(INTERCEPTOR))) for _ in range(ROUNDS)]
    bare = [took_ms for without, _ in runs for took_ms in without]
    full = [took_ms for _, with_it in runs for took_ms in with_it]
    slowest = [max(with_it) - max(without) for without, with_it in runs]
    line = {
        "bench": "init",
        "processes": PROCESSES,
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        "added_p50_ms": round(statistics.median(full) - statistics.median(bare), 2),
        "added_max_ms": round(statistics.median(slowest), 2),
        "bare_p50_ms": round(statistics.median(bare), 2),
        "bare_max_ms": round(max(bare), 2),
        "p50_ms": round(statistics.median(full), 2),
        "max_ms": round(max(full), 2),
    }
    sys.stdout.write(json.dumps(line) + "\n")


def start_all(rig: Rig, preload: str) -> list[float]:
    """Return how many milliseconds each of the programs took."""
    rig.ledger.unlink(missing_ok=True)
    settings = {
        "HCS_VRAM_QUOTA": str(64 * MIB),
        "HCS_DEVICES": GPUS[0],
        "HCS_BENCH_PRELOAD": preload,
        "LD_PRELOAD": "",
    }
    done = subprocess.run(
        [str(rig.programs / "init"), str(PROCESSES)],
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
