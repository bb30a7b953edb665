"""Replays over the log in memory: from its start, from a snapshot, and over a cut."""

import pytest

from hcs_bus.envelope import Message
from hcs_bus.errors import LogGapError
from hcs_bus.events import AllocationState, FaultState
from hcs_bus.memory import MemoryBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.policy import load_policy
from hcs_control.replay import compare, replay
from hcs_control.store.port import Contents
from tests.support.facts import allocation, device, fault, fingerprint, heartbeat, message, quota
from tests.support.store_contract import ignore, in_order

POLICY = load_policy()


@pytest.fixture
async def bus() -> MemoryBus:
    """Return a log with every turn that matters: resent, overtaken, isolated, parked."""
    made = MemoryBus()
    resent = message(heartbeat(), event_id="gpu-0/boot-a/3")
    await made.publish_many(
        [
            message(fingerprint(device("d0"), device("d1", index=1)), event_id="gpu-0/boot-a/1"),
            message(fault("d0"), event_id="gpu-0/boot-a/4"),
            message(allocation(AllocationState.RESERVED, ("d1", 16, 100))),
            Message(subject="hcs.fact.heartbeat.gpu-0", id="bad", payload=b"{"),
            resent,
            message(quota("d1"), event_id="gpu-0/boot-a/5"),
            Message(subject=resent.subject, id="again", payload=resent.payload),
            message(fault("d0", state=FaultState.CLEARED), event_id="gpu-0/boot-a/2"),
            message(fault("d1", "48"), event_id="gpu-0/boot-a/6"),
            message(allocation(AllocationState.RELEASED)),
        ]
    )
    return made


async def from_start(bus: MemoryBus, until: int) -> Contents:
    """Replay without a snapshot."""
    return await replay(bus, POLICY, StreamSeq(until), progress=ignore)


async def test_from_any_snapshot_it_gives_what_it_gives_from_the_start(bus: MemoryBus) -> None:
    end = (await bus.stream_state(FACTS_STREAM)).last_seq
    whole = await from_start(bus, end)
    assert whole.decisions and whole.parked
    for position in range(end + 1):
        snapshot = await from_start(bus, position)
        heard: list[int] = []
        again = await replay(bus, POLICY, end, progress=heard.append, snapshot=snapshot)
        assert in_order(again) == in_order(whole), position
        assert heard == [end] * (position < end)


async def test_over_a_cut_it_needs_a_snapshot_from_behind_it(bus: MemoryBus) -> None:
    whole = await from_start(bus, 10)
    early, late = await from_start(bus, 4), await from_start(bus, 6)
    await bus.truncate(FACTS_STREAM, before=StreamSeq(7))
    for snapshot in (None, early):
        with pytest.raises(LogGapError, match=r"holds 7 to 10, a replay needs [15] to 10"):
            await replay(bus, POLICY, StreamSeq(10), progress=ignore, snapshot=snapshot)
    again = await replay(bus, POLICY, StreamSeq(10), progress=ignore, snapshot=late)
    assert compare(whole, again).differing == 0


async def test_a_snapshot_newer_than_the_tables_cannot_tell_of_them(bus: MemoryBus) -> None:
    snapshot = await from_start(bus, 6)
    with pytest.raises(LogGapError, match="the snapshot stands at 6, the tables at 5"):
        await replay(bus, POLICY, StreamSeq(5), progress=ignore, snapshot=snapshot)


async def test_a_snapshot_of_another_past_shows_as_a_difference(bus: MemoryBus) -> None:
    whole = await from_start(bus, 10)
    snapshot = await from_start(bus, 6)
    snapshot.parked.clear()
    again = await replay(bus, POLICY, StreamSeq(10), progress=ignore, snapshot=snapshot)
    verdict = compare(whole, again)
    assert verdict.differing == 1
    assert "parked event 4" in verdict.examples[0]


async def test_a_fact_missing_in_between_stops_it(bus: MemoryBus) -> None:
    del bus._streams[FACTS_STREAM].records[4]
    with pytest.raises(LogGapError, match="jumps from 4 to 6"):
        await from_start(bus, 9)
