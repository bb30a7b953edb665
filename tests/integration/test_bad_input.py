"""What a projector does with input that nobody should send, and with servers that fail under it.

Each test looks for the words in the log, the figure in `/metrics`, and that what comes afterwards
is folded. That NATS refuses a node the subjects of another is in `test_bus_users.py`, that a full
disk costs a spool no fault in `tests/unit/bus/test_spool.py`.
"""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import nats
import pytest
import structlog

from hcs_bus.envelope import Message
from hcs_bus.events import (
    TEXT_CHARACTERS_MAX,
    FaultState,
    Operator,
    OperatorVerb,
    PolicyDocument,
)
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, NodeName
from hcs_bus.port import PublishAck
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher
from hcs_bus.subjects import CLUSTER_NODE, FACTS_STREAM
from hcs_control.policy import EVIDENCE_CHARACTERS_MAX, load_policy
from hcs_control.replay import compare, refused_in, replay
from hcs_control.store.postgres import PostgresStore
from tests.support.backend import Backend
from tests.support.facts import NODE, SECOND, START_NS, device, fault, fingerprint, heartbeat
from tests.support.facts import message as message_of
from tests.support.projecting import DEADLINE_S, HCS, POLICY, World, until

HOUR_NS = 3_600 * SECOND
HEADERS_BYTES = 100  # of a fact, a little more than they take


@pytest.fixture
async def world(
    backend: Backend, bus: JetStreamBus, store: PostgresStore, database_url: str, tmp_path: Path
) -> AsyncIterator[World]:
    """Run a projector that knows a node with two cards."""
    made = World(backend, bus, store, database_url, tmp_path)
    made.start()
    try:
        await made.publish(made.message(fingerprint(device("d0"), device("d1", index=1))))
        yield made
    finally:
        made.end()


def changed(sent: Message, old: bytes, new: bytes) -> Message:
    """Return a message with other bytes in it."""
    assert old in sent.payload
    return Message(subject=sent.subject, id=sent.id, payload=sent.payload.replace(old, new))


# --- What is said --------------------------------------------------------------------------------


async def test_an_unknown_type_is_skipped_and_counted(world: World) -> None:
    unknown = changed(world.message(heartbeat()), b"fact.heartbeat.", b"fact.pulse.")
    await world.publish(msgspec.structs.replace(unknown, subject="hcs.fact.pulse.gpu-0"))
    assert await world.metric("unknown_total") == 1
    [said] = world.log("unknown_kind_skipped")
    assert said["detail"] == "type 'io.hcs.fact.pulse.v1' is not known to this release"
    assert await world.reasons() == []
    await world.assert_goes_on()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'{"specversion"', b"{specversion", "envelope: JSON is malformed"),
        (b'"vram_bytes":85899345920', b'"vram_bytes":"80 GB"', "Expected `int`, got `str`"),
        (b'"vram_bytes":85899345920', b'"vram_bytes":-1', "Expected `int` >= 0"),
        (b'"hcsnode":"gpu-0"', b'"hcsnode":"gpu-9"', "under the subject of 'gpu-0'"),
        (b"gpu-0/boot/", b"gpu-9/boot/", "id 'gpu-9/boot/"),
        (b"gpu-0/boot/", b"gpu-0/boot/1" + b"0" * 300, "n of at most 9223372036854775807"),
        (b"fact.fingerprint.v1", b"fact.heartbeat.v1", "under the subject of 'fingerprint'"),
        (b"fact.fingerprint.gpu-0", b"fact.fingerprint.gpu-9", "an event whose subject is"),
        (b"A100 SXM4 80GB", b"A100" * 1_500, "Expected `str` of length <= 253"),
        (b'"device_id":"d0"', b'"device_id":"%s"' % (b"d" * 6_000), "length <= 128"),
    ],
    ids=[
        "malformed JSON",
        "a unit",
        "negative memory",
        "another node",
        "another node's number",
        "a number beyond all columns",
        "another type",
        "another subject",
        "a model of 6,000 characters",
        "a card of 6,000 characters",
    ],
)
async def test_what_cannot_be_folded_is_parked_with_its_reason(
    world: World, old: bytes, new: bytes, reason: str
) -> None:
    poison = changed(world.message(fingerprint(device("d0"))), old, new)
    await world.publish(poison)
    assert await world.metric("parked_total") == 1
    [parked] = await world.reasons()
    assert reason in parked
    [said] = world.log("event_parked")
    assert said["reason"] == parked
    shown = await asyncio.to_thread(hcs_parked, world.url)
    assert [row["reason"] for row in shown] == [parked]
    assert await world.scalar("SELECT count(*) FROM device WHERE present") == 2
    await world.assert_goes_on()


