"""The ports of a local cluster: one block above a base, checked before anything starts."""

import socket
from collections.abc import Sequence

from hcs_edge.local.errors import LocalClusterError

LOOPBACK = "127.0.0.1"
DEFAULT_PORT_BASE = 18400
PORT_BASE_MIN = 1024  # below, only root may listen
PORT_BASE_MAX = 65000  # above it the agents of a larger fleet would find no ports
PORT_MAX = 65535
AGENTS_OFFSET = 20  # the agents' ports follow, one a node

PROGRAMS = (  # in this order above the base
    "nats",
    "postgres",
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "projector",
    "extender",
    "webhook",
)


def plan(base: int, agents: Sequence[str]) -> dict[str, int]:
    """Return a port for each program and each agent (`agent-<node>`).

    Raises:
        LocalClusterError: the block does not fit between the lowest and the highest port.
    """
    last = base + AGENTS_OFFSET + len(agents)
    if base < PORT_BASE_MIN or last > PORT_MAX:
        raise LocalClusterError(
            f"--port-base {base}: must lie between {PORT_BASE_MIN} and "
            f"{PORT_MAX - AGENTS_OFFSET - len(agents)}"
        )
    ports = {name: base + offset for offset, name in enumerate(PROGRAMS)}
    ports.update({name: base + AGENTS_OFFSET + index for index, name in enumerate(agents)})
    return ports


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port; lingering closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def check(ports: dict[str, int]) -> None:
    """Refuse ports that somebody listens on.

    Raises:
        LocalClusterError: names each port in use and the program that needs it.
    """
    taken = [f"{port} ({name})" for name, port in ports.items() if not is_free(port)]
    if taken:
        raise LocalClusterError(
            f"in use on {LOOPBACK}: port {', '.join(taken)}. Choose another block of ports with "
            "--port-base, or stop what listens there"
        )
