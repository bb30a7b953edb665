"""What the bus does at its limits: of a message, of a stream, of a user, of a reader's memory."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import StoreCompression, StreamConfig
from structlog.testing import capture_logs

from hcs_bus import jetstream, jetstream_follower, jetstream_publisher
from hcs_bus.envelope import Message
from hcs_bus.errors import ConfigError
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.jetstream_streams import DUPLICATES_WINDOW_S, FACTS_BYTES_MAX, UNLIMITED
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import FETCH_BYTES_MAX, PublishRefused
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.store.postgres import PostgresStore
from hcs_edge.local import nats as nats_server
from hcs_edge.local import passwords, ports
from hcs_edge.local.cluster import Part
from hcs_edge.local.home import Home
from hcs_edge.local.pki import Pki
from hcs_edge.local.settings import Settings
from tests.support.backend import Backend, free_port_base
from tests.support.bus_contract import positions
from tests.support.facts import heartbeat, message
from tests.support.local_cluster import LocalCluster, eventually, running_cluster

DEADLINE_S = 60
SMALL_BYTES = 100_000  # some 200 heartbeats
HCS = Path(sys.executable).parent / "hcs"


@asynccontextmanager
async def server(backend: Backend) -> AsyncIterator[JetStreamContext]:
    """Yield what an operator sets streams with."""
    client = await nats.connect(backend.nats_url)
    yield client.jetstream()
    await client.close()


async def change_facts(backend: Backend, **changes: object) -> None:
    """Change the facts' stream as an operator would."""
    async with server(backend) as context:
        held = (await context.stream_info(FACTS_STREAM)).config
        await context.update_stream(held.evolve(**changes))


async def facts_config(backend: Backend) -> StreamConfig:
    """Return how the server has the facts' stream."""
    async with server(backend) as context:
        return (await context.stream_info(FACTS_STREAM)).config


async def overflow(bus: JetStreamBus, count: int) -> None:
    """Publish so many heartbeats."""
    positions(await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(count)]))


# --- A message -----------------------------------------------------------------------------------


async def test_a_message_counts_with_its_headers_and_the_largest_one_goes_through(
    bus: JetStreamBus,
) -> None:
    size_max = bus._connection.client.max_payload
    subject, event_id = "hcs.fact.heartbeat.gpu-0", "n/boot/1"
    headers = f"NATS/1.0\r\nNats-Msg-Id: {event_id}\r\n"
    headers += "Content-Type: application/cloudevents+json\r\n\r\n"
    largest = b"x" * (size_max - len(headers))
    sent = [
        Message(subject=subject, id=event_id, payload=largest + b"x"),
        Message(subject=subject, id=event_id, payload=largest),
    ]
    with capture_logs() as logs:
        refused, stored = await bus.publish_many(sent)
    assert isinstance(refused, PublishRefused)
    assert refused.reason == f"{size_max + 1} bytes with headers, the server takes {size_max}"
    assert positions([stored]) == [1]
    assert [(entry["event"], entry["id"]) for entry in logs] == [("publish_refused", event_id)]
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    [record] = await follower.fetch(limit=1, timeout_s=DEADLINE_S)
    assert record.payload == largest
    assert bus._connection.client.is_connected  # the server did not end the connection over it


async def test_a_message_larger_than_its_stream_takes_is_refused(
    bus: JetStreamBus, backend: Backend
) -> None:
    await change_facts(backend, max_msg_size=1_000)
    large = message(heartbeat())
    large = Message(subject=large.subject, id=large.id, payload=b"x" * 2_000)
    refused, stored = await bus.publish_many([large, message(heartbeat())])
    assert refused == PublishRefused(reason="message size exceeds maximum allowed")
    assert positions([stored]) == [1]


async def test_an_id_that_would_break_the_protocol_is_refused(bus: JetStreamBus) -> None:
    broken = Message(subject="hcs.fact.heartbeat.a", id="1\r\nPUB x 0\r\n", payload=b"{}")
    refused, stored = await bus.publish_many([broken, message(heartbeat())])
    assert isinstance(refused, PublishRefused)
    assert positions([stored]) == [1]


# --- A stream ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("bus")
async def test_a_new_stream_has_its_limits(backend: Backend) -> None:
    config = await facts_config(backend)
    assert config.max_bytes == FACTS_BYTES_MAX
    assert (config.discard, config.storage, config.retention) == ("old", "file", "limits")
    assert config.duplicate_window == DUPLICATES_WINDOW_S
    assert (config.num_replicas, config.max_age, config.max_msgs) == (1, 0, UNLIMITED)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (SMALL_BYTES, FACTS_BYTES_MAX),
        (FACTS_BYTES_MAX + 1, FACTS_BYTES_MAX + 1),
        (UNLIMITED, UNLIMITED),
    ],
)
async def test_a_start_raises_a_limit_and_never_lowers_it(
    bus: JetStreamBus, backend: Backend, held: int, expected: int
) -> None:
    await change_facts(backend, max_bytes=held)
    await bus.ensure_streams()
    assert (await facts_config(backend)).max_bytes == expected


