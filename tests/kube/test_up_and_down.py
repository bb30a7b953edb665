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

from hcs_bus import jetstream
from hcs_bus.subjects import FACTS_STREAM, FACTS_SUBJECTS
from hcs_edge.local import cluster, ports, process, unprivileged
from hcs_edge.local.cluster import Part
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.home import Home
from hcs_edge.local.launcher import Stage
from hcs_edge.local.process import ProcessRecord, ProcessSpec
from tests.support.backend import SilentProgress, free_port_base
from tests.support.facts import heartbeat, message
from tests.support.local_cluster import LocalCluster, eventually, start, temporary_home

DAC_READ_SEARCH = 1 << 2  # its number in capability.h
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


@pytest.mark.parametrize("name", ["nats", "postgres"])
def test_a_server_is_never_root_and_may_do_no_more_than_pass(home: Home, name: str) -> None:
    started = start(home, STORES)
    owner = unprivileged.account()
    expected_id = os.getuid() if owner is None else owner.user_id
    identity = started.record(name).identity
    assert identity is not None
    status = _status(identity.pid)
    assert status["Uid"].split() == [str(expected_id)] * 4
    assert int(status["CapEff"], 16) & ~DAC_READ_SEARCH == 0
    assert {path.lstat().st_uid for path in _below(home.root / name)} == {expected_id}


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def _below(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


async def _log_one_fact(started: LocalCluster) -> int:
    """Append a fact to the log; return how many it holds."""
    bus = await jetstream.connect(started.nats_url("control"), name="test")
    await bus.ensure_streams()
    await bus.publish_many([message(heartbeat())])
    last = await bus.last_seq(FACTS_STREAM, FACTS_SUBJECTS)
    await bus.close()
    return last


async def test_the_log_of_an_earlier_version_that_ran_as_root_is_taken_over(home: Home) -> None:
    assert await _log_one_fact(start(home, STORES)) == 1
    _down(home)
    for path in _below(home.nats):
        os.chown(path, os.getuid(), os.getgid())
    assert await _log_one_fact(start(home, STORES)) == 2


async def test_the_data_stays_over_down_and_up_until_it_is_purged(home: Home) -> None:
    async def tables(started: LocalCluster) -> list[str]:
        connection = await asyncpg.connect(started.database_url("hcs"))
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        rows = await connection.fetch("SELECT * FROM kept")
        await connection.close()
        return [str(row["n"]) for row in rows]

    async def both(started: LocalCluster) -> tuple[int, int]:
        return len(await tables(started)), await _log_one_fact(started)

    assert await both(start(home, STORES)) == (1, 1)
    _down(home)
    assert await both(start(home, STORES)) == (2, 2)
    _down(home, purge=True)
    assert [path.name for path in home.root.iterdir()] == ["lock"]
    assert await both(start(home, STORES)) == (1, 1)


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


def _start_shell(
    home: Home, name: str, on_stop: str, *, stage: Stage, stop_timeout_s: float = 10.0
) -> ProcessRecord:
    """Start a shell that does something when it is told to stop; its directory is the home's."""
    home.run.mkdir(exist_ok=True)
    spec = ProcessSpec(
        name=name,
        order=stage,
        argv=["/bin/sh", "-c", f"cd {home.root}; trap '{on_stop}' TERM; echo up; {_FOR_EVER}"],
        environment={},
        log=str(home.root / f"{name}.log"),
        stop_timeout_s=stop_timeout_s,
    )
    record = process.start(home.run, spec)
    eventually(lambda: "up" in _log(home, name))
    return record


_FOR_EVER = "while :; do sleep 0.02; done"


def _log(home: Home, name: str) -> str:
    return (home.root / f"{name}.log").read_text()


def test_a_process_that_ignores_its_stop_signal_is_killed(home: Home) -> None:
    record = _start_shell(home, "deaf", "", stage=Stage.CLIENTS, stop_timeout_s=0.2)
    began_s = time.monotonic()
    assert _down(home) == 1
    assert not record.is_running
    assert time.monotonic() - began_s < record.spec.stop_timeout_s + process.KILL_TIMEOUT_S


def test_processes_of_one_stage_are_stopped_at_the_same_time(home: Home) -> None:
    # Each waits for the other to be told: one after the other, the first would never end.
    for name, other in (("one", "two"), ("two", "one")):
        told = f"touch {name}.told; until [ -e {other}.told ]; do sleep 0.02; done; echo bye; exit"
        _start_shell(home, name, told, stage=Stage.CLIENTS)
    assert _down(home) == 2
    assert [_log(home, name) for name in ("one", "two")] == ["up\nbye\n"] * 2


def test_a_server_is_not_told_to_stop_before_its_clients_are_gone(home: Home) -> None:
    # Their names are in the other order, and the client takes its time.
    _start_shell(home, "a-server", "test -e gone && echo last; exit", stage=Stage.SERVERS)
    _start_shell(home, "b-client", "sleep 0.1; touch gone; exit", stage=Stage.CLIENTS)
    _start_shell(home, "c-store", "test -e gone && echo last; exit", stage=Stage.STORE)
    assert _down(home) == 3
    assert [_log(home, name) for name in ("a-server", "c-store")] == ["up\nlast\n"] * 2


def test_who_writes_is_stopped_before_who_is_written_to(local_cluster: LocalCluster) -> None:
    order = {record.spec.name: record.spec.order for record in cluster.status(local_cluster.home)}
    servers = {"nats", "postgres", "kube-apiserver"}
    clients = order.keys() - servers - {"etcd"}
    assert {"projector", "extender", "webhook", "agent-a100-0", "kwok"} <= clients
    assert order["etcd"] < min(order[name] for name in servers)
    assert max(order[name] for name in servers) < min(order[name] for name in clients)


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
