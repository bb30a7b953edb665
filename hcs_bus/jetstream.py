"""The bus on NATS JetStream. The only module that imports `nats`.

A follower is an ordered pull consumer: ephemeral, without acknowledgements, its consumer sequence
checked for holes. After a hole, a reconnect or a server restart it is made anew behind the last
record it handed out, so the reader's own position is the only state that counts.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from hcs_bus.envelope import CONTENT_TYPE, Message
from hcs_bus.errors import ConflictError, TransientError
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishAck, Record, StreamState
from hcs_bus.subjects import DECISIONS_STREAM, DECISIONS_SUBJECTS, FACTS_STREAM, FACTS_SUBJECTS

LOG = structlog.get_logger()

PUBLISH_WINDOW_MAX = 256  # acknowledgements in flight; beyond it the publisher waits
ACK_TIMEOUT_S = 5.0
RECONNECT_WAIT_S = 0.2
CONNECT_TIMEOUT_S = 3.0
CONSUMER_INACTIVE_S = 60.0  # the server forgets a follower that has gone without a word
WRONG_LAST_SEQUENCE = 10071  # err_code of a failed Nats-Expected-Last-Subject-Sequence

DUPLICATES_WINDOW_S = 120.0  # the server forgets ids after this; the fold's own check does not
STREAM_BYTES_MAX = 2 * 1024**3  # the oldest facts go first; a projector that missed any stops
DECISIONS_BYTES_MAX = 256 * 1024**2


def _stream_configs(replicas: int) -> list[StreamConfig]:
    def config(name: str, subjects: str, bytes_max: int) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=[subjects],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            max_bytes=bytes_max,
            duplicate_window=DUPLICATES_WINDOW_S,
            num_replicas=replicas,
        )

    return [
        config(FACTS_STREAM, FACTS_SUBJECTS, STREAM_BYTES_MAX),
        config(DECISIONS_STREAM, DECISIONS_SUBJECTS, DECISIONS_BYTES_MAX),
    ]


@contextlib.contextmanager
def _wrap_exceptions() -> Iterator[None]:
    try:
        yield
    except nats.js.errors.APIError as error:
        if error.err_code == WRONG_LAST_SEQUENCE:
            raise ConflictError(str(error)) from error
        raise TransientError(str(error)) from error
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error


class JetStreamFollower:
    """An ordered pull consumer; see the module's docstring."""

    def __init__(
        self, context: JetStreamContext, stream: str, after: StreamSeq, subjects: Sequence[str]
    ) -> None:
        self._context = context
        self._stream = stream
        self._after = after
        self._subjects = list(subjects)
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._consumer_seq = 0

    async def fetch(self, *, limit: int, timeout_s: float) -> list[Record]:
        """Return the next records; see the port. Errors of the connection look like silence."""
        try:
            if self._subscription is None:
                self._subscription = await self._subscribe()
            messages = await self._subscription.fetch(limit, timeout=timeout_s)
        except TimeoutError:  # nats' own is one, and at times it lets asyncio's through
            return []
        except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
            LOG.warning("follower_reconnects", stream=self._stream, error=repr(error))
            await self.close()
            await asyncio.sleep(min(timeout_s, RECONNECT_WAIT_S))
            return []
        return await self._in_order(messages)

    async def close(self) -> None:
        """Forget the consumer, here and on the server."""
        subscription, self._subscription = self._subscription, None
        self._consumer_seq = 0
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            ack_policy=AckPolicy.NONE,
            filter_subjects=self._subjects or None,
            inactive_threshold=CONSUMER_INACTIVE_S,
            mem_storage=True,
        )
        info = await self._context.add_consumer(self._stream, config)
        return await self._context.pull_subscribe_bind(consumer=info.name, stream=self._stream)

    async def _in_order(self, messages: list[Msg]) -> list[Record]:
        records = []
        for message in messages:
            sequence = message.metadata.sequence
            if sequence.consumer != self._consumer_seq + 1:
                # Deliveries were lost with a connection: ask again from what we really have.
                await self.close()
                break
            self._consumer_seq = sequence.consumer
            self._after = StreamSeq(sequence.stream)
            records.append(Record(seq=self._after, subject=message.subject, payload=message.data))
        return records


