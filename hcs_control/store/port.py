"""What the projector needs of a store. Two adapters keep this contract: `postgres` and `memory`.

Rows, decisions, parked messages and the position change together or not at all, and only if the
position is still where the writer read it: of two projectors, one commits and the other is fenced.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from hcs_bus.envelope import Message
from hcs_bus.names import StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import AnyRow, Change, Removed, RowKey


class StoreError(Exception):
    """The store could not do it."""


class StoreUnavailableError(StoreError):
    """The store does not answer; the same call may succeed later."""


class StoreRefusedError(StoreError):
    """A row breaks a rule of the store: the same call will never succeed."""


class FencedError(StoreError):
    """Another projector moved the position: load again and go on from there."""


class NotEmptyError(StoreError):
    """The store holds a projection already; one is restored only where there is none."""


class SchemaUnknownError(StoreError):
    """The database has tables that this release does not know."""


class SnapshotError(StoreError):
    """The file is no snapshot of this release's, or not a whole one."""


class ParkedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be folded, kept with the reason."""

    stream_seq: StreamSeq
    subject: str
    reason: str
    payload: bytes


class OutboxDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision ready to be published; `message.id` is derived from the log, so never doubled."""

    fact_seq: StreamSeq
    message: Message


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction writes."""

    position_from: StreamSeq
    position_to: StreamSeq
    changes: dict[tuple[type[AnyRow], RowKey], Change]  # the last word per key
    decisions: list[OutboxDecision]
    parked: list[ParkedEvent]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The projection as of one moment."""

    fleet: Fleet
    position: StreamSeq
    decision_seq: StreamSeq  # position in HCS_DECISIONS up to which the outbox is known published


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a store holds as of one position. All but `published` follows from the facts."""

    position: StreamSeq
    rows: list[AnyRow]
    decisions: list[OutboxDecision]
    parked: list[ParkedEvent]
    published: dict[str, StreamSeq]  # by decision: its position in HCS_DECISIONS, where it has one


class Store(Protocol):
    """The port."""

    async def load(self) -> Loaded:
        """Return the live rows and the position they stand for, from one snapshot.

        Raises:
            StoreUnavailableError: no connection, or the schema is not there.
        """

    async def contents(self) -> Contents:
        """Return all rows, live and past, with decisions and parked events, from one snapshot.

        Raises:
            StoreUnavailableError: no connection, or the schema is not there.
        """

    async def restore(self, contents: Contents, *, progress: Callable[[int], None]) -> None:
        """Take over everything that `contents` of another store told, all of it or nothing.

        `progress` hears how many of its rows, decisions and parked events are written.

        Raises:
            NotEmptyError: there is a projection already; nothing was written.
            StoreRefusedError: a row breaks a rule of the store; nothing was written.
            StoreUnavailableError: no connection, or the schema is not there.
        """

    async def commit(self, batch: Batch) -> None:
        """Write a batch.

        Raises:
            FencedError: the position is not `position_from` any more; nothing was written.
            StoreRefusedError: a row breaks a rule of the store; nothing was written.
            StoreUnavailableError: whether it was written is unknown; load again.
        """

    async def unpublished(self, limit: int) -> list[OutboxDecision]:
        """Return the oldest decisions that no acknowledgement is known for."""

    async def decision_seq(self) -> StreamSeq:
        """Return the highest position in HCS_DECISIONS that a decision is marked with; 0: none."""

    async def mark_published(self, published: dict[str, StreamSeq]) -> None:
        """Record the positions in HCS_DECISIONS that decisions, by id, were stored at."""

    async def close(self) -> None:
        """Let go of connections."""


def change_key(change: Change) -> tuple[type[AnyRow], RowKey]:
    """Return what identifies the row that a change is about."""
    if isinstance(change, Removed):
        return (change.row_type, change.key)
    return (type(change), change.key)
