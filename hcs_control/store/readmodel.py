"""Questions that people ask of the projection, answered from its views. Reads only."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from hcs_bus.names import StreamSeq
from hcs_control.store.postgres import CONNECT_TIMEOUT_S, wrap_exceptions

POSITION_POLL_S = 0.05  # a projector commits several times a second


class InventoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One card, as the views `inventory` and `device_health` have it; no sample: null."""

    node_name: str
    device_index: int
    device_id: str
    vendor: str
    model: str
    vram_bytes: int
    vram_allocated_bytes: int
    vram_free_bytes: int
    fp16_tflops: float
    fp16_free_tflops: float
    health: str
    isolation_code: str | None
    isolation_evidence: str | None
    pods: int
    heartbeat_at: datetime.datetime | None
    utilization_percent: float | None
    temperature_celsius: float | None
    vram_used_bytes: int | None


class PastInventoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One card, as the function `inventory_at` has it."""

    node_name: str
    device_index: int
    device_id: str
    vendor: str
    model: str
    vram_bytes: int
    vram_allocated_bytes: int
    health: str


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one container uses of one card, and whose it is; null: no grant is known any more."""

    node_name: str
    device_index: int | None
    device_id: str
    vendor: str | None
    model: str | None
    namespace: str | None
    pod_name: str | None
    pod_uid: str
    container: str
    quota_bytes: int
    used_bytes: int
    peak_bytes: int
    refusals: int
    processes: int
    enforced: bool  # false: processes on the card that no interceptor speaks for
    launches: int  # on all the container's cards: the same in the rows of each
    reported_at: datetime.datetime


class CardRow(msgspec.Struct, frozen=True, kw_only=True):
    """How one card is, and why."""

    node_name: str
    device_index: int
    device_id: str
    vendor: str
    health: str
    active_codes: tuple[str, ...]  # what holds it isolated
    evidence: str | None


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that was put in force."""

    policy_seq: int
    policy_version: str
    put_in_force_at: datetime.datetime
    who: str
    why: str
    document: str


class ParkedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message that could not be folded."""

    stream_seq: int
    subject: str
    reason: str
    payload: bytes


T = TypeVar("T", bound=msgspec.Struct)

INVENTORY = """
SELECT i.*, h.utilization_percent, h.temperature_celsius, h.vram_used_bytes
FROM inventory i JOIN device_health h USING (device_id)
"""
USAGE = """
SELECT u.*, d.device_index, d.vendor, d.model, a.namespace, a.pod_name,
    to_timestamp(u.at_ns / 1e9) AS reported_at
FROM quota_usage u
LEFT JOIN device d USING (device_id)
LEFT JOIN allocation a USING (pod_uid, device_id)
"""
CARDS = """
SELECT d.node_name, d.device_index, d.device_id, d.vendor,
    CASE WHEN NOT d.present THEN 'absent' ELSE d.health END AS health,
    coalesce(i.active_codes, '{}') AS active_codes, i.evidence
FROM device d LEFT JOIN isolation i ON i.device_id = d.device_id AND i.released_seq IS NULL
"""
POLICIES = "SELECT *, to_timestamp(at_ns / 1e9) AS put_in_force_at FROM health_policy"


async def inventory(database_url: str) -> list[InventoryRow]:
    """Return every card, by node.

    Raises:
        StoreUnavailableError: no connection, or the schema is not there.
    """
    source = f"({INVENTORY}) AS cards ORDER BY node_name, vendor, device_index"
    return await _rows(database_url, InventoryRow, source, {})


async def inventory_at(database_url: str, moment: datetime.datetime) -> list[PastInventoryRow]:
    """Return every card as it was at a moment; raises as `inventory` does."""
    return await _rows(database_url, PastInventoryRow, "inventory_at(:moment)", {"moment": moment})


async def usage(database_url: str) -> list[UsageRow]:
    """Return what containers use, by node and card; raises as `inventory` does."""
    source = f"({USAGE}) AS used ORDER BY node_name, vendor, device_index, namespace, pod_name"
    return await _rows(database_url, UsageRow, f"{source}, pod_uid, container", {})


async def cards(database_url: str) -> list[CardRow]:
    """Return how every card is, by node; raises as `inventory` does."""
    source = f"({CARDS}) AS cards ORDER BY node_name, vendor, device_index"
    return await _rows(database_url, CardRow, source, {})


async def policies(database_url: str) -> list[PolicyRow]:
    """Return the policies that were put in force, newest first; raises as `inventory` does."""
    source = f"({POLICIES}) AS policies ORDER BY policy_seq DESC"
    return await _rows(database_url, PolicyRow, source, {})


async def parked(database_url: str) -> list[ParkedRow]:
    """Return the parked messages, oldest first; raises as `inventory` does."""
    return await _rows(database_url, ParkedRow, "parked_event ORDER BY stream_seq", {})


async def parked_reason(database_url: str, seq: StreamSeq) -> str | None:
    """Return why the fact at a position was parked, if it was; raises as `inventory` does."""
    source = "parked_event WHERE stream_seq = :seq"
    found = await _rows(database_url, ParkedRow, source, {"seq": seq})
    return found[0].reason if found else None


async def await_position(database_url: str, seq: StreamSeq, *, timeout_s: float) -> StreamSeq:
    """Wait until the facts up to `seq` are folded; return the position reached, which may be less.

    Raises as `inventory` does.
    """
    query = text("SELECT stream_seq FROM projection_position")
    position = StreamSeq(0)
    async with _connected(database_url) as connection:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while position < seq:
                    position = StreamSeq(await connection.scalar(query) or 0)
                    await connection.rollback()  # the next look is to see what is new
                    if position < seq:
                        await asyncio.sleep(POSITION_POLL_S)
    return position


@contextlib.asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[AsyncConnection]:
    # The URL is the one that psql takes; SQLAlchemy wants its driver named.
    url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S}
    )
    with wrap_exceptions():
        async with engine.connect() as connection:
            yield connection


async def _rows(
    database_url: str, row_type: type[T], source: str, parameters: dict[str, object]
) -> list[T]:
    columns = row_type.__struct_fields__
    query = text(f"SELECT {', '.join(columns)} FROM {source}")
    async with _connected(database_url) as connection:
        found = (await connection.execute(query, parameters)).all()
    return [
        msgspec.convert(dict(zip(columns, row, strict=True)), row_type, strict=False)
        for row in found
    ]
