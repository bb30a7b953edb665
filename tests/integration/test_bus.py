"""The bus adapter against a real nats-server."""

import asyncio

import pytest

from hcs_bus import jetstream
from hcs_bus.errors import TransientError
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from tests.support.backend import Backend
from tests.support.bus_contract import BusContract, fetch_all
from tests.support.facts import heartbeat, message


class TestJetStreamBus(BusContract):
    """The contract, on the real server."""


async def test_a_follower_goes_on_after_the_server_was_killed(
    bus: JetStreamBus, backend: Backend
) -> None:
    await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(5)])
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    seqs = [record.seq for record in await follower.fetch(limit=3, timeout_s=5)]
    backend.kill("nats")
    backend.restart("nats")
    sent = [message(heartbeat(at_ns=n)) for n in range(5, 10)]
    async with asyncio.timeout(30):
        while sent:
            acks = await bus.publish_many(sent)
            sent = [m for m, ack in zip(sent, acks, strict=True) if ack is None]
        while len(seqs) < 10:
            seqs += [record.seq for record in await follower.fetch(limit=100, timeout_s=1)]
    assert seqs == list(range(1, 11))


async def test_what_was_acknowledged_survives_a_kill(bus: JetStreamBus, backend: Backend) -> None:
    sent = [message(heartbeat(at_ns=n)) for n in range(50)]
    acks = await bus.publish_many(sent)
    assert None not in acks
    backend.kill("nats")
    backend.restart("nats")
    records = await fetch_all(bus, 50)
    assert [record.payload for record in records] == [m.payload for m in sent]


async def test_no_server_is_said_so_and_not_waited_for() -> None:
    with pytest.raises(TransientError):
        await jetstream.connect("nats://127.0.0.1:1", name="test")
