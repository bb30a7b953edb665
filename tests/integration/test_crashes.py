"""`kill -9` at random over agents, projectors, nats-server and PostgreSQL, under load."""

import random
from pathlib import Path

import asyncpg
import pytest

from tests.support.backend import Backend
from tests.support.crashes import Crashes

KILLS = 12
SEED = 7


@pytest.mark.usefixtures("bus")
async def test_killed_at_random_under_load_nothing_is_lost_and_nothing_counts_twice(
    backend: Backend, database_url: str, tmp_path: Path
) -> None:
    crashes = Crashes(backend, database_url, tmp_path, random.Random(SEED))
    found = await crashes.run(KILLS)
    print(found)
    assert found.findings == []
    assert (found.lost, found.twice, found.replay_equal) == (0, 0, True)
    assert sum(found.kills.values()) == KILLS
    assert len(found.kills) == 5, "a seed that spares one kind of victim proves less"
    assert found.events > 1_000
    assert found.resent > 0
    assert found.decisions > 0
    assert found.pushed_due > 0


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
async def test_postgresql_syncs_before_it_says_that_something_is_committed(
    database_url: str, setting: str
) -> None:
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    assert await connection.fetchval(f"SHOW {setting}") == "on"
    await connection.close()
