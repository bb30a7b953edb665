"""What every bus adapter does: inherited by the memory twin's tests and by the real server's."""

import asyncio
from collections.abc import Sequence

import pytest

from hcs_bus.envelope import Message
from hcs_bus.errors import BusError, ConflictError, TransientError
from hcs_bus.events import AllocationState
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import FETCH_BYTES_MAX, Bus, PublishAck, PublishRefused, PublishResult, Record
from hcs_bus.subjects import ALLOCATION_SUBJECTS, FACTS_STREAM
from tests.support.facts import allocation, heartbeat, message

TOO_LARGE_BYTES = 1024**2 + 1
MANY = 1_000  # more than any adapter has in flight at a time
DEADLINE_S = 20


def positions(results: Sequence[PublishResult]) -> list[int]:
    """Return where messages were stored; all of them must be."""
    acks = [result for result in results if isinstance(result, PublishAck)]
    assert len(acks) == len(results), results
    return [ack.seq for ack in acks]


def too_large() -> Message:
    """Return a message that no bus takes."""
    sent = message(heartbeat())
    return Message(subject=sent.subject, id=sent.id, payload=b"x" * TOO_LARGE_BYTES)


async def fetch_all(
    bus: Bus, count: int, *, after: int = 0, subjects: tuple[str, ...] = ()
) -> list[Record]:
    """Follow the facts until `count` records have come."""
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(after), subjects=subjects)
    records: list[Record] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(records) < count:
            records += await follower.fetch(limit=100, timeout_s=0.5)
    await follower.close()
    return records


def grant(pod: str, node: str = "gpu-0") -> Message:
    """Return a reservation to append."""
    fact = allocation(AllocationState.RESERVED, ("d0", 16, 100), pod=pod, node=NodeName(node))
    return message(fact, node=NodeName(node))