async def test_a_new_log_is_as_large_as_the_projector_is_told(
    backend: Backend, database_url: str
) -> None:
    """A projector makes it, and the next one, which is told nothing, leaves it so."""
    wanted = FACTS_BYTES_MAX + 1024**3
    for options in (["--facts-bytes-max", str(wanted)], []):
        with projecting(backend, database_url, *options) as process:
            await says_that_it_projects(process)
            assert (await facts_config(backend)).max_bytes == wanted
    await backend.delete_streams()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(FACTS_BYTES_MAX + 1, FACTS_BYTES_MAX + 1), (SMALL_BYTES, FACTS_BYTES_MAX)],
)
async def test_a_log_that_exists_is_made_larger_and_not_smaller(
    bus: JetStreamBus, backend: Backend, wanted: int, expected: int
) -> None:
    await bus.ensure_streams(facts_bytes_max=wanted)
    assert (await facts_config(backend)).max_bytes == expected


async def test_a_start_restores_what_hcs_needs_and_leaves_the_rest(
    bus: JetStreamBus, backend: Backend
) -> None:
    await change_facts(backend, duplicate_window=1.0, compression=StoreCompression.S2)
    await bus.ensure_streams()
    config = await facts_config(backend)
    assert config.duplicate_window == DUPLICATES_WINDOW_S
    assert config.compression == StoreCompression.S2


async def test_replicas_on_a_single_server_are_a_wrong_configuration(bus: JetStreamBus) -> None:
    with pytest.raises(ConfigError, match="replicas > 1"):
        await bus.ensure_streams(replicas=3)


async def test_a_full_server_is_waited_for_and_loses_nothing(
    bus: JetStreamBus, backend: Backend
) -> None:
    await change_facts(backend, max_bytes=SMALL_BYTES, discard="new")  # refuses, drops nothing
    with capture_logs() as logs:
        results = await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(500)])
    stored = (await bus.stream_state(FACTS_STREAM)).last_seq
    assert positions(results[:stored]) == list(range(1, stored + 1))
    assert results[stored:] == [None] * (500 - stored) != []
    assert logs[-1]["reasons"] == {"maximum bytes exceeded": 500 - stored}


