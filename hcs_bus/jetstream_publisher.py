"""Publishes with a bounded number of acknowledgements in flight.

One inbox takes all acknowledgements; the last token of its subject says which message each is for.
The messages in flight are kept in the order in which they were sent, so one timer, set for the
oldest, serves them all. What is refused for good is told apart from what was not acknowledged: the
first must not be sent again, the second must.
"""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from hcs_bus.envelope import CONTENT_TYPE, Message
from hcs_bus.jetstream_connection import Connection
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishAck, PublishRefused, PublishResult

LOG = structlog.get_logger()

PUBLISH_WINDOW_MAX = 256  # acknowledgements in flight; beyond it the publisher waits
ACK_TIMEOUT_S = 5.0
SUBJECT_BYTES_MAX = 2_048  # the server ends a connection over a command line of 4,096
# Err_codes that say the same of the same message each time: larger than the stream takes, a header
# larger than any stream takes.
FINAL_ERRORS = {10054, 10097}

UNSENDABLE_SUBJECT = re.compile(r"[\x00-\x20\x7f]")
UNSENDABLE_ID = re.compile(r"[\x00-\x1f\x7f]")  # would end the header line


class Unacknowledged(msgspec.Struct, frozen=True):
    """The server did not store the message, or did not say so."""

    reason: str
    err_code: int = 0  # the server's own; 0: it did not answer


Outcome = PublishAck | PublishRefused | Unacknowledged

NO_CONNECTION = Unacknowledged("no connection")
NO_ANSWER = Unacknowledged("no answer in time")
NO_STREAM = Unacknowledged("no stream takes the subject")
NOT_ALLOWED = Unacknowledged("not allowed")
NOT_SENT = Unacknowledged("not sent: the connection was lost before")
LOST = Unacknowledged("the connection was lost")


