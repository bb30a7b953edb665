"""Snapshots on real servers: the documented way out of a log that was cut, and what is refused."""

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from hcs_bus.jetstream import JetStreamBus
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.store import postgres
from hcs_control.store.postgres import PostgresStore
from tests.integration.test_projector import start_projector, work
from tests.support.backend import Backend
from tests.support.commands import hcs
from tests.support.facts import heartbeat, message
from tests.support.store_contract import contents_of, full_folding, in_order

FACTS_COUNT = 1_500
DEADLINE_S = 60
DATABASE_AWAY = "postgresql+asyncpg://hcs@127.0.0.1:1/hcs"  # a port that no server may have
TABLE_ORDER = "SELECT relname FROM pg_stat_user_tables WHERE relname <> 'alembic_version'"


@pytest.fixture
def other_database_url(backend: Backend, database_url: str, template_database: str) -> str:
    """Return the URL of a second, empty database."""
    name = f"{database_url.rpartition('/')[2]}_restored"
    backend.create_database(name, template=template_database)
    return backend.database_url(name)


@asynccontextmanager
async def projecting(
    backend: Backend, bus: JetStreamBus, database_url: str
) -> AsyncIterator[PostgresStore]:
    """Run a projector on a database; when it is left, everything is folded and published."""
    store = postgres.connect(database_url)
    process = start_projector(backend, database_url)
    try:
        yield store
        end = (await bus.stream_state(FACTS_STREAM)).last_seq
        async with asyncio.timeout(DEADLINE_S):
            while (await store.load()).position < end or await store.unpublished(1):
                assert process.poll() is None, "the projector ended"
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        process.wait()
        await store.close()


async def dump(database_url: str) -> dict[str, list[str]]:
    """Return every row of every table as the database writes it."""
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        tables = (await connection.scalars(text(TABLE_ORDER))).all()
        rows = {
            table: sorted((await connection.scalars(text(f"SELECT t::text FROM {table} t"))).all())
            for table in sorted(tables)
        }
    await engine.dispose()
    return rows


