"""The store adapter against a real PostgreSQL, and the schema that the migrations make."""

import asyncio
import datetime
import random
from collections.abc import Sequence

import asyncpg
import msgspec
import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from hcs_bus.events import AllocationState
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.policy import Policy, Rule, load_policy
from hcs_control.rows import AnyRow, SourcePositionRow
from hcs_control.store.migrate import migrate
from hcs_control.store.port import (
    Batch,
    ParkedEvent,
    StoreRefusedError,
    StoreUnavailableError,
    change_key,
)
from hcs_control.store.postgres import PostgresStore, connect
from hcs_control.store.readmodel import inventory_at
from hcs_control.store.tables import METADATA
from tests.support.backend import Backend
from tests.support.commands import hcs
from tests.support.facts import (
    GIB,
    NODE,
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    link,
)
from tests.support.folding import Folding
from tests.support.projecting import until
from tests.support.store_contract import StoreContract, same_fleet

# What an index finds hardest: characters of four bytes that no compression makes shorter.
HARD_TEXT = "".join(random.Random(1).choices([chr(0x20000 + n) for n in range(20_000)], k=2_000))
LONGEST_NAME = HARD_TEXT[:253]


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
        device("d" * 128, model=LONGEST_NAME, links=(link("e" * 128, lanes=2**31 - 1),)),
        vram_bytes=2**63 - 1,
        fp16_gflops=2**63 - 1,
        fp32_gflops=0,
        index=2**31 - 1,
        numa_node=-1,
        memory_bandwidth_gbytes_s=1e308,
        pci_address="",
        driver_version="𝔪'\";--\\",
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


def heartbeats(*, last_n: int = 1, incarnation: str = "boot") -> Batch:
    """Return a batch with the position of one source."""
    row = SourcePositionRow(
        seq=StreamSeq(1), node_name=NODE, incarnation=incarnation, last_n=last_n
    )
    return batch_of(row)


def batch_of(*rows: AnyRow, parked: Sequence[ParkedEvent] = ()) -> Batch:
    """Return a first batch."""
    return Batch(
        position_from=StreamSeq(0),
        position_to=StreamSeq(1),
        changes={change_key(row): row for row in rows},
        decisions=[],
        parked=list(parked),
    )


def parked_event(subject: str) -> ParkedEvent:
    """Return an event that was parked."""
    return ParkedEvent(stream_seq=StreamSeq(1), subject=subject, reason="why", payload=b"{}")


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (heartbeats(incarnation=HARD_TEXT), "index row size"),
        (heartbeats(last_n=2**64), "out of range"),
        (heartbeats(incarnation="a\0b"), "unsupported Unicode escape"),
        (batch_of(parked=[parked_event("hcs.fact.fault.gpu-0.\0")]), "invalid byte sequence"),
        (batch_of(parked=[parked_event("hcs.fact.fault.gpu-0.\udcff")]), "surrogates"),
        (batch_of(parked=[parked_event("s"), parked_event("s")]), "duplicate key"),
    ],
    ids=["an index entry", "a number", "a NUL", "a NUL as bytes", "no Unicode", "a key twice"],
)
async def test_rows_that_can_never_be_written_are_refused_in_a_few_words(
    store: PostgresStore, batch: Batch, reason: str
) -> None:
    with pytest.raises(StoreRefusedError, match=reason) as refused:
        await store.commit(batch)
    assert len(str(refused.value)) < 500
    assert "INSERT" not in str(refused.value)
    await store.commit(heartbeats())
    assert (await store.load()).position == 1


async def test_a_server_that_cannot_now_is_unavailable_in_a_few_words(
    store: PostgresStore, database_url: str
) -> None:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE source_position RENAME TO elsewhere"))
    with pytest.raises(StoreUnavailableError, match='"source_position" does not exist') as said:
        await store.commit(heartbeats())
    assert len(str(said.value)) < 500
    assert "INSERT" not in str(said.value)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO source_position"))
    await engine.dispose()
    await store.commit(heartbeats())
    assert (await store.load()).position == 1


async def test_of_two_that_commit_at_the_same_moment_one_is_fenced(
    store: PostgresStore, database_url: str
) -> None:
    other = connect(database_url)
    holder = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    held = holder.transaction()
    await held.start()
    await holder.execute("SELECT 1 FROM projection_position FOR UPDATE")
    commits = [asyncio.create_task(one.commit(heartbeats())) for one in (store, other)]

    async def both_wait() -> bool:
        await holder.execute("SELECT pg_stat_clear_snapshot()")
        waiting = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await holder.fetchval(waiting) == len(commits))

    await until(both_wait, "both stand before the position, and have looked at it if they do")
    await held.rollback()
    results = await asyncio.gather(*commits, return_exceptions=True)
    await holder.close()
    await other.close()
    assert sorted(type(result).__name__ for result in results) == ["FencedError", "NoneType"]
    assert (await store.load()).position == 1


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


@pytest.mark.parametrize("role", ["hcs_reader", "hcs_read"])
async def test_the_reader_may_change_no_table_in_any_way(database_url: str, role: str) -> None:
    # A grant on one column is none on its table, and one on the table is one on every column.
    granted = """
        SELECT relation.relname, privilege
        FROM pg_class relation, unnest($2::text[]) privilege
        WHERE relation.relnamespace = 'public'::regnamespace
          AND relation.relkind IN ('r', 'p', 'v', 'm')
          AND CASE WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                   THEN has_table_privilege($1, relation.oid, privilege)
                   ELSE has_any_column_privilege($1, relation.oid, privilege) END
    """
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    readable = {row["relname"] for row in await connection.fetch(granted, role, ["SELECT"])}
    changing = ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER"]
    writable = [tuple(row) for row in await connection.fetch(granted, role, changing)]
    creating = await connection.fetchval(
        "SELECT has_schema_privilege($1, 'public', 'CREATE')", role
    )
    await connection.close()
    assert readable >= METADATA.tables.keys()
    assert (writable, creating) == ([], False)


async def test_a_database_that_is_away_is_said_so() -> None:
    store = connect("postgresql+asyncpg://hcs:x@127.0.0.1:1/hcs")
    with pytest.raises(StoreUnavailableError):
        await store.load()
    await store.close()