class _ServerError(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What the server answers to a message: a position, or an error."""

    seq: StreamSeq = StreamSeq(0)
    duplicate: bool = False
    error: _ServerError | None = None


ANSWER_DECODER = msgspec.json.Decoder(_Answer)


class _Batch:
    """The messages of one call, and what has become of them so far."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome] = [NOT_SENT] * size
        self.interrupted = False  # the connection was lost: what is not sent yet shall not be
        self.settled = asyncio.Event()
        self._unsettled = size

    def settle(self, position: int, outcome: Outcome) -> None:
        self.outcomes[position] = outcome
        self._unsettled -= 1
        if self._unsettled == 0:
            self.settled.set()


class _Sent(msgspec.Struct, frozen=True):
    """A message in flight."""

    batch: _Batch
    position: int
    subject: str
    deadline_s: float


class WindowedPublisher:
    """The publishing half of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listening = asyncio.Lock()
        self._listener: Client | None = None  # the client that the inbox belongs to
        self._inbox = ""
        self._tokens = itertools.count(1)
        self._in_flight: dict[str, _Sent] = {}  # by token, oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        connection.on_lost.add(self._lose_all)
        connection.on_denied.add(self._give_up_denied)

    async def send(
        self, messages: Sequence[Message], *, headers: Mapping[str, str] | None = None
    ) -> list[Outcome]:
        """Send messages in order and return what became of each.

        After a lost connection the rest of the messages is not sent: the caller sends again, and
        the order of the log stays near the order of the messages.
        """
        if not messages:
            return []
        if not await self._listen():
            return [NO_CONNECTION] * len(messages)
        batch = _Batch(len(messages))
        fixed = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
        for position, message in enumerate(messages):
            await self._wait_for_room(batch)
            if batch.interrupted or not self._is_listening():
                for unsent in range(position, len(messages)):
                    batch.settle(unsent, NOT_SENT)
                break
            await self._send(batch, position, message, fixed)
        await self._connection.flush()
        await batch.settled.wait()
        return batch.outcomes

    def _is_listening(self) -> bool:
        client = self._connection.client
        return client is self._listener and client.is_connected

    async def _listen(self) -> bool:
        """Return whether the connection is there, with an inbox on it."""
        if not await self._connection.ready(ACK_TIMEOUT_S):
            return False
        async with self._listening:
            client = self._connection.client
            if self._listener is not client:
                inbox = client.new_inbox()
                try:
                    await client.subscribe(f"{inbox}.*", cb=self._on_answer)
                except nats.errors.Error as error:
                    LOG.warning("publisher_has_no_inbox", error=repr(error))
                    return False
                self._inbox, self._listener = inbox, client
        return True

    async def _wait_for_room(self, batch: _Batch) -> None:
        while len(self._in_flight) >= PUBLISH_WINDOW_MAX and not batch.interrupted:
            await self._connection.flush()
            self._room.clear()
            await self._room.wait()

    async def _send(self, batch: _Batch, position: int, message: Message, fixed: str) -> None:
        header = (
            f"NATS/1.0\r\nNats-Msg-Id: {message.id}\r\nContent-Type: {CONTENT_TYPE}\r\n{fixed}\r\n"
        ).encode()
        subject = message.subject
        size = len(header) + len(message.payload)
        refused = self._refusal(message, size)
        if refused is not None:
            batch.settle(position, refused)
            return
        token = str(next(self._tokens))
        deadline_s = asyncio.get_running_loop().time() + ACK_TIMEOUT_S
        self._in_flight[token] = _Sent(batch, position, subject, deadline_s)
        if self._timer is None:
            self._set_timer(deadline_s)
        command = f"HPUB {subject} {self._inbox}.{token} {len(header)} {size}\r\n".encode()
        await self._connection.write(b"%b%b%b\r\n" % (command, header, message.payload))

    def _refusal(self, message: Message, size: int) -> PublishRefused | None:
        """Say why a message cannot be sent: over these the server would end the connection."""
        size_max = self._connection.client.max_payload
        if size > size_max:
            return PublishRefused(reason=f"{size} bytes with headers, the server takes {size_max}")
        if not message.subject or UNSENDABLE_SUBJECT.search(message.subject):
            return PublishRefused(reason=f"{message.subject!r} is no subject")
        if len(message.subject.encode()) > SUBJECT_BYTES_MAX:
            return PublishRefused(reason=f"a subject of more than {SUBJECT_BYTES_MAX} bytes")
        if UNSENDABLE_ID.search(message.id):
            return PublishRefused(reason=f"the id {message.id!r} does not fit into a header")
        return None

    async def _on_answer(self, answer: Msg) -> None:
        sent = self._in_flight.pop(answer.subject.rpartition(".")[2], None)
        if sent is None:
            return  # too late: it was given up
        sent.batch.settle(sent.position, _outcome(answer))
        if len(self._in_flight) <= PUBLISH_WINDOW_MAX // 2:
            self._room.set()

    def _set_timer(self, deadline_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(deadline_s, self._give_up_late)

    def _give_up_late(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        for token, sent in list(self._in_flight.items()):
            if sent.deadline_s > now_s:
                self._set_timer(sent.deadline_s)
                break
            self._give_up(token, NO_ANSWER)

    def _give_up_denied(self, subject: str) -> None:
        for token, sent in list(self._in_flight.items()):
            if sent.subject.lower() == subject:
                self._give_up(token, NOT_ALLOWED)

    def _lose_all(self) -> None:
        for sent in self._in_flight.values():
            sent.batch.interrupted = True
        for token in list(self._in_flight):
            self._give_up(token, LOST)

    def _give_up(self, token: str, outcome: Unacknowledged) -> None:
        sent = self._in_flight.pop(token)
        sent.batch.settle(sent.position, outcome)
        self._room.set()


def _outcome(answer: Msg) -> Outcome:
    if not answer.data:
        return NO_STREAM  # status 503: nobody listens there (yet)
    try:
        decoded = ANSWER_DECODER.decode(answer.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return Unacknowledged(f"answered with what is no acknowledgement: {error}")
    if decoded.error is None:
        return PublishAck(seq=decoded.seq, duplicate=decoded.duplicate)
    if decoded.error.err_code in FINAL_ERRORS:
        return PublishRefused(reason=decoded.error.description)
    return Unacknowledged(decoded.error.description, decoded.error.err_code)


def results(messages: Sequence[Message], outcomes: Sequence[Outcome]) -> list[PublishResult]:
    """Return outcomes as the port tells them; say once what was not stored, and why."""
    told: list[PublishResult] = []
    failures: Counter[str] = Counter()
    for message, outcome in zip(messages, outcomes, strict=True):
        if isinstance(outcome, Unacknowledged):
            failures[outcome.reason] += 1
            told.append(None)
            continue
        if isinstance(outcome, PublishRefused):
            LOG.error(
                "publish_refused", subject=message.subject, id=message.id, reason=outcome.reason
            )
        told.append(outcome)
    if failures:
        LOG.warning("publish_unacknowledged", of=len(messages), reasons=dict(failures))
    return told
