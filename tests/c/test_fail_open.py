"""Whatever is wrong with our own side, the application runs as if we were not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.interceptor import (
    CARD_BYTES,
    CUDA_OUT_OF_MEMORY,
    INTERCEPTOR,
    MIB,
    SIMULATED,
    Rig,
    compile_c,
)

MALFORMED = ["16Gi", "-1", "+1", " 1", "1 ", "1,", ",", "0x10", "1e9", str(2**63), str(2**64)]


@pytest.mark.parametrize(
    ("quota", "devices", "expected"),
    [
        ("-", "-", "off"),
        ("", "-", "off"),
        ("", "a,b", "off"),
        ("7", "-", ",".join(["7"] * 16)),
        ("7", "a,b", "7,7"),
        ("7,8", "a,b", "7,8"),
        ("7,8", "-", "7,8"),
        ("0", "a", "0"),
        (str(2**63 - 1), "a", str(2**63 - 1)),
        ("7,8", "a", "malformed"),
        ("7,8", "a,b,c", "malformed"),
        ("7", "a,", "malformed"),
        ("7", "a" * 96, "malformed"),
        (",".join(["7"] * 17), "-", "malformed"),
        *((quota, "-", "malformed") for quota in MALFORMED),
    ],
)
def test_a_quota_is_a_list_of_bytes_or_nothing(
    programs: Path, quota: str, devices: str, expected: str
) -> None:
    done = subprocess.run(
        [str(programs / "parse_quota"), quota, devices], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_without_a_quota_the_card_is_the_limit(rig: Rig) -> None:
    with rig.run("cuda_linked") as program:
        program.begin()
        assert program.ask("info") == [0, CARD_BYTES, CARD_BYTES]
        assert program.ask(f"fill {64 * MIB}") == [CUDA_OUT_OF_MEMORY, 16]
    assert not rig.ledger.exists()
    assert rig.stderr() == ""


@pytest.mark.parametrize("quota", ["", *MALFORMED])
def test_a_malformed_quota_changes_nothing_and_is_silent(rig: Rig, quota: str) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=quota) as program:
        assert program.begin().ask("info") == [0, CARD_BYTES, CARD_BYTES]
        assert program.close() == 0
    assert rig.stderr() == ""


def test_debug_says_why_in_one_json_line(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA="16Gi", HCS_DEBUG="1") as program:
        program.begin()
    lines = [json.loads(line) for line in rig.stderr().splitlines()]
    assert [line["event"] for line in lines] == ["no_enforcement"]
    assert "HCS_VRAM_QUOTA" in lines[0]["detail"]


def _random(path: Path) -> None:
    path.write_bytes(os.urandom(200_000))


def _random_of_the_right_size(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def _truncated(path: Path) -> None:
    os.truncate(path, 100)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _symbolic_link(path: Path) -> None:
    target = path.with_name("thesis.txt")
    target.write_text("")
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil", [_random, _random_of_the_right_size, _truncated, _directory, _symbolic_link, _pipe]
)
def test_a_spoilt_ledger_lets_the_application_run(rig: Rig, spoil: object) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(MIB)) as program:
        program.begin().ask("alloc 1")
    assert callable(spoil)
    spoil(rig.ledger)
    before = rig.ledger.read_bytes() if rig.ledger.is_file() else b""
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(MIB), HCS_DEBUG="1") as program:
        assert program.begin().ask(f"alloc {2 * MIB}")[0] == 0
    assert "no_enforcement" in rig.stderr()
    assert before == (rig.ledger.read_bytes() if rig.ledger.is_file() else b"")


def test_an_unwritable_place_for_the_ledger_lets_the_application_run(rig: Rig) -> None:
    missing = str(rig.directory / "missing" / "ledger")
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(MIB), HCS_LEDGER=missing) as program:
        assert program.begin().ask(f"alloc {2 * MIB}")[0] == 0


def test_a_limit_on_the_size_of_files_lets_the_application_run(rig: Rig) -> None:
    with rig.run("cuda_linked") as program:  # the simulated card has a file, too
        program.begin().ask("alloc 1")
    small = ("/bin/sh", "-c", 'ulimit -f 8 && exec "$0"')
    with rig.run("cuda_linked", behind=small, HCS_VRAM_QUOTA=str(MIB)) as program:
        assert program.begin().ask(f"alloc {2 * MIB}")[0] == 0
        assert program.close() == 0


@pytest.mark.parametrize("settings", [{}, {"HCS_VRAM_QUOTA": str(MIB)}])
@pytest.mark.parametrize(
    ("runtime", "known", "unknown"),
    [
        ("cuda", "libcuda.so.1", "libcuda.so.9"),
        ("hip", "libamdhip64.so", "libamdhip64.us"),
        ("cnrt", "libcnrt.so", "libcnrt.us"),
        ("musart", "libmusart.so", "libmusart.us"),
        ("acl", "libascendcl.so", "libascendcl.us"),
    ],
)
def test_a_runtime_of_an_unknown_version_runs_as_if_we_were_not_there(
    rig: Rig, runtime: str, known: str, unknown: str, settings: dict[str, str]
) -> None:
    names = (f"\0{known}\0".encode(), f"\0{unknown}\0".encode())
    (rig.directory / unknown).write_bytes((SIMULATED / known).read_bytes().replace(*names))
    program = rig.programs / f"{runtime}_of_unknown_version"
    linked = (rig.programs / f"{runtime}_linked").read_bytes()
    program.write_bytes(linked.replace(*names))
    program.chmod(0o755)
    where = {"LD_LIBRARY_PATH": f"{rig.directory}:{SIMULATED}", "HCS_DEBUG": "1"}
    with rig.run(program.name, **where, **settings) as running:
        assert running.begin().ask(f"alloc {2 * MIB}")[0] == 0
        assert running.ask("free 0") == [0]
        assert running.close() == 0
    lines = [json.loads(line)["event"] for line in rig.stderr().splitlines()]
    assert lines == (["no_enforcement"] if settings else [])


def test_programs_without_a_card_run_unchanged(rig: Rig) -> None:
    environment = rig.environment(HCS_VRAM_QUOTA=str(MIB), HCS_DEBUG="1")
    done = subprocess.run(
        ["/bin/sh", "-c", "umask 027; umask"], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"0027\n"
    assert (done.stderr, rig.ledger.exists()) == (b"", False)


def test_another_librarys_function_of_that_name_is_left_alone(rig: Rig) -> None:
    source = rig.directory / "other.c"
    source.write_text("int cuMemAlloc_v2(void);\nint cuMemAlloc_v2(void) { return 4711; }\n")
    other = rig.directory / "libother.so"
    compile_c(other, "-shared", "-fPIC", str(source))
    script = (
        "import ctypes; ctypes.CDLL('libcuda.so.1');"
        f"print(ctypes.CDLL({str(other)!r}).cuMemAlloc_v2())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env=rig.environment(HCS_VRAM_QUOTA="0"),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"4711\n"


def test_a_lookup_behind_another_preloaded_library_keeps_its_caller(rig: Rig) -> None:
    preload = f"{INTERCEPTOR} {rig.programs / 'next_symbol.so'}"
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(MIB), LD_PRELOAD=preload) as program:
        assert program.begin().ask("alloc 1")[0] == 0
    assert rig.stderr() == "wrapped\n"
