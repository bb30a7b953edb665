"""What the interceptor adds to one allocate + free pair, in instructions.

Counted by callgrind, so the same on any machine: the program runs twice with different numbers of
pairs, with and without the interceptor; what is left of the four counts is the interceptor alone.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.interceptor import PROGRAMS, Rig, build_libraries, compile_c, link

LIVE_COUNTS = (0, 1_000, 100_000)
PAIRS = 2_000
QUOTA_BYTES = 512 * 1024 * 1024


def main() -> None:
    """Print one JSON line."""
    build_libraries()
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(directory=Path(directory), programs=Path(directory))
        compile_c(rig.programs / "bench", str(PROGRAMS / "alloc_bench.c"), link("libcuda.so.1"))
        counts = {f"instr_{live}": added_instructions(rig, live) for live in LIVE_COUNTS}
    sys.stdout.write(json.dumps({"bench": "alloc", **counts}) + "\n")


def added_instructions(rig: Rig, live: int) -> int:
    """Return the instructions per pair that the interceptor adds, with `live` blocks allocated."""
    return pair_instructions(rig, live) - pair_instructions(rig, live, LD_PRELOAD="")


def pair_instructions(rig: Rig, live: int, **settings: str) -> int:
    """Return the instructions of one pair, the runtime's own included."""
    few, many = (total_instructions(rig, live, pairs, settings) for pairs in (PAIRS, 2 * PAIRS))
    return (many - few) // PAIRS


def total_instructions(rig: Rig, live: int, pairs: int, settings: dict[str, str]) -> int:
    """Return the instructions of one run."""
    # Every run begins with the same books, or the simulated card's own work would differ.
    rig.ledger.unlink(missing_ok=True)
    rig.card_memory.unlink(missing_ok=True)
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*command, str(rig.programs / "bench"), str(live), str(pairs)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), **settings),
        capture_output=True,
        text=True,
        check=True,
    )
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    assert collected is not None, done.stderr
    return int(collected[1])


if __name__ == "__main__":
    main()
