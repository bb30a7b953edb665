"""The projector killed (SIGKILL) before each single step of its event loop.

What servers can see of a coroutine changes only where it awaits, and behind each await the loop
runs a step. So a child that runs the real projector on real servers kills itself before step 1, the
next one before step 2, and so on, until children get all their work done alive; each finds what its
predecessor left, and new work. Then the log, the tables and the decisions must agree.

A child knows its state from what passed between it and the servers, and reports it as it dies.
"""

import asyncio
import contextlib
import enum
import gc
import json
import logging
import os
import signal
from asyncio.events import Handle
from collections import Counter
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, event

from hcs_bus import jetstream
from hcs_bus.envelope import Message
from hcs_bus.events import AllocationState, DeviceSample, Operator, OperatorVerb, Samples
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, StreamSeq
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import load_policy
from hcs_control.projector import Projector
from hcs_control.replay import compare, replay
from hcs_control.rows import DeviceCounterRow
from hcs_control.store import postgres
from hcs_control.store.port import Batch, Contents, OutboxDecision
from hcs_control.store.postgres import PostgresStore
from tests.support.backend import Backend
from tests.support.facts import (
    NODE,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    heartbeat,
    message,
    quota,
)

CARD = DeviceId("d0")
UNHARMED_IN_A_ROW = 5  # children that outlive their step number: no step is left to kill before
STEPS_MIN = 150  # a projector that does all this in fewer is not the one that was meant
CHILD_TIMEOUT_S = 30


class State(enum.StrEnum):
    """Where in its work a child was killed."""

    TRANSACTION = "the position is moved in an open transaction, COMMIT is not sent"
    COMMIT = "COMMIT is sent, its answer has not been read"
    COMMITTED = "decisions are committed, the outbox has not been read since"
    PUBLISHING = "decisions of the outbox are on their way, no acknowledgement is taken"
    MARKING = "acknowledged decisions are being marked in the outbox"


