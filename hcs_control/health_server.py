"""The HTTP every service has: `/healthz` (the process lives), `/readyz`, `/metrics`."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from hcs_bus.errors import ConfigError

PORT_MAX = 65_535
SHUTDOWN_TIMEOUT_S = 5.0  # requests in flight may finish


def parse_listen(listen: str) -> tuple[str, int]:
    """Take `host:port` apart.

    Raises:
        ConfigError: it is not that.
    """
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 <= int(port) <= PORT_MAX:
        raise ConfigError(f"--listen {listen!r}: must be HOST:PORT, e.g. 127.0.0.1:9090")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def serve(
    listen: str,
    *,
    registry: CollectorRegistry,
    ready: Callable[[], bool],
    routes: Iterable[web.RouteDef] = (),
    body_bytes_max: int = 1024**2,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[None]:
    """Serve while the block runs.

    Raises:
        ConfigError: the address is malformed or in use.
    """
    host, port = parse_listen(listen)

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not yet\n")

    async def metrics(_request: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    application = web.Application(client_max_size=body_bytes_max)
    application.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            *routes,
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
        except OSError as error:
            raise ConfigError(f"--listen {listen}: {error.strerror or error}") from error
        yield
    finally:
        await runner.cleanup()
