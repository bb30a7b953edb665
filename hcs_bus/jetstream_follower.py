"""Reads a stream through an ordered pull consumer: ephemeral, without acknowledgements.

The consumer on the server is disposable. After a hole in its numbers, a lost connection, silence or
a status that ends it, it is made anew behind the last record that the follower took from it, so the
reader's own position is the only state that counts.

One request, bounded in records and bytes, is under way at a time. The next is sent when it is used
up and no more than one request's worth waits here, so two of them bound what a reader that does not
come makes this process hold. What one fetch gathers from them is bounded in records and bytes too.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from hcs_bus.jetstream_connection import Connection
from hcs_bus.names import NANOSECONDS_PER_SECOND, StreamSeq
from hcs_bus.port import FETCH_BYTES_MAX, Record

LOG = structlog.get_logger()

RECORDS_ASKED_MAX = 1_024
BYTES_ASKED_MAX = 4 * 1024**2  # or one message of the largest size that the server takes
REQUEST_EXPIRES_S = 30.0
HEARTBEAT_S = 2.0  # the server says so often that it has nothing to deliver
SILENCE_S_MAX = 5.0  # no record and no heartbeat for so long: the consumer is gone
LOOK_S_MIN = 0.1  # what came while this process was busy elsewhere is read within this
CONSUMER_INACTIVE_S = 60.0  # the server forgets a consumer that has gone without a request
RESTART_WAIT_S = 0.2

# A delivery's reply subject: $JS.ACK.<stream>.<consumer>.<times delivered>.<stream seq>.
# <consumer seq>.<time>.<pending>. Longer ones have <domain>.<account> before the stream.
REPLY_TOKENS = 9
DOMAIN_TOKENS = 2

HEARTBEAT = "100"
REQUEST_EXPIRED = "408"
CONFLICT = "409"
USED_UP = "Batch Completed"
NEXT_IS_LARGER = "Message Size Exceeds MaxBytes"


def positions(reply: str) -> tuple[StreamSeq, int, int]:
    """Return a delivery's place in the stream, its own number, and how many messages follow."""
    tokens = reply.split(".")
    first = 5 if len(tokens) == REPLY_TOKENS else 5 + DOMAIN_TOKENS
    return StreamSeq(int(tokens[first])), int(tokens[first + 1]), int(tokens[first + 3])


class PullConsumer:
    """One life of the consumer on the server, and what it has delivered so far."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._client = connection.client
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._starting: asyncio.Timeout | None = None
        self._subscription: Subscription | None = None
        self._requests_subject = ""
        self._inbox = ""
        self._request_numbers = itertools.count(1)
        self._request_inbox = ""  # of the request under way; what earlier ones hear is stale
        self._request_bytes_max = max(BYTES_ASKED_MAX, self._client.max_payload)
        self._asked = 0  # records that the request under way may still bring; 0: there is none
        self._heard_s = 0.0
        self._consumer_seq = 0
        self._buffer: list[Record] = []
        self._buffered_bytes = 0
        self._wanted = 0  # records that `arrival` waits for
        self._arrived = asyncio.Event()
        self._pending = 0  # messages behind the last one that came
        self.failure: str | None = None  # why it will deliver no more

    @property
    def at_end(self) -> bool:
        """Whether nothing is here, and nothing was behind the last record that came."""
        return self._pending == 0 and not self._buffer

    @property
    def is_spent(self) -> bool:
        """Whether it has failed and handed out all that had come before, which is in order."""
        return self.failure is not None and not self._buffer

    async def start(self, after: StreamSeq, subjects: Sequence[str]) -> None:
        """Make the consumer behind a position, and ask it; `failure` says so if that failed."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            filter_subjects=list(subjects) or None,
            inactive_threshold=CONSUMER_INACTIVE_S,
            mem_storage=True,
        )
        self._connection.on_lost.add(self._lose)
        try:
            # Ended by a lost connection: the client itself would wait for an answer all the same.
            async with asyncio.timeout(None) as self._starting:
                info = await self._connection.context.add_consumer(self._stream, config)
                self._requests_subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{info.name}"
                self._inbox = self._client.new_inbox()
                self._subscription = await self._client.receive(
                    f"{self._inbox}.*", self._on_delivery, on_status=self._on_status
                )
                await self._ask()
        except (nats.errors.Error, TimeoutError, OSError) as error:
            self._fail(repr(error))
        except asyncio.CancelledError:
            self._fail("its start was cancelled")
            raise
        finally:
            self._starting = None

    async def stop(self) -> None:
        """Hear nothing more of it."""
        self._connection.on_lost.discard(self._lose)
        self._fail("stopped")
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    def take(self, limit: int, size_bytes: int) -> list[Record]:
        """Return up to `limit` of the records that are here, the one that reaches a size last."""
        count, taken_bytes = 0, 0
        for record in itertools.islice(self._buffer, limit):
            count += 1
            taken_bytes += len(record.payload)
            if taken_bytes >= size_bytes:
                break
        taken = self._buffer[:count]
        del self._buffer[:count]
        self._buffered_bytes -= taken_bytes
        return taken

    async def arrival(self, wanted: int, timeout_s: float) -> None:
        """Wait until `wanted` records are here, or all that will come without another call."""
        await self._ask()
        self._wanted = wanted
        if self._is_enough():
            return
        silence_s = self._heard_s + SILENCE_S_MAX - self._loop.time()
        self._arrived.clear()
        try:
            async with asyncio.timeout(min(timeout_s, max(silence_s, LOOK_S_MIN))):
                await self._arrived.wait()
        except TimeoutError:
            if self._loop.time() >= self._heard_s + SILENCE_S_MAX:
                self._fail("no heartbeat")

    def _is_enough(self) -> bool:
        return (
            self.failure is not None
            or self._asked == 0  # no room for more
            or len(self._buffer) >= self._wanted
            or (self._pending == 0 and bool(self._buffer))
        )

    def _has_room(self) -> bool:
        return (
            len(self._buffer) <= RECORDS_ASKED_MAX
            and self._buffered_bytes <= self._request_bytes_max
        )

    async def _ask(self) -> None:
        """Send the next request if none is under way and there is room for what it may bring."""
        if self._asked > 0 or self.failure is not None or not self._has_room():
            return
        self._asked = RECORDS_ASKED_MAX
        self._request_inbox = f"{self._inbox}.{next(self._request_numbers)}"
        self._heard_s = self._loop.time()
        request = {
            "batch": RECORDS_ASKED_MAX,
            "max_bytes": self._request_bytes_max,
            "expires": int(REQUEST_EXPIRES_S * NANOSECONDS_PER_SECOND),
            "idle_heartbeat": int(HEARTBEAT_S * NANOSECONDS_PER_SECOND),
        }
        try:
            await self._client.publish(
                self._requests_subject, msgspec.json.encode(request), reply=self._request_inbox
            )
        except nats.errors.Error as error:
            self._fail(repr(error))

    async def _on_delivery(self, subject: str, reply: str, payload: bytes) -> None:
        self._heard_s = self._loop.time()
        if self.failure is not None:
            return
        try:
            seq, consumer_seq, self._pending = positions(reply)
        except (ValueError, IndexError):
            self._fail(f"a delivery has the reply subject {reply!r}")
            return
        if consumer_seq != self._consumer_seq + 1:
            self._fail(f"delivery {consumer_seq} came after {self._consumer_seq}")
            return
        self._consumer_seq = consumer_seq
        self._buffer.append(Record(seq=seq, subject=subject, payload=payload))
        self._buffered_bytes += len(payload)
        self._asked -= 1
        if self._asked == 0:
            await self._ask()
        if self._is_enough():
            self._arrived.set()

    async def _on_status(self, message: Msg) -> None:
        self._heard_s = self._loop.time()
        if self.failure is not None:
            return
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == HEARTBEAT or message.subject != self._request_inbox:
            return
        if status == CONFLICT and description.startswith(NEXT_IS_LARGER):
            if self._asked == RECORDS_ASKED_MAX:  # the first one already: no request fits it
                self._request_bytes_max *= 2
        elif status != REQUEST_EXPIRED and not (
            status == CONFLICT and description.startswith(USED_UP)
        ):
            self._fail(f"{status} {description}")
            return
        self._asked = 0
        await self._ask()
        if self._is_enough():
            self._arrived.set()

    def _lose(self) -> None:
        self._fail("the connection was lost")
        if self._starting is not None:
            self._starting.reschedule(self._loop.time())

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._arrived.set()


