"""The ordered pull consumer: holes, statuses and limits that a real server seldom produces."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from nats.js.api import ConsumerConfig

from hcs_bus import jetstream_follower
from hcs_bus.jetstream_connection import Receiver
from hcs_bus.jetstream_follower import (
    BYTES_ASKED_MAX,
    RECORDS_ASKED_MAX,
    JetStreamFollower,
    positions,
)
from hcs_bus.names import StreamSeq
from hcs_bus.port import FETCH_BYTES_MAX, Record
from hcs_bus.subjects import FACTS_STREAM

TIMEOUT_S = 5.0


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a consumer anew without the pause that spares a real server."""
    monkeypatch.setattr(jetstream_follower, "RESTART_WAIT_S", 0.01)


def delivery(consumer: int, stream: int, *, pending: int = 0, data: bytes = b"") -> SimpleNamespace:
    """Return a message as the client hands it out."""
    reply = f"$JS.ACK.{FACTS_STREAM}.c.1.{stream}.{consumer}.1700000000000000000.{pending}"
    return SimpleNamespace(subject="s", reply=reply, data=data, headers=None)


def status(inbox: str, code: str, description: str) -> SimpleNamespace:
    """Return a status that the server sends about a request."""
    headers = {"Status": code, "Description": description}
    return SimpleNamespace(subject=inbox, reply="", data=b"", headers=headers)


@dataclass
class Request:
    """A request for records."""

    consumer: str
    inbox: str
    batch: int
    max_bytes: int


