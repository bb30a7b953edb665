"""`hcs webhook`."""

import asyncio
from pathlib import Path

import click
from prometheus_client import CollectorRegistry

from hcs_control.health_server import serve
from hcs_edge.cli.options import TLS_CERT, TLS_KEY, listen_option, server_tls
from hcs_edge.cli.runtime import run_service
from hcs_edge.webhook.http import BODY_BYTES_MAX, WebhookHandlers


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
            body_bytes_max=BODY_BYTES_MAX,
            ssl_context=server_tls(tls_cert, tls_key),
        ):
            await asyncio.Event().wait()

    run_service("webhook", main)
