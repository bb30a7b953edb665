"""`hcs migrate|projector|extender|webhook`: the long-running services, wired together."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from prometheus_client import CollectorRegistry

from hcs_bus import jetstream
from hcs_bus.errors import ConfigError
from hcs_control.health_server import serve
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import DEFAULT_POLICY_PATH, load_policy
from hcs_control.projector import Projector
from hcs_control.store import postgres
from hcs_control.store.migrate import migrate as migrate_database
from hcs_control.store.port import StoreUnavailableError
from hcs_edge.cli.runtime import EXIT_FAILED, keep_trying, run_service
from hcs_edge.extender.http import BODY_BYTES_MAX as EXTENDER_BODY_BYTES_MAX
from hcs_edge.extender.http import ExtenderHandlers, ExtenderMetrics
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.reconciler import Reconciler
from hcs_edge.extender.scheduling import Scheduling
from hcs_edge.extender.view import FleetView
from hcs_edge.kube import client as kube
from hcs_edge.webhook.http import BODY_BYTES_MAX as WEBHOOK_BODY_BYTES_MAX
from hcs_edge.webhook.http import WebhookHandlers

NATS_URL = click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    required=True,
    help="nats://user:password@host:port; better by $HCS_NATS_URL, which no process list shows.",
)
DATABASE_URL = click.option(
    "--database-url",
    envvar="HCS_DATABASE_URL",
    required=True,
    help="postgresql+asyncpg://…; better by $HCS_DATABASE_URL.",
)
Command = TypeVar("Command", bound=Callable[..., object])
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TLS_CERT = click.option("--tls-cert", type=EXISTING_FILE, required=True, help="Server certificate.")
TLS_KEY = click.option("--tls-key", type=EXISTING_FILE, required=True, help="Its private key.")


def listen_option(default: str) -> Callable[[Command], Command]:
    """Return a `--listen` option; nothing listens beyond loopback unless told to."""
    return click.option(
        "--listen", default=default, show_default=True, help="HOST:PORT to listen on."
    )


@click.command()
@DATABASE_URL
def migrate(database_url: str) -> None:
    """Bring the database to this release's schema.

    Example: HCS_DATABASE_URL=postgresql+asyncpg://hcs@db/hcs hcs migrate
    """
    try:
        migrate_database(database_url)
    except StoreUnavailableError as error:
        click.echo(f"hcs: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error


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
@click.option("--replicas", default=1, show_default=True, help="Copies of each stream on the bus.")
def projector(
    nats_url: str, database_url: str, listen: str, policy: Path, replicas: int
) -> None:
    """Fold facts into PostgreSQL and decide on isolations.

    Example: hcs projector --listen 127.0.0.1:9091 --policy my-rules.toml
    """

    async def main() -> None:
        registry = CollectorRegistry()
        rules = load_policy(policy)
        bus = await keep_trying("bus", lambda: jetstream.connect(nats_url, name="projector"))
        await keep_trying("streams", lambda: bus.ensure_streams(replicas=replicas))
        store = postgres.connect(database_url)
        service = Projector(
            store=store, bus=bus, policy=rules, metrics=ProjectorMetrics(registry)
        )
        try:
            async with serve(listen, registry=registry, ready=lambda: service.caught_up):
                await service.run()
        finally:
            await bus.close()
            await store.close()

    run_service("projector", main)


@click.command()
@NATS_URL
@DATABASE_URL
@click.option(
    "--kubeconfig", type=EXISTING_FILE, help="Left out: the Pod's own service account is used."
)
@listen_option("127.0.0.1:9092")
@TLS_CERT
@TLS_KEY
@click.option(
    "--client-ca",
    type=EXISTING_FILE,
    required=True,
    help="CA whose client certificates may filter, prioritize and bind.",
)
def extender(
    nats_url: str,
    database_url: str,
    kubeconfig: Path | None,
    listen: str,
    tls_cert: Path,
    tls_key: Path,
    client_ca: Path,
) -> None:
    """Answer kube-scheduler: which nodes, which score, bind.

    Example: hcs extender --kubeconfig extender.kubeconfig --tls-cert tls.crt --tls-key tls.key
    --client-ca ca.crt
    """

    async def main() -> None:
        registry = CollectorRegistry()
        context = server_tls(tls_cert, tls_key, client_ca=client_ca)
        api = await kube.connect(kubeconfig)
        bus = await keep_trying("bus", lambda: jetstream.connect(nats_url, name="extender"))
        store = postgres.connect(database_url)
        view = FleetView(store, bus)
        ledger = Ledger(bus, view)
        handlers = ExtenderHandlers(
            Scheduling(view=view, ledger=ledger, kube=api), view, ExtenderMetrics(registry, view)
        )
        try:
            async with serve(
                listen,
                registry=registry,
                ready=lambda: view.ready,
                routes=handlers.routes(),
                body_bytes_max=EXTENDER_BODY_BYTES_MAX,
                ssl_context=context,
            ):
                await keep_trying("projection", view.load)
                await _run_together(view, Reconciler(view=view, ledger=ledger, kube=api))
        finally:
            await bus.close()
            await store.close()
            await api.close()

    run_service("extender", main)


async def _run_together(view: FleetView, reconciler: Reconciler) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(view.follow())
        tasks.create_task(reconciler.run())


@click.command()
@listen_option("127.0.0.1:9093")
@TLS_CERT
@TLS_KEY
def webhook(listen: str, tls_cert: Path, tls_key: Path) -> None:
    """Complete Pods at admission, and guard the annotations that HCS writes.

    Example: hcs webhook --tls-cert tls.crt --tls-key tls.key
    """

    async def main() -> None:
        registry = CollectorRegistry()
        async with serve(
            listen,
            registry=registry,
            ready=lambda: True,
            routes=WebhookHandlers(registry).routes(),
            body_bytes_max=WEBHOOK_BODY_BYTES_MAX,
            ssl_context=server_tls(tls_cert, tls_key),
        ):
            await asyncio.Event().wait()

    run_service("webhook", main)


def server_tls(cert: Path, key: Path, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return a server context; with `client_ca`, a client certificate is verified if shown.

    Raises:
        ConfigError: a file is not what it should be.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            # Optional, because probes show none; the verbs insist on one themselves.
            context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"TLS files {cert}, {key}: {error}") from error
    return context
