"""How far a command is, or what it waits for: shown on a terminal, and nowhere else."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from hcs_bus.jetstream import JetStreamBus
from tests.integration.test_projector import start_projector
from tests.support.backend import Backend
from tests.support.commands import HCS, hcs
from tests.support.facts import device, fingerprint, message
from tests.support.terminal import Ended, on_terminal


@pytest.fixture
async def folded(backend: Backend, bus: JetStreamBus, database_url: str) -> None:
    """Let a projector fold a node with a card, and end it."""
    await bus.publish_many([message(fingerprint(device("d0")))])
    process = start_projector(backend, database_url)
    async with asyncio.timeout(30):
        while (
            "d0" not in (await hcs(backend, database_url, "inventory", "--output", "json")).stdout
        ):
            await asyncio.sleep(0.05)
    process.terminate()
    process.wait()


async def at_terminal(backend: Backend, database_url: str, *arguments: str) -> Ended:
    """Run a command on these servers, with a terminal."""
    env = os.environ | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": database_url}
    return await asyncio.to_thread(on_terminal, [str(HCS), *arguments], env)


@pytest.mark.usefixtures("folded")
async def test_a_replay_shows_how_far_it_is(backend: Backend, database_url: str) -> None:
    ended = await at_terminal(backend, database_url, "replay", "--verify")
    assert ended.returncode == 0, ended.screen
    assert "replaying" in ended.screen and "100%" in ended.screen
    assert ended.stdout.endswith("all equal\n")
    piped = await hcs(backend, database_url, "replay", "--verify")
    assert (piped.stdout, piped.stderr) == (ended.stdout, "")


@pytest.mark.usefixtures("folded")
async def test_a_snapshot_shows_how_far_it_is(
    backend: Backend, database_url: str, tmp_path: Path
) -> None:
    save = ("snapshot", "save", str(tmp_path / "hcs.snapshot"))
    ended = await at_terminal(backend, database_url, *save)
    assert ended.returncode == 0, ended.screen
    assert "reading the tables" in ended.screen and "writing" in ended.screen
    piped = await hcs(backend, database_url, *save)
    assert (piped.stdout, piped.stderr) == (ended.stdout, "")


@pytest.mark.usefixtures("folded")
async def test_a_word_shows_what_it_waits_for(backend: Backend, database_url: str) -> None:
    word = ("isolate", "d0", "--why", "a fan is replaced", "--wait-s", "0.2")
    ended = await at_terminal(backend, database_url, *word)
    assert ended.returncode == 1
    assert re.search(r"waiting until the projection stands at \d", ended.screen)
    piped = await hcs(backend, database_url, *word)
    assert piped.stderr.startswith("hcs: said at position ") and piped.stderr.count("\n") == 1
