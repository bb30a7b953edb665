"""`hcs agent` as a process on a real bus: killed, restarted, ended, and beside a second one."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.envelope import Envelope, decode_envelope, decode_fact
from hcs_bus.events import Fact, Fault, FaultState, Fingerprint
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from tests.support.backend import Backend
from tests.support.simulated import CHECKOUT, environment

MakeNode = Callable[[str], ScenarioFile]
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


@pytest.fixture
def start(
    libraries: Path, backend: Backend, tmp_path: Path
) -> Callable[[ScenarioFile], contextlib.AbstractAsyncContextManager[AgentProcess]]:
    """Return a function that starts an agent on a node, with the same spool each time."""

    @contextlib.asynccontextmanager
    async def run(file: ScenarioFile) -> AsyncIterator[AgentProcess]:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "agent", "--node", "mixed-0"),
            *("--spool", str(tmp_path / "spool"), "--socket", str(tmp_path / "q.sock")),
            *("--listen", f"127.0.0.1:{port}", "--heartbeat-interval-s", "0.2"),
            cwd=CHECKOUT,
            env=environment(libraries, file.path) | {"HCS_NATS_URL": backend.nats_url},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield AgentProcess(process, port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    return run


Start = Callable[[ScenarioFile], contextlib.AbstractAsyncContextManager[AgentProcess]]


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


async def test_a_killed_agent_loses_no_fault_and_repeats_no_id(
    bus: JetStreamBus, start: Start, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    after = StreamSeq(0)
    everything: list[tuple[Envelope, Fact]] = []
    async with start(file) as agent:
        await agent.until_ready()
        for number, code in ((0, "79"), (2, "80E18402")):
            file.update(partial(operations.raise_fault, number=number, code=code, at_ns=1))
            seen, after = await read_until(bus, lambda fact: isinstance(fact, Fault), after)
            everything += seen
        agent.process.kill()
        await agent.process.wait()
    for number in (0, 2):
        file.update(partial(operations.clear_faults, number=number, code=None, at_ns=2))
    cleared: set[str] = set()
    async with start(file):
        while cleared != {"79", "80E18402"}:
            seen, after = await read_until(
                bus, lambda f: isinstance(f, Fault) and f.state is FaultState.CLEARED, after
            )
            everything += seen
            cleared |= {f.code for _, f in seen if isinstance(f, Fault) and f.state == "cleared"}
    ids = [envelope.id for envelope, _ in everything]
    assert len(set(ids)) == len(ids)
    assert len({one.rsplit("/", 1)[0] for one in ids}) == 1


async def test_both_vendors_are_in_one_fingerprint_and_a_pulled_card_leaves_it(
    bus: JetStreamBus, start: Start, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    async with start(file):
        seen, after = await read_until(bus, lambda fact: isinstance(fact, Fingerprint))
        first = seen[-1][1]
        assert isinstance(first, Fingerprint)
        cards = file.read().devices
        assert [device.device_id for device in first.devices] == [card.id for card in cards]
        file.update(lambda s: operations.pull(s, 3))
        seen, after = await read_until(bus, lambda fact: isinstance(fact, Fingerprint), after)
        second = seen[-1][1]
        assert isinstance(second, Fingerprint)
        assert [d.device_id for d in second.devices] == [card.id for card in cards[:3]]
        file.update(lambda s: operations.plug(s, 3))
        seen, after = await read_until(bus, lambda fact: isinstance(fact, Fingerprint), after)
        third = seen[-1][1]
        assert isinstance(third, Fingerprint)
        assert third.devices == first.devices


@pytest.mark.usefixtures("bus")
async def test_a_signal_ends_it_cleanly_with_json_on_stderr(
    start: Start, node_of: MakeNode
) -> None:
    async with start(node_of("mixed-0")) as agent:
        await agent.until_ready()
        metrics = await agent.get("/metrics")
        assert 'hcs_agent_devices{vendor="huawei"} 2.0' in metrics
        assert 'hcs_agent_detector{state="ok",vendor="nvidia"} 1.0' in metrics
        assert await agent.get("/healthz") == "ok\n"
        agent.process.send_signal(signal.SIGTERM)
        _, errors = await agent.process.communicate()
    assert agent.process.returncode == 0
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert [line["event"] for line in lines][-2:] == ["agent_ends", "ended"]


async def test_a_port_in_use_is_a_clear_error(backend: Backend, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "agent", "--node", "n", "--listen", listen),
            *("--spool", str(tmp_path / "spool"), "--socket", str(tmp_path / "q.sock")),
            cwd=CHECKOUT,
            env=environment(tmp_path, None) | {"HCS_NATS_URL": backend.nats_url},
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert listen in errors.decode()
