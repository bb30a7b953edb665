"""The view of the log: whole or ended, never missing a grant, never isolating for ever."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from hcs_bus.envelope import encode_decision
from hcs_bus.errors import LogGapError
from hcs_bus.events import AllocationState, Decision, Isolate, Release
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, StreamSeq
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_edge.extender import ledger as ledger_module
from hcs_edge.extender import view as view_module
from tests.support.extender import Replica, World, bind
from tests.support.facts import (
    GIB,
    NODE,
    START_NS,
    allocation,
    device,
    fingerprint,
    heartbeat,
    message,
)
from tests.support.kube_twin import pod

D0 = DeviceId("d0")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Return a prepared world whose views look around without a pause."""
    monkeypatch.setattr(view_module, "FETCH_TIMEOUT_S", 0.001)
    monkeypatch.setattr(view_module, "SURVEY_INTERVAL_S", 0.0)
    made = World()
    await made.prepare()
    yield made
    for replica in made.replicas:
        await replica.stop()


async def grant(world: World, name: str, gib: int) -> None:
    """Put a grant of another replica into the log."""
    fact = allocation(AllocationState.RESERVED, ("d0", gib, 1), pod=name)
    await world.bus.publish_many([message(fact)])


async def cut(world: World, *, keep: int = 0) -> None:
    """Drop the log's oldest facts, all but the newest `keep`."""
    end = (await world.bus.stream_state(FACTS_STREAM)).last_seq
    await world.bus.truncate(FACTS_STREAM, before=StreamSeq(end + 1 - keep))


async def caught_up(world: World, replica: Replica) -> None:
    """Wait until the view is sure of the whole log."""
    end = (await world.bus.stream_state(FACTS_STREAM)).last_seq
    async with asyncio.timeout(5):
        while replica.view.whole_seq < end:
            await asyncio.sleep(0.001)


async def test_grants_go_on_when_the_newest_has_left_the_log(world: World) -> None:
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    await world.bus.publish_many([message(heartbeat(at_ns=n)) for n in range(5)])
    await caught_up(world, replica)
    await cut(world, keep=3)
    for name in ("pod-2", "pod-3"):
        world.kube.add(pod(name))
        assert await replica.scheduling.bind(bind(name)) == ""
    assert replica.view.fleet.devices[D0].vram_allocated_bytes == 48 * GIB


async def test_a_view_that_missed_a_grant_ends_at_the_next(world: World) -> None:
    replica = Replica(world.bus, world.store, world.kube)
    await replica.view.load()
    await grant(world, "missed", 70)
    await cut(world)
    await grant(world, "seen", 1)
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(replica.view.follow(), 5)
    assert ended.group_contains(LogGapError)
    assert not replica.view.ready


async def test_a_view_that_missed_the_only_grant_binds_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "CATCH_UP_TIMEOUT_S", 0.05)
    replica = Replica(world.bus, world.store, world.kube)
    await replica.view.load()
    await grant(world, "missed", 70)
    await cut(world)
    # To the server both ledgers are empty, so it takes this; but the view must read it back.
    assert "followed the ledger to 2 of 4" in await replica.scheduling.bind(bind())
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(replica.view.follow(), 5)
    assert ended.group_contains(LogGapError)
    assert replica.view.fleet.devices[D0].vram_allocated_bytes == 0
    assert world.kube.bindings == []


async def test_a_view_that_missed_a_grant_behind_its_newest_gives_nothing_out(
    world: World,
) -> None:
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    await replica.stop()
    await grant(world, "missed", 60)
    await cut(world)
    world.kube.add(pod("pod-2"))
    assert "grants are known here up to 3" in await replica.scheduling.bind(bind("pod-2"))
    assert await world.ledger_states() == []


async def test_a_log_that_was_cut_behind_the_view_does_not_end_it(world: World) -> None:
    replica = await world.replica()
    await world.bus.publish_many([message(heartbeat(at_ns=n)) for n in range(5)])
    await caught_up(world, replica)
    await cut(world)
    await grant(world, "seen", 1)
    await caught_up(world, replica)
    assert replica.view.ready
    assert replica.view.fleet.devices[D0].vram_allocated_bytes == GIB


async def test_a_view_is_not_loaded_from_a_log_that_ends_before_the_projection(
    world: World,
) -> None:
    world.bus = MemoryBus()  # a new server with an empty store
    replica = Replica(world.bus, world.store, world.kube)
    with pytest.raises(LogGapError, match="holds 1 to 0"):
        await replica.view.load()


