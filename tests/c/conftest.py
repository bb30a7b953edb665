"""Builds the C libraries and the test programs once per session."""

from pathlib import Path

import pytest

from tests.support.interceptor import (
    PROGRAMS,
    SANITIZE,
    SOURCES,
    Rig,
    build_libraries,
    compile_c,
    link,
)

RUNTIMES = {
    "cuda": ("-DUSE_CUDA", "libcuda.so.1"),
    "cudart": ("-DUSE_CUDART", "libcudart.so.12"),
    "acl": ("-DUSE_ACL", "libascendcl.so"),
}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what the tests run, and return where it lies."""
    build_libraries()
    out = tmp_path_factory.mktemp("programs")
    commands = str(PROGRAMS / "commands.c")
    for runtime, (define, library) in RUNTIMES.items():
        compile_c(out / f"{runtime}_linked", commands, define, link(library))
        compile_c(out / f"{runtime}_dlsym", commands, define, "-DLOOKUP")
    compile_c(out / "race", str(PROGRAMS / "race.c"), link("libcuda.so.1"))
    compile_c(out / "next_symbol.so", "-fPIC", "-shared", str(PROGRAMS / "next_symbol.c"))
    compile_c(out / "wire_sample", str(PROGRAMS / "wire_sample.c"))
    _compile_part(out, "ledger_dump")
    _compile_part(out, "table_check", "table", *SANITIZE)
    _compile_part(out, "parse_quota", "config", "debug", *SANITIZE)
    _compile_part(out, "ledger_kills", "process", "config", "debug", *SANITIZE)
    return out


def _compile_part(out: Path, name: str, *parts: str) -> None:
    """Compile a program that tests parts of the interceptor by themselves."""
    sources = [part if part.startswith("-") else str(SOURCES / f"{part}.c") for part in parts]
    compile_c(out / name, str(PROGRAMS / f"{name}.c"), *sources)


@pytest.fixture
def rig(programs: Path, tmp_path: Path) -> Rig:
    """Give one container on one simulated node."""
    return Rig(directory=tmp_path, programs=programs)