class BusContract:
    """The suite; subclasses give the fixture `bus` with empty streams, and say how to empty one."""

    async def drop_oldest(self, bus: Bus, *, keep: int) -> None:
        """Drop all but the newest facts, as a server at its storage limit does."""
        raise NotImplementedError

    async def test_messages_are_read_in_the_order_they_were_stored(self, bus: Bus) -> None:
        sent = [message(heartbeat(at_ns=n)) for n in range(300)]
        assert positions(await bus.publish_many(sent)) == list(range(1, 301))
        records = await fetch_all(bus, 300)
        assert [record.payload for record in records] == [m.payload for m in sent]
        assert [record.seq for record in records] == list(range(1, 301))

    async def test_a_message_sent_again_is_stored_once(self, bus: Bus) -> None:
        sent = message(heartbeat())
        assert await bus.publish_many([sent]) == [PublishAck(seq=StreamSeq(1), duplicate=False)]
        assert await bus.publish_many([sent]) == [PublishAck(seq=StreamSeq(1), duplicate=True)]
        assert (await bus.stream_state(FACTS_STREAM)).last_seq == 1

    async def test_a_message_twice_in_one_batch_is_stored_once(self, bus: Bus) -> None:
        twice, once = message(heartbeat()), message(heartbeat())
        assert positions(await bus.publish_many([twice, once, twice])) == [1, 2, 1]

    async def test_nothing_to_publish_is_no_work(self, bus: Bus) -> None:
        assert await bus.publish_many([]) == []

    async def test_batches_at_the_same_time_get_their_own_acknowledgements(self, bus: Bus) -> None:
        batches = [[message(heartbeat(at_ns=n)) for n in range(MANY)] for _ in range(3)]
        results = await asyncio.gather(*(bus.publish_many(batch) for batch in batches))
        records = {record.seq: record.payload for record in await fetch_all(bus, 3 * MANY)}
        for batch, result in zip(batches, results, strict=True):
            assert [records[StreamSeq(seq)] for seq in positions(result)] == [
                sent.payload for sent in batch
            ]

    async def test_a_cancelled_publish_is_in_nobodys_way(self, bus: Bus) -> None:
        for _ in range(3):
            abandoned = asyncio.create_task(
                bus.publish_many([message(heartbeat(at_ns=n)) for n in range(MANY)])
            )
            await asyncio.sleep(0)
            abandoned.cancel()
        sent = [message(heartbeat(at_ns=n)) for n in range(MANY)]
        async with asyncio.timeout(DEADLINE_S):
            assert len(set(positions(await bus.publish_many(sent)))) == MANY

    async def test_a_message_too_large_is_refused_and_the_others_are_stored(self, bus: Bus) -> None:
        small = [message(heartbeat(at_ns=n)) for n in range(4)]
        results = await bus.publish_many([*small[:2], too_large(), *small[2:]])
        assert isinstance(results[2], PublishRefused)
        assert positions([*results[:2], *results[3:]]) == [1, 2, 3, 4]
        records = await fetch_all(bus, 4)
        assert [record.payload for record in records] == [sent.payload for sent in small]

    @pytest.mark.parametrize("subject", ["", "hcs.fact.heartbeat.a b"])
    async def test_what_is_no_subject_is_refused(self, bus: Bus, subject: str) -> None:
        [result] = await bus.publish_many([Message(subject=subject, id="1", payload=b"{}")])
        assert isinstance(result, PublishRefused)

    async def test_a_subject_that_no_stream_takes_gives_no_acknowledgement(self, bus: Bus) -> None:
        stray = Message(subject="elsewhere.entirely", id="1", payload=b"{}")
        first, second = await bus.publish_many([stray, message(heartbeat())])
        assert first is None
        assert positions([second]) == [1]
        with pytest.raises(TransientError):
            await bus.append(stray, subjects="elsewhere.>", expected_seq=StreamSeq(0))

    async def test_an_append_too_large_is_an_error_that_no_waiting_helps_against(
        self, bus: Bus
    ) -> None:
        with pytest.raises(BusError) as refused:
            await bus.append(too_large(), subjects=ALLOCATION_SUBJECTS, expected_seq=StreamSeq(0))
        assert not isinstance(refused.value, TransientError | ConflictError)

    async def test_an_append_behind_the_expected_grant_is_stored(self, bus: Bus) -> None:
        first = await bus.append(
            grant("a"), subjects=ALLOCATION_SUBJECTS, expected_seq=StreamSeq(0)
        )
        await bus.publish_many([message(heartbeat())])  # other subjects do not count
        second = await bus.append(
            grant("b", "gpu-1"), subjects=ALLOCATION_SUBJECTS, expected_seq=first
        )
        assert (first, second) == (1, 3)
        assert await bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS) == 3

    async def test_of_racing_appends_one_wins(self, bus: Bus) -> None:
        appends = [
            bus.append(
                grant(f"p{n}", f"gpu-{n}"), subjects=ALLOCATION_SUBJECTS, expected_seq=StreamSeq(0)
            )
            for n in range(20)
        ]
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 19
        assert (await bus.stream_state(FACTS_STREAM)).last_seq == 1

    async def test_an_append_with_an_old_expectation_is_refused(self, bus: Bus) -> None:
        await bus.append(grant("a"), subjects=ALLOCATION_SUBJECTS, expected_seq=StreamSeq(0))
        with pytest.raises(ConflictError):
            await bus.append(grant("b"), subjects=ALLOCATION_SUBJECTS, expected_seq=StreamSeq(0))

    async def test_a_follower_starts_behind_the_given_position(self, bus: Bus) -> None:
        await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
        records = await fetch_all(bus, 4, after=6)
        assert [record.seq for record in records] == [7, 8, 9, 10]

    async def test_a_follower_of_subjects_sees_no_others(self, bus: Bus) -> None:
        await bus.publish_many([message(heartbeat()), grant("a"), message(heartbeat())])
        records = await fetch_all(bus, 1, subjects=(ALLOCATION_SUBJECTS,))
        assert [record.seq for record in records] == [2]

    async def test_a_follower_of_subjects_finds_the_few_among_many(self, bus: Bus) -> None:
        many = [message(heartbeat(at_ns=n)) for n in range(MANY)]
        await bus.publish_many([*many, grant("a"), *many[:10], grant("b")])
        records = await fetch_all(bus, 2, subjects=(ALLOCATION_SUBJECTS,))
        assert [record.seq for record in records] == [MANY + 1, MANY + 2]

    async def test_a_follower_returns_all_that_there_is_up_to_the_limit(self, bus: Bus) -> None:
        await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(3 * MANY)])
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        seqs: list[int] = []
        for limit, count in ((1, 1), (2, 2), (2 * MANY, 2 * MANY), (5 * MANY, MANY - 3)):
            records = await follower.fetch(limit=limit, timeout_s=DEADLINE_S)
            assert len(records) == count
            seqs += [record.seq for record in records]
        assert seqs == list(range(1, 3 * MANY + 1))
        await follower.close()

    async def test_a_fetch_returns_no_more_bytes_than_memory_is_for(self, bus: Bus) -> None:
        large = b"x" * (FETCH_BYTES_MAX // 10)
        for n in range(25):
            sent = message(heartbeat(at_ns=n))
            positions(
                await bus.publish_many([Message(subject=sent.subject, id=sent.id, payload=large)])
            )
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        counts = [len(await follower.fetch(limit=1_000, timeout_s=DEADLINE_S)) for _ in range(3)]
        assert counts == [11, 11, 3]
        await follower.close()

    async def test_a_cancelled_fetch_has_taken_nothing(self, bus: Bus) -> None:
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        seqs: list[int] = []
        for n in range(20):
            await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(100)])
            fetch = asyncio.create_task(follower.fetch(limit=150, timeout_s=DEADLINE_S))
            for _ in range(n):
                await asyncio.sleep(0)
            fetch.cancel()
            try:
                seqs += [record.seq for record in await fetch]
            except asyncio.CancelledError:
                continue
        async with asyncio.timeout(DEADLINE_S):
            while len(seqs) < 2_000:
                records = await follower.fetch(limit=150, timeout_s=1)
                seqs += [record.seq for record in records]
        assert seqs == list(range(1, 2_001))
        await follower.close()

    async def test_a_stream_that_dropped_its_oldest_says_where_it_begins(self, bus: Bus) -> None:
        await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
        await self.drop_oldest(bus, keep=4)
        state = await bus.stream_state(FACTS_STREAM)
        assert (state.first_seq, state.last_seq) == (7, 10)

    async def test_a_follower_behind_the_oldest_record_goes_on_with_it(self, bus: Bus) -> None:
        await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        seqs = [record.seq for record in await follower.fetch(limit=10, timeout_s=DEADLINE_S)]
        await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
        await self.drop_oldest(bus, keep=4)
        late = await bus.follow(FACTS_STREAM, after=StreamSeq(10))
        found = await late.fetch(limit=10, timeout_s=DEADLINE_S)
        assert (seqs, [record.seq for record in found]) == (list(range(1, 11)), [17, 18, 19, 20])

    async def test_a_waiting_follower_is_woken_by_a_new_message(self, bus: Bus) -> None:
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        waiting = asyncio.create_task(follower.fetch(limit=10, timeout_s=20))
        await asyncio.sleep(0)
        await bus.publish_many([message(heartbeat())])
        assert len(await waiting) == 1

    async def test_silence_is_an_empty_list(self, bus: Bus) -> None:
        follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
        assert await follower.fetch(limit=10, timeout_s=0.2) == []

    async def test_an_empty_stream_says_so(self, bus: Bus) -> None:
        state = await bus.stream_state(FACTS_STREAM)
        assert state.last_seq == 0 and state.first_seq in (0, 1)
        assert await bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS) == 0
