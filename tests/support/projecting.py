"""A projector as a process between a real bus and a real database, as tests of it want it."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from hcs_bus.envelope import Message
from hcs_bus.events import Fact
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import NodeName
from hcs_bus.port import PublishAck
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.store.postgres import PostgresStore
from tests.support.backend import Backend
from tests.support.facts import NODE, fault
from tests.support.facts import message as message_of

HCS = Path(sys.executable).parent / "hcs"
DEADLINE_S = 60.0
POLL_S = 0.05
POLICY = """
version = "test-1"
[[rule]]
name = "nvidia"
vendor = "nvidia"
codes = ["79", "48"]
release_after_s = 2
"""


class World:
    """A bus, a database and a projector between them, as processes."""

    def __init__(
        self, backend: Backend, bus: JetStreamBus, store: PostgresStore, url: str, directory: Path
    ) -> None:
        self.backend = backend
        self.bus = bus
        self.store = store
        self.url = url
        self.projector: subprocess.Popen[bytes] | None = None
        self.policy_path = directory / "policy.toml"
        self._directory = directory
        self._port = 0
        self._numbers = iter(range(1, 1_000_000))

    # --- The projector ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start `hcs projector`; its log is added to."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.policy_path.write_text(POLICY)
        words = [
            "projector",
            "--listen",
            f"127.0.0.1:{self._port}",
            "--policy",
            str(self.policy_path),
        ]
        urls = {"HCS_NATS_URL": self.backend.nats_url, "HCS_DATABASE_URL": self.url}
        with (self._directory / "log").open("ab") as log:
            self.projector = subprocess.Popen([HCS, *words], env=os.environ | urls, stderr=log)

    def end(self) -> None:
        """Stop it, if it runs."""
        if self.projector is not None and self.projector.poll() is None:
            self.projector.terminate()
            self.projector.wait()

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return what it said of one kind of event."""
        lines = (self._directory / "log").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in said if one["event"] == event]

    async def metric(self, name: str) -> float:
        """Return a figure of `/metrics`."""
        page = await asyncio.to_thread(self._get, "/metrics")
        found = re.search(rf"^hcs_projector_{name} (\S+)$", page, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    # --- The bus ----------------------------------------------------------------------------------

    def message(self, fact: Fact, *, number: int | None = None, node: NodeName = NODE) -> Message:
        """Return a fact of a node's agent; its events are numbered one by one unless told."""
        n = next(self._numbers) if number is None else number
        return message_of(fact, node=node, event_id=f"{node}/boot/{n}")

    async def publish(self, *messages: Message) -> None:
        """Publish, and wait until it is folded."""
        results = await self.bus.publish_many(messages)
        assert all(isinstance(result, PublishAck) for result in results)
        await self.folded()

    async def folded(self) -> None:
        """Wait until everything on the bus is folded."""
        end = (await self.bus.stream_state(FACTS_STREAM)).last_seq

        async def reached() -> bool:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return bool(await self.scalar("SELECT stream_seq FROM projection_position") >= end)
            return False

        await until(reached, f"position {end}")

    # --- The tables -------------------------------------------------------------------------------

    async def sql(self, query: str) -> list[dict[str, Any]]:
        """Return rows."""
        connection = await asyncpg.connect(self.url.replace("+asyncpg", ""))
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def scalar(self, query: str) -> Any:
        """Return the only column of the only row."""
        [row] = await self.sql(query)
        [value] = row.values()
        return value

    async def reasons(self) -> list[str]:
        """Return why events were parked."""
        return [row["reason"] for row in await self.sql("SELECT reason FROM parked_event")]

    async def assert_goes_on(self) -> None:
        """A fault that comes now isolates its card."""
        await self.publish(self.message(fault("d1")))
        isolated = "SELECT count(*) FROM isolation WHERE device_id = 'd1' AND released_seq IS NULL"
        assert await self.scalar(isolated) == 1


async def until(is_so: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that will be so."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await is_so():
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}") from None
