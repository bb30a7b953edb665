"""The cache of built programs: whole or absent, whatever happens during a build."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = ("one", "two")
BUILD = """
import sys
from pathlib import Path
from hcs_edge.local import programs

programs.checkout = lambda: Path(sys.argv[1])
packages = {name: f"example.org/tiny/{name}" for name in ("one", "two")}
programs.SETS = (programs.ProgramSet("tiny", packages, {}),)
programs.build_missing(lambda line: print(line, flush=True), step=1, steps=2)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return a checkout with one Go module of two programs."""
    module = tmp_path / "deploy" / "local" / "go" / "tiny"
    for name in NAMES:
        (module / name).mkdir(parents=True)
        (module / name / "main.go").write_text(
            f'package main\n\nimport "os"\n\nfunc main() {{ os.Stdout.WriteString("{name}") }}\n'
        )
    (module / "go.mod").write_text("module example.org/tiny\n\ngo 1.26\n")
    (module / "go.sum").touch()
    shutil.copy(CHECKOUT / "deploy/local/go/toolchain.lock", module.parent)
    return tmp_path


def start(tiny: Path) -> "subprocess.Popen[str]":
    """Start a build into a cache of the test's own."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(tiny)],
        env=os.environ | {"XDG_CACHE_HOME": str(tiny / "cache")},
        stdout=subprocess.PIPE,
        text=True,
    )


def programs(tiny: Path) -> list[Path]:
    """Return what is in the cache under a final name."""
    sets = [path for path in (tiny / "cache" / "hcs").glob("tiny-*") if not path.suffix]
    return sorted(program for path in sets for program in path.iterdir())


def test_an_interrupted_build_leaves_nothing_that_looks_whole(tiny: Path) -> None:
    interrupted = start(tiny)
    assert interrupted.stdout is not None
    while "one built" not in interrupted.stdout.readline():
        pass
    interrupted.send_signal(signal.SIGKILL)
    interrupted.communicate()
    assert programs(tiny) == []
    again = start(tiny)
    printed, _ = again.communicate()
    assert again.returncode == 0
    assert "two built" in printed
    assert [subprocess.check_output([path], text=True) for path in programs(tiny)] == list(NAMES)


def test_two_builds_at_once_make_one(tiny: Path) -> None:
    both = [start(tiny), start(tiny)]
    printed = "".join(build.communicate()[0] for build in both)
    assert [build.returncode for build in both] == [0, 0]
    assert printed.count("one built") == 1
    assert len(programs(tiny)) == 2
