"""`hcs projector`: facts into PostgreSQL, and decisions out of it."""

from pathlib import Path

import click
from prometheus_client import CollectorRegistry

from hcs_bus import jetstream
from hcs_bus.jetstream_streams import FACTS_BYTES_MAX
from hcs_control.health_server import serve
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import DEFAULT_POLICY_PATH, load_policy
from hcs_control.projector import Projector
from hcs_control.store import postgres
from hcs_edge.cli.options import DATABASE_URL, EXISTING_FILE, NATS_URL, listen_option
from hcs_edge.cli.runtime import keep_trying, run_service

FACTS_BYTES_LEAST = 1024**2  # the largest event that a server takes as it comes


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
@click.option(
    "--facts-bytes-max",
    type=click.IntRange(FACTS_BYTES_LEAST),
    default=FACTS_BYTES_MAX,
    show_default=True,
    help=(
        "What the log of facts holds at most, and so how long a projector may be away; a stream "
        "that exists is made larger, never smaller. The default holds about 100 minutes of 1,000 "
        "nodes of 8 cards at the default intervals."
    ),
)
def projector(
    *,
    nats_url: str,
    database_url: str,
    listen: str,
    policy: Path,
    replicas: int,
    facts_bytes_max: int,
) -> None:
    """Fold facts into PostgreSQL and decide on isolations.

    Example: hcs projector --listen 127.0.0.1:9091 --policy my-rules.toml
    """

    async def main() -> None:
        registry = CollectorRegistry()
        rules = load_policy(policy)
        bus = await keep_trying("bus", lambda: jetstream.connect(nats_url, name="projector"))
        await keep_trying(
            "streams",
            lambda: bus.ensure_streams(replicas=replicas, facts_bytes_max=facts_bytes_max),
        )
        store = postgres.connect(database_url)
        service = Projector(store=store, bus=bus, policy=rules, metrics=ProjectorMetrics(registry))
        try:
            async with serve(listen, registry=registry, ready=lambda: service.caught_up):
                await service.run()
        finally:
            await bus.close()
            await store.close()

    run_service("projector", main)
