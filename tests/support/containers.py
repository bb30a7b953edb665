"""The two servers in containers, set up as `hcs up` sets them up and killed as it is killed."""

from contextlib import ExitStack
from pathlib import Path

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from hcs_edge.local import nats, postgres
from hcs_edge.local.settings import Settings
from tests.support.containers_engine import running_engine
from tests.support.containers_images import nats_image, postgres_image

READY_TIMEOUT_S = 60
READY_POLL_S = 0.05
DATA = Path("/data")


class Containers:
    """The two containers, with the engine and the images they need."""

    def __init__(self, settings: Settings) -> None:
        # Its reaper is an image of a registry's; what we start we remove ourselves.
        testcontainers_config.ryuk_disabled = True
        with ExitStack() as stack:
            stack.enter_context(running_engine())
            images = stack.enter_context(nats_image()), stack.enter_context(postgres_image())
            self._running = {
                "nats": stack.enter_context(_nats(images[0], settings)),
                "postgres": stack.enter_context(_postgres(images[1], settings)),
            }
            postgres.ensure_database(settings)
            self._stack = stack.pop_all()  # not reached when something failed: then all is undone

    def kill(self, name: str) -> None:
        """`docker kill`, and wait until the container has ended."""
        container = self._running[name].get_wrapped_container()
        container.kill()
        container.wait()

    def restart(self, name: str) -> None:
        """`docker start`: the same configuration, ports and data."""
        self._running[name].get_wrapped_container().start()

    def stop(self) -> None:
        """Remove the containers and the images, and end the engine if it is ours."""
        self._stack.close()


def _nats(image: str, settings: Settings) -> DockerContainer:
    configuration = nats.render_config(settings, DATA).encode()
    container = _container(image, ready="Server is ready")
    return container.with_copy_into_container(configuration, "/nats.conf")


def _postgres(image: str, settings: Settings) -> DockerContainer:
    password = settings.passwords[postgres.SUPERUSER].encode()
    container = _container(image, ready="database system is ready to accept connections")
    container.with_env("INITDB_OPTIONS", " ".join(postgres.INITDB_OPTIONS))
    container.with_command(postgres.server_options(settings))
    return container.with_copy_into_container(password, "/password")


def _container(image: str, *, ready: str) -> DockerContainer:
    # The machine's own network: the servers listen on loopback themselves, at ports that stay.
    container = DockerContainer(image).with_kwargs(network_mode="host")
    strategy = LogMessageWaitStrategy(ready).with_startup_timeout(READY_TIMEOUT_S)
    return container.waiting_for(strategy.with_poll_interval(READY_POLL_S))
