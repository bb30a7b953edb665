"""`hcs agent` as a process on a real bus, for tests."""

import asyncio
import contextlib
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.envelope import Envelope, decode_envelope, decode_fact
from hcs_bus.events import Fact
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from tests.support.simulated import CHECKOUT, environment

START = StreamSeq(0)
COMMAND = "from hcs_edge.cli.main import main; main()"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AgentProcess:
    """A running `hcs agent`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def get(self, path: str) -> str:
        """Return a page of its web server."""
        return await asyncio.to_thread(self._get, path)

    async def until_ready(self) -> None:
        """Wait for `/readyz`."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    await self.get("/readyz")
                    return
                await asyncio.sleep(0.05)

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


class AgentStarter:
    """Starts agents on one bus, with the same spool each time."""

    def __init__(self, libraries: Path, nats_url: str, directory: Path) -> None:
        self._libraries = libraries
        self._nats_url = nats_url
        self._directory = directory

    @contextlib.asynccontextmanager
    async def __call__(self, file: ScenarioFile, *options: str) -> AsyncIterator[AgentProcess]:
        """Run an agent on a simulated node for the length of the block."""
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "agent", "--node", "mixed-0"),
            *("--spool", str(self._directory / "spool")),
            *("--socket", str(self._directory / "q.sock")),
            *("--listen", f"127.0.0.1:{port}", "--heartbeat-interval-s", "0.2", *options),
            cwd=CHECKOUT,
            env=environment(self._libraries, file.path) | {"HCS_NATS_URL": self._nats_url},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield AgentProcess(process, port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def read_until(
    bus: JetStreamBus, wanted: Callable[[Fact], bool], after: StreamSeq = START
) -> tuple[list[tuple[Envelope, Fact]], StreamSeq]:
    """Return what is on the bus behind `after`, up to the first wanted fact, and its position."""
    follower = await bus.follow(FACTS_STREAM, after=after)
    seen: list[tuple[Envelope, Fact]] = []
    async with asyncio.timeout(30):
        while not seen or not wanted(seen[-1][1]):
            for record in await follower.fetch(limit=1, timeout_s=1):
                after = record.seq
                envelope = decode_envelope(record.payload)
                seen.append((envelope, decode_fact(envelope)))
    await follower.close()
    return seen, after
