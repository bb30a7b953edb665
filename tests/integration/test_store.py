"""The store adapter against a real PostgreSQL, and the schema that the migrations make."""

import datetime

import msgspec
import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from hcs_bus.events import AllocationState
from hcs_bus.names import NodeName
from hcs_control.policy import Policy, Rule, load_policy
from hcs_control.store.migrate import migrate
from hcs_control.store.port import StoreUnavailableError
from hcs_control.store.postgres import PostgresStore, connect
from hcs_control.store.readmodel import inventory_at
from hcs_control.store.tables import METADATA
from tests.support.backend import Backend
from tests.support.commands import hcs
from tests.support.facts import (
    GIB,
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    link,
)
from tests.support.folding import Folding
from tests.support.store_contract import StoreContract, same_fleet


class TestPostgresStore(StoreContract):
    """The contract, on the real server."""


async def test_the_migrated_schema_is_the_one_the_code_knows(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: {
                name: [column["name"] for column in inspect(sync).get_columns(name)]
                for name in inspect(sync).get_table_names()
            }
        )
    await engine.dispose()
    found.pop("alembic_version")
    known = {
        name: [column.name for column in table.columns] for name, table in METADATA.tables.items()
    }
    assert found == known


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)


async def test_a_database_of_an_unknown_revision_ends_with_a_message(
    backend: Backend, database_url: str
) -> None:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    done = await hcs(backend, database_url, "migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("hcs: the database is of another release (")
    assert "'9999'" in done.stderr and done.stderr.count("\n") == 1
    async with engine.connect() as connection:
        assert (await connection.scalar(text("SELECT version_num FROM alembic_version"))) == "9999"
    await engine.dispose()


async def test_migrate_says_which_schema_it_reached(backend: Backend, database_url: str) -> None:
    done = await hcs(backend, database_url, "migrate", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{"revision":"0002"}\n'


async def test_the_database_itself_refuses_an_overcommitted_card(database_url: str) -> None:
    store = connect(database_url)
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0", vram_gib=80)))
    await store.commit(folding.batch())
    await store.close()
    engine = create_async_engine(database_url)
    with pytest.raises(DBAPIError, match="device_not_overcommitted"):
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE device SET vram_allocated_bytes = vram_bytes + 1")
            )
    await engine.dispose()


async def test_every_value_that_an_event_may_hold_can_be_kept(store: PostgresStore) -> None:
    extreme = msgspec.structs.replace(
        device("d" * 128, model="𝔪'\";--\\", links=(link("e" * 128, lanes=2**31 - 1),)),
        vram_bytes=2**63 - 1,
        fp16_gflops=2**63 - 1,
        fp32_gflops=0,
        index=2**31 - 1,
        numa_node=-1,
        memory_bandwidth_gbytes_s=1e308,
        pci_address="",
        driver_version="x" * 100_000,
    )
    folding = Folding(load_policy())
    folding.add(fingerprint(extreme, at_ns=2**63 - 1), node=NodeName("n" * 253))
    sent = fault("d" * 128, code='{"a",}', at_ns=0)
    folding.policy = Policy(
        "v", (Rule(name="r", vendor=sent.vendor, codes=(sent.code,), release_after_s=1),)
    )
    folding.add(sent, node=NodeName("n" * 253))
    await store.commit(folding.batch())
    assert same_fleet((await store.load()).fleet, folding.fleet)


async def test_inventory_at_answers_as_of_any_time(store: PostgresStore, database_url: str) -> None:
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0"), at_ns=START_NS))
    folding.add(
        msgspec.structs.replace(
            allocation(AllocationState.RESERVED, ("d0", 16, 100)), at_ns=START_NS + 10 * SECOND
        )
    )
    folding.add(fault("d0", at_ns=START_NS + 20 * SECOND))
    folding.add(
        msgspec.structs.replace(allocation(AllocationState.RELEASED), at_ns=START_NS + 30 * SECOND)
    )
    await store.commit(folding.batch())

    async def at(offset_s: float) -> list[tuple[int, str]]:
        moment = datetime.datetime.fromtimestamp(START_NS / SECOND + offset_s, tz=datetime.UTC)
        rows = await inventory_at(database_url, moment)
        return [(row.vram_allocated_bytes // GIB, row.health) for row in rows]

    assert await at(-1) == []
    assert await at(5) == [(0, "healthy")]
    assert await at(15) == [(16, "healthy")]
    assert await at(25) == [(16, "isolated")]
    assert await at(35) == [(0, "isolated")]


async def test_the_reader_reads_and_writes_nothing(backend: Backend, database_url: str) -> None:
    owner = f"hcs:{backend.passwords['hcs']}"
    reader = f"hcs_read:{backend.passwords['hcs_read']}"
    engine = create_async_engine(database_url.replace(owner, reader))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT * FROM inventory"))).all() == []
        assert (await connection.execute(text("SELECT * FROM free_capacity"))).all() == []
    with pytest.raises(DBAPIError, match="permission denied"):
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM device"))
    await engine.dispose()


async def test_a_database_that_is_away_is_said_so() -> None:
    store = connect("postgresql+asyncpg://hcs:x@127.0.0.1:1/hcs")
    with pytest.raises(StoreUnavailableError):
        await store.load()
    await store.close()
