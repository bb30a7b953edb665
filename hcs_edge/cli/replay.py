"""`hcs replay`: fold the log again, say what comes out, or compare it with the tables."""

import logging
import sys
from pathlib import Path

import click
import msgspec
from rich.progress import Progress

from hcs_bus import jetstream
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.policy import DEFAULT_POLICY_PATH, Policy, load_policy
from hcs_control.replay import Verdict, compare, refused_in
from hcs_control.replay import replay as replay_log
from hcs_control.snapshot import header_of
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


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of a log."""

    position: StreamSeq
    rows: dict[str, int]  # by table
    decisions: int
    parked: int


@click.command()
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@click.option(
    "--verify",
    is_flag=True,
    help="Compare with the tables, up to where they stand; exit code 1 if anything differs.",
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
    """Fold the whole log again and count what comes out, or compare it with the tables.

    Reads only, and the tables only for --verify.

    Example: hcs replay --verify --output json

    Example: hcs replay --verify --snapshot hcs.snapshot
    """
    bus_url = reader_bus(nats_url)
    held_url = reader_database(database_url) if verify else None
    with errors_end_the_command():
        rules = load_policy(policy)
        start = None if snapshot is None else read_file(snapshot)
    # What is parked was warned of when it came; a replay compares it.
    outcome = run_command("replay", _replay(bus_url, held_url, rules, start), level=logging.ERROR)
    click.echo(msgspec.json.encode(outcome) if output == "json" else _text(outcome))
    sys.exit(EXIT_FAILED if isinstance(outcome, Verdict) and outcome.differing else 0)


async def _replay(
    nats_url: str, database_url: str | None, rules: Policy, start: Contents | None
) -> Verdict | Outcome:
    """Fold up to where the tables stand, and compare; without a database, to the log's end."""
    with progress_bar() as bar:
        held = None if database_url is None else await _held(database_url, bar)
        bus = await jetstream.connect(nats_url, name="replay")
        try:
            end = (await bus.stream_state(FACTS_STREAM)).last_seq if held is None else held.position
            task = bar.add_task("replaying", total=end)
            replayed = await replay_log(
                bus,
                rules,
                end,
                progress=lambda at: bar.update(task, completed=at),
                snapshot=start,
                refused=None if held is None else refused_in(held),
            )
        finally:
            await bus.close()
    return _outcome(replayed) if held is None else compare(held, replayed)


def _outcome(replayed: Contents) -> Outcome:
    counted = header_of(replayed)
    return Outcome(
        position=counted.position,
        rows=counted.rows,
        decisions=counted.decisions,
        parked=counted.parked,
    )


async def _held(database_url: str, bar: Progress) -> Contents:
    task = bar.add_task("reading the tables", total=None)
    store = postgres.connect(database_url)
    try:
        return await store.contents()
    finally:
        await store.close()
        bar.remove_task(task)


def _text(outcome: Verdict | Outcome) -> str:
    if isinstance(outcome, Outcome):
        rows = ", ".join(f"{count} {name}" for name, count in outcome.rows.items()) or "none"
        return (
            f"{outcome.decisions} decisions and {outcome.parked} parked events as of "
            f"{outcome.position}; rows: {rows}"
        )
    head = f"{outcome.compared} rows, decisions and parked events as of {outcome.position}: "
    if not outcome.differing:
        return head + "all equal"
    return head + f"{outcome.differing} differ\n" + "\n".join(outcome.examples)
