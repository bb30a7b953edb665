"""`hcs agent` as a process on a real bus: killed, restarted, ended, and beside a second one."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.envelope import Envelope
from hcs_bus.events import Fact, Fault, FaultState, Fingerprint, Heartbeat
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from tests.support.agent_process import COMMAND, AgentStarter, read_until
from tests.support.backend import Backend
from tests.support.simulated import CHECKOUT, environment

MakeNode = Callable[[str], ScenarioFile]


@pytest.fixture
def start(libraries: Path, backend: Backend, tmp_path: Path) -> AgentStarter:
    """Return what starts an agent on a node, with the same spool each time."""
    return AgentStarter(libraries, backend.nats_url, tmp_path)


async def test_a_killed_agent_loses_no_fault_and_repeats_no_id(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
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
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
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
    start: AgentStarter, node_of: MakeNode
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


async def refused(backend: Backend, directory: Path, *, spool: Path, listen: str) -> str:
    """Start an agent that ends because it was told something wrong; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "agent", "--node", "n", "--listen", listen),
        *("--spool", str(spool), "--socket", str(directory / "another.sock")),
        cwd=CHECKOUT,
        env=environment(directory, None) | {"HCS_NATS_URL": backend.nats_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    return errors.decode()


async def test_a_port_in_use_is_a_clear_error(backend: Backend, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        errors = await refused(backend, tmp_path, spool=tmp_path / "spool", listen=listen)
    assert listen in errors


async def test_a_second_agent_on_a_spool_is_refused_and_the_first_goes_on(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode, backend: Backend, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    async with start(node_of("mixed-0")) as agent:
        await agent.until_ready()
        errors = await refused(backend, tmp_path, spool=spool, listen="127.0.0.1:0")
        said = f"hcs: spool {spool} belongs to an agent that runs: each agent needs its own"
        assert errors.splitlines()[-1] == said
        assert "Traceback" not in errors
        after = (await bus.stream_state(FACTS_STREAM)).last_seq
        await read_until(bus, lambda fact: isinstance(fact, Heartbeat), after)
