"""Options and TLS set-up that several commands share; what is malformed ends with exit code 2."""

import datetime
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import click

from hcs_bus.errors import ConfigError
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName
from hcs_control.health_server import parse_listen
from hcs_edge.cli.runtime import errors_end_the_command
from hcs_edge.local.connection import Connection
from hcs_edge.local.connection import load as load_connection
from hcs_edge.local.home import Home

DISTRIBUTION = "hetero-compute-router"  # the name under which this package is installed
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)
MOMENT_FORMS = (
    "2026-11-22T18:00:00 (UTC unless it ends in an offset), 2026-11-22, or 90s, 10m, 2h, 1d"
)
EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
NANOSECONDS_PER_MICROSECOND = 1_000
NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


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
        return _with_driver(super().convert(value, param, ctx))


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


def without_password(url: str) -> tuple[str, str | None]:
    """Return a URL less the password in it, and the password as its server knows it."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, None
    user, _, address = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{address}"
    return parts._replace(netloc=netloc).geturl(), unquote(parts.password)


class MomentType(click.ParamType[int]):
    """A moment, in nanoseconds since the epoch: a time in UTC, or how long ago it was."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a moment."""
        if isinstance(value, int):
            return value
        ago = AGO.fullmatch(value)
        if ago is not None:
            ago_ns = int(float(ago[1]) * UNITS_S[ago[2]] * NANOSECONDS_PER_SECOND)
            return max(0, time.time_ns() - ago_ns)
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: use {MOMENT_FORMS}", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        # In whole microseconds, which is all that a `datetime` knows; a float would round.
        since_epoch = (moment - EPOCH) // datetime.timedelta(microseconds=1)
        return max(0, since_epoch) * NANOSECONDS_PER_MICROSECOND


class NodeNameType(click.ParamType[NodeName]):
    """A Kubernetes node name."""

    name = "node"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NodeName:
        """Check a name."""
        if NODE_NAME.fullmatch(value) is None:
            self.fail(f"{value!r} is no node name: lower case letters, digits, '-' and '.'")
        return NodeName(value)


NATS_URL_TYPE = UrlType("nats://user:password@host:port", schemes=frozenset({"nats", "tls"}))
DATABASE_URL_TYPE = DatabaseUrlType(
    "postgresql://user:password@host:port/database",
    schemes=frozenset({"postgresql", "postgresql+asyncpg"}),
)
NATS_URL = click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    show_envvar=True,
    type=NATS_URL_TYPE,
    required=True,
    help="nats://user:password@host:port; better by the variable, which no process list shows.",
)
DATABASE_URL = click.option(
    "--database-url",
    envvar="HCS_DATABASE_URL",
    show_envvar=True,
    type=DATABASE_URL_TYPE,
    required=True,
    help="postgresql://user:password@host:port/database; better by the variable.",
)
LOCAL_NATS_URL = click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    show_envvar=True,
    type=NATS_URL_TYPE,
    help="Default: the local cluster's.",
)
LOCAL_DATABASE_URL = click.option(
    "--database-url",
    envvar="HCS_DATABASE_URL",
    show_envvar=True,
    type=DATABASE_URL_TYPE,
    help="Default: the local cluster's.",
)
OUTPUT = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
Command = TypeVar("Command", bound=Callable[..., object])
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TLS_CERT = click.option("--tls-cert", type=EXISTING_FILE, required=True, help="Server certificate.")
TLS_KEY = click.option("--tls-key", type=EXISTING_FILE, required=True, help="Its private key.")


def local_connection() -> Connection:
    """Return the local cluster's addresses; end with exit code 1 when there is none."""
    with errors_end_the_command():
        return load_connection(Home.from_environment())


def reader_database(database_url: str | None) -> str:
    """Return the database to read: the one given, or the local cluster's."""
    return database_url or _with_driver(local_connection().database_url)


def reader_bus(nats_url: str | None) -> str:
    """Return the bus to read: the one given, or the local cluster's."""
    return nats_url or local_connection().nats_url


def operator_bus(nats_url: str | None) -> str:
    """Return the bus on which people are heard: the one given, or the local cluster's."""
    return nats_url or local_connection().operator_nats_url


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
