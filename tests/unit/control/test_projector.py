"""The projector over the twins: what it commits, what it publishes, what it survives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from hcs_bus.envelope import Message, decode_decision, decode_envelope
from hcs_bus.errors import LogGapError
from hcs_bus.events import Isolate
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import load_policy
from hcs_control.projector import Projector
from hcs_control.rows import Health
from hcs_control.store.memory import MemoryStore
from hcs_control.store.port import Batch, StoreUnavailableError
from tests.support.facts import device, fault, fingerprint, heartbeat, message

D0 = DeviceId("d0")


class World:
    """A bus, a store and a projector between them."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.store = MemoryStore()
        self.registry = CollectorRegistry()
        self.projector = self.new_projector()

    def new_projector(self) -> Projector:
        """Return another projector on the same store."""
        self.registry = CollectorRegistry()
        return Projector(
            store=self.store,
            bus=self.bus,
            policy=load_policy(),
            metrics=ProjectorMetrics(self.registry),
        )

    def count(self, name: str) -> float:
        """Return a metric."""
        return self.registry.get_sample_value(f"hcs_projector_{name}_total") or 0.0

    @asynccontextmanager
    async def projecting(self) -> AsyncIterator[None]:
        """Run the projector's main loop while the block runs."""
        task = asyncio.create_task(self.projector.project_until_interrupted())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def reach(self, seq: int) -> None:
        """Wait until the store has committed up to a position."""
        async with asyncio.timeout(10):
            while self.store.position < seq:
                await asyncio.sleep(0.001)


@pytest.fixture
def world() -> World:
    """Return an empty world."""
    return World()


async def test_facts_become_rows_and_decisions_and_a_position(world: World) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    async with world.projecting():
        await world.reach(2)
    loaded = await world.store.load()
    assert loaded.fleet.devices[D0].health is Health.ISOLATED
    assert len(world.store.outbox) == 1


async def test_the_outbox_is_published_once(world: World) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    async with world.projecting():
        await world.reach(2)
    assert not await world.projector.outbox.publish_once()
    assert not await world.projector.outbox.publish_once()
    follower = await world.bus.follow(DECISIONS_STREAM, after=StreamSeq(0))
    [record] = await follower.fetch(limit=10, timeout_s=0.1)
    decision = decode_decision(decode_envelope(record.payload))
    assert isinstance(decision, Isolate) and decision.device_id == "d0"


async def test_a_decision_whose_mark_was_lost_is_not_stored_twice(world: World) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    async with world.projecting():
        await world.reach(2)
    await world.projector.outbox.publish_once()
    world.store.published.clear()  # as after a kill between publishing and marking
    await world.projector.outbox.publish_once()
    assert (await world.bus.stream_state(DECISIONS_STREAM)).last_seq == 1


async def test_what_cannot_be_folded_is_parked_with_its_reason(world: World) -> None:
    good = message(fingerprint(device("d0")))
    broken = Message(subject=good.subject, id="x/1", payload=b"{not json")
    foreign = message(heartbeat(), node=NodeName("gpu-9"))
    forged = Message(subject="hcs.fact.heartbeat.gpu-0", id="x/2", payload=foreign.payload)
    await world.bus.publish_many([broken, forged, good])
    async with world.projecting():
        await world.reach(3)
    assert [event.stream_seq for event in world.store.parked] == [1, 2]
    assert "envelope" in world.store.parked[0].reason
    assert "'gpu-9' was published under the subject of 'gpu-0'" in world.store.parked[1].reason
    assert world.store.parked[0].payload == b"{not json"
    assert world.count("parked") == 2
    assert D0 in (await world.store.load()).fleet.devices


async def test_an_unknown_kind_is_skipped_and_counted(world: World) -> None:
    known = message(heartbeat())
    unknown = Message(
        subject="hcs.fact.pulse.gpu-0",
        id="x/1",
        payload=known.payload.replace(b"fact.heartbeat.v1", b"fact.pulse.v1"),
    )
    await world.bus.publish_many([unknown, known])
    async with world.projecting():
        await world.reach(2)
    assert world.store.parked == []
    assert world.count("unknown") == 1


