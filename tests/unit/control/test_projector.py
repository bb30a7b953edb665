"""The projector over the twins: what it commits, what it publishes, what it survives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from hcs_bus.envelope import Message, decode_decision, decode_envelope, encode_fact
from hcs_bus.errors import LogGapError
from hcs_bus.events import (
    AllocationState,
    Fact,
    Isolate,
    Operator,
    OperatorVerb,
    PolicyDocument,
)
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_bus.port import Record
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import load_policy
from hcs_control.projector import PARKED_PAYLOAD_BYTES_MAX, Projector
from hcs_control.replay import compare, refused_in, replay
from hcs_control.rows import Health, NodeRow
from hcs_control.store.memory import MemoryStore
from hcs_control.store.port import (
    Batch,
    FencedError,
    Loaded,
    StoreRefusedError,
    StoreUnavailableError,
)
from tests.support.facts import (
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    heartbeat,
    message,
)
from tests.support.store_contract import ignore

D0 = DeviceId("d0")
HOUR_NS = 3_600 * SECOND


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


def smuggled(fact: Fact, n: int) -> Message:
    """Return a fact under all that the agent of `gpu-0` may say: its own heartbeat's subject."""
    subject = "hcs.fact.heartbeat.gpu-0"
    sent = encode_fact(
        fact, node=NodeName("gpu-0"), event_id=f"gpu-0/x/{n}", source="/hcs/agent/gpu-0"
    )
    payload = sent.payload.replace(sent.subject.encode(), subject.encode())
    return Message(subject=subject, id=sent.id, payload=payload)


async def test_whoever_may_send_heartbeats_may_say_nothing_else(world: World) -> None:
    other = NodeName("gpu-1")
    release = Operator(
        at_ns=START_NS,
        verb=OperatorVerb.RELEASE,
        node=other,
        device_id=DeviceId("e0"),
        who="nobody",
        why="to be believed",
    )
    lax = PolicyDocument(
        at_ns=START_NS, version="lax", document='version = "lax"\nrule = []', who="nobody", why="x"
    )
    grant = allocation(AllocationState.RESERVED, ("e1", 80, 1), pod="ghost", node=other)
    await world.bus.publish_many(
        [
            message(fingerprint(device("e0"), device("e1", index=1)), node=other),
            message(fault("e0"), node=other),
            smuggled(release, 1),
            smuggled(grant, 2),
            smuggled(lax, 3),
        ]
    )
    async with world.projecting():
        await world.reach(5)
    fleet = (await world.store.load()).fleet
    assert list(fleet.isolations) == [DeviceId("e0")]
    assert not fleet.allocations and fleet.policy is None
    assert [event.stream_seq for event in world.store.parked] == [3, 4, 5]


async def test_what_is_parked_can_be_stored_and_is_no_longer_than_its_use(world: World) -> None:
    large = b"{" * (PARKED_PAYLOAD_BYTES_MAX + 1)
    strange = "hcs.fact.fault.gpu-0.\0\udcff中"
    await world.bus.publish_many(
        [
            Message(subject=strange, id="x/1", payload=b"{}"),
            Message(subject="hcs.fact.fault.gpu-0.fatal", id="x/2", payload=large),
            Message(subject=f"hcs.fact.{'k' * 4_000}.gpu-0", id="x/3", payload=b"{}"),
            Message(
                subject=strange,
                id="x/4",
                payload=message(heartbeat()).payload.replace(b"hcs.fact.heartbeat.gpu-0", b"?"),
            ),
        ]
    )
    async with world.projecting():
        await world.reach(4)
    first, second, third, fourth = world.store.parked
    assert first.subject == fourth.subject == "hcs.fact.fault.gpu-0.\\x00\\udcff中"
    assert len(second.payload) == PARKED_PAYLOAD_BYTES_MAX
    assert second.reason.endswith(f"(kept are {len(second.payload)} of its {len(large)} bytes)")
    assert len(third.subject) == 1_001
    for event in world.store.parked:
        assert "\0" not in event.subject + event.reason
        assert (event.subject + event.reason).encode()
        assert len(event.reason) < 1_100


