"""A whole cluster for tests, started as `hcs up` starts it, in a directory and ports of its own."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hcs_edge.cli.local import simulated_fleet
from hcs_edge.local import cluster, control_plane, nats, passwords, process
from hcs_edge.local.cluster import ALL, Cluster, Part
from hcs_edge.local.connection import Connection
from hcs_edge.local.home import Home
from hcs_edge.local.process import ProcessIdentity, ProcessRecord
from tests.support.backend import SilentProgress, free_port_base

DEADLINE_S = 20.0
POLL_S = 0.05


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster, and how to reach and to hurt it."""

    home: Home
    connection: Connection

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Run kubectl as the administrator; `text` is its standard input."""
        return control_plane.kubectl(self.home, *arguments, text=text)

    def nats_url(self, user: str) -> str:
        """Return the URL of a user of the bus: `control`, `extender`, `reader`, `agent-<node>`."""
        password = passwords.ensure(self.home, ())[user]
        return f"nats://{user}:{password}@127.0.0.1:{self.connection.ports['nats']}"

    def agent_nats_url(self, node: str) -> str:
        """Return the URL that a node's agent has."""
        return self.nats_url(nats.agent_user(node))

    def database_url(self, user: str, *, scheme: str = "postgresql") -> str:
        """Return the URL of a user of the database: `hcs`, `hcs_read`, `postgres`."""
        password = passwords.ensure(self.home, ())[user]
        port = self.connection.ports["postgres"]
        return f"{scheme}://{user}:{password}@127.0.0.1:{port}/hcs"

    def record(self, name: str) -> ProcessRecord:
        """Return what is known of a process, by its name in `hcs status`."""
        found = process.load(self.home.run, name)
        assert found is not None, f"no process {name!r} was started"
        return found

    def kill(self, name: str) -> None:
        """`kill -9` a process with its children, and wait until it is gone."""
        identity = self.record(name).identity
        assert identity is not None
        kill_group(identity)

    def restart(self, name: str) -> None:
        """Start a killed process again, with the command and environment it had."""
        process.start(self.home.run, self.record(name).spec)


def kill_group(identity: ProcessIdentity) -> None:
    """`kill -9` a process group and wait until nothing of its leader is left, not even a zombie.

    PostgreSQL takes a zombie with the process id in its lock file for a living server.
    """
    os.killpg(identity.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # another test's parent, or init, reaps it
        os.waitpid(identity.pid, 0)
    eventually(lambda: not process.is_running(identity))


def eventually(is_so: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait for something that will be so."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"not so within {deadline_s} s"
        time.sleep(POLL_S)


@contextmanager
def temporary_home() -> Iterator[Home]:
    """Yield an empty `HCS_HOME`; what still runs in it at the end is stopped."""
    # Not pytest's directory: its paths are too long for a unix socket's 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="hcs-"))
    home = Home(root)
    try:
        yield home
    finally:
        cluster.down(home, SilentProgress())
        shutil.rmtree(root)


@contextmanager
def running_cluster(parts: Collection[Part] = ALL) -> Iterator[LocalCluster]:
    """Yield a cluster of these parts, with the fleet that `hcs up` simulates."""
    with temporary_home() as home:
        yield start(home, parts)


def start(home: Home, parts: Collection[Part] = ALL, port_base: int | None = None) -> LocalCluster:
    """Start a cluster in a home."""
    base = free_port_base() if port_base is None else port_base
    wanted = Cluster(home=home, fleet=simulated_fleet(), port_base=base, parts=parts)
    return LocalCluster(home=home, connection=cluster.up(wanted, SilentProgress()))
