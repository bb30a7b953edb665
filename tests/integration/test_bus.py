"""The bus adapter against a real nats-server, which is killed, cut off and provoked."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats.errors
import pytest
from structlog.testing import capture_logs

from hcs_bus import jetstream, jetstream_follower, jetstream_publisher
from hcs_bus.envelope import Message, decode_envelope
from hcs_bus.errors import TransientError
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.jetstream_follower import RECORDS_ASKED_MAX
from hcs_bus.jetstream_publisher import ACK_TIMEOUT_S, PUBLISH_WINDOW_MAX
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus, Follower, PublishAck
from hcs_bus.subjects import FACTS_STREAM
from tests.support.backend import Backend
from tests.support.bus_contract import BusContract, fetch_all, positions
from tests.support.facts import heartbeat, message

DEADLINE_S = 60
KILLS = 4
SENT_BETWEEN_KILLS = 2 * RECORDS_ASKED_MAX + 500


class TestJetStreamBus(BusContract):
    """The contract, on the real server."""

    @pytest.fixture(autouse=True)
    def _server(self, backend: Backend) -> None:
        self._backend = backend

    async def drop_oldest(self, bus: Bus, *, keep: int) -> None:
        """Purge."""
        del bus
        await self._backend.purge_facts(keep=keep)


async def publish_all(bus: JetStreamBus, messages: list[Message]) -> int:
    """Publish until everything is acknowledged, as a spool does; return how many went again."""
    again = 0
    while messages:
        results = await bus.publish_many(messages)
        messages = [sent for sent, ack in zip(messages, results, strict=True) if ack is None]
        again += len(messages)
    return again


async def read(follower: Follower, count: int) -> list[tuple[int, str]]:
    """Return the positions and ids of the next `count` records."""
    found: list[tuple[int, str]] = []
    while len(found) < count:
        records = await follower.fetch(limit=min(100, count - len(found)), timeout_s=1)
        found += [(record.seq, decode_envelope(record.payload).id) for record in records]
    return found


class Wire:
    """A cable between a client and the server: it can fall silent either way, and be cut."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._writers: list[asyncio.StreamWriter] = []
        self.to_server = asyncio.Event()
        self.to_client = asyncio.Event()
        self.to_server.set()
        self.to_client.set()

    async def serve(self) -> asyncio.Server:
        """Listen; `url` tells where."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self._server

    @property
    def url(self) -> str:
        """The server's URL by way of this cable."""
        port = self._server.sockets[0].getsockname()[1]
        return self._backend.nats_url.replace(f":{self._backend.ports['nats']}", f":{port}")

    def cut(self) -> None:
        """End every connection; a new one can be made."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", self._backend.ports["nats"]
        )
        self._writers += (writer, far_writer)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump(reader, far_writer, self.to_server))
            tasks.create_task(self._pump(far_reader, writer, self.to_client))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def wire(bus: JetStreamBus, backend: Backend) -> AsyncIterator[Wire]:
    """Return a cable to a server with empty streams."""
    del bus
    made = Wire(backend)
    server = await made.serve()
    yield made
    made.cut()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def far(wire: Wire) -> AsyncIterator[JetStreamBus]:
    """Return a bus at the other end of the cable."""
    made = await jetstream.connect(wire.url, name="far")
    yield made
    await made.close()


@asynccontextmanager
async def killed_again_and_again(backend: Backend) -> AsyncIterator[asyncio.Event]:
    """Kill and restart the server while the body runs; the event is set after the last time."""
    done = asyncio.Event()

    async def kill() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(backend.kill, "nats")
            backend.restart("nats")
        done.set()

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        yield done


async def test_a_server_killed_while_it_is_published_to_stores_everything_once(
    bus: JetStreamBus, backend: Backend
) -> None:
    sent: list[Message] = []
    again = 0
    async with killed_again_and_again(backend) as done:
        for batch in itertools.count():
            messages = [message(heartbeat(at_ns=n)) for n in range(1_500)]
            again += await publish_all(bus, messages)
            sent += messages
            if done.is_set() and batch >= KILLS:
                break
    assert again > 0  # it was hit at work
    records = await fetch_all(bus, len(sent))
    stored = [decode_envelope(record.payload).id for record in records]
    assert sorted(stored) == sorted(m.id for m in sent)
    assert (await bus.stream_state(FACTS_STREAM)).last_seq == len(sent)


async def test_a_server_killed_while_it_is_followed_delivers_everything_once_in_order(
    bus: JetStreamBus, backend: Backend
) -> None:
    sent = [message(heartbeat(at_ns=n)) for n in range(KILLS * SENT_BETWEEN_KILLS)]
    await publish_all(bus, sent)
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    found: list[tuple[int, str]] = []
    with capture_logs() as logs:
        for _ in range(KILLS):
            found += await read(follower, 100)
            # More than is on its way when the server dies.
            reading = asyncio.create_task(read(follower, SENT_BETWEEN_KILLS - 100))
            await asyncio.to_thread(backend.kill, "nats")
            backend.restart("nats")
            async with asyncio.timeout(DEADLINE_S):
                found += await reading
    restarts = {entry["after"] for entry in logs if entry["event"] == "follower_restarts"}
    assert restarts  # it was hit at work
    assert [seq for seq, _ in found] == list(range(1, len(sent) + 1))
    assert [event_id for _, event_id in found] == [m.id for m in sent]


async def test_a_waiting_follower_goes_on_after_the_server_was_killed(
    bus: JetStreamBus, backend: Backend
) -> None:
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    assert await follower.fetch(limit=1, timeout_s=0.1) == []
    waiting = asyncio.create_task(read(follower, 5))
    backend.kill("nats")
    backend.restart("nats")
    async with asyncio.timeout(DEADLINE_S):
        await publish_all(bus, [message(heartbeat(at_ns=n)) for n in range(5)])
        assert [seq for seq, _ in await waiting] == [1, 2, 3, 4, 5]


async def test_what_was_acknowledged_survives_a_kill(bus: JetStreamBus, backend: Backend) -> None:
    sent = [message(heartbeat(at_ns=n)) for n in range(50)]
    positions(await bus.publish_many(sent))
    backend.kill("nats")
    backend.restart("nats")
    records = await fetch_all(bus, 50)
    assert [record.payload for record in records] == [m.payload for m in sent]


async def test_messages_in_flight_when_the_connection_breaks_are_to_be_sent_again(
    far: JetStreamBus, wire: Wire, bus: JetStreamBus
) -> None:
    positions(await far.publish_many([message(heartbeat(at_ns=n)) for n in range(10)]))
    sent = [message(heartbeat(at_ns=n)) for n in range(1_000)]
    wire.to_client.clear()
    publishing = asyncio.create_task(far.publish_many(sent))
    async with asyncio.timeout(ACK_TIMEOUT_S):  # it does not wait for the deadline
        while (await bus.stream_state(FACTS_STREAM)).last_seq < 10 + PUBLISH_WINDOW_MAX:
            await asyncio.sleep(0.01)
        wire.cut()
        assert await publishing == [None] * 1_000
    wire.to_client.set()
    results = await far.publish_many(sent)
    assert positions(results) == list(range(11, 1_011))
    duplicates = [ack for ack in results if isinstance(ack, PublishAck) and ack.duplicate]
    assert len(duplicates) == PUBLISH_WINDOW_MAX  # what was in flight had been stored


async def test_what_is_not_answered_in_time_is_unacknowledged_and_nothing_else_is(
    far: JetStreamBus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_publisher, "ACK_TIMEOUT_S", 2.0)
    before, during, after = ([message(heartbeat(at_ns=n)) for n in range(200)] for _ in range(3))
    positions(await far.publish_many(before))
    wire.to_client.clear()
    with capture_logs() as logs:
        assert await far.publish_many(during) == [None] * 200
    assert logs == [
        {
            "event": "publish_unacknowledged",
            "log_level": "warning",
            "of": 200,
            "reasons": {"no answer in time": 200},
        }
    ]
    wire.to_client.set()  # answers come after all, too late
    assert positions(await far.publish_many(after)) == list(range(401, 601))
    assert positions(await far.publish_many(during)) == list(range(201, 401))


async def test_no_more_than_the_window_is_in_flight(
    far: JetStreamBus, wire: Wire, bus: JetStreamBus
) -> None:
    positions(await far.publish_many([message(heartbeat())]))
    wire.to_client.clear()
    batches = [[message(heartbeat(at_ns=n)) for n in range(1_000)] for _ in range(3)]
    publishing = [asyncio.create_task(far.publish_many(batch)) for batch in batches]
    async with asyncio.timeout(ACK_TIMEOUT_S):
        while (await bus.stream_state(FACTS_STREAM)).last_seq < 1 + PUBLISH_WINDOW_MAX:
            await asyncio.sleep(0.01)
    assert len(far._publisher._in_flight) == PUBLISH_WINDOW_MAX
    wire.to_client.set()
    stored = [seq for results in await asyncio.gather(*publishing) for seq in positions(results)]
    assert sorted(stored) == list(range(2, 3_002))
    assert not far._publisher._in_flight


async def test_a_follower_that_hears_no_heartbeat_begins_anew(
    far: JetStreamBus, wire: Wire, bus: JetStreamBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_follower, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(jetstream_follower, "SILENCE_S_MAX", 1.0)
    follower = await far.follow(FACTS_STREAM, after=StreamSeq(0))
    with capture_logs() as logs:
        assert await follower.fetch(limit=1, timeout_s=2.0) == []
    assert logs == []  # heartbeats came
    wire.to_client.clear()
    with capture_logs() as logs:
        assert await follower.fetch(limit=1, timeout_s=1.5) == []
    assert {entry["reason"] for entry in logs} == {"no heartbeat"}
    positions(await bus.publish_many([message(heartbeat())]))
    wire.to_client.set()
    async with asyncio.timeout(DEADLINE_S):
        assert [seq for seq, _ in await read(follower, 1)] == [1]


async def test_a_client_that_the_server_ended_is_replaced(bus: JetStreamBus) -> None:
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    positions(await bus.publish_many([message(heartbeat())]))
    assert [seq for seq, _ in await read(follower, 1)] == [1]
    client = bus._connection.client
    # With its header the message is larger than the server takes: it ends the connection, and
    # the client closes for good.
    await client.publish("any", b"x" * client.max_payload, headers={"a": "b"})
    async with asyncio.timeout(DEADLINE_S):
        while not client.is_closed:
            await asyncio.sleep(0.01)
        await publish_all(bus, [message(heartbeat())])
        assert [seq for seq, _ in await read(follower, 1)] == [2]
    assert (await bus.stream_state(FACTS_STREAM)).last_seq == 2


async def test_of_headers_only_the_servers_own_words_are_read(bus: JetStreamBus) -> None:
    client = bus._connection.client
    subscription = await client.subscribe("any")
    await client.publish("any", b"x", headers={"a": "b"})
    message = await subscription.next_msg(timeout=DEADLINE_S)
    assert (message.data, message.headers) == (b"x", None)
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("nobody")


async def publish_as_it_is(backend: Backend, subject: bytes, headers: bytes) -> None:
    """Publish bytes that no client of ours would, and wait until the server has taken them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.ports["nats"])
    password = backend.passwords["control"].encode()
    options = b'"verbose":false,"pedantic":false,"headers":true'
    writer.write(b'CONNECT {"user":"control","pass":"%s",%s}\r\n' % (password, options))
    sizes = b"%d %d" % (len(headers), len(headers) + 2)
    writer.write(b"HPUB %s %s\r\n%s{}\r\nPING\r\n" % (subject, sizes, headers))
    await reader.readline()  # what the server says of itself
    assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