@dataclass
class Server:
    """Stands where the connection is: makes consumers and notes what they are asked."""

    max_payload: int = 1024**2
    starts: list[int | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    requested: asyncio.Event = field(default_factory=asyncio.Event)
    on_lost: set[Callable[[], None]] = field(default_factory=set)
    hear: Callable[[SimpleNamespace], Awaitable[None]] | None = None

    @property
    def client(self) -> "Server":
        """The client is this too."""
        return self

    @property
    def context(self) -> "Server":
        """And so is the JetStream part of it."""
        return self

    async def ready(self, _timeout_s: float) -> bool:
        """Be there."""
        return True

    async def add_consumer(self, _stream: str, config: ConsumerConfig) -> SimpleNamespace:
        """Note where the consumer starts."""
        self.starts.append(config.opt_start_seq)
        return SimpleNamespace(name=f"c{len(self.starts)}")

    def new_inbox(self) -> str:
        """Return an inbox."""
        return f"inbox{len(self.starts)}"

    async def receive(
        self,
        _subject: str,
        receiver: Receiver,
        *,
        on_status: Callable[[SimpleNamespace], Awaitable[None]],
    ) -> SimpleNamespace:
        """Note who listens."""

        async def hear(message: SimpleNamespace) -> None:
            if message.reply:
                await receiver(message.subject, message.reply, message.data)
            else:
                await on_status(message)

        self.hear = hear

        async def unsubscribe() -> None:
            """Do nothing."""

        return SimpleNamespace(unsubscribe=unsubscribe)

    async def publish(self, subject: str, payload: bytes, *, reply: str) -> None:
        """Take a request."""
        asked = json.loads(payload)
        consumer = subject.rpartition(".")[2]
        self.requests.append(Request(consumer, reply, asked["batch"], asked["max_bytes"]))
        self.requested.set()

    async def deliver(self, *messages: SimpleNamespace) -> None:
        """Wait until somebody listens and asks, then deliver."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.requested.wait()
        self.requested.clear()
        assert self.hear is not None
        for message in messages:
            await self.hear(message)


def follower_of(server: Server, *, after: int = 0) -> JetStreamFollower:
    """Return a follower behind a position."""
    return JetStreamFollower(server, FACTS_STREAM, StreamSeq(after), ())  # type: ignore[arg-type]  # a stand-in


async def seqs_of(fetch: Awaitable[list[Record]]) -> list[int]:
    """Return the positions of what is fetched."""
    return [record.seq for record in await fetch]


def test_a_delivery_tells_its_positions_with_and_without_a_domain() -> None:
    assert positions("$JS.ACK.HCS_FACTS.c.1.10.3.1700000000000000000.7") == (10, 3, 7)
    long = "$JS.ACK.hub.account.HCS_FACTS.c.1.10.3.1700000000000000000.7"
    assert positions(long) == (10, 3, 7)
    assert positions(f"{long}.random") == (10, 3, 7)


async def test_a_delivery_that_does_not_tell_its_positions_makes_the_consumer_anew() -> None:
    server = Server()
    follower = follower_of(server, after=9)
    fetch = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(SimpleNamespace(subject="s", reply="$JS.ACK.odd", data=b""))
    await server.deliver(delivery(1, 10))
    assert await fetch == [10]
    assert server.starts == [10, 10]


async def test_a_hole_is_asked_for_again_from_the_last_record_handed_out() -> None:
    server = Server()
    follower = follower_of(server, after=9)
    first = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    # The second was lost with a connection.
    await server.deliver(delivery(1, 10, pending=2), delivery(3, 12))
    assert await first == [10]
    second = asyncio.create_task(seqs_of(follower.fetch(limit=10, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 11, pending=1), delivery(2, 12))
    assert await second == [11, 12]
    assert server.starts == [10, 11]


async def test_a_repeated_delivery_is_not_handed_out_again() -> None:
    server = Server()
    follower = follower_of(server)
    first = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 1), delivery(1, 1))
    assert await first == [1]
    second = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 2))
    assert await second == [2]
    assert server.starts == [1, 2]


@pytest.mark.parametrize(
    ("code", "description"),
    [
        ("408", "Request Timeout"),
        ("409", "Batch Completed"),
        ("409", "Message Size Exceeds MaxBytes"),
    ],
)
async def test_a_request_that_ended_is_followed_by_another(code: str, description: str) -> None:
    server = Server()
    fetch = asyncio.create_task(seqs_of(follower_of(server).fetch(limit=2, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 1, pending=1), status("inbox1.1", code, description))
    await server.deliver(delivery(2, 2))
    assert await fetch == [1, 2]
    assert [request.inbox for request in server.requests] == ["inbox1.1", "inbox1.2"]


@pytest.mark.parametrize(
    ("code", "description"),
    [
        ("409", "Consumer Deleted"),
        ("409", "Leadership Change"),
        ("409", "Server Shutdown"),
        ("503", ""),
        ("400", "Bad Request"),
    ],
)
async def test_a_consumer_that_ended_is_made_anew(code: str, description: str) -> None:
    server = Server()
    fetch = asyncio.create_task(seqs_of(follower_of(server).fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(status("inbox1.1", code, description))
    await server.deliver(delivery(1, 1))
    assert await fetch == [1]
    assert server.starts == [1, 1]


async def test_after_a_lost_connection_what_came_is_handed_out_and_the_rest_asked_for() -> None:
    server = Server()
    follower = follower_of(server)
    first = asyncio.create_task(seqs_of(follower.fetch(limit=9, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 1, pending=1))
    for lose in tuple(server.on_lost):
        lose()
    assert await first == [1]
    second = asyncio.create_task(seqs_of(follower.fetch(limit=9, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 2))
    assert await second == [2]
    assert server.starts == [1, 2]
    assert len(server.on_lost) == 1  # the first consumer's is gone


async def test_silence_without_a_heartbeat_makes_the_consumer_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jetstream_follower, "SILENCE_S_MAX", 0.1)
    server = Server()
    assert await follower_of(server).fetch(limit=1, timeout_s=1.0) == []
    assert len(server.starts) > 1


async def test_a_heartbeat_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream_follower, "SILENCE_S_MAX", 0.2)
    server = Server()
    fetch = asyncio.create_task(follower_of(server).fetch(limit=1, timeout_s=1.0))
    await server.deliver()
    assert server.hear is not None
    while not fetch.done():
        await server.hear(status("inbox1.1", "100", "Idle Heartbeat"))
        await asyncio.sleep(0.02)
    assert await fetch == []
    assert len(server.starts) == 1


async def test_a_status_of_an_earlier_request_ends_nothing() -> None:
    server = Server()
    fetch = asyncio.create_task(
        seqs_of(follower_of(server).fetch(limit=RECORDS_ASKED_MAX + 1, timeout_s=TIMEOUT_S))
    )
    await server.deliver(*(delivery(n, n, pending=9) for n in range(1, RECORDS_ASKED_MAX + 1)))
    await server.deliver(
        status("inbox1.1", "409", "Batch Completed"),  # it was used up, and the next is under way
        delivery(RECORDS_ASKED_MAX + 1, RECORDS_ASKED_MAX + 1),
    )
    assert len(await fetch) == RECORDS_ASKED_MAX + 1
    assert len(server.requests) == 2


async def test_a_reader_that_does_not_come_is_sent_two_requests_worth_at_most() -> None:
    server = Server()
    follower = follower_of(server)
    assert await follower.fetch(limit=1, timeout_s=0.05) == []
    delivered = 0
    while len(server.requests) > delivered // RECORDS_ASKED_MAX:
        numbers = range(delivered + 1, delivered + RECORDS_ASKED_MAX + 1)
        await server.deliver(*(delivery(n, n, pending=9) for n in numbers))
        delivered += RECORDS_ASKED_MAX
    assert delivered == 2 * RECORDS_ASKED_MAX
    records = await follower.fetch(limit=delivered, timeout_s=TIMEOUT_S)
    assert [record.seq for record in records] == list(range(1, delivered + 1))
    assert len(server.requests) == 3  # there is room again


async def test_bytes_that_wait_here_hold_back_the_next_request() -> None:
    server = Server()
    follower = follower_of(server)
    assert await follower.fetch(limit=1, timeout_s=0.05) == []
    half = BYTES_ASKED_MAX // 2
    await server.deliver(
        delivery(1, 1, pending=9, data=b"x" * half),
        delivery(2, 2, pending=9, data=b"x" * half),
        status("inbox1.1", "409", "Batch Completed"),
    )
    await server.deliver(
        delivery(3, 3, pending=9, data=b"x" * half),
        status("inbox1.2", "409", "Batch Completed"),
    )
    assert [request.max_bytes for request in server.requests] == [BYTES_ASKED_MAX] * 2
    assert len(await follower.fetch(limit=1, timeout_s=TIMEOUT_S)) == 1
    assert len(await follower.fetch(limit=2, timeout_s=0.05)) == 2
    assert len(server.requests) == 3


async def test_a_fetch_ends_with_the_record_that_reaches_its_bytes() -> None:
    server = Server()
    follower = follower_of(server)
    fetch = asyncio.create_task(seqs_of(follower.fetch(limit=1_000, timeout_s=TIMEOUT_S)))
    half = FETCH_BYTES_MAX // 2 - 1
    sizes = {1: half, 2: 1, 3: half, 4: half, 5: 1}
    await server.deliver(
        *(delivery(n, n, pending=5 - n, data=b"x" * size) for n, size in sizes.items())
    )
    assert await fetch == [1, 2, 3, 4]
    assert await seqs_of(follower.fetch(limit=1_000, timeout_s=TIMEOUT_S)) == [5]


async def test_bytes_that_a_cancelled_fetch_had_gathered_count_in_the_next() -> None:
    server = Server()
    follower = follower_of(server)
    first = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    third = b"x" * (FETCH_BYTES_MAX // 3 + 1)
    await server.deliver(*(delivery(n, n, pending=9, data=third) for n in (1, 2, 3)))
    assert await first == [1]
    cut_short = asyncio.create_task(follower.fetch(limit=9, timeout_s=TIMEOUT_S))
    async with asyncio.timeout(TIMEOUT_S):
        while len(follower._gathered) < 2:
            await asyncio.sleep(0)
    cut_short.cancel()
    assert server.hear is not None
    await server.hear(delivery(4, 4, pending=1, data=third))
    await server.hear(delivery(5, 5, data=third))
    assert await seqs_of(follower.fetch(limit=9, timeout_s=TIMEOUT_S)) == [2, 3, 4]
    assert await seqs_of(follower.fetch(limit=9, timeout_s=TIMEOUT_S)) == [5]
    assert follower._gathered_bytes == 0


async def test_a_message_larger_than_a_request_is_asked_for_with_more_room() -> None:
    server = Server()
    fetch = asyncio.create_task(seqs_of(follower_of(server).fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(status("inbox1.1", "409", "Message Size Exceeds MaxBytes"))
    await server.deliver(delivery(1, 1))
    assert await fetch == [1]
    assert [request.max_bytes for request in server.requests] == [
        BYTES_ASKED_MAX,
        2 * BYTES_ASKED_MAX,
    ]


async def test_a_fetch_waits_for_what_is_on_its_way_already() -> None:
    server = Server()
    fetch = asyncio.create_task(seqs_of(follower_of(server).fetch(limit=10, timeout_s=TIMEOUT_S)))
    await server.deliver(delivery(1, 1, pending=2), delivery(2, 2, pending=1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not fetch.done()
    assert server.hear is not None
    await server.hear(delivery(3, 3, pending=0))
    assert await fetch == [1, 2, 3]


async def test_a_cancelled_fetch_leaves_what_it_had_gathered_to_the_next() -> None:
    server = Server()
    follower = follower_of(server)
    first = asyncio.create_task(seqs_of(follower.fetch(limit=1, timeout_s=TIMEOUT_S)))
    await server.deliver(*(delivery(n, n, pending=9) for n in (1, 2, 3)))
    assert await first == [1]
    cut_short = asyncio.create_task(follower.fetch(limit=9, timeout_s=TIMEOUT_S))
    while len(follower._gathered) < 2:
        await asyncio.sleep(0)
    cut_short.cancel()
    assert await seqs_of(follower.fetch(limit=9, timeout_s=0.05)) == [2, 3]
