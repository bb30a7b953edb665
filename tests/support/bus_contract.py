"""What every bus adapter does: inherited by the memory twin's tests and by the real server's."""

import asyncio

import pytest

from hcs_bus.envelope import Message
from hcs_bus.errors import ConflictError
from hcs_bus.events import AllocationState
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import Bus, Record
from hcs_bus.subjects import ALLOCATION_SUBJECTS, FACTS_STREAM
from tests.support.facts import allocation, heartbeat, message


async def fetch_all(
    bus: Bus, count: int, *, after: int = 0, subjects: tuple[str, ...] = ()
) -> list[Record]:
    """Follow the facts until `count` records have come."""
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(after), subjects=subjects)
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            records += await follower.fetch(limit=100, timeout_s=0.5)
    await follower.close()
    return records


def grant(pod: str, node: str = "gpu-0") -> Message:
    """Return a reservation to append."""
    fact = allocation(AllocationState.RESERVED, ("d0", 16, 100), pod=pod, node=NodeName(node))
    return message(fact, node=NodeName(node))


class BusContract:
    """The suite; subclasses give the fixture `bus` with empty streams."""

    async def test_messages_are_read_in_the_order_they_were_stored(self, bus: Bus) -> None:
        sent = [message(heartbeat(at_ns=n)) for n in range(300)]
        acks = await bus.publish_many(sent)
        assert [ack.seq for ack in acks if ack] == list(range(1, 301))
        records = await fetch_all(bus, 300)
        assert [record.payload for record in records] == [m.payload for m in sent]
        assert [record.seq for record in records] == list(range(1, 301))

    async def test_a_message_sent_again_is_stored_once(self, bus: Bus) -> None:
        sent = message(heartbeat())
        first = await bus.publish_many([sent])
        again = await bus.publish_many([sent])
        assert first[0] and again[0]
        assert (first[0].duplicate, again[0].duplicate) == (False, True)
        assert first[0].seq == again[0].seq
        assert (await bus.stream_state(FACTS_STREAM)).last_seq == 1

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
