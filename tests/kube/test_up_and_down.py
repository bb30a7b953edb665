"""`hcs up` starts everything or nothing, and `hcs down` leaves no process, whatever happened."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from hcs_edge.local import cluster, ports, process
from hcs_edge.local.cluster import Part
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.home import Home
from tests.support.backend import SilentProgress, free_port_base
from tests.support.local_cluster import LocalCluster, eventually, start, temporary_home

STORES = frozenset({Part.NATS, Part.POSTGRES})


@pytest.fixture
def home() -> Iterator[Home]:
    with temporary_home() as made:
        yield made


def _processes_of(home: Home) -> list[str]:
    """Return the command lines of all processes that name the home, recorded or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(home.root) in line:
            found.append(line)
    return found


def _down(home: Home, *, purge: bool = False) -> int:
    return cluster.down(home, SilentProgress(), purge=purge)


def test_a_second_up_in_the_same_home_is_refused(local_cluster: LocalCluster) -> None:
    with pytest.raises(LocalClusterError, match=r"a cluster is up in .* `hcs down` stops it"):
        start(local_cluster.home)
    assert all(record.is_running for record in cluster.status(local_cluster.home))


def test_two_ups_at_the_same_time_do_not_both_start(home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from hcs_edge.local.cluster import Part; "
        "from hcs_edge.local.home import Home; from tests.support.local_cluster import start; "
        "start(Home(Path(sys.argv[1])), {Part.NATS, Part.POSTGRES}, int(sys.argv[2]))"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(home.root), str(free_port_base())],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = sorted(racer.communicate()[1] for racer in racers)
    assert sorted(racer.returncode for racer in racers) == [0, 1], errors
    assert "another `hcs up`" in errors[1] or "a cluster is up" in errors[1]
    assert len(cluster.status(home)) == len(STORES)


def test_a_port_in_use_is_named_with_its_program_before_anything_starts(home: Home) -> None:
    base = free_port_base()
    taken = ports.plan(base, [])["postgres"]
    expected = rf"{taken} \(postgres\).*--port-base"
    with (
        socket.create_server((ports.LOOPBACK, taken)),
        pytest.raises(LocalClusterError, match=expected),
    ):
        start(home, STORES, base)
    assert cluster.status(home) == []
    assert _processes_of(home) == []


def test_a_home_too_deep_for_a_socket_is_refused(home: Home) -> None:
    deep = Home(home.root / ("d" * 100))
    with pytest.raises(LocalClusterError, match="HCS_HOME is too deep.*107 bytes"):
        start(deep)
    _down(deep)


def test_down_leaves_no_process_and_may_be_repeated(home: Home) -> None:
    started = start(home, STORES)
    identities = [record.identity for record in cluster.status(started.home)]
    assert len(_processes_of(home)) >= len(STORES)
    assert _down(home) == len(STORES)
    assert not any(process.is_running(identity) for identity in identities if identity)
    assert _processes_of(home) == []
    assert cluster.status(home) == []
    assert not home.connection.exists()
    assert _down(home) == 0


def test_down_where_nothing_ever_was_makes_nothing(tmp_path: Path) -> None:
    assert _down(Home(tmp_path / "none")) == 0
    assert not (tmp_path / "none").exists()


async def test_the_data_stays_over_down_and_up_until_it_is_purged(home: Home) -> None:
    async def tables(started: LocalCluster) -> list[str]:
        connection = await asyncpg.connect(started.database_url("hcs"))
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        rows = await connection.fetch("SELECT * FROM kept")
        await connection.close()
        return [str(row["n"]) for row in rows]

    assert len(await tables(start(home, STORES))) == 1
    _down(home)
    assert len(await tables(start(home, STORES))) == 2
    _down(home, purge=True)
    assert [path.name for path in home.root.iterdir()] == ["lock"]
    assert len(await tables(start(home, STORES))) == 1


def test_down_cleans_up_after_an_up_that_was_killed(home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from hcs_edge.local.cluster import Part; "
        "from hcs_edge.local.home import Home; from tests.support.local_cluster import start; "
        "start(Home(Path(sys.argv[1])), {Part.KUBERNETES})"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, str(home.root)])
    eventually((home.run / "kube-apiserver.json").exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert _down(home) == 2
    assert _processes_of(home) == []


def test_a_program_that_fails_says_why_and_what_was_started_is_stopped(home: Home) -> None:
    start(home, STORES)
    _down(home)
    (home.postgres / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(LocalClusterError, match=r"(?s)postgres ended.*no_such_setting"):
        start(home, STORES)
    assert _processes_of(home) == []
    assert cluster.status(home) == []


def test_a_process_that_ignores_its_stop_signal_is_killed(home: Home) -> None:
    home.run.mkdir()
    spec = process.ProcessSpec(
        name="stubborn",
        order=1,
        argv=["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"],
        environment={},
        log=str(home.root / "log"),
        stop_timeout_s=0.2,
    )
    record = process.start(home.run, spec)
    eventually(lambda: "deaf" in Path(spec.log).read_text())
    began_s = time.monotonic()
    assert _down(home) == 1
    assert not record.is_running
    assert time.monotonic() - began_s < spec.stop_timeout_s + process.KILL_TIMEOUT_S


def test_secrets_are_no_arguments_and_no_file_of_others(home: Home) -> None:
    started = start(home, STORES)
    password = started.connection.nats_url.partition("reader:")[2].partition("@")[0]
    assert password
    assert not any(password in line for line in _processes_of(home))
    holders = [path for path in _files(home.root) if password.encode() in path.read_bytes()]
    assert {path.name for path in holders} == {"passwords.json", "nats.conf", "connection.json"}
    assert {path.stat().st_mode & 0o077 for path in holders} == {0}


def _files(root: Path) -> list[Path]:
    return [
        Path(directory) / name
        for directory, _, names in os.walk(root)
        for name in names
        if "postgres" not in directory
    ]
