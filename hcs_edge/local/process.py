"""Detached processes that outlive the command which started them, found again by a later one.

A process is known by two files in `HCS_HOME/run`: `<name>.json` says what was asked for (a
`ProcessSpec`) and is written before the fork; `<name>.stat` is the process's own first line of
`/proc/<pid>/stat`, written by the child itself before it becomes the program. So a command that is
killed at any moment in between leaves no unknown process behind. A process id means nothing alone,
because the kernel gives it out again: only the id together with the start time names a process,
and nothing here signals an id whose start time is another.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import write_private

START_TIME_FIELD = 19  # counted from the state, the first field after the name; see proc(5)

POLL_INTERVAL_S = 0.02
RECORD_TIMEOUT_S = 5.0  # from the fork until the child has said who it is
KILL_TIMEOUT_S = 5.0  # from SIGKILL until the kernel has let go of the process

# `sh` reports itself, then becomes the program: same id, same start time. The rename makes the
# record whole or absent.
_REPORT_AND_BECOME = (
    'read -r line < /proc/$$/stat && printf "%s\\n" "$line" > "$1.tmp" && mv "$1.tmp" "$1" '
    '|| exit 70; shift; exec "$@"'
)


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and how to end it."""

    name: str
    order: int  # the highest is stopped first, equal ones at the same time
    argv: list[str]
    environment: dict[str, str]  # on top of what the starting command has; may hold secrets
    log: str
    port: int | None = None  # where it listens, for people
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 15.0  # then SIGKILL


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One process for all time: ids are reused, ids with a start time are not."""

    pid: int
    started_ticks: int  # clock ticks since boot


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A process as `HCS_HOME/run` remembers it; no identity means that it never started."""

    spec: ProcessSpec
    identity: ProcessIdentity | None

    @property
    def is_running(self) -> bool:
        """Whether this very process is alive."""
        return self.identity is not None and is_running(self.identity)


def parse_stat(line: str) -> tuple[ProcessIdentity, str]:
    """Take the identity and the one-letter state out of a line of `/proc/<pid>/stat`.

    The program's name stands in parentheses and may itself hold spaces and parentheses, so the
    fields are counted from the last closing one.
    """
    before, _, after = line.rpartition(")")
    fields = after.split()
    if not before or len(fields) <= START_TIME_FIELD:
        raise ValueError(f"not a line of /proc/<pid>/stat: {line!r}")
    identity = ProcessIdentity(
        pid=int(before.split(" ", 1)[0]), started_ticks=int(fields[START_TIME_FIELD])
    )
    return identity, fields[0]


def is_running(identity: ProcessIdentity) -> bool:
    """Return whether the process is alive; one that nobody has waited for yet (a zombie) is not."""
    state = _state(identity)
    return state is not None and state not in "ZX"


def start(run_directory: Path, spec: ProcessSpec) -> ProcessRecord:
    """Start a process in a session of its own and return its record.

    Raises:
        LocalClusterError: a process of this name runs already, or the program is missing.
    """
    previous = load(run_directory, spec.name)
    if previous is not None and previous.is_running:
        raise LocalClusterError(f"{spec.name} runs already")
    identity_file = run_directory / f"{spec.name}.stat"
    identity_file.unlink(missing_ok=True)
    write_private(run_directory / f"{spec.name}.json", msgspec.json.encode(spec))
    with Path(spec.log).open("ab") as log:
        # Not waited for: it outlives this command, and whoever is init then reaps it.
        child = subprocess.Popen(
            ["/bin/sh", "-c", _REPORT_AND_BECOME, "sh", str(identity_file), *spec.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(spec.environment),
            start_new_session=True,
        )
    # `Popen` warns when it is collected before its process ends, which is the purpose here.
    child.returncode = 0
    record = await_record(run_directory, spec.name)
    if record is None or record.identity is None:
        raise LocalClusterError(f"{spec.name} could not be started: {last_lines(Path(spec.log))}")
    return record


def load(run_directory: Path, name: str) -> ProcessRecord | None:
    """Return the record of one process, or `None` when there never was one."""
    try:
        spec = msgspec.json.decode((run_directory / f"{name}.json").read_bytes(), type=ProcessSpec)
    except FileNotFoundError:
        return None
    identity: ProcessIdentity | None = None
    with contextlib.suppress(FileNotFoundError):
        identity, _ = parse_stat((run_directory / f"{name}.stat").read_text())
    return ProcessRecord(spec=spec, identity=identity)


def load_all(run_directory: Path) -> list[ProcessRecord]:
    """Return all records, what is stopped last coming first."""
    names = [path.stem for path in run_directory.glob("*.json")]
    records = [record for name in names if (record := load(run_directory, name)) is not None]
    return sorted(records, key=lambda record: (record.spec.order, record.spec.name))


def stop(record: ProcessRecord) -> None:
    """End a process: its own stop signal, a bounded wait, then SIGKILL for its whole group.

    Raises:
        LocalClusterError: it is still there after SIGKILL.
    """
    spec, identity = record.spec, record.identity
    if identity is None or not is_running(identity):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(identity.pid, spec.stop_signal)
    if _wait_until_gone(identity, spec.stop_timeout_s):
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(identity.pid, signal.SIGKILL)  # it leads its own group since `start`
    if not _wait_until_gone(identity, KILL_TIMEOUT_S):
        raise LocalClusterError(
            f"{spec.name} (process {identity.pid}) does not end, even by SIGKILL"
        )


def forget(run_directory: Path, name: str) -> None:
    """Remove the record of a process that was stopped."""
    for suffix in (
        "stat",
        "json",
    ):  # the spec last: while it is there, `hcs down` looks here
        (run_directory / f"{name}.{suffix}").unlink(missing_ok=True)


def last_lines(log: Path, *, lines_max: int = 15, bytes_max: int = 8192) -> str:
    """Return the end of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - bytes_max))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines_max:]) or "(its log is empty)"


def await_record(run_directory: Path, name: str) -> ProcessRecord | None:
    """Return the record, giving a child that was forked just now the time to say who it is."""
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    while True:
        record = load(run_directory, name)
        if record is None or record.identity is not None or time.monotonic() > deadline:
            return record
        time.sleep(POLL_INTERVAL_S)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **extra}


def _state(identity: ProcessIdentity) -> str | None:
    try:
        line = Path(f"/proc/{identity.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    now, state = parse_stat(line)
    return state if now == identity else None


def _wait_until_gone(identity: ProcessIdentity, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_running(identity):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    if _state(identity) == "Z":
        with contextlib.suppress(ChildProcessError):  # then it is somebody else's to reap
            os.waitpid(identity.pid, os.WNOHANG)
    return True