class WatchedStore(PostgresStore):
    """The store, and what of its answers says where the projector is."""

    def __init__(self, database_url: str) -> None:
        super().__init__(postgres.connect(database_url)._engine)
        self.states: set[State] = set()
        self.position = StreamSeq(0)
        self._waiting: set[str] | None = None  # decisions; none: the outbox was not read yet
        event.listen(self._engine.sync_engine, "after_cursor_execute", self._on_executed)
        event.listen(self._engine.sync_engine, "commit", self._on_commit)

    def has_done(self, end: StreamSeq) -> bool:
        """Say whether everything up to `end` is committed, published and marked."""
        return self.position >= end and self._waiting is not None and not self._waiting

    async def commit(self, batch: Batch) -> None:
        """Watch a batch."""
        await super().commit(batch)
        self.states.discard(State.COMMIT)
        self.position = batch.position_to
        if batch.decisions:
            self.states.add(State.COMMITTED)
            if self._waiting is not None:
                self._waiting |= {decision.message.id for decision in batch.decisions}

    async def unpublished(self, limit: int) -> list[OutboxDecision]:
        """Watch the outbox being read."""
        found = await super().unpublished(limit)
        self._waiting = {decision.message.id for decision in found}
        self.states.discard(State.COMMITTED)
        if found:
            self.states.add(State.PUBLISHING)
        return found

    async def mark_published(self, published: dict[str, StreamSeq]) -> None:
        """Watch decisions being marked."""
        self.states.discard(State.PUBLISHING)
        self.states.add(State.MARKING)
        await super().mark_published(published)
        self.states.discard(State.MARKING)
        assert self._waiting is not None
        self._waiting -= published.keys()

    def _on_executed(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE projection_position"):
            self.states.add(State.TRANSACTION)

    def _on_commit(self, _connection: Connection) -> None:  # COMMIT is sent next
        if State.TRANSACTION in self.states:
            self.states.discard(State.TRANSACTION)
            self.states.add(State.COMMIT)


def project_and_die(
    backend: Backend, database_url: str, end: StreamSeq, kill_before: int, report: int
) -> NoReturn:
    """Run a projector in this process until it has reached `end`, or is about to take a step."""
    signal.alarm(CHILD_TIMEOUT_S)
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    loop = asyncio.new_event_loop()
    store = WatchedStore(database_url)
    steps = 0
    take_step = Handle._run

    def count_and_take_step(handle: Handle) -> None:
        nonlocal steps
        steps += 1
        if store.has_done(end):
            os._exit(0)
        if steps == kill_before:
            os.write(report, json.dumps(sorted(state.name for state in store.states)).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        take_step(handle)

    async def project() -> None:
        bus = await jetstream.connect(backend.nats_url, name="projector")
        await Projector(
            store=store,
            bus=bus,
            policy=load_policy(),
            metrics=ProjectorMetrics(CollectorRegistry()),
        ).run()

    with patch.object(Handle, "_run", count_and_take_step), contextlib.suppress(BaseException):
        loop.run_until_complete(project())
    os._exit(1)


def forked_projector(
    backend: Backend, database_url: str, end: StreamSeq, kill_before: int
) -> set[State] | None:
    """Return in which states a projector was when it was killed, or None: it did all its work."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        project_and_die(backend, database_url, end, kill_before, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read()
    _, status = os.waitpid(child, 0)
    if status == 0:
        return None
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"step {kill_before}: {status}"
    return {State[name] for name in json.loads(report)}


def work(round_number: int) -> list[Message]:
    """Return a round of everything: decisions, counters, a duplicate, poison, a grant."""
    number = 2 * round_number + 2
    sample = DeviceSample(device_id=CARD, ecc_corrected=1)
    samples = message(
        Samples(at_ns=START_NS, interval_s=10.0, devices=(sample,)),
        event_id=f"{NODE}/boot/{number}",
    )
    again = Message(subject=samples.subject, id=f"again/{number}", payload=samples.payload)
    poison = Message(subject="hcs.fact.heartbeat.gpu-0", id=f"poison/{number}", payload=b"{")
    release = Operator(
        at_ns=START_NS,
        verb=OperatorVerb.RELEASE,
        node=NODE,
        device_id=CARD,
        who="alice",
        why="to see it isolated once more",
    )
    pod, last_pod = f"pod-{round_number}", f"pod-{round_number - 1}"
    reserved = allocation(AllocationState.RESERVED, ("d1", 8, 10), pod=pod)
    released = allocation(AllocationState.RELEASED, pod=last_pod)
    return [
        message(release, event_id=f"operator/{number}"),
        samples,
        message(fault(CARD), event_id=f"{NODE}/boot/{number + 1}"),
        again,
        poison,
        message(reserved, event_id=f"allocator/{number}"),
        message(released, event_id=f"allocator/{number + 1}"),
        message(quota("d1", pod=pod), event_id=f"{NODE}/other/{number}"),
        message(heartbeat(), event_id=f"{NODE}/other/{number + 1}"),
    ]


async def start_log(backend: Backend, bus: JetStreamBus) -> None:
    """Make the streams, with a node in them."""
    await backend.make_streams(bus)
    first = fingerprint(device("d0"), device("d1", index=1))
    await bus.publish_many([message(first, event_id=f"{NODE}/boot/1")])


async def publish_round(bus: JetStreamBus, round_number: int) -> StreamSeq:
    """Publish a round of work and return the end of the log."""
    await bus.publish_many(work(round_number))
    return (await bus.stream_state(FACTS_STREAM)).last_seq


async def held_and_replayed(bus: JetStreamBus, database_url: str) -> tuple[Contents, Contents]:
    """Return what the store holds, and what it ought to."""
    store = postgres.connect(database_url)
    held = await store.contents()
    assert not await store.unpublished(1)
    await store.close()
    return held, await replay(bus, load_policy(), held.position, progress=lambda _: None)


async def published_ids(bus: JetStreamBus) -> list[str]:
    """Return the ids of all decisions on the bus."""
    end = (await bus.stream_state(DECISIONS_STREAM)).last_seq
    follower = await bus.follow(DECISIONS_STREAM, after=StreamSeq(0))
    found: list[str] = []
    async with asyncio.timeout(CHILD_TIMEOUT_S):
        while len(found) < end:
            records = await follower.fetch(limit=1_000, timeout_s=1.0)
            found += [json.loads(record.payload)["id"] for record in records]
    await follower.close()
    return found


@pytest.mark.timeout(600)  # a minute where nobody else works
def test_killed_before_every_step_it_loses_nothing_and_doubles_nothing(
    backend: Backend, database_url: str
) -> None:
    killed: Counter[State] = Counter()
    rounds = kills = unharmed = 0
    with asyncio.Runner() as runner:
        bus = runner.run(backend.connect_bus())
        runner.run(start_log(backend, bus))
        gc.collect()
        gc.freeze()  # a child that collects garbage would copy all of this process
        while unharmed < UNHARMED_IN_A_ROW:
            end = runner.run(publish_round(bus, rounds))
            rounds += 1
            states = forked_projector(backend, database_url, end, kill_before=rounds)
            unharmed = unharmed + 1 if states is None else 0
            kills += states is not None
            killed.update(states or ())
        gc.unfreeze()
        held, replayed = runner.run(held_and_replayed(bus, database_url))
        decisions = runner.run(published_ids(bus))
        runner.run(backend.delete_streams())
        runner.run(bus.close())
    print(f"{kills} kills before {rounds} steps:", dict(killed))
    assert kills >= STEPS_MIN
    assert killed.keys() == set(State)
    verdict = compare(held, replayed)
    assert verdict.differing == 0, verdict.examples
    assert sorted(decisions) == sorted(decision.message.id for decision in held.decisions)
    assert (
        len(decisions) == 2 * rounds - 1
    )  # an isolation per round, a release in each but the first
    [counted] = [row for row in held.rows if isinstance(row, DeviceCounterRow)]
    assert counted.ecc_corrected == rounds
    assert len(held.parked) == rounds