async def test_an_unknown_kind_is_skipped_and_counted(world: World) -> None:
    known = message(heartbeat())
    unknown = Message(
        subject="hcs.fact.pulse.gpu-0",
        id="x/1",
        payload=known.payload.replace(b"fact.heartbeat.", b"fact.pulse."),
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


class StrictStore(MemoryStore):
    """Refuses heartbeats of one moment, as a table does whose rule the fold does not know."""

    loads = 0

    async def load(self) -> Loaded:
        """Load, and count."""
        self.loads += 1
        return await super().load()

    async def commit(self, batch: Batch) -> None:
        """Refuse as a whole, or write."""
        for row in batch.changes.values():
            if isinstance(row, NodeRow) and row.heartbeat_at_ns == 13:
                raise StoreRefusedError('new row violates check constraint "unlucky"')
        await super().commit(batch)


async def test_an_event_that_the_store_refuses_is_parked_and_the_others_go_on(
    world: World,
) -> None:
    store = world.store = StrictStore()
    world.projector = world.new_projector()
    await world.bus.publish_many(
        [
            message(fingerprint(device("d0"))),
            message(heartbeat(at_ns=13), node=NodeName("gpu-1")),
            message(fault("d0")),
            message(heartbeat(at_ns=13), node=NodeName("gpu-2")),
            message(heartbeat(at_ns=14)),
            message(heartbeat(at_ns=15), node=NodeName("gpu-1")),  # behind a number that is missing
        ]
    )
    running = asyncio.create_task(world.projector.run())
    await world.reach(6)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    reason = 'refused by the store: new row violates check constraint "unlucky"'
    assert [(each.stream_seq, each.reason) for each in store.parked] == [(2, reason), (4, reason)]
    fleet = (await store.load()).fleet
    assert list(fleet.nodes) == [NodeName("gpu-0"), NodeName("gpu-1")]
    assert fleet.nodes[NodeName("gpu-0")].heartbeat_at_ns == 14
    assert fleet.devices[D0].health is Health.ISOLATED
    assert len(store.outbox) == 1
    held = await store.contents()
    replayed = await replay(
        world.bus, load_policy(), held.position, progress=ignore, refused=refused_in(held)
    )
    assert compare(held, replayed).differing == 0


async def test_a_decision_of_a_projector_that_died_is_published_by_the_one_that_loads(
    world: World,
) -> None:
    await world.bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    loops = (world.projector._project(), world.projector.outbox.run())  # without ticks
    running = asyncio.gather(*loops)
    await world.reach(2)
    async with asyncio.timeout(10):
        while len(world.store.published) < 1:
            await asyncio.sleep(0.001)
    # Another one commits an isolation, and dies before it publishes it.
    other = world.new_projector()
    loaded = await world.store.load()
    other.position = loaded.position
    facts = message(fingerprint(device("d0"), device("d1", index=1))), message(fault("d1"))
    records = [
        Record(seq=StreamSeq(seq), subject=sent.subject, payload=sent.payload)
        for seq, sent in enumerate(facts, start=loaded.position + 1)
    ]
    await other._project_batch(loaded.fleet, records)
    await world.bus.publish_many(facts)  # the first one's commit is fenced
    async with asyncio.timeout(10):
        while len(world.store.published) < 2:
            await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_clock_that_is_set_is_said_and_counted_once_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_ns = [n * SECOND for n in range(6)]
    ahead_ns = [0, 0, HOUR_NS, HOUR_NS, 0, 0]  # somebody sets it an hour ahead, and back
    readings = [
        START_NS + passed + ahead for passed, ahead in zip(passed_ns, ahead_ns, strict=True)
    ]
    clock, monotonic = iter(readings), iter(passed_ns)
    world.registry = CollectorRegistry()
    projector = Projector(
        store=world.store,
        bus=world.bus,
        policy=load_policy(),
        metrics=ProjectorMetrics(world.registry),
        clock_ns=lambda: next(clock),
        monotonic_ns=lambda: next(monotonic),
    )
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    with capture_logs() as said, pytest.raises(RuntimeError, match="StopIteration"):
        await projector._tick()
    warnings = [one for one in said if one["event"] == "clock_stepped"]
    assert [(one["log_level"], one["step_s"]) for one in warnings] == [
        ("warning", 3_600.0),
        ("warning", -3_600.0),
    ]
    assert world.count("clock_steps") == 2
    assert (await world.bus.stream_state(FACTS_STREAM)).last_seq == len(readings)


class RacedStore(StrictStore):
    """Another projector is always faster."""

    async def commit(self, batch: Batch) -> None:
        """Refuse."""
        raise FencedError(f"position is {batch.position_to}, not {batch.position_from}")


async def test_a_projector_that_is_fenced_again_and_again_loads_less_and_less(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.store = RacedStore()
    world.projector = world.new_projector()
    await world.bus.publish_many([message(heartbeat())])
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(delay_s: float) -> None:
        if delay_s != 1.0:  # the tick's
            slept.append(delay_s)
            assert store.loads == len(slept)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    projecting = asyncio.create_task(world.projector._project())
    while len(slept) < 9:
        await sleep(0.001)
    projecting.cancel()
    await asyncio.gather(projecting, return_exceptions=True)
    assert slept[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert world.count("fenced") >= 9
