"""Physical memory behind handles, where the runtime refuses to release or to unmap it."""

import os
import subprocess
from pathlib import Path

from tests.support.interceptor import MIB, PROGRAMS, SANITIZE, SOURCES, compile_c

PARTS = (
    *("account", "blocks", "config", "connection", "debug", "handles"),
    *("ledger", "ledger_file", "lock", "process", "report", "table"),
)


def test_what_was_not_released_or_not_unmapped_stays_charged_and_can_be_given_back(
    tmp_path: Path,
) -> None:
    sources = [str(SOURCES / f"{part}.c") for part in PARTS]
    check = compile_c(tmp_path / "check", str(PROGRAMS / "handles_check.c"), *sources, *SANITIZE)
    settings = {"HCS_VRAM_QUOTA": str(64 * MIB), "HCS_LEDGER": str(tmp_path / "ledger")}
    done = subprocess.run(
        [check],
        env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
