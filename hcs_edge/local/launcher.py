"""Starts a cluster's processes one by one and says so; knows the log of each for when one fails."""

import enum
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Protocol

from hcs_edge.local import process
from hcs_edge.local.errors import ProgramFailedError
from hcs_edge.local.home import Home
from hcs_edge.local.process import ProcessSpec

READY_TIMEOUT_S = 60.0
READY_POLL_S = 0.05


class Stage(enum.IntEnum):
    """When a process is stopped: the last stage first, all of one stage at the same time."""

    STORE = 1  # etcd, to which the API server writes until it ends
    SERVERS = 2  # API server, bus, database: clients tell them what they have left to tell
    CLIENTS = 3  # everything else; they do not need each other to end


class Progress(Protocol):
    """Whom to tell how far a start or a stop has come."""

    def started(self, what: str) -> None:
        """A step began."""

    def finished(self, what: str, duration_s: float) -> None:
        """The step is over and went well."""


class Launcher:
    """Starts processes in order, and waits for each to be ready."""

    def __init__(self, home: Home, progress: Progress) -> None:
        self._home = home
        self._progress = progress

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        port: int | None = None,
        stage: Stage = Stage.CLIENTS,
        environment: Mapping[str, str] | None = None,
        stop_signal: int = SIGTERM,
    ) -> None:
        """Start a process and remember it."""
        spec = ProcessSpec(
            name=name,
            order=stage,
            argv=list(argv),
            environment=dict(environment or {}),
            log=str(self.log(name)),
            port=port,
            stop_signal=stop_signal,
        )
        process.start(self._home.run, spec)

    def await_ready(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a process that was started answers.

        Raises:
            ProgramFailedError: it ended, or does not answer in time; its last words are in the
                message.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_ready():
            record = process.load(self._home.run, name)
            if record is None or not record.is_running:
                raise self._failed(name, "ended")
            if time.monotonic() > deadline:
                raise self._failed(name, f"is not ready after {READY_TIMEOUT_S:.0f} s")
            time.sleep(READY_POLL_S)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tell of one step, and how long it took."""
        self._progress.started(what)
        began_s = time.monotonic()
        yield
        self._progress.finished(what, time.monotonic() - began_s)

    def log(self, name: str) -> Path:
        """Return the path of a process's log."""
        return self._home.logs / f"{name}.log"

    def _failed(self, name: str, what: str) -> ProgramFailedError:
        log = self.log(name)
        return ProgramFailedError(f"{name} {what}. The end of {log}:\n{process.last_lines(log)}")
