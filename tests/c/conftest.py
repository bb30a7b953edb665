"""Builds the C libraries and the test programs once per session."""

from pathlib import Path

import pytest

from tests.support.interceptor import (
    PROGRAMS,
    RUNTIMES,
    SANITIZE,
    SANITIZE_THREADS,
    SOURCES,
    Rig,
    build_libraries,
    compile_c,
    compile_commands,
    link,
)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what the tests run, and return where it lies."""
    build_libraries()
    out = tmp_path_factory.mktemp("programs")
    for runtime, library in RUNTIMES.items():
        compile_commands(out / f"{runtime}_linked", runtime, link(library))
        compile_commands(out / f"{runtime}_dlsym", runtime, "-DLOOKUP")
    for runtime in ("cuda", "musa"):
        compile_commands(out / f"{runtime}_lookup", runtime, "-DPROC_ADDRESS")
    launches = ("launches.c", "launch")
    for runtime, library in RUNTIMES.items():
        compile_commands(out / f"{runtime}_launches", runtime, link(library), program=launches)
        compile_commands(out / f"{runtime}_launches_dlsym", runtime, "-DLOOKUP", program=launches)
    for runtime in ("cuda", "musa"):
        name = out / f"{runtime}_launches_lookup"
        compile_commands(name, runtime, "-DPROC_ADDRESS", program=launches)
    compile_c(out / "race", str(PROGRAMS / "race.c"), link("libcuda.so.1"))
    compile_c(out / "next_symbol.so", "-fPIC", "-shared", str(PROGRAMS / "next_symbol.c"))
    compile_c(out / "wire_sample", str(PROGRAMS / "wire_sample.c"))
    _compile_part(out, "ledger_dump")
    _compile_part(out, "table_check", "table", *SANITIZE)
    basis = ("process", "config", "debug")
    _compile_part(out, "parse_quota", "config", "debug", *SANITIZE)
    _compile_part(out, "parse_share", "config", "debug", *SANITIZE)
    _compile_part(out, "ledger_kills", *basis, *SANITIZE)
    _compile_part(out, "work_check", *basis, *SANITIZE)
    _compile_part(out, "report_pace", *SANITIZE)
    checked = "ledger_race_checked"
    _compile_part(out, "ledger_race", *basis)
    _compile_part(out, "ledger_race", *basis, *SANITIZE_THREADS, name_of_output=checked)
    of_overhead = ("ledger", "lock", *basis)
    _compile_part(out, "overhead_check", *of_overhead, *SANITIZE)
    checked = "overhead_check_threads"
    _compile_part(out, "overhead_check", *of_overhead, *SANITIZE_THREADS, name_of_output=checked)
    account = ("account", "blocks", "connection", "handles", "ledger", "ledger_file", "lock")
    rest = ("overhead", "report", "table", *basis)
    _compile_part(out, "account_race", *account, *rest, *SANITIZE_THREADS)
    return out


def _compile_part(out: Path, name: str, *parts: str, name_of_output: str = "") -> None:
    """Compile a program that tests parts of the interceptor by themselves."""
    sources = [part if part.startswith("-") else str(SOURCES / f"{part}.c") for part in parts]
    compile_c(out / (name_of_output or name), str(PROGRAMS / f"{name}.c"), *sources)


@pytest.fixture
def rig(programs: Path, tmp_path: Path) -> Rig:
    """Give one container on one simulated node."""
    return Rig(directory=tmp_path, programs=programs)
