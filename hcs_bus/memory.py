"""The bus in memory, for unit tests: the same contract suite runs against it and a real server."""

import asyncio
from collections.abc import Sequence

from hcs_bus.envelope import Message
from hcs_bus.errors import BusError, ConflictError, TransientError
from hcs_bus.names import StreamSeq
from hcs_bus.port import (
    FETCH_BYTES_MAX,
    PublishAck,
    PublishRefused,
    PublishResult,
    Record,
    StreamState,
)
from hcs_bus.subjects import DECISIONS_STREAM, DECISIONS_SUBJECTS, FACTS_STREAM, FACTS_SUBJECTS

MESSAGE_BYTES_MAX = 1024**2  # as a nats-server that is not told otherwise


def subject_matches(pattern: str, subject: str) -> bool:
    """Say whether a NATS subject pattern (`*` one token, a final `>` the rest) covers a subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for position, word in enumerate(wanted):
        if word == ">":
            return len(tokens) > position
        if position >= len(tokens) or word not in ("*", tokens[position]):
            return False
    return len(wanted) == len(tokens)


class _Stream:
    def __init__(self, subjects: str) -> None:
        self.subjects = subjects
        self.records: list[Record] = []
        self.seq_of_id: dict[str, StreamSeq] = {}
        self.first_seq = 1
        self.grown = asyncio.Condition()

    @property
    def last_seq(self) -> StreamSeq:
        return StreamSeq(self.first_seq + len(self.records) - 1)

    async def store(self, message: Message) -> PublishAck:
        known = self.seq_of_id.get(message.id)
        if known is not None:
            return PublishAck(seq=known, duplicate=True)
        seq = StreamSeq(self.last_seq + 1)
        self.records.append(Record(seq=seq, subject=message.subject, payload=message.payload))
        self.seq_of_id[message.id] = seq
        async with self.grown:
            self.grown.notify_all()
        return PublishAck(seq=seq, duplicate=False)

    def last_seq_of(self, subjects: str) -> StreamSeq:
        matching = (r.seq for r in reversed(self.records) if subject_matches(subjects, r.subject))
        return next(matching, StreamSeq(0))


class _MemoryFollower:
    def __init__(self, stream: _Stream, after: StreamSeq, subjects: Sequence[str]) -> None:
        self._stream = stream
        self._after = after
        self._subjects = subjects

    async def fetch(self, *, limit: int, timeout_s: float) -> list[Record]:
        """Wait for records behind the last one returned; see the port."""
        async with self._stream.grown:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._stream.grown.wait_for(lambda: bool(self._next(1)))
            except TimeoutError:
                return []
        found, size_bytes = [], 0
        for record in self._next(limit):
            found.append(record)
            size_bytes += len(record.payload)
            if size_bytes >= FETCH_BYTES_MAX:
                break
        self._after = found[-1].seq
        return found

    async def close(self) -> None:
        """Nothing is held."""

    def _next(self, limit: int) -> list[Record]:
        start = max(0, self._after - self._stream.first_seq + 1)
        behind = self._stream.records[start:]
        return [record for record in behind if self._wanted(record)][:limit]

    def _wanted(self, record: Record) -> bool:
        return not self._subjects or any(subject_matches(s, record.subject) for s in self._subjects)


class MemoryBus:
    """The port, with the two streams of HCS."""

    def __init__(self) -> None:
        self._streams = {
            FACTS_STREAM: _Stream(FACTS_SUBJECTS),
            DECISIONS_STREAM: _Stream(DECISIONS_SUBJECTS),
        }

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store messages in order; see the port."""
        return [await self._publish(message) for message in messages]

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Compare, then store; see the port."""
        stream, refused = self._stream_of(message.subject), _refusal(message)
        if stream is None:
            raise TransientError(f"{message.subject}: no stream takes the subject")
        if refused is not None:
            raise BusError(f"{message.subject}: {refused.reason}")
        if message.id not in stream.seq_of_id and stream.last_seq_of(subjects) != expected_seq:
            raise ConflictError(
                f"last {subjects} is {stream.last_seq_of(subjects)}, not {expected_seq}"
            )
        return (await stream.store(message)).seq

    async def follow(
        self, stream: str, *, after: StreamSeq, subjects: Sequence[str] = ()
    ) -> _MemoryFollower:
        """Read from behind `after`; see the port."""
        return _MemoryFollower(self._streams[stream], after, subjects)

    async def last_seq(self, stream: str, subjects: str) -> StreamSeq:
        """Look from the end; see the port."""
        return self._streams[stream].last_seq_of(subjects)

    async def stream_state(self, stream: str) -> StreamState:
        """Return first and last position; see the port."""
        held = self._streams[stream]
        return StreamState(first_seq=StreamSeq(held.first_seq), last_seq=held.last_seq)

    async def truncate(self, stream: str, *, before: StreamSeq) -> None:
        """Drop everything before a position, as a server at its storage limit does."""
        held = self._streams[stream]
        held.records = [record for record in held.records if record.seq >= before]
        held.first_seq = before

    async def close(self) -> None:
        """Nothing is held."""

    async def _publish(self, message: Message) -> PublishResult:
        stream = self._stream_of(message.subject)
        return _refusal(message) or (None if stream is None else await stream.store(message))

    def _stream_of(self, subject: str) -> _Stream | None:
        fitting = (s for s in self._streams.values() if subject_matches(s.subjects, subject))
        return next(fitting, None)


def _refusal(message: Message) -> PublishRefused | None:
    size = len(message.payload)
    if size > MESSAGE_BYTES_MAX:
        return PublishRefused(reason=f"{size} bytes, the bus takes {MESSAGE_BYTES_MAX}")
    if not message.subject or " " in message.subject:
        return PublishRefused(reason=f"{message.subject!r} is no subject")
    return None