class OvertakingBus(MemoryBus):
    """Where grants leave and come while it is asked where the ledger ends."""

    meanwhile = False

    async def last_seq(self, stream: str, subjects: str) -> StreamSeq:
        """Answer, late."""
        end = await super().last_seq(stream, subjects)
        if self.meanwhile:
            self.meanwhile = False
            fact = allocation(AllocationState.RESERVED, ("d0", 1, 1), pod="overtaking")
            await self.publish_many([message(fact)])
            for _ in range(50):
                await asyncio.sleep(0)
        return end


async def test_a_late_answer_about_the_ledger_undoes_nothing_newer() -> None:
    world = World()
    world.bus = OvertakingBus()
    await world.prepare()
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    await cut(world)
    assert replica.view.ledger_seq == 3
    world.bus.meanwhile = True
    await replica.view.catch_up(timeout_s=5)
    assert replica.view.ledger_seq == 4
    await replica.stop()


async def test_what_the_view_keeps_of_sources_does_not_grow_with_other_kinds_numbers(
    world: World,
) -> None:
    replica = await world.replica()
    for round_ in range(12):
        fact = fingerprint(device("d0"), at_ns=START_NS + round_)
        event_id = f"{NODE}/long/{1 + 125 * round_}"
        await world.bus.publish_many([message(fact, event_id=event_id)])
    await caught_up(world, replica)
    source = replica.view.fleet.sources[NODE, "long"]
    assert (source.last_n, source.missing, source.ahead) == (1 + 125 * 11, (), ())


async def test_an_older_fingerprint_that_comes_again_undoes_nothing(world: World) -> None:
    replica = await world.replica()
    for n, vram_gib in ((1, 80), (126, 40), (2, 80), (1, 80)):
        again = message(fingerprint(device("d0", vram_gib=vram_gib)), event_id=f"{NODE}/long/{n}")
        await world.bus._streams[FACTS_STREAM].store(  # past the server's memory of ids
            type(again)(subject=again.subject, id=f"again/{n}/{vram_gib}", payload=again.payload)
        )
    await caught_up(world, replica)
    assert replica.view.fleet.devices[D0].vram_bytes == 40 * GIB


def isolate(seq: int) -> Isolate:
    """Return an isolation that rests on a fact."""
    return Isolate(
        at_ns=START_NS,
        node=NODE,
        device_id=D0,
        code="79",
        rule="r",
        policy_version="v",
        evidence="e",
        fact_seqs=(StreamSeq(seq),),
    )


def release(seq: int) -> Release:
    """Return a release that rests on a fact."""
    return Release(
        at_ns=START_NS,
        node=NODE,
        device_id=D0,
        rule="r",
        policy_version="v",
        evidence="e",
        fact_seqs=(StreamSeq(seq),),
    )


async def decide(world: World, decisions: Sequence[Decision]) -> None:
    """Put decisions into their stream, in this order."""
    end = (await world.bus.stream_state(DECISIONS_STREAM)).last_seq
    for n, decision in enumerate(decisions, end + 1):
        sent = encode_decision(decision, event_id=f"projector/{n}", source="/hcs/projector")
        await world.bus.publish_many([sent])


@pytest.mark.parametrize(
    ("order", "usable"),
    [
        ([release(20), isolate(10)], True),
        ([isolate(10), release(20), isolate(10)], True),
        ([isolate(10), isolate(30), release(20)], False),
        ([release(20), isolate(10), isolate(30)], False),
        ([release(20), isolate(10), isolate(30), release(40)], True),
    ],
)
async def test_a_decision_behind_a_later_one_undoes_nothing(
    world: World, order: Sequence[Decision], usable: bool
) -> None:
    replica = await world.replica()
    await decide(world, [*order, isolate(5)])  # the last shows that those before it are read
    async with asyncio.timeout(5):
        while replica.view._decisions_after < len(order) + 1:
            await asyncio.sleep(0.001)
    assert replica.view.fleet.devices[D0].usable is usable


async def test_a_view_that_missed_a_decision_ends(world: World) -> None:
    replica = Replica(world.bus, world.store, world.kube)
    await replica.view.load()
    await decide(world, [isolate(10)])
    await world.bus.truncate(DECISIONS_STREAM, before=StreamSeq(2))
    await decide(world, [release(20)])
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(replica.view.follow(), 5)
    assert ended.group_contains(LogGapError)


async def test_decisions_that_left_before_the_load_are_in_the_rows(world: World) -> None:
    await decide(world, [isolate(1), release(2)])
    await world.bus.truncate(DECISIONS_STREAM, before=StreamSeq(3))
    replica = await world.replica()
    await decide(world, [isolate(10)])
    async with asyncio.timeout(5):
        while replica.view.fleet.devices[D0].usable:
            await asyncio.sleep(0.001)
