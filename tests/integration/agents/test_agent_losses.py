"""What an agent says of facts that it could not keep: in its metrics, and in its heartbeat."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from hcs_agents import agent as agent_module
from hcs_agents.agent import Agent, AgentSettings
from hcs_bus.envelope import Message, decode_envelope, decode_fact
from hcs_bus.errors import TransientError
from hcs_bus.events import Fault, Heartbeat
from hcs_bus.memory import MemoryBus
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import PublishRefused, PublishResult
from hcs_bus.spool import Spool
from hcs_bus.subjects import FACTS_STREAM
from tests.support.detectors import ScriptedDetector, ThreadWorkers, fingerprint_of
from tests.support.facts import fault, quota

SPOOL_ENTRIES_MAX = 3
FIRST_WORDS = 2  # the heartbeat and the fingerprint that every agent begins with


class RefusingBus(MemoryBus):
    """Refuses faults for ever, as a bus does whose limit they exceed."""

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store the others."""
        results: list[PublishResult] = []
        for message in messages:
            if isinstance(decode_fact(decode_envelope(message.payload)), Fault):
                results.append(PublishRefused(reason="message size exceeds maximum allowed"))
            else:
                results += await super().publish_many([message])
        return results


@pytest.fixture(autouse=True)
def tiny_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give agents a spool that is soon full."""
    monkeypatch.setattr(agent_module, "Spool", partial(Spool, entries_max=SPOOL_ENTRIES_MAX))


@contextlib.asynccontextmanager
async def running(
    directory: Path, bus: MemoryBus | None = None, *, heartbeat_interval_s: float = 3600.0
) -> AsyncIterator[Agent]:
    """Run an agent with one card for the length of the block; without a bus, that is away."""

    async def connect() -> MemoryBus:
        if bus is None:
            raise TransientError("no bus")
        return bus

    detector = ScriptedDetector()
    detector.cards = (fingerprint_of(0),)
    settings = AgentSettings(
        node=NodeName("node-1"),
        version="1.2.3",
        spool=directory / "spool",
        socket=directory / "quota.sock",
        scan_interval_s=0.02,
        heartbeat_interval_s=heartbeat_interval_s,
    )
    one = Agent(settings, ThreadWorkers([detector]), connect=connect)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(one.run())
        try:
            yield one
        finally:
            task.cancel()


def shown(one: Agent, name: str, **labels: str) -> float | None:
    """Return a figure of the metrics."""
    return one.registry.get_sample_value(f"hcs_agent_{name}", labels)


async def until_shown(one: Agent, name: str, value: float) -> None:
    """Wait for a figure of the metrics."""
    async with asyncio.timeout(20):
        while shown(one, name) != value:
            await asyncio.sleep(0.02)


async def lose_two(one: Agent) -> None:
    """Fill the spool of an agent whose bus is away; one old and one new fact are lost by that."""
    await until_shown(one, "spooled_facts", FIRST_WORDS)
    for code in ("48", "79", "94"):  # one finds room, one takes the heartbeat's, and one waits
        one.publish(fault("card-0", code))
    one.publish(quota("card-0", pod="pod-1"))


async def test_what_a_full_spool_gives_up_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        assert shown(one, "dropped_facts_total") == 0
        await lose_two(one)
        assert shown(one, "spooled_facts") == SPOOL_ENTRIES_MAX
        assert shown(one, "waiting_facts") == 1
        assert shown(one, "unkept_facts_total", kind="quota") == 1
        assert shown(one, "dropped_facts_total") == 2


async def test_what_the_bus_refuses_for_ever_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path, RefusingBus()) as one:
        await until_shown(one, "spooled_facts", 0)
        one.publish(fault("card-0"))
        await until_shown(one, "spooled_facts", 0)
        assert shown(one, "dropped_facts_total") == 1


async def test_the_heartbeat_tells_of_all_losses_and_the_metrics_of_this_agents(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as one:
        await lose_two(one)
    kept_on_disk = 1  # of the two: the spool counts what it gives up, the process the other
    bus = MemoryBus()
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    async with running(tmp_path, bus, heartbeat_interval_s=0.05) as one, asyncio.timeout(20):
        heartbeat = None
        while heartbeat is None:  # the first ones find no room
            for record in await follower.fetch(limit=1, timeout_s=1):
                fact = decode_fact(decode_envelope(record.payload))
                heartbeat = fact if isinstance(fact, Heartbeat) else None
        assert heartbeat.dropped > kept_on_disk
        assert shown(one, "dropped_facts_total") == heartbeat.dropped - kept_on_disk


async def test_the_metrics_can_be_read_when_the_agent_has_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await lose_two(one)
    assert shown(one, "dropped_facts_total") == 2