class JetStreamFollower:
    """The port's reader, on one consumer after another."""

    def __init__(
        self, connection: Connection, stream: str, after: StreamSeq, subjects: Sequence[str]
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._after = after  # the last record gathered
        self._subjects = tuple(subjects)
        self._consumer: PullConsumer | None = None
        self._gathered: list[Record] = []  # kept here: a cancelled fetch must not lose them
        self._gathered_bytes = 0
        self._told: str | None = None  # the failure that the log has heard of last

    async def fetch(self, *, limit: int, timeout_s: float) -> list[Record]:
        """Return the next records; see the port. Errors of the connection look like silence.

        Making a consumer is not ended by `timeout_s`: a server too slow for it would get nowhere.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while self._wanted(limit) > 0:
            consumer = await self._running_consumer(deadline_s - loop.time())
            if consumer is None:
                break
            self._gather(consumer, limit)
            left_s = deadline_s - loop.time()
            if left_s <= 0 or (self._gathered and (consumer.at_end or consumer.is_spent)):
                break
            await consumer.arrival(self._wanted(limit), left_s)
        records = self._gathered[:limit]
        del self._gathered[:limit]
        self._gathered_bytes -= _size_bytes(records)
        return records

    async def close(self) -> None:
        """Forget the consumer; the server does so after `CONSUMER_INACTIVE_S`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    def _wanted(self, limit: int) -> int:
        """Return how many more records a fetch may gather."""
        return 0 if self._gathered_bytes >= FETCH_BYTES_MAX else limit - len(self._gathered)

    def _gather(self, consumer: PullConsumer, limit: int) -> None:
        records = consumer.take(self._wanted(limit), FETCH_BYTES_MAX - self._gathered_bytes)
        if records:
            self._gathered += records
            self._gathered_bytes += _size_bytes(records)
            self._after = records[-1].seq
            self._told = None

    async def _running_consumer(self, timeout_s: float) -> PullConsumer | None:
        """Return a consumer that works, or is about to; `None` if there is none in time."""
        if self._consumer is not None and self._consumer.is_spent:
            if self._told != self._consumer.failure:
                self._told = self._consumer.failure
                LOG.warning(
                    "follower_restarts", stream=self._stream, after=self._after, reason=self._told
                )
            await self.close()
            await asyncio.sleep(min(timeout_s, RESTART_WAIT_S))
            if timeout_s <= RESTART_WAIT_S:
                return None
        if self._consumer is None:
            if not await self._connection.ready(timeout_s):
                return None
            self._consumer = PullConsumer(self._connection, self._stream)
            await self._consumer.start(self._after, self._subjects)
        return self._consumer


def _size_bytes(records: Sequence[Record]) -> int:
    return sum(len(record.payload) for record in records)