async def test_who_may_say_that_it_lives_may_not_release_a_card_of_another_node(
    world: World,
) -> None:
    node = NodeName("gpu-1")
    await world.publish(world.message(fault("d0")))
    word = Operator(
        at_ns=START_NS,
        verb=OperatorVerb.RELEASE,
        node=NODE,
        device_id=DeviceId("d0"),
        who="nobody",
        why="to be believed",
    )
    forged = changed(
        world.message(word, node=node), b"hcs.fact.operator.gpu-1", b"hcs.fact.heartbeat.gpu-1"
    )
    forged = msgspec.structs.replace(forged, subject="hcs.fact.heartbeat.gpu-1")
    await world.publish(forged, world.message(word, node=node))
    assert sorted(await world.reasons()) == [
        "io.hcs.fact.operator.v1: speaks of node 'gpu-0', its envelope of 'gpu-1'",
        "type 'io.hcs.fact.operator.v1' was published under the subject of 'heartbeat'",
    ]
    assert await world.scalar("SELECT count(*) FROM isolation WHERE released_seq IS NULL") == 1
    await world.assert_goes_on()


async def test_what_comes_under_a_subject_that_is_none_is_parked(world: World) -> None:
    subjects = [
        b"hcs.fact.fault",
        b"hcs.fact.fault.gpu-0.a.b",
        b"hcs.fact.fault.gpu-0.a\0b",
        "hcs.fact.fault.gpu-0.中".encode(),
        b"hcs.fact.fault.gpu-0.\xff\xfe",
    ]
    for subject in subjects:
        await publish_raw(world, subject, world.message(fault("d0")).payload)
    await world.folded()
    parked = await world.sql("SELECT subject, reason FROM parked_event ORDER BY stream_seq")
    assert [row["subject"] for row in parked[:4]] == [
        "hcs.fact.fault",
        "hcs.fact.fault.gpu-0.a.b",
        "hcs.fact.fault.gpu-0.a\\x00b",
        "hcs.fact.fault.gpu-0.中",
    ]
    assert len(parked) == len(subjects)
    assert await world.scalar("SELECT count(*) FROM isolation") == 0
    await world.assert_goes_on()


async def publish_raw(world: World, subject: bytes, payload: bytes) -> None:
    """Publish under a subject that no client library lets through."""
    url = urllib.parse.urlsplit(world.backend.nats_url)
    before = (await world.bus.stream_state(FACTS_STREAM)).last_seq
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    await reader.readline()
    who = {"user": url.username, "pass": url.password, "verbose": False}
    writer.write(b"CONNECT %s\r\n" % json.dumps(who).encode())
    writer.write(b"PUB %s %d\r\n%s\r\nPING\r\n" % (subject, len(payload), payload))
    assert await reader.readline() == b"PONG\r\n"
    writer.close()

    async def stored() -> bool:
        return (await world.bus.stream_state(FACTS_STREAM)).last_seq > before

    await until(stored, "the stream has it")


async def test_a_fault_ahead_of_its_card_is_parked_and_isolates_when_it_is_told_again(
    world: World,
) -> None:
    node = NodeName("gpu-1")
    await world.publish(
        world.message(fault("e0"), node=node),
        world.message(fingerprint(device("e0")), node=node),
    )
    assert await world.reasons() == [
        "fault on device 'e0' from node gpu-1: no node has that device"
    ]
    assert await world.scalar("SELECT health FROM device WHERE device_id = 'e0'") == "healthy"
    await world.publish(world.message(fault("e0"), node=node))
    assert await world.scalar("SELECT health FROM device WHERE device_id = 'e0'") == "isolated"
    await world.assert_goes_on()


