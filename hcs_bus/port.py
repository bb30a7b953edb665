"""What HCS needs of a message bus. Two adapters keep this contract: `jetstream` and `memory`.

A stream is one totally ordered log. `publish_many` appends and is safe to repeat (the id makes it
idempotent within the server's duplicates window); `append` is the optimistic form on which the
ledger rests; a `Follower` reads the log in order, each message exactly once per follower, across
reconnects and server restarts.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hcs_bus.envelope import Message
from hcs_bus.names import StreamSeq

FETCH_BYTES_MAX = 8 * 1024**2  # of payload: the message that reaches it is the last of a fetch


class PublishAck(msgspec.Struct, frozen=True, kw_only=True):
    """The server stored the message, now (`duplicate` false) or on an earlier try."""

    seq: StreamSeq
    duplicate: bool


class PublishRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The server will never store this message as it is: sending it again is of no use."""

    reason: str


# `None`: there was no acknowledgement, and whether the message is stored is unknown. Send it again.
PublishResult = PublishAck | PublishRefused | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a stream, with its position."""

    seq: StreamSeq
    subject: str
    payload: bytes


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """The positions a stream still holds. Empty: `first_seq == last_seq + 1`."""

    first_seq: StreamSeq
    last_seq: StreamSeq


class Follower(Protocol):
    """Reads a stream in order from a position on."""

    async def fetch(self, *, limit: int, timeout_s: float) -> list[Record]:
        """Return up to `limit` next records as soon as there is one; `[]` after `timeout_s`.

        What is on its way already is waited for, so fewer than `limit` mean that the stream ended
        there, or the connection, or that they are `FETCH_BYTES_MAX` bytes. A fetch that is
        cancelled has taken nothing.
        """

    async def close(self) -> None:
        """Forget the server-side reader."""


class Bus(Protocol):
    """The port."""

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store messages, in order, and return what became of each; one failing stops no other.

        When the connection is lost, what was not sent by then is `None` as well.
        """

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Store a message only if the last one matching `subjects` is at `expected_seq`.

        Raises:
            ConflictError: somebody else appended in between.
            TransientError: no answer; whether it was stored is unknown until one has caught up.
            BusError: the server will never store it as it is.
        """

    async def follow(
        self, stream: str, *, after: StreamSeq, subjects: Sequence[str] = ()
    ) -> Follower:
        """Read `stream` from the message behind `after`, only `subjects` if any are given."""

    async def last_seq(self, stream: str, subjects: str) -> StreamSeq:
        """Return the position of the last message matching `subjects`; 0 if there is none."""

    async def stream_state(self, stream: str) -> StreamState:
        """Return the positions that `stream` holds."""

    async def close(self) -> None:
        """Disconnect."""
