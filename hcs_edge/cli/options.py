"""Options and TLS set-up that several commands share; what is malformed ends with exit code 2."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import click

from hcs_bus.errors import ConfigError
from hcs_control.health_server import parse_listen


class UrlType(click.ParamType[str]):
    """A server's URL. What is malformed would otherwise look like a server that is away."""

    name = "url"

    def __init__(self, form: str, *, schemes: frozenset[str]) -> None:
        self._form = form
        self._schemes = schemes

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a URL; the message does not repeat it, for it may hold a password."""
        try:
            parts = urlsplit(value)
            malformed = parts.scheme not in self._schemes or not parts.hostname
            parts.port  # noqa: B018  # read for its error
        except ValueError:
            malformed = True
        if malformed:
            self.fail(f"must be {self._form}", param, ctx)
        return value


class DatabaseUrlType(UrlType):
    """A database's URL, as psql takes it or with our driver named."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a URL and return it with the driver's name."""
        checked = super().convert(value, param, ctx)
        return checked.replace("postgresql://", "postgresql+asyncpg://", 1)


NATS_URL_TYPE = UrlType("nats://user:password@host:port", schemes=frozenset({"nats", "tls"}))
DATABASE_URL_TYPE = DatabaseUrlType(
    "postgresql://user:password@host:port/database",
    schemes=frozenset({"postgresql", "postgresql+asyncpg"}),
)
NATS_URL = click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    type=NATS_URL_TYPE,
    required=True,
    help="nats://user:password@host:port; better by $HCS_NATS_URL, which no process list shows.",
)
DATABASE_URL = click.option(
    "--database-url",
    envvar="HCS_DATABASE_URL",
    type=DATABASE_URL_TYPE,
    required=True,
    help="postgresql://user:password@host:port/database; better by $HCS_DATABASE_URL.",
)
LOCAL_NATS_URL = click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    type=NATS_URL_TYPE,
    help="Default: the local cluster's.",
)
LOCAL_DATABASE_URL = click.option(
    "--database-url",
    envvar="HCS_DATABASE_URL",
    type=DATABASE_URL_TYPE,
    help="Default: the local cluster's.",
)
Command = TypeVar("Command", bound=Callable[..., object])
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TLS_CERT = click.option("--tls-cert", type=EXISTING_FILE, required=True, help="Server certificate.")
TLS_KEY = click.option("--tls-key", type=EXISTING_FILE, required=True, help="Its private key.")


def listen_option(default: str) -> Callable[[Command], Command]:
    """Return a `--listen` option; nothing listens beyond loopback unless told to."""
    return click.option(
        "--listen",
        default=default,
        show_default=True,
        callback=_check_listen,
        help="HOST:PORT to listen on.",
    )


def _check_listen(_context: click.Context, _option: click.Parameter, listen: str) -> str:
    """Refuse a malformed address at once, not when the servers waited for are there."""
    try:
        parse_listen(listen)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    return listen


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
