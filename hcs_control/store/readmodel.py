"""Questions that people ask of the projection, answered from its views. Reads only."""

import datetime
from typing import TypeVar

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from hcs_control.store.postgres import CONNECT_TIMEOUT_S, wrap_exceptions


class InventoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One card, as the view `inventory` has it."""

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


class ParkedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message that could not be folded."""

    stream_seq: int
    subject: str
    reason: str
    payload: bytes


T = TypeVar("T", bound=msgspec.Struct)


async def inventory(database_url: str) -> list[InventoryRow]:
    """Return every card, by node.

    Raises:
        StoreUnavailableError: no connection, or the schema is not there.
    """
    return await _rows(database_url, InventoryRow, "inventory", {})


async def inventory_at(database_url: str, moment: datetime.datetime) -> list[PastInventoryRow]:
    """Return every card as it was at a moment; raises as `inventory` does."""
    return await _rows(database_url, PastInventoryRow, "inventory_at(:moment)", {"moment": moment})


async def parked(database_url: str) -> list[ParkedRow]:
    """Return the parked messages, oldest first; raises as `inventory` does."""
    return await _rows(database_url, ParkedRow, "parked_event ORDER BY stream_seq", {})


async def _rows(
    database_url: str, row_type: type[T], source: str, parameters: dict[str, object]
) -> list[T]:
    # The URL is the one that psql takes; SQLAlchemy wants its driver named.
    url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S}
    )
    columns = row_type.__struct_fields__
    query = text(f"SELECT {', '.join(columns)} FROM {source}")
    with wrap_exceptions():
        async with engine.connect() as connection:
            found = (await connection.execute(query, parameters)).all()
    return [
        msgspec.convert(dict(zip(columns, row, strict=True)), row_type, strict=False)
        for row in found
    ]