@contextmanager
def projecting(
    backend: Backend, database_url: str, *options: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a projector."""
    process = subprocess.Popen(
        [str(HCS), "projector", "--listen", "127.0.0.1:0", *options],
        env=os.environ | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


async def says_that_it_projects(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the word that comes when it has made the streams."""
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        while line := await asyncio.to_thread(process.stderr.readline):
            if b'"projecting"' in line:
                return
    raise AssertionError("it ended before it projected")


async def ends_with(process: "subprocess.Popen[bytes]") -> str:
    """Wait for the end and return the last line."""
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    return errors.decode().splitlines()[-1]


async def commits(store: PostgresStore, position: int) -> None:
    """Wait until the projection stands at least there."""
    async with asyncio.timeout(DEADLINE_S):
        while (await store.load()).position < position:
            await asyncio.sleep(0.05)


async def test_a_projector_that_starts_behind_a_full_stream_says_which_facts_are_gone(
    bus: JetStreamBus, backend: Backend, store: PostgresStore, database_url: str
) -> None:
    await overflow(bus, 10)
    with projecting(backend, database_url):
        await commits(store, 10)
    stands_at = (await store.load()).position
    await change_facts(backend, max_bytes=SMALL_BYTES)
    await overflow(bus, 1_000)
    begins_at = (await bus.stream_state(FACTS_STREAM)).first_seq
    assert begins_at > stands_at + 1
    with projecting(backend, database_url) as process:
        message_ = await ends_with(process)
    assert message_.startswith(
        f"hcs: {FACTS_STREAM} begins at {begins_at}, but the projection stands at {stands_at}"
    )
    assert (await store.load()).position == stands_at


async def test_a_projector_overtaken_by_a_full_stream_says_which_facts_are_gone(
    bus: JetStreamBus, backend: Backend, store: PostgresStore, database_url: str
) -> None:
    await overflow(bus, 10)
    with projecting(backend, database_url) as process:
        await commits(store, 10)
        process.send_signal(signal.SIGSTOP)
        await change_facts(backend, max_bytes=SMALL_BYTES)
        # More than the projector has asked for, and much more than the stream holds.
        await overflow(bus, 3 * jetstream_follower.RECORDS_ASKED_MAX)
        begins_at = (await bus.stream_state(FACTS_STREAM)).first_seq
        process.send_signal(signal.SIGCONT)
        message_ = await ends_with(process)
    # Where the gap begins depends on how much had been delivered before it was dropped.
    words = message_.split()
    assert words[:3] == ["hcs:", FACTS_STREAM, "jumps"]
    jumps_from, jumps_to = int(words[4]), int(words[6])
    assert (await store.load()).position <= jumps_from < begins_at
    assert jumps_to > jumps_from + 1


# --- A server ------------------------------------------------------------------------------------


def test_the_server_is_told_to_sync_before_it_acknowledges(tmp_path: Path) -> None:
    """No client can ask a server how it syncs, so its own report of our configuration is read."""
    home, base = Home(tmp_path), free_port_base()
    settings = Settings(
        home=home,
        ports=ports.plan(base, ()),
        passwords=passwords.ensure(home, nats_server.SERVICES),
        pki=Pki(home.pki),
        nodes=(),
    )
    config, monitor = tmp_path / "nats.conf", max(settings.ports.values()) + 1
    config.write_text(nats_server.render_config(settings, tmp_path))
    command = [str(nats_server.server_program()), "--config", str(config), "-m", str(monitor)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    report: dict[str, dict[str, dict[str, object]]] = {}

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/varz") as answer:
                report.update(json.load(answer))
        except OSError:
            return False
        return "config" in report.get("jetstream", {})

    try:
        eventually(answers)
    finally:
        process.kill()
        process.wait()
    assert report["jetstream"]["config"]["sync_always"] is True


# --- A user --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bus_only() -> Iterator[LocalCluster]:
    """Start a bus with the users of a whole cluster."""
    with running_cluster({Part.NATS}) as started:
        yield started


async def test_what_a_user_may_not_publish_is_said_so_and_holds_up_nothing(
    bus_only: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = await jetstream.connect(bus_only.nats_url("control"), name="test")
    await control.ensure_streams()
    agent = await jetstream.connect(bus_only.agent_nats_url("a100-0"), name="test")
    monkeypatch.setattr(jetstream_publisher, "ACK_TIMEOUT_S", float(DEADLINE_S))
    own, foreign = (
        [message(heartbeat(at_ns=n), node=NodeName(node)) for n in range(300)]
        for node in ("a100-0", "a800-0")
    )
    mixed = [sent for pair in zip(own, foreign, strict=True) for sent in pair]
    with capture_logs() as logs:
        async with asyncio.timeout(DEADLINE_S / 2):  # it is the server's word, not the deadline
            results = await agent.publish_many(mixed)
    assert len(positions(results[0::2])) == 300
    assert results[1::2] == [None] * 300
    denied = [entry["subject"] for entry in logs if entry["event"] == "publish_not_allowed"]
    assert denied == ["hcs.fact.heartbeat.a800-0"]
    assert logs[-1]["reasons"] == {"not allowed": 300}
    await agent.close()
    await control.close()


async def test_before_the_streams_are_there_nothing_is_acknowledged_or_refused(
    bus: JetStreamBus, backend: Backend
) -> None:
    async with server(backend) as context:
        await context.delete_stream(FACTS_STREAM)
    sent = [message(heartbeat())]
    with capture_logs() as logs:
        assert await bus.publish_many(sent) == [None]
    assert logs[-1]["reasons"] == {"no stream takes the subject": 1}
    await bus.ensure_streams()
    assert positions(await bus.publish_many(sent)) == [1]
    assert (await bus.stream_state(DECISIONS_STREAM)).last_seq == 0


# --- A reader ------------------------------------------------------------------------------------


async def test_a_reader_that_does_not_come_is_sent_no_more_than_it_has_room_for(
    bus: JetStreamBus,
) -> None:
    large = [message(heartbeat(at_ns=n)) for n in range(1_500)]
    payload = b"x" * 20_000
    for start in range(0, len(large), 100):
        batch = [
            Message(subject=sent.subject, id=sent.id, payload=payload)
            for sent in large[start : start + 100]
        ]
        positions(await bus.publish_many(batch))
    reader = await jetstream.connect(bus._connection._url, name="test")
    follower = await reader.follow(FACTS_STREAM, after=StreamSeq(0))
    assert len(await follower.fetch(limit=1, timeout_s=DEADLINE_S)) == 1
    consumer = follower._consumer
    assert consumer is not None
    async with asyncio.timeout(DEADLINE_S):
        while consumer._asked > 0:
            await asyncio.sleep(0.01)
    one_more = len(payload) + 1_000
    most = 2 * jetstream_follower.BYTES_ASKED_MAX + one_more
    assert jetstream_follower.BYTES_ASKED_MAX < consumer._buffered_bytes <= most
    assert reader._connection.client.stats["in_bytes"] < most + 100_000
    seqs: list[int] = []
    while records := await follower.fetch(limit=2_000, timeout_s=1):
        assert sum(len(record.payload) for record in records) < FETCH_BYTES_MAX + one_more
        seqs += [record.seq for record in records]
    assert seqs == list(range(2, 1_501))
    await reader.close()


async def test_a_consumer_that_somebody_deleted_is_made_anew(
    bus: JetStreamBus, backend: Backend
) -> None:
    await overflow(bus, 3)
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    assert len(await follower.fetch(limit=2, timeout_s=DEADLINE_S)) == 2
    waiting = asyncio.create_task(follower.fetch(limit=3, timeout_s=DEADLINE_S))
    async with server(backend) as context:
        for consumer in await context.consumers_info(FACTS_STREAM):
            await context.delete_consumer(FACTS_STREAM, consumer.name)
    await overflow(bus, 2)
    seqs = [record.seq for record in await waiting]
    async with asyncio.timeout(DEADLINE_S):
        while len(seqs) < 3:
            seqs += [record.seq for record in await follower.fetch(limit=3, timeout_s=1)]
    assert seqs == [3, 4, 5]