async def test_a_policy_that_would_never_release_stays_out_of_force(world: World) -> None:
    document = POLICY.replace("test-1", "test-2").replace("_s = 2", "_s = inf")
    assert "inf" in document
    word = PolicyDocument(
        at_ns=START_NS, version="test-2", document=document, who="nobody", why="to wait long"
    )
    await world.publish(
        message_of(word, node=CLUSTER_NODE, event_id="operator/1"),
        world.message(fault("d0")),
        world.message(fault("d0", state=FaultState.CLEARED)),
    )
    [reason] = await world.reasons()
    assert "release_after_s" in reason

    async def released() -> bool:
        return bool(await world.scalar("SELECT released_seq IS NOT NULL FROM isolation"))

    await until(released, "the card is released")
    await world.assert_goes_on()


async def test_an_event_whose_rows_the_database_refuses_is_parked_and_holds_up_no_other(
    world: World,
) -> None:
    # As if the fold made a row that breaks a rule of the tables, which it never should.
    await world.sql("ALTER TABLE node ADD CONSTRAINT unlucky CHECK (heartbeat_at_ns <> 13)")
    node = NodeName("gpu-1")
    before, culprit, behind = (
        world.message(fault("d0", "48")),
        world.message(heartbeat(at_ns=13), node=node),
        world.message(fault("d0", "79")),
    )
    await world.publish(before, culprit, behind)
    [reason] = await world.reasons()
    assert reason.startswith("refused by the store: ") and '"unlucky"' in reason
    assert world.log("batch_refused")
    assert await world.scalar("SELECT active_codes FROM isolation") == ["48", "79"]
    assert world.projector is not None and world.projector.poll() is None
    await world.assert_goes_on()
    await assert_replay_equal(world)


