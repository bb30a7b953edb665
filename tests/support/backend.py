"""A nats-server and a PostgreSQL for tests: started as `hcs up` starts them, or in containers.

Both kinds have the same programs, configuration, users and ports, and can be killed and restarted.
"""

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg
import nats
from nats.js.api import StreamConfig

from hcs_bus import jetstream
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_edge.local import cluster, passwords, ports, postgres, process
from hcs_edge.local import nats as nats_server
from hcs_edge.local.cluster import Cluster, Part
from hcs_edge.local.home import Home
from hcs_edge.local.pki import Pki
from hcs_edge.local.settings import Settings
from tests.support.containers import Containers

WHEELS, CONTAINERS = "wheels", "containers"
KINDS = (WHEELS, CONTAINERS)
PARTS = frozenset({Part.NATS, Part.POSTGRES})
PORTS_NEEDED = 40  # the block that a cluster plans, whatever parts it starts
KEPT_STREAM = "KEPT"
STREAMS_TIMEOUT_S = 30.0


class SilentProgress:
    """Nobody watches."""

    def started(self, what: str) -> None:
        """Say nothing."""

    def finished(self, what: str, duration_s: float) -> None:
        """Say nothing."""


class Servers(Protocol):
    """How to hurt the servers: by their names, `nats` and `postgres`."""

    def kill(self, name: str) -> None:
        """`kill -9` a server and wait until it is gone."""

    def restart(self, name: str) -> None:
        """Start a killed server again, with the command, the port and the data it had."""

    def stop(self) -> None:
        """Stop both."""


@dataclass(frozen=True)
class Processes:
    """Servers that run as `hcs up` runs them."""

    home: Home

    def kill(self, name: str) -> None:
        """See `Servers`."""
        record = process.load(self.home.run, name)
        assert record is not None and record.identity is not None
        os.kill(record.identity.pid, signal.SIGKILL)
        # Reaped too: PostgreSQL takes a zombie that its lock file names for a living server.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(record.identity.pid, 0)
        while process.is_running(record.identity):
            pass

    def restart(self, name: str) -> None:
        """See `Servers`."""
        record = process.load(self.home.run, name)
        assert record is not None
        process.start(self.home.run, record.spec)

    def stop(self) -> None:
        """See `Servers`."""
        cluster.down(self.home, SilentProgress())


@dataclass(frozen=True)
class Backend:
    """Both servers, and how to reach and to hurt them."""

    servers: Servers
    ports: dict[str, int]
    passwords: dict[str, str]

    @property
    def nats_url(self) -> str:
        """URL of the user that may do everything."""
        return f"nats://control:{self.passwords['control']}@127.0.0.1:{self.ports['nats']}"

    def database_url(self, database: str, *, scheme: str = "postgresql+asyncpg") -> str:
        """URL of the owner."""
        return self._url(scheme, "hcs", database)

    def _url(self, scheme: str, user: str, database: str) -> str:
        address = f"127.0.0.1:{self.ports['postgres']}"
        return f"{scheme}://{user}:{self.passwords[user]}@{address}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Create a database that the owner owns."""

        async def create() -> None:
            connection = await asyncpg.connect(self._url("postgresql", "postgres", "postgres"))
            await connection.execute(f"CREATE DATABASE {name} OWNER hcs TEMPLATE {template}")
            await connection.close()

        # A loop of its own: session fixtures run outside of any test's loop.
        asyncio.run(create())

    async def connect_bus(self) -> JetStreamBus:
        """Connect as the user that may do everything."""
        return await jetstream.connect(self.nats_url, name="test")

    def keep_a_stream(self) -> None:
        """Make a stream that stays when a test's are deleted.

        A server whose last stream was deleted removes the directory of all streams a moment later,
        from under the one that is made next ("error creating store for stream").
        """

        async def keep() -> None:
            client = await nats.connect(self.nats_url)
            kept = StreamConfig(name=KEPT_STREAM, subjects=["kept"], max_bytes=1)
            await client.jetstream().add_stream(kept)
            await client.close()

        asyncio.run(keep())

    async def make_streams(self, bus: JetStreamBus) -> None:
        """Make both streams, empty.

        A server removes what it deleted in the background. If it has not got to that when the next
        stream of the name is deleted, this one's messages stay, and are there when it is made anew.
        """
        async with asyncio.timeout(STREAMS_TIMEOUT_S):
            await bus.ensure_streams()
            while not await self._are_empty(bus):
                await self.delete_streams()
                await bus.ensure_streams()

    async def _are_empty(self, bus: JetStreamBus) -> bool:
        states = [await bus.stream_state(stream) for stream in (FACTS_STREAM, DECISIONS_STREAM)]
        return all(state.last_seq == 0 for state in states)

    async def delete_streams(self) -> None:
        """Leave an empty server for the next test."""
        client = await nats.connect(self.nats_url)
        for stream in (FACTS_STREAM, DECISIONS_STREAM):
            await client.jetstream().delete_stream(stream)
        await client.close()

    async def purge_facts(self, *, keep: int) -> None:
        """Drop all but the newest facts, as a server at its storage limit does."""
        client = await nats.connect(self.nats_url)
        await client.jetstream().purge_stream(FACTS_STREAM, keep=keep)
        await client.close()

    def kill(self, name: str) -> None:
        """`kill -9` a server."""
        self.servers.kill(name)

    def restart(self, name: str) -> None:
        """Start a killed server again."""
        self.servers.restart(name)


def free_port_base(count: int = PORTS_NEEDED) -> int:
    """Return the first of `count` neighbouring ports that nobody uses now."""
    for base in range(20_000 + os.getpid() % 200 * 50, 60_000, count):
        if all(_is_free(base + offset) for offset in range(count)):
            return base
    raise AssertionError("no free block of ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_backend(root: Path, kind: str = WHEELS) -> Backend:
    """Start both servers below `root`, the way one of `KINDS` does it."""
    backend = _start_backend(root, kind)
    backend.keep_a_stream()
    return backend


def _start_backend(root: Path, kind: str) -> Backend:
    home = Home(root)
    if kind == WHEELS:
        wanted = Cluster(home=home, fleet=(), port_base=free_port_base(), parts=PARTS)
        made = cluster.up(wanted, SilentProgress())
        return Backend(Processes(home), made.ports, passwords.ensure(home, ()))
    settings = Settings(
        home=home,
        ports=ports.plan(free_port_base(), ()),
        passwords=passwords.ensure(home, (*nats_server.SERVICES, *postgres.USERS)),
        pki=Pki(home.pki),
        nodes=(),
    )
    return Backend(Containers(settings), settings.ports, settings.passwords)


def stop_backend(backend: Backend) -> None:
    """Stop both servers."""
    backend.servers.stop()
