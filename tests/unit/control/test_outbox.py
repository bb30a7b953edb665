"""The outbox: each decision is in the stream once, whatever was lost on the way, and none waits."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from hcs_bus.envelope import Message, decode_envelope, encode_decision
from hcs_bus.events import Isolate
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_bus.port import PublishResult
from hcs_bus.subjects import DECISIONS_STREAM
from hcs_control import outbox
from hcs_control.metrics import ProjectorMetrics
from hcs_control.outbox import Outbox
from hcs_control.store.memory import MemoryStore
from hcs_control.store.port import Batch, OutboxDecision, StoreUnavailableError


class ForgetfulBus(MemoryBus):
    """Knows no id for longer than a call, and acknowledges only while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledges = True

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store them, as new ones."""
        results = await super().publish_many(messages)
        self._streams[DECISIONS_STREAM].seq_of_id.clear()
        return results if self.acknowledges else [None] * len(messages)


class FailingStore(MemoryStore):
    """Marks nothing while it is away."""

    away = False

    async def mark_published(self, published: dict[str, StreamSeq]) -> None:
        """Mark, or be away."""
        if self.away:
            raise StoreUnavailableError("away")
        await super().mark_published(published)


class World:
    """A store, a bus and an outbox between them."""

    def __init__(self) -> None:
        self.bus = ForgetfulBus()
        self.store = FailingStore()
        self.outbox = self.new_outbox()

    def new_outbox(self) -> Outbox:
        """Return another process's outbox, of the same store."""
        return Outbox(self.store, self.bus, ProjectorMetrics(CollectorRegistry()))

    async def decide(self, number: int) -> str:
        """Commit a decision, as a projector does, and return its id."""
        decision = Isolate(
            at_ns=number,
            node=NodeName("gpu-0"),
            device_id=DeviceId("d0"),
            code="79",
            rule="r",
            policy_version="v",
            evidence="e",
            fact_seqs=(StreamSeq(number),),
        )
        event_id = f"projector/isolate/d0/{number}"
        sent = encode_decision(decision, event_id=event_id, source="/hcs/projector")
        position = self.store.position
        await self.store.commit(
            Batch(
                position_from=position,
                position_to=StreamSeq(position + 1),
                changes={},
                decisions=[OutboxDecision(fact_seq=StreamSeq(number), message=sent)],
                parked=[],
            )
        )
        return event_id

    async def publish_all(self) -> None:
        """Publish until nothing is left."""
        async with asyncio.timeout(5):
            while await self.outbox.publish_once():
                pass

    async def stored(self) -> list[str]:
        """Return the ids that the stream holds."""
        follower = await self.bus.follow(DECISIONS_STREAM, after=StreamSeq(0))
        records = await follower.fetch(limit=1_000, timeout_s=0.01)
        return [decode_envelope(record.payload).id for record in records]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return an empty world, whose outbox tries again at once."""
    monkeypatch.setattr(outbox, "RETRY_S", 0.0)
    return World()


@pytest.mark.parametrize("kept", [0, 1])
async def test_decisions_leave_though_the_stream_has_lost_its_older_ones(
    world: World, kept: int
) -> None:
    before = [await world.decide(number) for number in (1, 2, 3)]
    await world.publish_all()
    await world.bus.truncate(DECISIONS_STREAM, before=StreamSeq(4 - kept))
    last = await world.decide(4)
    world.outbox = world.new_outbox()
    await world.publish_all()
    assert await world.stored() == [*before[3 - kept :], last]
    assert world.store.published[last] == StreamSeq(4)


async def test_a_decision_is_found_in_a_stream_that_was_made_anew(world: World) -> None:
    for number in range(3):
        await world.decide(number)
    await world.publish_all()
    far = StreamSeq(outbox.UNMARKED_MAX + 10)
    world.store.published = dict.fromkeys(world.store.published, far)  # of the stream before
    world.bus = ForgetfulBus()
    world.outbox = world.new_outbox()
    last = await world.decide(4)
    await world.publish_all()
    world.store.published.pop(last)  # as after a kill between publishing and marking
    world.outbox = world.new_outbox()
    await world.publish_all()
    assert await world.stored() == [last]


async def test_what_was_stored_without_an_acknowledgement_is_not_sent_again(world: World) -> None:
    first = await world.decide(1)
    await world.publish_all()
    world.bus.acknowledges = False
    second = await world.decide(2)
    assert await world.outbox.publish_once()
    world.bus.acknowledges = True  # after an outage longer than the server remembers ids for
    await world.publish_all()
    assert await world.stored() == [first, second]
    assert world.store.published == {first: 1, second: 2}


async def test_what_could_not_be_marked_is_not_sent_again(world: World) -> None:
    first = await world.decide(1)
    await world.publish_all()
    second = await world.decide(2)
    world.store.away = True
    with pytest.raises(StoreUnavailableError):
        await world.outbox.publish_once()
    world.store.away = False
    await world.publish_all()
    assert await world.stored() == [first, second]
    assert world.store.published == {first: 1, second: 2}


async def test_a_publish_that_was_cut_short_is_not_repeated(world: World) -> None:
    first = await world.decide(1)
    await world.publish_all()
    second = await world.decide(2)
    world.store.away = True
    publishing = asyncio.create_task(world.outbox.publish_once())
    async with asyncio.timeout(5):
        while len(await world.stored()) < 2:
            await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    world.store.away = False
    await world.publish_all()
    assert await world.stored() == [first, second]


async def test_what_another_projector_sent_long_ago_and_did_not_mark_is_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish_all()
    await world.decide(1)
    await world.publish_all()  # this one has read the stream
    decided = await world.decide(2)
    other = world.new_outbox()
    world.store.away = True
    with pytest.raises(StoreUnavailableError):
        await other.publish_once()
    world.store.away = False
    loop = asyncio.get_running_loop()
    late_s = loop.time() + outbox.READING_VALID_S
    monkeypatch.setattr(loop, "time", lambda: late_s)
    await world.outbox.publish_once()
    assert world.store.published[decided] == 2
    monkeypatch.undo()
    assert len(await world.stored()) == 2


async def test_a_steady_outbox_does_not_read_the_stream_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.decide(1)
    await world.publish_all()

    async def follow(*_: object, **__: object) -> None:
        raise AssertionError("it reads the stream")

    monkeypatch.setattr(world.bus, "follow", follow)
    await world.decide(2)
    await world.publish_all()
    assert len(world.store.published) == 2
