"""HCS's own programs in a local cluster: migrations, projector, agents, extender, webhook.

They are started as a user would start them, by the `hcs` command. Secrets travel in the
environment, never in the arguments, which everybody on the machine can read.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hcs_edge.local import control_plane, https, nats, postgres
from hcs_edge.local.errors import LocalClusterError, ProgramFailedError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE, checkout
from hcs_edge.local.launcher import Launcher
from hcs_edge.local.pki import CLUSTER_CA
from hcs_edge.local.settings import Settings

MIGRATE_TIMEOUT_S = 120.0
SOCKET_PATH_BYTES_MAX = 107  # what the kernel's sockaddr_un holds, without the final zero


@dataclass(frozen=True)
class SimulatedNode:
    """A node of the fleet, given by the caller: this package knows no simulation."""

    name: str
    write_scenario: Callable[[Path], None]
    sysfs_of: Callable[[Path], Path]  # where the simulated kernel shows a scenario's cards


def agent_name(node: str) -> str:
    """Return the name of the process of a node's agent."""
    return f"agent-{node}"


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema.

    Raises:
        ProgramFailedError: the migrations failed; the message holds what they said.
    """
    result = subprocess.run(
        [*_hcs(), "migrate"],
        env={**os.environ, "HCS_DATABASE_URL": postgres.owner_url(settings)},
        capture_output=True,
        text=True,
        timeout=MIGRATE_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise ProgramFailedError(f"hcs migrate failed:\n{result.stdout}{result.stderr}".rstrip())


def start_projector(launcher: Launcher, settings: Settings) -> None:
    """Start the projector; it also creates the streams."""
    environment = _environment(settings, nats.CONTROL)
    environment["HCS_DATABASE_URL"] = postgres.owner_url(settings)
    argv = [*_hcs(), "projector", "--listen", settings.address("projector")]
    launcher.start("projector", argv, port=settings.ports["projector"], environment=environment)


def start_agents(launcher: Launcher, settings: Settings, fleet: Sequence[SimulatedNode]) -> None:
    """Write the scenarios that are not there yet and start an agent on each."""
    home = settings.home
    for directory in (home.scenarios, home.spool, home.sockets):
        directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
    for node in fleet:
        scenario = home.scenarios / f"{node.name}.ini"
        if not scenario.exists():  # else the cards are as `hcs sim` left them
            node.write_scenario(scenario)
        _start_agent(launcher, settings, node, scenario)


def start_extender(launcher: Launcher, settings: Settings) -> None:
    """Start the scheduler's extender."""
    environment = _environment(settings, nats.EXTENDER)
    environment["HCS_DATABASE_URL"] = postgres.async_reader_url(settings)  # it never writes
    argv = [*_hcs(), "extender", "--listen", settings.address("extender")]
    argv += [
        "--kubeconfig",
        str(control_plane.user_kubeconfig(settings.home, "extender")),
    ]
    argv += _tls(settings, "extender-server")
    argv += ["--client-ca", str(settings.pki.certificate(CLUSTER_CA))]
    launcher.start("extender", argv, port=settings.ports["extender"], environment=environment)


def start_webhook(launcher: Launcher, settings: Settings) -> None:
    """Start the admission webhook; nothing calls it before it is registered."""
    argv = [*_hcs(), "webhook", "--listen", settings.address("webhook")]
    argv += _tls(settings, "webhook-server")
    launcher.start("webhook", argv, port=settings.ports["webhook"], environment=_OUTPUT)


def await_observers(launcher: Launcher, settings: Settings) -> None:
    """Wait until the projector and all agents say that they are ready."""
    for name in ("projector", *(agent_name(node) for node in settings.nodes)):
        port = settings.ports[name]
        launcher.await_ready(name, partial(https.is_ready_plain, port, "/readyz"))


def await_edge(launcher: Launcher, settings: Settings) -> None:
    """Wait until the extender and the webhook say that they are ready."""
    for name in ("extender", "webhook"):
        port = settings.ports[name]
        launcher.await_ready(name, partial(https.is_ready, settings.pki, port, "/readyz"))


def check_socket_paths(sockets: Path, nodes: Sequence[str]) -> None:
    """Refuse an `HCS_HOME` so deep that the agents' sockets cannot be opened.

    Raises:
        LocalClusterError: names the path and the limit.
    """
    for node in nodes:
        path = _socket(sockets, node)
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise LocalClusterError(
                f"HCS_HOME is too deep: the socket {path} has more than "
                f"{SOCKET_PATH_BYTES_MAX} bytes; choose a shorter HCS_HOME"
            )


_OUTPUT = {"PYTHONUNBUFFERED": "1"}  # a killed program's last words shall be in its log


def _start_agent(
    launcher: Launcher, settings: Settings, node: SimulatedNode, scenario: Path
) -> None:
    home, name = settings.home, agent_name(node.name)
    environment = _environment(settings, nats.agent_user(node.name)) | {
        "LD_LIBRARY_PATH": str(checkout() / "c" / "build" / "sim"),
        "HCS_SIM_SCENARIO": str(scenario),
    }
    argv = [*_hcs(), "agent", "--node", node.name, "--spool", str(home.spool / node.name)]
    argv += ["--sysfs", str(node.sysfs_of(scenario))]
    argv += [
        "--socket",
        str(_socket(home.sockets, node.name)),
        "--listen",
        settings.address(name),
    ]
    launcher.start(name, argv, port=settings.ports[name], environment=environment)


def _socket(sockets: Path, node: str) -> Path:
    return sockets / f"{node}.sock"


def _hcs() -> list[str]:
    return [str(Path(sys.executable).parent / "hcs")]


def _environment(settings: Settings, user: str) -> dict[str, str]:
    return {**_OUTPUT, "HCS_NATS_URL": nats.url(settings, user)}


def _tls(settings: Settings, name: str) -> list[str]:
    pki = settings.pki
    return ["--tls-cert", str(pki.certificate(name)), "--tls-key", str(pki.key(name))]
