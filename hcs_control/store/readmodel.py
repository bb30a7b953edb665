"""Questions that people ask of the projection, answered from its views. Reads only."""

import datetime

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


COLUMNS = InventoryRow.__struct_fields__
INVENTORY = text(f"SELECT {', '.join(COLUMNS)} FROM inventory")


async def inventory(database_url: str) -> list[InventoryRow]:
    """Return every card, by node.

    Raises:
        StoreUnavailableError: no connection, or the schema is not there.
    """
    # The URL is the one that psql takes; SQLAlchemy wants its driver named.
    url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S}
    )
    with wrap_exceptions():
        async with engine.connect() as connection:
            rows = (await connection.execute(INVENTORY)).all()
    return [
        msgspec.convert(dict(zip(COLUMNS, row, strict=True)), InventoryRow, strict=False)
        for row in rows
    ]