NO_HEADERS = b"NATS/1.0\r\n\r\n"


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"a\x0bb", "a\x0bb"),
        (b"a\x0cb", "a\x0cb"),
        (b"a\x00b", "a\x00b"),
        ("中".encode(), "中"),
        (b"l" * 4_000, "l" * 4_000),  # with what a delivery adds, longer than a line may be
    ],
    ids=["no UTF-8", "a vertical tab", "a form feed", "NUL", "Chinese", "endless"],
)
async def test_a_reader_gets_over_any_subject_that_the_server_takes(
    bus: JetStreamBus, backend: Backend, token: bytes, shown: str
) -> None:
    await publish_as_it_is(backend, b"hcs.fact.fault.gpu-0." + token, NO_HEADERS)
    positions(await bus.publish_many([message(heartbeat())]))
    records = await fetch_all(bus, 2)
    assert [record.subject for record in records] == [
        f"hcs.fact.fault.gpu-0.{shown}",
        "hcs.fact.heartbeat.gpu-0",
    ]
    assert records[0].payload == b"{}"


@pytest.mark.parametrize(
    "headers",
    [
        b"NATS/1.0",
        b"\r\n\r\n",
        b"NATS/1.0 \xff\xfe\r\n\r\n",
        b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    ],
)
async def test_a_reader_gets_over_any_headers_that_the_server_takes(
    bus: JetStreamBus, backend: Backend, headers: bytes
) -> None:
    await publish_as_it_is(backend, b"hcs.fact.heartbeat.gpu-0", headers)
    positions(await bus.publish_many([message(heartbeat())]))
    with capture_logs() as logs:
        records = await fetch_all(bus, 2)
    assert [(record.seq, record.payload == b"{}") for record in records] == [(1, True), (2, False)]
    assert logs == []  # in one go: no word of a publisher's is taken for the server's


async def test_no_server_is_said_so_and_not_waited_for() -> None:
    with pytest.raises(TransientError):
        await jetstream.connect("nats://127.0.0.1:1", name="test")
