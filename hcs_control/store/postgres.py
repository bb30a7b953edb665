"""The store on PostgreSQL: SQLAlchemy Core over asyncpg."""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
from sqlalchemy import Row, Select, bindparam, false, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hcs_bus.envelope import Message
from hcs_bus.events import AllocationState
from hcs_bus.names import StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import AnyRow, Change, Removed, RowKey
from hcs_control.store.bulk import (
    delete_statement,
    key_parameters,
    row_parameters,
    upsert_statement,
)
from hcs_control.store.port import (
    Batch,
    Contents,
    FencedError,
    Loaded,
    NotEmptyError,
    OutboxDecision,
    ParkedEvent,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    change_key,
)
from hcs_control.store.tables import (
    ALLOCATION,
    BENCHMARK,
    COMPUTE_QUOTA,
    DECISION_OUTBOX,
    DEVICE_VALIDITY,
    FAULT_EPISODE,
    ISOLATION,
    NODE_SAMPLE,
    PARKED_EVENT,
    POD,
    PROJECTION_POSITION,
    TABLE_OF_ROW,
)

CONSUMER = "projector"
CONNECTIONS_MAX = 3  # one folds, one publishes the outbox, one to spare
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
PIECE_ROWS_MAX = 5_000  # of a restored projection per statement: far from the timeout above

# Classes of SQLSTATE: a value out of range, a broken constraint, a row or an index entry too large.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
REFUSALS = ("22", "23", "54")

T = TypeVar("T")

LIVE_ROWS_ONLY = {
    # No fold looks at these.
    NODE_SAMPLE: false(),
    BENCHMARK: false(),
    POD: false(),
    COMPUTE_QUOTA: false(),
    FAULT_EPISODE: FAULT_EPISODE.c.ended_seq.is_(None),
    DEVICE_VALIDITY: DEVICE_VALIDITY.c.valid_to_ns.is_(None),
    ISOLATION: ISOLATION.c.released_seq.is_(None),
    ALLOCATION: ALLOCATION.c.state != AllocationState.RELEASED.value,
}

NEWEST_PUBLISHED = select(func.max(DECISION_OUTBOX.c.published_seq))


@contextlib.contextmanager
def wrap_exceptions() -> Iterator[None]:
    """Turn the driver's errors into the port's."""
    try:
        yield
    except DBAPIError as error:
        # Not `error` itself: its text has the whole statement, and a batch of parameters.
        found = StoreRefusedError if _is_refusal(error) else StoreUnavailableError
        raise found(str(error.orig)) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error


def _is_refusal(error: DBAPIError) -> bool:
    """Say whether it is for what was sent, and not for how the server is."""
    sqlstate = getattr(error.orig, "sqlstate", None) or ""  # the driver's own errors have one, too
    return sqlstate[:2] in REFUSALS


