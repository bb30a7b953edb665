"""The projector as a process on real servers, killed at random: the log and the tables agree."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from hcs_bus.envelope import Message
from hcs_bus.events import AllocationState, FaultState
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.policy import load_policy
from hcs_control.replay import compare, replay
from hcs_control.store.postgres import PostgresStore
from tests.support.backend import Backend
from tests.support.facts import allocation, device, fault, fingerprint, heartbeat, message, quota

HCS = Path(sys.executable).parent / "hcs"
KILLS = 8
CARDS = 8
DEADLINE_S = 60


def start_projector(backend: Backend, database_url: str) -> "subprocess.Popen[bytes]":
    """Start `hcs projector`."""
    return subprocess.Popen(
        [str(HCS), "projector", "--listen", "127.0.0.1:0"],
        env=os.environ | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": database_url},
        stderr=subprocess.DEVNULL,
    )


def work(choose: random.Random, count: int) -> list[Message]:
    """Return a mix that exercises every kind of row, with malformed and repeated events."""
    sent = [message(fingerprint(*(device(f"d{n}", index=n) for n in range(CARDS))))]
    held: set[str] = set()
    for n in range(count):
        card, pod = f"d{choose.randrange(CARDS)}", f"pod-{choose.randrange(20)}"
        match choose.randrange(8):
            case 0:
                sent.append(message(fault(card, choose.choice(["79", "48", "13"]))))
            case 1:
                sent.append(message(fault(card, "79", state=FaultState.CLEARED)))
            case 2 if pod not in held:
                held.add(pod)
                sent.append(message(allocation(AllocationState.RESERVED, (card, 8, 10), pod=pod)))
            case 3 if pod in held:
                held.discard(pod)
                sent.append(message(allocation(AllocationState.RELEASED, pod=pod)))
            case 4:
                sent.append(message(quota(card, pod=pod)))
            case 5:
                again = choose.choice(sent)
                sent.append(Message(subject=again.subject, id=f"again/{n}", payload=again.payload))
            case 6:
                subject = "hcs.fact.heartbeat.gpu-0"
                sent.append(Message(subject=subject, id=f"bad/{n}", payload=b"{"))
            case _:
                sent.append(message(heartbeat(at_ns=n)))
    return sent


async def committed(store: PostgresStore) -> StreamSeq:
    """Return the position."""
    return (await store.load()).position


@pytest.mark.timeout(180)
async def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(
    bus: JetStreamBus, backend: Backend, store: PostgresStore, database_url: str
) -> None:
    choose = random.Random(4)
    messages = work(choose, 4_000)
    chunks = [messages[n :: KILLS + 1] for n in range(KILLS + 1)]
    process = start_projector(backend, database_url)
    try:
        for chunk in chunks[:-1]:
            await bus.publish_many(chunk)
            await asyncio.sleep(choose.uniform(0.0, 2.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start_projector(backend, database_url)
        await bus.publish_many(chunks[-1])
        end = (await bus.stream_state(FACTS_STREAM)).last_seq
        async with asyncio.timeout(DEADLINE_S):
            while await committed(store) < end or await store.unpublished(1):
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        process.wait()
    held = await store.contents()
    replayed = await replay(bus, load_policy(), held.position, progress=lambda _: None)
    verdict = compare(held, replayed)
    assert verdict.differing == 0, verdict.examples
    assert held.parked and held.decisions
    published = (await bus.stream_state(DECISIONS_STREAM)).last_seq
    assert published == len(held.decisions)


async def test_a_row_changed_by_hand_is_found_by_a_replay(
    bus: JetStreamBus, backend: Backend, store: PostgresStore, database_url: str
) -> None:
    await bus.publish_many([message(fingerprint(device("d0"))), message(fault("d0"))])
    process = start_projector(backend, database_url)
    async with asyncio.timeout(DEADLINE_S):
        while await committed(store) < StreamSeq(2):
            await asyncio.sleep(0.05)
    process.terminate()
    process.wait()
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE device SET health = 'healthy'"))
    await engine.dispose()
    held = await store.contents()
    verdict = compare(
        held, await replay(bus, load_policy(), held.position, progress=lambda _: None)
    )
    assert verdict.differing == 1
    assert "DeviceRow d0" in verdict.examples[0]


async def test_a_truncated_log_stops_the_projector_with_a_message(
    bus: JetStreamBus, backend: Backend, database_url: str
) -> None:
    await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(10)])
    await backend.purge_facts(keep=3)
    done = await asyncio.create_subprocess_exec(
        str(HCS),
        "projector",
        "--listen",
        "127.0.0.1:0",
        env=os.environ | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": database_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await done.communicate()
    assert done.returncode == 1
    assert b"HCS_FACTS begins at 8, but the projection stands at 0" in errors