def hcs_parked(database_url: str) -> list[dict[str, Any]]:
    """Return what `hcs parked` shows."""
    shown = subprocess.run(
        [HCS, "parked", "--output", "json"],
        env=os.environ | {"HCS_DATABASE_URL": database_url},
        capture_output=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


async def test_what_comes_twice_counts_once(world: World) -> None:
    raised = world.message(fault("d0", "13"))
    again = [Message(subject=raised.subject, id=f"again/{n}", payload=raised.payload) for n in "ab"]
    await world.publish(raised, *again)
    assert await world.metric("duplicates_total") == 2
    assert await world.sql("SELECT code, reports FROM fault_episode") == [
        {"code": "13", "reports": 1}
    ]
    await world.assert_goes_on()


async def test_a_fault_that_its_own_end_overtook_isolates_nothing_and_is_told_of(
    world: World,
) -> None:
    raised, cleared = (
        world.message(fault("d0", state=state)) for state in (FaultState.RAISED, FaultState.CLEARED)
    )
    await world.publish(cleared, raised)
    assert await world.metric("stale_total") == 1
    assert await world.metric("duplicates_total") == 0
    assert await world.scalar("SELECT count(*) FROM isolation") == 0
    assert await world.scalar("SELECT count(*) FROM fault_episode WHERE ended_seq > 0") == 1
    assert await world.scalar("SELECT missing FROM source_position") == []
    await world.assert_goes_on()


async def test_clocks_that_step_leave_ranges_and_releases_well_formed(world: World) -> None:
    began_ns = time.time_ns()
    steps = [0, -5, 3, -2, 7, -9, 1]
    for hours in steps:
        at_ns = began_ns + hours * HOUR_NS
        cards = device("d0", vram_gib=80 + hours), device("d1", index=1)
        await world.publish(
            world.message(fingerprint(*cards, at_ns=at_ns)),
            world.message(fault("d0", at_ns=at_ns)),
            world.message(fault("d0", at_ns=at_ns - HOUR_NS, state=FaultState.CLEARED)),
        )
    isolated = "SELECT count(*) FROM isolation WHERE released_seq IS NULL"

    async def released() -> bool:
        return bool(await world.scalar(isolated) == 0)

    await until(released, "the card is released")
    ends = "SELECT count(*) FROM fault_episode WHERE ended_at_ns < raised_at_ns"
    assert await world.scalar(ends) == 0
    assert await world.scalar("SELECT count(*) FROM fault_episode") == len(steps)
    ranges = await world.sql(
        "SELECT valid_from_ns, valid_to_ns FROM device_validity WHERE device_id = 'd0' "
        "ORDER BY valid_from_seq"
    )
    assert len(ranges) > len(steps)
    for one, following in itertools.pairwise(ranges):
        assert one["valid_from_ns"] <= one["valid_to_ns"] == following["valid_from_ns"]
    assert ranges[-1]["valid_to_ns"] is None
    for hours in range(-12, 13):
        moment = began_ns // SECOND + hours * 3_600
        cards_then = await world.sql(f"SELECT * FROM inventory_at(to_timestamp({moment}))")
        assert len({row["device_id"] for row in cards_then}) == len(cards_then) <= 2
    [waited] = await world.sql("SELECT clear_since_ns, released_at_ns FROM isolation")
    assert began_ns <= waited["clear_since_ns"] <= time.time_ns()
    assert waited["released_at_ns"] - waited["clear_since_ns"] >= 2 * SECOND
    await world.assert_goes_on()


async def test_a_fault_as_large_as_the_bus_allows_isolates_with_its_words_cut(
    world: World,
) -> None:
    endless = fault("d0")
    room = 1024**2 - len(world.message(endless, number=2).payload) - HEADERS_BYTES
    filled = changed(world.message(endless), b'"detail":""', b'"detail":"%s"' % (b"x" * room))
    await world.publish(filled)
    kept = await world.scalar("SELECT length(detail) FROM fault_episode")
    assert kept == TEXT_CHARACTERS_MAX
    assert await world.scalar("SELECT length(evidence) FROM isolation") == EVIDENCE_CHARACTERS_MAX

    async def published() -> bool:
        return not await world.store.unpublished(1)

    await until(published, "the decision is published")
    assert await world.metric("refused_total") == 0
    await world.assert_goes_on()


async def test_a_decision_too_large_for_the_bus_is_given_up_and_holds_up_no_other(
    world: World,
) -> None:
    huge = "decode(repeat('78', 1048576), 'hex')"  # as a fold of another release might make one
    subject = "hcs.decision.isolate.gpu-0"
    await world.sql(f"INSERT INTO decision_outbox VALUES ('huge', '{subject}', {huge}, 1, NULL)")
    await world.publish(world.message(fault("d0")))

    async def settled() -> bool:
        return not await world.store.unpublished(1)

    await until(settled, "both decisions are settled")
    assert await world.metric("refused_total") == 1
    assert await world.metric("decisions_total") == 1
    [said] = world.log("decision_refused")
    assert "the server takes 1048576" in said["reason"]
    await world.assert_goes_on()


async def test_a_fact_too_large_is_refused_at_its_agent_and_holds_up_no_other(
    world: World, tmp_path: Path
) -> None:
    node = NodeName("gpu-1")
    spool = Spool(tmp_path / "spool", node=node)
    publisher = SpoolPublisher(spool)
    too_large = fingerprint(*(device(f"e{n}", index=n) for n in range(4_000)))
    for fact in (fingerprint(device("e0")), too_large, fault("e0")):
        assert publisher.publish(fact)
    with structlog.testing.capture_logs() as said:
        while len(spool):
            assert await publisher.flush_once(world.bus)
    assert publisher.dropped == 1
    [refused] = [one for one in said if one["event"] == "event_refused"]
    assert "the server takes 1048576" in refused["reason"]
    spool.close()
    await world.folded()
    assert await world.scalar("SELECT count(*) FROM isolation WHERE device_id = 'e0'") == 1
    await world.assert_goes_on()


# --- Servers that fail ---------------------------------------------------------------------------


async def assert_replay_equal(world: World) -> None:
    """The tables follow from the log."""
    world.end()
    held = await world.store.contents()
    policy = load_policy(world.policy_path)
    replayed = await replay(
        world.bus, policy, held.position, progress=lambda _: None, refused=refused_in(held)
    )
    verdict = compare(held, replayed)
    assert verdict.differing == 0, verdict.examples


async def test_postgresql_killed_within_a_batch_loses_nothing(world: World) -> None:
    holder = await asyncpg.connect(world.url.replace("+asyncpg", ""))
    await holder.execute("BEGIN")
    await holder.execute("SELECT 1 FROM node WHERE node_name = 'gpu-0' FOR UPDATE")
    raised = [world.message(fault("d0", code)) for code in ("79", "48")]
    await world.bus.publish_many([*raised, world.message(heartbeat())])
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO node %'"
    )

    async def within_a_batch() -> bool:
        return bool(await world.scalar(waiting) == 1)

    await until(within_a_batch, "the projector is within its transaction")
    world.backend.kill("postgres")
    await revive_postgres(world)
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await holder.close(timeout=1)
    await world.folded()
    assert await world.metric("interrupted_total") >= 1
    assert world.log("projecting_interrupted")
    assert await world.scalar("SELECT count(*) FROM fault_episode") == 2
    await world.assert_goes_on()
    await assert_replay_equal(world)


