"""What the interceptor adds to the calls of a program, in instructions.

Counted by callgrind, so the same on any machine: the program runs with and without the interceptor,
and what is left of the two counts is the interceptor alone, the runtime's functions that it calls
included. Both times something is preloaded, by the same path: getenv, of which the simulated card
makes much use, takes more or less by where in memory the environment lies. For each runtime:
allocate + free with 0, 1,000 and 10^6 blocks allocated, a question for the memory that there is,
and a kernel's launch without a share of compute; 0 where launches are not hooked.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.interceptor import (
    INTERCEPTOR,
    PROGRAMS,
    RUNTIMES,
    Rig,
    build_libraries,
    compile_c,
    link,
)

LAUNCHING = ("cuda", "hip")
QUESTIONS = {"rt": 3, "cndrv": 2}  # that the program asks at once, where a runtime has several
LIVE_COUNTS = (0, 1_000, 1_000_000)
ROUNDS = 1_000
QUOTA_BYTES = 64 * 2**30


def main() -> None:
    """Print one JSON line for each runtime."""
    build_libraries()
    for runtime, library in RUNTIMES.items():
        with tempfile.TemporaryDirectory() as directory:
            rig = Rig(directory=Path(directory), programs=Path(directory), card_bytes=QUOTA_BYTES)
            header = f'-DRUNTIME="runtime_{runtime}.h"'
            compile_c(
                rig.programs / "bench", str(PROGRAMS / "alloc_bench.c"), header, link(library)
            )
            counts = {
                f"instr_{live}": added_instructions(rig, "allocate_and_free", live)
                for live in LIVE_COUNTS
            }
            questions = QUESTIONS.get(runtime, 1)
            counts["instr_query"] = round(added_instructions(rig, "ask", 0) / questions)
            counts["instr_launch"] = added_to_a_launch(rig, runtime)
        line = {"bench": "alloc", "runtime": runtime, **counts}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def added_to_a_launch(rig: Rig, runtime: str) -> int:
    """Return the instructions that the interceptor adds to a launch which it does not limit."""
    if runtime not in LAUNCHING:
        return 0
    header = f'-DRUNTIME="launch_{runtime}.h"'
    compile_c(
        rig.programs / "bench",
        str(PROGRAMS / "launch_bench.c"),
        header,
        link(RUNTIMES[runtime]),
    )
    return added_instructions(rig, "launch_kernels", 0)


def added_instructions(rig: Rig, function: str, live: int) -> int:
    """Return the instructions per round that the interceptor adds, with `live` blocks allocated."""
    nothing = rig.programs / "nothing.so"
    if not nothing.exists():
        compile_c(nothing, "-shared", "-x", "c", "/dev/null")
    with_it = instructions(rig, function, live, INTERCEPTOR)
    return round((with_it - instructions(rig, function, live, nothing)) / ROUNDS)


def instructions(rig: Rig, function: str, live: int, preloaded: Path) -> int:
    """Return the instructions of one function of one run."""
    # Every run begins with the same books, or the simulated card's own work would differ.
    rig.ledger.unlink(missing_ok=True)
    rig.card_memory.unlink(missing_ok=True)
    path = rig.programs / "preloaded.so"
    path.unlink(missing_ok=True)
    path.symlink_to(preloaded)
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--instr-atstart=no",
        f"--toggle-collect={function}",
    ]
    done = subprocess.run(
        [*command, str(rig.programs / "bench"), str(live), str(ROUNDS)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), LD_PRELOAD=str(path)),
        capture_output=True,
        text=True,
        check=True,
    )
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    assert collected is not None, done.stderr
    return int(collected[1])


if __name__ == "__main__":
    main()
