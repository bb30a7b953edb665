"""`hcs extender`."""

import asyncio
import time
from pathlib import Path

import click
from prometheus_client import CollectorRegistry

from hcs_bus import jetstream
from hcs_control.health_server import serve
from hcs_control.store import postgres
from hcs_edge.cli.options import (
    DATABASE_URL,
    EXISTING_FILE,
    NATS_URL,
    TLS_CERT,
    TLS_KEY,
    listen_option,
    server_tls,
)
from hcs_edge.cli.runtime import keep_trying, run_service
from hcs_edge.extender.http import BODY_BYTES_MAX, ExtenderHandlers, ExtenderMetrics
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.reconciler import Reconciler
from hcs_edge.extender.scheduling import Scheduling
from hcs_edge.extender.view import FleetView
from hcs_edge.kube import client as kube


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
        scheduling = Scheduling(view=view, ledger=ledger, kube=api, clock_ns=time.time_ns)
        reconciler = Reconciler(view=view, ledger=ledger, kube=api, clock_ns=time.time_ns)
        handlers = ExtenderHandlers(scheduling, view, ExtenderMetrics(registry, view))
        try:
            async with serve(
                listen,
                registry=registry,
                ready=lambda: view.ready,
                routes=handlers.routes(),
                body_bytes_max=BODY_BYTES_MAX,
                ssl_context=context,
            ):
                await keep_trying("projection", view.load)
                await _run_together(view, reconciler)
        finally:
            await bus.close()
            await store.close()
            await api.close()

    run_service("extender", main)


async def _run_together(view: FleetView, reconciler: Reconciler) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(view.follow())
        tasks.create_task(reconciler.run())