class JetStreamBus:
    """The port on a NATS connection; make one with `connect`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._context = client.jetstream(timeout=ACK_TIMEOUT_S)
        self._window = asyncio.Semaphore(PUBLISH_WINDOW_MAX)

    async def ensure_streams(self, *, replicas: int = 1) -> None:
        """Create the streams, or bring their configuration up to date.

        Raises:
            TransientError: the server did not answer or JetStream is off.
        """
        for config in _stream_configs(replicas):
            with _wrap_exceptions():
                try:
                    await self._context.add_stream(config)
                except nats.js.errors.BadRequestError:
                    await self._context.update_stream(config)

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishAck | None]:
        """Publish with up to `PUBLISH_WINDOW_MAX` acknowledgements in flight; see the port."""
        return await asyncio.gather(*(self._publish(message) for message in messages))

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Publish under the server's own comparison; see the port."""
        headers = _headers(message) | {
            "Nats-Expected-Last-Subject-Sequence": str(expected_seq),
            "Nats-Expected-Last-Subject-Sequence-Subject": subjects,
        }
        with _wrap_exceptions():
            ack = await self._context.publish(message.subject, message.payload, headers=headers)
        return StreamSeq(ack.seq)

    async def follow(
        self, stream: str, *, after: StreamSeq, subjects: Sequence[str] = ()
    ) -> JetStreamFollower:
        """Read from behind `after`; see the port."""
        return JetStreamFollower(self._context, stream, after, subjects)

    async def last_seq(self, stream: str, subjects: str) -> StreamSeq:
        """Ask the server for the last matching message; see the port."""
        with _wrap_exceptions():
            try:
                message = await self._context.get_last_msg(stream, subjects)
            except nats.js.errors.NotFoundError:
                return StreamSeq(0)
        return StreamSeq(message.seq or 0)

    async def stream_state(self, stream: str) -> StreamState:
        """Ask the server; see the port."""
        with _wrap_exceptions():
            state = (await self._context.stream_info(stream)).state
        return StreamState(first_seq=StreamSeq(state.first_seq), last_seq=StreamSeq(state.last_seq))

    async def close(self) -> None:
        """Disconnect. Nothing is pending: every publish has waited for its acknowledgement."""
        await self._client.close()

    async def _publish(self, message: Message) -> PublishAck | None:
        async with self._window:
            try:
                ack = await self._context.publish(
                    message.subject, message.payload, headers=_headers(message)
                )
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
                LOG.warning("publish_unacknowledged", subject=message.subject, error=repr(error))
                return None
        return PublishAck(seq=StreamSeq(ack.seq), duplicate=bool(ack.duplicate))


def _headers(message: Message) -> dict[str, str]:
    return {"Nats-Msg-Id": message.id, "Content-Type": CONTENT_TYPE}


def inbox_prefix(url: str) -> str:
    """Return where answers to the URL's user arrive: below a prefix that only it may hear."""
    user = urlsplit(url).username
    return f"_INBOX.{user}" if user else "_INBOX"


async def connect(url: str, *, name: str) -> JetStreamBus:
    """Connect, and stay connected: lost connections are re-made for ever.

    Raises:
        TransientError: no server at `url` within `CONNECT_TIMEOUT_S`.
    """
    client = Client()

    async def on_error(error: Exception) -> None:
        # While disconnected each try fails with one: `on_disconnect` has said it once.
        if client.is_connected:
            LOG.warning("bus_error", client=name, error=repr(error))

    async def on_disconnect() -> None:
        if not client.is_closed:
            LOG.warning("bus_disconnected", client=name)

    async def on_reconnect() -> None:
        LOG.info("bus_reconnected", client=name)

    try:
        # The client would try for ever, the first time too; the caller decides about that.
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(
                url,
                name=name,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # floats do
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # as above
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                inbox_prefix=inbox_prefix(url),
            )
    except TimeoutError as error:
        # Not the URL: it may hold a password.
        address = urlsplit(url).netloc.rpartition("@")[2]
        raise TransientError(
            f"no nats-server at {address} within {CONNECT_TIMEOUT_S:.0f} s"
        ) from error
    except (nats.errors.Error, OSError) as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error
    return JetStreamBus(client)
