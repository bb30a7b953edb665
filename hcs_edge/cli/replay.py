"""`hcs replay`: fold the log again and compare the outcome with the tables."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from hcs_bus import jetstream
from hcs_bus.errors import BusError, ConfigError
from hcs_control.policy import DEFAULT_POLICY_PATH, load_policy
from hcs_control.replay import Verdict, compare
from hcs_control.replay import replay as replay_log
from hcs_control.store import postgres
from hcs_control.store.port import StoreError
from hcs_edge.cli.options import EXISTING_FILE, LOCAL_DATABASE_URL, LOCAL_NATS_URL
from hcs_edge.cli.runtime import EXIT_CONFIG, EXIT_FAILED, configure_logging
from hcs_edge.local import connection
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.home import Home


@click.command()
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@click.option(
    "--policy",
    type=EXISTING_FILE,
    default=DEFAULT_POLICY_PATH,
    help="The rule set that the projector has; default: the one that ships with HCS.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def replay(nats_url: str | None, database_url: str | None, policy: Path, output: str) -> None:
    """Fold the whole log again and compare rows, decisions and parked events with the tables.

    Reads only. Exit code 1 if anything differs.

    Example: hcs replay --output json
    """
    configure_logging("replay")
    try:
        if nats_url is None or database_url is None:
            local = connection.load(Home.from_environment())
            nats_url, database_url = nats_url or local.nats_url, database_url or local.database_url
        verdict = asyncio.run(_verify(nats_url, database_url, policy))
    except ConfigError as error:
        click.echo(f"hcs: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except (BusError, StoreError, LocalClusterError) as error:
        click.echo(f"hcs: {error}", err=True)
        sys.exit(EXIT_FAILED)
    click.echo(msgspec.json.encode(verdict) if output == "json" else _text(verdict))
    sys.exit(EXIT_FAILED if verdict.differing else 0)


async def _verify(nats_url: str, database_url: str, policy: Path) -> Verdict:
    rules = load_policy(policy)
    store = postgres.connect(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    held = await store.contents()
    await store.close()
    bus = await jetstream.connect(nats_url, name="replay")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=held.position)
        replayed = await replay_log(
            bus, rules, held.position, progress=lambda at: progress.update(task, completed=at)
        )
    await bus.close()
    return compare(held, replayed)


def _text(verdict: Verdict) -> str:
    head = f"{verdict.compared} rows, decisions and parked events as of {verdict.position}: "
    if not verdict.differing:
        return head + "all equal"
    return head + f"{verdict.differing} differ\n" + "\n".join(verdict.examples)
