"""Physical memory behind handles, where the runtime refuses to release or to unmap it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.interceptor import (
    ACL_OUT_OF_MEMORY,
    MIB,
    PROGRAMS,
    SANITIZE,
    SIMULATED,
    SOURCES,
    Rig,
    compile_c,
    first_card,
)

PARTS = (
    *("account", "blocks", "config", "connection", "debug", "handles"),
    *("ledger", "ledger_file", "lock", "overhead", "process", "report", "table"),
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


def _refusing(directory: Path, function: str) -> str:
    """Put Ascend's lower layer there with a function that refuses once; return where to look."""
    whole = directory / "libruntimf.so"
    library = (SIMULATED / "libruntime.so").read_bytes()
    whole.write_bytes(library.replace(b"\0libruntime.so", b"\0libruntimf.so"))
    options = ("-fPIC", "-shared", "-Wl,--no-as-needed", "-Wl,-soname,libruntime.so")
    names = (f"-DREFUSED={function}", f"-DWHOLE={whole.name}")
    refuses = str(PROGRAMS / "refuses.c")
    compile_c(directory / "libruntime.so", *options, *names, refuses, str(whole))
    return f"{directory}:{SIMULATED}"


@pytest.mark.parametrize(
    ("runtime", "kind", "below"),
    [
        ("acl", "mapped", "rtUnmapMem"),
        ("acl", "mapped_apart", "rtUnmapMem"),
        ("acl", "physical", "rtFreePhysical"),
        ("rt", "mapped", "rtUnmapMem"),
        ("rt", "mapped_apart", "rtUnmapMem"),
        ("rt", "physical", "rtFreePhysical"),
        ("rt", "mapped_2", "rtsMemUnmap"),
        ("rt", "physical_2", "rtsMemFreePhysical"),
    ],
)
def test_what_an_ascend_card_did_not_let_go_is_charged_until_it_does(
    rig: Rig, tmp_path: Path, runtime: str, kind: str, below: str
) -> None:
    settings = {"LD_LIBRARY_PATH": _refusing(tmp_path, below), "HCS_VRAM_QUOTA": str(4 * MIB)}
    with rig.run(f"{runtime}_linked", **settings) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"alloc {4 * MIB}") == [0, 0]
        assert program.ask("free 0") != [0]
        assert rig.account()["used"] == 4 * MIB
        assert program.ask(f"alloc {2 * MIB}")[0] == ACL_OUT_OF_MEMORY
        assert program.ask("free 0") == [0]
        assert rig.account()["used"] == 0
        assert sum(rig.held_bytes(first_card(runtime)).values()) == 0
        assert program.ask(f"fill {2 * MIB}") == [ACL_OUT_OF_MEMORY, 2]
