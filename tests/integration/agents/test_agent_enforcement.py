"""To the bus and the metrics: who has no quota is told, and who has one, and the end of both."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from hcs_agents.agent import Agent, AgentSettings
from hcs_agents.detectors.port import DeviceProcess
from hcs_bus.envelope import decode_envelope, decode_fact
from hcs_bus.events import Quota
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from tests.support import quota_client
from tests.support.detectors import ScriptedDetector, ThreadWorkers, fingerprint_of

CARD = DeviceId("card-0")
POD_UID = "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"
IN_POD, FOREIGN = 100, 101


@pytest.fixture
def detector() -> ScriptedDetector:
    """Return a detector with one card, on which a Pod and somebody else are."""
    made = ScriptedDetector()
    made.cards = (fingerprint_of(0),)
    made.on_cards = (
        DeviceProcess(device_id=CARD, pid=IN_POD, used_bytes=5),
        DeviceProcess(device_id=CARD, pid=FOREIGN, used_bytes=7),
    )
    return made


@pytest.fixture
def bus() -> MemoryBus:
    """Return an empty bus."""
    return MemoryBus()


@pytest.fixture
async def agent(detector: ScriptedDetector, bus: MemoryBus, tmp_path: Path) -> AsyncIterator[Agent]:
    """Run an agent that is in a hurry, on a node whose /proc has both processes."""
    for pid, group in ((IN_POD, f"/kubepods/pod{POD_UID}/ab"), (FOREIGN, "/user.slice")):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(f"0::{group}\n")

    async def connect() -> MemoryBus:
        return bus

    settings = AgentSettings(
        node=NodeName("node-1"),
        version="1",
        spool=tmp_path / "spool",
        socket=tmp_path / "quota.sock",
        sample_interval_s=0.05,
        grace_s=0.2,
        proc=tmp_path / "proc",
    )
    made = Agent(settings, ThreadWorkers([detector]), connect=connect)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def until_ready(agent: Agent) -> None:
    """Wait for the first fingerprint: the socket is there by then, and the card known."""
    async with asyncio.timeout(20):
        while not agent.ready:
            await asyncio.sleep(0.02)


async def quota_facts(bus: MemoryBus, count: int) -> list[Quota]:
    """Return the first so many facts about usage."""
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    found: list[Quota] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            for record in await follower.fetch(limit=1, timeout_s=1):
                fact = decode_fact(decode_envelope(record.payload))
                found += [fact] if isinstance(fact, Quota) else []
    return found


async def test_the_agent_tells_of_a_pod_without_a_quota_and_of_the_end(
    agent: Agent, detector: ScriptedDetector, bus: MemoryBus
) -> None:
    (begun,) = await quota_facts(bus, 1)
    assert (begun.pod_uid, begun.device_id, begun.container) == (POD_UID, CARD, "")
    assert (begun.processes, begun.used_bytes, begun.enforced) == (1, 5, False)
    shown = generate_latest(agent.registry).decode()
    assert f'hcs_agent_device_foreign_processes{{device_id="{CARD}"}} 1.0' in shown
    assert f'hcs_agent_device_foreign_bytes{{device_id="{CARD}"}} 7.0' in shown
    assert f'hcs_agent_device_unseen_processes{{device_id="{CARD}"}} 0.0' in shown
    of_pod = f'{{container="",device_id="{CARD}",pod_uid="{POD_UID}",vendor="nvidia"}}'
    assert f"hcs_agent_container_enforced{of_pod} 0.0" in shown
    assert f"hcs_agent_container_used_bytes{of_pod} 5.0" in shown
    detector.on_cards = ()  # the list is empty: that is told once more, and no more
    _, ended = await quota_facts(bus, 2)
    assert (ended.processes, ended.used_bytes, ended.enforced) == (0, 0, False)
    assert "foreign_processes{" not in generate_latest(agent.registry).decode()
    assert "hcs_agent_container_enforced{" not in generate_latest(agent.registry).decode()


async def test_a_container_has_series_as_long_as_it_has_processes(
    agent: Agent, detector: ScriptedDetector, tmp_path: Path
) -> None:
    detector.on_cards = ()
    of_container = f'container="{quota_client.CONTAINER}"'

    async def shows(*lines: str) -> None:
        async with asyncio.timeout(20):
            while [line for line in generate_latest(agent.registry).decode().splitlines()
                   if of_container in line] != [*lines]:  # fmt: skip
                await asyncio.sleep(0.02)

    await until_ready(agent)
    with quota_client.connect(tmp_path / "quota.sock") as process:
        process.send(quota_client.hello(devices=(CARD,)))
        process.send(quota_client.usage(7, peak_bytes=9, refusals=1, launches=3))
        whose = f'{of_container},device_id="{CARD}",pod_uid="{POD_UID}",vendor="nvidia"'
        await shows(
            f"hcs_agent_container_quota_bytes{{{whose}}} 1000.0",
            f"hcs_agent_container_used_bytes{{{whose}}} 7.0",
            f"hcs_agent_container_peak_bytes{{{whose}}} 9.0",
            f"hcs_agent_container_enforced{{{whose}}} 1.0",
            f"hcs_agent_container_refusals_total{{{whose}}} 1.0",
            f'hcs_agent_container_launches_total{{{of_container},pod_uid="{POD_UID}"}} 3.0',
        )
    await shows()
