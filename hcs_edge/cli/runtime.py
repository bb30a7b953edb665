"""How every command runs and ends: logs on stderr, errors as one line, the same exit codes.

Services log JSON and end well on SIGTERM and SIGINT. Exit codes, of all commands:

    0    done; a service or a live view was told to end
    1    it failed: a server is away, a fact was refused, a check found something wrong
    2    nothing was tried: the command line, a setting or a configuration file is wrong
    143  `hcs up` was terminated, and what it had started is stopped again

`hcs psql` becomes psql and ends with psql's own.
"""

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

import click
import structlog

from hcs_bus.errors import BusError, ConfigError, TransientError
from hcs_control.store.port import StoreError, StoreUnavailableError
from hcs_edge.kube.port import KubeError
from hcs_edge.local.errors import LocalClusterError

LOG = structlog.get_logger()

EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_TERMINATED = 128 + signal.SIGTERM  # as a shell counts it
START_RETRY_S = 0.5
CANCEL_AGAIN_S = 5.0  # a library may swallow a cancellation; longer than any service's farewell


class CommandFailedError(Exception):
    """What was asked for was tried, and did not come about; the message says why."""


FAILURES = (BusError, CommandFailedError, KubeError, LocalClusterError, StoreError)
"""Errors whose message is all that a user needs to see."""

T = TypeVar("T")


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Write one JSON object per event of this level or worse to stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)


def failure(message: str, code: int = EXIT_FAILED) -> SystemExit:
    """Say what is wrong; return what ends the command."""
    click.echo(f"hcs: {message}", err=True)
    return SystemExit(code)


@contextlib.contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Turn our errors into a line and an exit code, also those that task groups wrap."""
    try:
        try:
            yield
        except BaseExceptionGroup as group:
            raise _first_leaf(group) from group
    except ConfigError as error:
        raise failure(str(error), EXIT_CONFIG) from error
    except FAILURES as error:
        raise failure(str(error)) from error


def run_command(name: str, main: Coroutine[Any, Any, T], *, level: int = logging.WARNING) -> T:
    """Run what a short command does, to its end."""
    configure_logging(name, level=level)
    with errors_end_the_command():
        return asyncio.run(main)


def run_live(name: str, main: Coroutine[Any, Any, None]) -> None:
    """Run a view that goes on until somebody has seen enough."""
    with contextlib.suppress(KeyboardInterrupt):
        run_command(name, main)


def run_service(
    service: str, main: Callable[[], Coroutine[Any, Any, None]], *, is_busy: bool = True
) -> NoReturn:
    """Run until SIGTERM or SIGINT, or until the service says why it cannot go on; then exit.

    A busy one runs on uvloop; for one that mostly waits, its 2 MB are more than it saves.
    """
    configure_logging(service)
    run = importlib.import_module("uvloop").run if is_busy else asyncio.run
    try:
        run(_until_signalled(main))
    except* ConfigError as group:
        _die(group, EXIT_CONFIG)
    except* FAILURES as group:
        _die(group, EXIT_FAILED)
    sys.exit(0)


def _die(group: BaseExceptionGroup[Exception], code: int) -> NoReturn:
    error = _first_leaf(group)
    LOG.error("stopped", error=type(error).__name__, detail=str(error))
    click.echo(f"hcs: {error}", err=True)
    sys.exit(code)


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_signalled(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.create_task(main())
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if not task.done():
            task.cancel()
            loop.call_later(CANCEL_AGAIN_S, cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    LOG.info("ended")


async def keep_trying(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Await `attempt` until the outside system it needs is there; say so once per try."""
    while True:
        try:
            return await attempt()
        except (TransientError, StoreUnavailableError, KubeError) as error:
            LOG.warning("waiting", until=what, detail=str(error))
            await asyncio.sleep(START_RETRY_S)
