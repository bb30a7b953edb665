"""The engine that a test run starts for itself: it works, and nothing of it stays behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.containers_engine import CONTROL_GROUPS
from tests.support.local_cluster import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/socket"}
BACKEND = """
import os, sys
from pathlib import Path
from tests.support.backend import CONTAINERS, start_backend, stop_backend

backend = start_backend(Path(sys.argv[1]), CONTAINERS)
print(os.environ["DOCKER_HOST"].removeprefix("unix://"), flush=True)
sys.stdin.read()
stop_backend(backend)
"""


@contextmanager
def running(directory: Path) -> Iterator["tuple[subprocess.Popen[str], Path]"]:
    """Start both servers under an engine of their own; yield the child and the engine's root."""
    child = subprocess.Popen(
        [sys.executable, "-c", BACKEND, str(directory)],
        cwd=CHECKOUT,
        env=os.environ | NO_ENGINE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    root = Path(child.stdout.readline().strip()).parent
    try:
        yield child, root
    finally:
        child.kill()
        child.communicate()


def processes_of(root: Path) -> list[int]:
    """Return the processes of an engine, and of the containers in it, by their control groups."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes() + (directory / "cgroup").read_bytes()
            ended = b"State:\tZ" in (directory / "status").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if root.name.encode() in words and not ended:
            found.append(int(directory.name))
    return found


def contained(root: Path) -> list[str]:
    """Return the programs that run in process namespaces of their own, in the engine's groups."""
    own = Path("/proc/self/ns/pid").readlink()
    directories = [Path(f"/proc/{pid}") for pid in processes_of(root)]
    return [
        (directory / "comm").read_text().strip()
        for directory in directories
        if root.name in (directory / "cgroup").read_text()
        and (directory / "ns" / "pid").readlink() != own
    ]


@pytest.mark.root
@pytest.mark.containers
def test_an_engine_of_our_own_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path) as (child, root):
        assert {"nats-server", "postgres"} <= set(contained(root))
        child.communicate("")
        assert child.returncode == 0
        assert processes_of(root) == []
        assert not root.exists()
        assert [*CONTROL_GROUPS.glob(root.name), *CONTROL_GROUPS.glob(f"*/{root.name}")] == []


@pytest.mark.root
@pytest.mark.containers
def test_a_test_run_that_is_killed_takes_its_engine_and_its_containers_along(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as (child, root):
        assert processes_of(root)
        child.send_signal(signal.SIGKILL)
        eventually(lambda: processes_of(root) == [])
        assert str(root) not in Path("/proc/self/mountinfo").read_text()
    _remove(root)


def _remove(root: Path) -> None:
    for pattern in (f"{root.name}/*", f"*/{root.name}/*", root.name, f"*/{root.name}"):
        for group in CONTROL_GROUPS.glob(pattern):
            if group.is_dir():
                group.rmdir()
    shutil.rmtree(root)


def test_where_no_engine_can_be_had_the_tests_say_so_before_they_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.containers_engine"],
        cwd=CHECKOUT,
        env=NO_ENGINE | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no container engine" in done.stderr
    assert "make test BACKENDS=wheels" in done.stderr


def test_a_kind_of_backend_that_there_is_not_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--backends=wheels,clouds", "tests/integration"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no such kind: clouds (there is wheels, containers)" in done.stderr