async def test_it_goes_on_behind_the_position_of_its_predecessor(world: World) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0")))])
    async with world.projecting():
        await world.reach(1)
    world.projector = world.new_projector()
    await world.bus.publish_many([message(fault("d0"))])
    async with world.projecting():
        await world.reach(2)
    assert world.registry.get_sample_value(
        "hcs_projector_events_total", {"kind": "fingerprint"}
    ) in (None, 0.0)
    assert (await world.store.load()).fleet.devices[D0].health is Health.ISOLATED


async def test_of_two_projectors_one_commits_and_the_other_loads_again(world: World) -> None:
    other = world.new_projector()
    running = [asyncio.create_task(projector.run()) for projector in (world.projector, other)]
    await world.bus.publish_many([message(fingerprint(device("d0")))])
    for n in range(20):
        await world.bus.publish_many([message(heartbeat(at_ns=n))])
        await asyncio.sleep(0)
    await world.reach(21)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    row = (await world.store.load()).fleet.nodes[NodeName("gpu-0")]
    assert row.heartbeat_at_ns == 19
    assert world.count("fenced") > 0


@pytest.mark.parametrize("first_kept", [4, 11])
async def test_facts_missing_behind_the_position_stop_it_loudly(
    world: World, first_kept: int
) -> None:
    await world.bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
    await world.bus.truncate(FACTS_STREAM, before=StreamSeq(first_kept))
    with pytest.raises(LogGapError, match=f"begins at {first_kept}"):
        await world.projector.project_until_interrupted()


async def test_a_fact_missing_in_between_stops_it_loudly(world: World) -> None:
    await world.bus.publish_many([message(heartbeat(at_ns=n)) for n in range(3)])
    del world.bus._streams[FACTS_STREAM].records[1]
    with pytest.raises(LogGapError, match="jumps from 1 to 3"):
        async with asyncio.timeout(5):
            await world.projector.project_until_interrupted()


async def test_a_stream_that_is_not_the_projected_one_stops_it(world: World) -> None:
    world.store.position = StreamSeq(7)
    with pytest.raises(LogGapError, match="ends at 0"):
        await world.projector.project_until_interrupted()


class FailingStore(MemoryStore):
    """Commits, but says once that it does not know."""

    failures = 1

    async def commit(self, batch: Batch) -> None:
        """Write, then fail: the connection broke before the answer."""
        await super().commit(batch)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("connection lost after the commit")


async def test_a_commit_with_an_unknown_outcome_is_not_repeated(world: World) -> None:
    world.store = FailingStore()
    world.projector = world.new_projector()
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    running = asyncio.create_task(world.projector.run())
    await world.reach(2)
    await world.bus.publish_many([message(fault("d0", "48"))])
    await world.reach(3)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    isolation = (await world.store.load()).fleet.isolations[D0]
    assert isolation.active_codes == ("48", "79")
    assert len(world.store.outbox) == 1


async def test_a_decision_in_the_stream_is_not_sent_again_however_long_ago_that_was(
    world: World,
) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    async with world.projecting():
        await world.reach(2)
    [decision] = await world.store.unpublished(10)
    # Published by a projector that died before it could mark it; the server has forgotten the id.
    again = Message(
        subject=decision.message.subject, id="forgotten", payload=decision.message.payload
    )
    await world.bus.publish_many([again])
    await world.projector.outbox.publish_once()
    assert world.store.published == {decision.message.id: 1}
    assert (await world.bus.stream_state(DECISIONS_STREAM)).last_seq == 1


async def test_a_refused_event_leaves_no_number_missing(world: World) -> None:
    await world.bus.publish_many(
        [
            message(fingerprint(device("d0")), event_id="gpu-0/boot/1"),
            message(fault("d7"), event_id="gpu-0/boot/2"),  # no such card
            message(heartbeat(), event_id="gpu-0/boot/3"),
        ]
    )
    async with world.projecting():
        await world.reach(3)
    assert len(world.store.parked) == 1
    [source] = (await world.store.load()).fleet.sources.values()
    assert (source.last_n, source.missing) == (3, ())