class PostgresStore:
    """The port on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def load(self) -> Loaded:
        """Read everything live in one repeatable-read snapshot; see the port."""
        fleet = Fleet()
        async with self._snapshot() as connection:
            for row_type, table in TABLE_OF_ROW.items():
                query = select(table)
                if table in LIVE_ROWS_ONLY:
                    query = query.where(LIVE_ROWS_ONLY[table])
                fleet.apply(await _read_rows(connection, row_type, query))
            position = await _read_position(connection)
            decision_seq = await connection.scalar(NEWEST_PUBLISHED)
        return Loaded(
            fleet=fleet,
            position=position,
            decision_seq=StreamSeq(decision_seq or 0),
        )

    async def contents(self) -> Contents:
        """Read everything in one repeatable-read snapshot; see the port."""
        rows: list[AnyRow] = []
        async with self._snapshot() as connection:
            for row_type, table in TABLE_OF_ROW.items():
                rows += await _read_rows(connection, row_type, select(table))
            position = await _read_position(connection)
            decisions = (await connection.execute(select(DECISION_OUTBOX))).all()
            parked = (await connection.execute(select(PARKED_EVENT))).all()
        return Contents(
            position=position,
            rows=rows,
            decisions=[_outbox_decision(row) for row in decisions],
            parked=[
                ParkedEvent(
                    stream_seq=StreamSeq(row.stream_seq),
                    subject=row.subject,
                    reason=row.reason,
                    payload=row.payload,
                )
                for row in parked
            ],
            published={
                row.decision_id: StreamSeq(row.published_seq)
                for row in decisions
                if row.published_seq is not None
            },
        )

    async def restore(self, contents: Contents, *, progress: Callable[[int], None]) -> None:
        """Write everything in one transaction, piece by piece; see the port."""
        written = 0
        with wrap_exceptions():
            async with self._engine.begin() as connection:
                # First of all: it holds the row that every projector has to move.
                await _advance(connection, StreamSeq(0), contents.position, NotEmptyError)
                await _refuse_rows(connection)
                for piece in _pieces(contents.rows):
                    await _write_changes(connection, {change_key(row): row for row in piece})
                    progress(written := written + len(piece))
                for decisions in _pieces(contents.decisions):
                    await _write_outbox(connection, decisions, contents.published)
                    progress(written := written + len(decisions))
                for parked in _pieces(contents.parked):
                    await _write_parked(connection, parked)
                    progress(written := written + len(parked))

    async def commit(self, batch: Batch) -> None:
        """Fence, then write everything in one transaction; see the port."""
        with wrap_exceptions():
            async with self._engine.begin() as connection:
                await _advance(connection, batch.position_from, batch.position_to, FencedError)
                await _write_changes(connection, batch.changes)
                await _write_outbox(connection, batch.decisions, {})
                await _write_parked(connection, batch.parked)

    async def unpublished(self, limit: int) -> list[OutboxDecision]:
        """Read the outbox; see the port."""
        query = (
            select(DECISION_OUTBOX)
            .where(DECISION_OUTBOX.c.published_seq.is_(None))
            .order_by(DECISION_OUTBOX.c.fact_seq, DECISION_OUTBOX.c.decision_id)
            .limit(limit)
        )
        with wrap_exceptions():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).all()
        return [_outbox_decision(row) for row in rows]

    async def decision_seq(self) -> StreamSeq:
        """Ask for the newest mark; see the port."""
        with wrap_exceptions():
            async with self._engine.connect() as connection:
                return StreamSeq(await connection.scalar(NEWEST_PUBLISHED) or 0)

    async def mark_published(self, published: dict[str, StreamSeq]) -> None:
        """Write positions into the outbox; see the port."""
        statement = (
            update(DECISION_OUTBOX)
            .where(DECISION_OUTBOX.c.decision_id == bindparam("id"))
            .values(published_seq=bindparam("seq"))
        )
        parameters = [{"id": key, "seq": seq} for key, seq in published.items()]
        with wrap_exceptions():
            async with self._engine.begin() as connection:
                await connection.execute(statement, parameters)

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[AsyncConnection]:
        with wrap_exceptions():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection


async def _read_rows(
    connection: AsyncConnection, row_type: type[AnyRow], query: Select[Any]
) -> list[AnyRow]:
    found = await connection.execute(query)
    names = [str(name) for name in found.keys()]  # noqa: SIM118  # a result is no mapping
    # Not strict: the database gives strings and lists where rows hold enums and tuples.
    return [
        msgspec.convert(dict(zip(names, row, strict=True)), row_type, strict=False) for row in found
    ]


async def _read_position(connection: AsyncConnection) -> StreamSeq:
    position = await connection.scalar(
        select(PROJECTION_POSITION.c.stream_seq).where(PROJECTION_POSITION.c.consumer == CONSUMER)
    )
    return StreamSeq(position or 0)


def _outbox_decision(row: Row[Any]) -> OutboxDecision:
    return OutboxDecision(
        fact_seq=StreamSeq(row.fact_seq),
        message=Message(subject=row.subject, id=row.decision_id, payload=row.payload),
    )


async def _advance(
    connection: AsyncConnection,
    position_from: StreamSeq,
    position_to: StreamSeq,
    otherwise: type[StoreError],
) -> None:
    statement = (
        update(PROJECTION_POSITION)
        .where(
            PROJECTION_POSITION.c.consumer == CONSUMER,
            PROJECTION_POSITION.c.stream_seq == position_from,
        )
        .values(stream_seq=position_to)
    )
    if (await connection.execute(statement)).rowcount != 1:
        raise otherwise(f"the projection does not stand at {position_from}")


async def _refuse_rows(connection: AsyncConnection) -> None:
    for table in (*TABLE_OF_ROW.values(), DECISION_OUTBOX, PARKED_EVENT):
        if await connection.scalar(select(select(table).exists())):
            raise NotEmptyError(f"the table {table.name} has rows")


def _pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), PIECE_ROWS_MAX):
        yield items[start : start + PIECE_ROWS_MAX]


async def _write_changes(
    connection: AsyncConnection, changes: dict[tuple[type[AnyRow], RowKey], Change]
) -> None:
    rows: dict[type[AnyRow], list[AnyRow]] = defaultdict(list)
    removed: dict[type[AnyRow], list[RowKey]] = defaultdict(list)
    for (row_type, key), change in changes.items():
        if isinstance(change, Removed):
            removed[row_type].append(key)
        else:
            rows[row_type].append(change)
    for row_type, keys in removed.items():
        table = TABLE_OF_ROW[row_type]
        await connection.execute(delete_statement(table), key_parameters(table, keys))
    for row_type, changed in rows.items():
        await connection.execute(upsert_statement(TABLE_OF_ROW[row_type]), row_parameters(changed))


async def _write_outbox(
    connection: AsyncConnection,
    decisions: Sequence[OutboxDecision],
    published: Mapping[str, StreamSeq],
) -> None:
    if decisions:
        await connection.execute(
            insert(DECISION_OUTBOX),
            [
                {
                    "decision_id": decision.message.id,
                    "subject": decision.message.subject,
                    "payload": decision.message.payload,
                    "fact_seq": decision.fact_seq,
                    "published_seq": published.get(decision.message.id),
                }
                for decision in decisions
            ],
        )


async def _write_parked(connection: AsyncConnection, parked: Sequence[ParkedEvent]) -> None:
    if parked:
        await connection.execute(
            insert(PARKED_EVENT), [msgspec.structs.asdict(event) for event in parked]
        )


def connect(database_url: str) -> PostgresStore:
    """Return a store on `postgresql+asyncpg://…`; it connects when first used."""
    engine = create_async_engine(
        database_url,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
    )
    return PostgresStore(engine)
