"""`hcs migrate` and `hcs projector`."""

from pathlib import Path

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console

from hcs_bus import jetstream
from hcs_control.health_server import serve
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import DEFAULT_POLICY_PATH, load_policy
from hcs_control.projector import Projector
from hcs_control.store import postgres
from hcs_control.store.migrate import migrate as migrate_database
from hcs_edge.cli.options import DATABASE_URL, EXISTING_FILE, NATS_URL, OUTPUT, listen_option
from hcs_edge.cli.runtime import errors_end_the_command, keep_trying, run_service


@click.command()
@DATABASE_URL
@OUTPUT
def migrate(*, database_url: str, output: str) -> None:
    """Bring the database to this release's schema.

    Example: HCS_DATABASE_URL=postgresql://hcs@db/hcs hcs migrate
    """
    with errors_end_the_command(), Console(stderr=True).status("migrating"):
        revision = migrate_database(database_url)
    done = {"revision": revision}
    click.echo(msgspec.json.encode(done) if output == "json" else f"The schema is {revision}.")


@click.command()
@NATS_URL
@DATABASE_URL
@listen_option("127.0.0.1:9091")
@click.option(
    "--policy",
    type=EXISTING_FILE,
    default=DEFAULT_POLICY_PATH,
    help="Rule set in TOML; the default ships with HCS.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),  # what JetStream allows
    default=1,
    show_default=True,
    help="Copies of each stream on the bus.",
)
def projector(nats_url: str, database_url: str, listen: str, policy: Path, replicas: int) -> None:
    """Fold facts into PostgreSQL and decide on isolations.

    Example: hcs projector --listen 127.0.0.1:9091 --policy my-rules.toml
    """

    async def main() -> None:
        registry = CollectorRegistry()
        rules = load_policy(policy)
        bus = await keep_trying("bus", lambda: jetstream.connect(nats_url, name="projector"))
        await keep_trying("streams", lambda: bus.ensure_streams(replicas=replicas))
        store = postgres.connect(database_url)
        service = Projector(store=store, bus=bus, policy=rules, metrics=ProjectorMetrics(registry))
        try:
            async with serve(listen, registry=registry, ready=lambda: service.caught_up):
                await service.run()
        finally:
            await bus.close()
            await store.close()

    run_service("projector", main)
