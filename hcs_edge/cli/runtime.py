"""How every long-running command runs: uvloop, structured logs on stderr, a clean end on signals.

Exit codes: 0 after SIGTERM or SIGINT, 1 when the service cannot go on, 2 for wrong configuration.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import click
import structlog
import uvloop

from hcs_bus.errors import BusError, ConfigError, TransientError
from hcs_control.store.port import StoreError, StoreUnavailableError
from hcs_edge.kube.port import KubeError

LOG = structlog.get_logger()

EXIT_FAILED = 1
EXIT_CONFIG = 2
START_RETRY_S = 0.5

T = TypeVar("T")


def configure_logging(service: str) -> None:
    """Write one JSON object per event to stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)


def run_service(service: str, main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run until SIGTERM or SIGINT, or until the service says why it cannot go on; then exit."""
    configure_logging(service)
    try:
        uvloop.run(_until_signalled(main))
    except* ConfigError as group:
        _die(group, EXIT_CONFIG)
    except* (BusError, StoreError, KubeError) as group:
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
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
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
