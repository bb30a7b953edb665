"""Options and TLS set-up that several services share."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from hcs_bus.errors import ConfigError

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
