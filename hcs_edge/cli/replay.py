"""`hcs replay`: fold the log again and compare the outcome with the tables."""

import logging
import sys
from pathlib import Path

import click
import msgspec
from rich.progress import Progress

from hcs_bus import jetstream
from hcs_control.policy import DEFAULT_POLICY_PATH, Policy, load_policy
from hcs_control.replay import Verdict, compare
from hcs_control.replay import replay as replay_log
from hcs_control.store import postgres
from hcs_control.store.port import Contents
from hcs_edge.cli.options import (
    EXISTING_FILE,
    LOCAL_DATABASE_URL,
    LOCAL_NATS_URL,
    OUTPUT,
    reader_bus,
    reader_database,
)
from hcs_edge.cli.runtime import EXIT_FAILED, errors_end_the_command, run_command
from hcs_edge.cli.snapshot import read_file
from hcs_edge.cli.tables import progress_bar


@click.command()
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@click.option(
    "--verify",
    is_flag=True,
    default=True,
    help="Compare with the tables. That is all that a replay is for, so it need not be said.",
)
@click.option(
    "--snapshot",
    type=EXISTING_FILE,
    help="Start from this file, and not from the log's first fact: when that is gone.",
)
@click.option(
    "--policy",
    type=EXISTING_FILE,
    default=DEFAULT_POLICY_PATH,
    help="The rule set that the projector has; default: the one that ships with HCS.",
)
@OUTPUT
def replay(
    *,
    nats_url: str | None,
    database_url: str | None,
    verify: bool,
    snapshot: Path | None,
    policy: Path,
    output: str,
) -> None:
    """Fold the whole log again and compare rows, decisions and parked events with the tables.

    Reads only. Exit code 1 if anything differs.

    Example: hcs replay --verify --output json

    Example: hcs replay --verify --snapshot hcs.snapshot
    """
    assert verify  # there is no way to say otherwise
    urls = reader_bus(nats_url), reader_database(database_url)
    with errors_end_the_command():
        rules = load_policy(policy)
        start = None if snapshot is None else read_file(snapshot)
    # What is parked was warned of when it came; a replay compares it.
    verdict = run_command("replay", _verify(urls, rules, start), level=logging.ERROR)
    click.echo(msgspec.json.encode(verdict) if output == "json" else _text(verdict))
    sys.exit(EXIT_FAILED if verdict.differing else 0)


async def _verify(urls: tuple[str, str], rules: Policy, start: Contents | None) -> Verdict:
    nats_url, database_url = urls
    with progress_bar() as bar:
        held = await _held(database_url, bar)
        bus = await jetstream.connect(nats_url, name="replay")
        try:
            task = bar.add_task("replaying", total=held.position)
            replayed = await replay_log(
                bus,
                rules,
                held.position,
                progress=lambda at: bar.update(task, completed=at),
                snapshot=start,
            )
        finally:
            await bus.close()
    return compare(held, replayed)


async def _held(database_url: str, bar: Progress) -> Contents:
    task = bar.add_task("reading the tables", total=None)
    store = postgres.connect(database_url)
    try:
        return await store.contents()
    finally:
        await store.close()
        bar.remove_task(task)


def _text(verdict: Verdict) -> str:
    head = f"{verdict.compared} rows, decisions and parked events as of {verdict.position}: "
    if not verdict.differing:
        return head + "all equal"
    return head + f"{verdict.differing} differ\n" + "\n".join(verdict.examples)