@pytest.mark.timeout(180)
async def test_a_restored_snapshot_is_the_way_on_over_a_cut_log(
    bus: JetStreamBus,
    backend: Backend,
    database_url: str,
    other_database_url: str,
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "hcs.snapshot")
    await bus.publish_many(work(random.Random(5), FACTS_COUNT))
    async with projecting(backend, bus, database_url):
        pass
    saved = await hcs(backend, database_url, "snapshot", "save", file, "--output", "json")
    assert saved.returncode == 0, saved.stderr
    header = json.loads(saved.stdout)
    assert header["decisions"] > 0 and header["parked"] > 0 and header["rows"]["device"] == 8
    # The tables are lost, and so is every fact that the snapshot holds, and one more is there.
    await bus.publish_many([message(heartbeat())])
    await backend.purge_facts(keep=1)
    assert (await bus.stream_state(FACTS_STREAM)).first_seq > header["position"]
    stopped = await hcs(backend, other_database_url, "projector", "--listen", "127.0.0.1:0")
    assert stopped.returncode == 1 and "but the projection stands at 0" in stopped.stderr

    restored = await hcs(backend, other_database_url, "snapshot", "restore", file)
    assert restored.returncode == 0, restored.stderr
    assert f"as of {header['position']}: restored from {file}" in restored.stdout
    assert await dump(other_database_url) == await dump(database_url)
    again = await hcs(backend, other_database_url, "snapshot", "restore", file)
    assert again.returncode == 1 and "does not stand at 0" in again.stderr

    # Decisions that were published before are not published again.
    decided = (await bus.stream_state(DECISIONS_STREAM)).last_seq
    assert decided == header["decisions"]
    await bus.publish_many(work(random.Random(6), 200))
    async with projecting(backend, bus, other_database_url):
        pass
    held = await hcs(
        backend, other_database_url, "snapshot", "save", file + "2", "--output", "json"
    )
    published = (await bus.stream_state(DECISIONS_STREAM)).last_seq
    assert published == json.loads(held.stdout)["decisions"]
    without = await hcs(backend, other_database_url, "replay", "--verify")
    assert without.returncode == 1 and "may start from a snapshot" in without.stderr
    verified = await hcs(
        backend, other_database_url, "replay", "--verify", "--snapshot", file, "--output", "json"
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert json.loads(verified.stdout)["compared"] > header["rows"]["device"]
    assert verified.stderr == ""


@pytest.mark.timeout(180)
async def test_from_the_start_or_from_a_snapshot_a_replay_gives_the_tables(
    bus: JetStreamBus, backend: Backend, database_url: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "hcs.snapshot")
    facts = work(random.Random(7), FACTS_COUNT)
    await bus.publish_many(facts[: FACTS_COUNT // 2])
    async with projecting(backend, bus, database_url):
        pass
    assert (await hcs(backend, database_url, "snapshot", "save", file)).returncode == 0
    await bus.publish_many(facts[FACTS_COUNT // 2 :])
    async with projecting(backend, bus, database_url):
        pass
    verdicts = [
        await hcs(backend, database_url, "replay", "--verify", "--output", "json", *options)
        for options in ((), ("--snapshot", file))
    ]
    assert [done.returncode for done in verdicts] == [0, 0], verdicts
    assert verdicts[0].stdout == verdicts[1].stdout
    # Not to be compared, it is folded all the same, without a look at the tables.
    position = json.loads(verdicts[0].stdout)["position"]
    folded = await hcs(backend, DATABASE_AWAY, "replay", "--output", "json")
    assert folded.returncode == 0, folded.stderr
    outcome = json.loads(folded.stdout)
    assert outcome["position"] == (await bus.stream_state(FACTS_STREAM)).last_seq >= position
    assert outcome["rows"]["device"] == 8 and outcome["decisions"] > 0 and outcome["parked"] > 0
    said = await hcs(backend, DATABASE_AWAY, "replay")
    assert f" as of {outcome['position']}; rows: " in said.stdout and " 8 device" in said.stdout
    # And it looks: a row that somebody changed is found either way.
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE device SET driver_version = 'other' WHERE device_id = 'd1'")
        )
    await engine.dispose()
    for options in ((), ("--snapshot", file)):
        done = await hcs(backend, database_url, "replay", "--verify", *options)
        assert done.returncode == 1 and "1 differ\nDeviceRow d1" in done.stdout


async def test_a_snapshot_that_was_cut_or_changed_fills_nothing(
    bus: JetStreamBus,
    backend: Backend,
    database_url: str,
    other_database_url: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "hcs.snapshot"
    await bus.publish_many(work(random.Random(8), 200))
    async with projecting(backend, bus, database_url):
        pass
    await hcs(backend, database_url, "snapshot", "save", str(file))
    whole, empty = file.read_bytes(), await dump(other_database_url)
    lines = gzip.decompress(whole)
    for broken in (
        whole[: len(whole) // 2],
        gzip.compress(lines[: len(lines) // 2]),
        gzip.compress(lines.replace(b"nvidia", b"hygon!")),
    ):
        file.write_bytes(broken)
        refused = await hcs(backend, other_database_url, "snapshot", "restore", str(file))
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"hcs: {file}: ") and refused.stderr.count("\n") == 1
        assert await dump(other_database_url) == empty


async def test_a_restore_that_fails_half_way_leaves_the_database_empty(
    store: PostgresStore, other_database_url: str
) -> None:
    other = postgres.connect(other_database_url)
    contents = contents_of(full_folding())

    def fail(done: int) -> None:
        if done > len(contents.rows):
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        await other.restore(contents, progress=fail)
    assert in_order(await other.contents()) == in_order(await store.contents())
    await other.close()