async def revive_postgres(world: World) -> None:
    """Start it until it stays: it refuses while an old process of it is left."""

    async def answers() -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return bool(await world.scalar("SELECT 1"))
        with contextlib.suppress(Exception):  # whichever kind of server it is: it runs already
            world.backend.restart("postgres")
        return False

    await until(answers, "PostgreSQL answers again")


async def test_nats_server_killed_and_restarted_is_waited_for(world: World) -> None:
    await world.publish(world.message(fault("d0", "79")))
    world.backend.kill("nats")

    async def ticks_are_missed() -> bool:
        return await world.metric("ticks_unpublished_total") >= 1

    await until(ticks_are_missed, "the projector counts what the bus does not take")
    assert world.log("bus_disconnected")
    world.backend.restart("nats")

    async def stored() -> bool:
        [result] = await world.bus.publish_many([late])
        return isinstance(result, PublishAck)

    late = world.message(fault("d0", "48"))
    await until(stored, "the bus takes facts again")
    await world.folded()
    assert await world.scalar("SELECT count(*) FROM fault_episode") == 2
    await world.assert_goes_on()
    await assert_replay_equal(world)


async def set_limit(world: World, **limits: Any) -> None:
    """Change the stream of facts, as an administrator may."""
    client = await nats.connect(world.backend.nats_url)
    context = client.jetstream()
    config = (await context.stream_info(FACTS_STREAM)).config
    await context.update_stream(config.evolve(**limits))
    await client.close()


async def test_a_bus_without_room_costs_the_agent_nothing(world: World, tmp_path: Path) -> None:
    used = (await world.bus.stream_state(FACTS_STREAM)).last_seq
    await set_limit(world, max_msgs=used + 5, discard="new")
    node = NodeName("gpu-1")
    spool = Spool(tmp_path / "spool", node=node)
    publisher = SpoolPublisher(spool)
    publisher.publish(fingerprint(device("e0")))
    for code in range(20):
        publisher.publish(fault("e0", str(code)))
    while await publisher.flush_once(world.bus):
        pass
    assert len(spool) >= 16
    assert publisher.dropped == 0

    async def ticks_are_missed() -> bool:
        return await world.metric("ticks_unpublished_total") >= 1

    await until(ticks_are_missed, "the projector counts what the bus does not take")
    [*_, said] = world.log("publish_unacknowledged")
    assert "maximum messages exceeded" in json.dumps(said)
    await set_limit(world, max_msgs=-1, discard="old")
    while len(spool):
        await publisher.flush_once(world.bus)
    spool.close()
    await world.folded()
    assert await world.scalar("SELECT count(*) FROM fault_episode") == 20
    await world.assert_goes_on()


async def test_facts_that_left_the_log_unfolded_stop_the_projector_and_folded_ones_do_not(
    world: World,
) -> None:
    await set_limit(world, max_msgs=20)
    for n in range(5):
        beats: Sequence[Message] = [world.message(heartbeat(at_ns=START_NS + n)) for _ in range(15)]
        await world.publish(*beats)
    assert (await world.bus.stream_state(FACTS_STREAM)).first_seq > 1
    await world.assert_goes_on()
    world.end()
    held = await world.scalar("SELECT stream_seq FROM projection_position")
    await set_limit(world, max_msgs=20)
    await world.bus.publish_many([world.message(heartbeat()) for _ in range(60)])
    world.start()
    assert world.projector is not None
    assert await asyncio.to_thread(world.projector.wait, DEADLINE_S) == 1
    [said] = world.log("stopped")
    assert said["error"] == "LogGapError"
    assert f"but the projection stands at {held}: facts in between were lost" in said["detail"]
