"""The process's end of the quota socket, as the interceptor speaks it."""

import os
import socket
from pathlib import Path

from hcs_agents.quota import wire

POD_UID = "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"
CONTAINER = "trainer"
DEVICE = "GPU-first"


def header(type_: wire.MessageType, body: bytes, *, lost: int = 0) -> bytes:
    """Return a message."""
    size = wire.HEADER.size + len(body)
    return wire.HEADER.pack(wire.MAGIC, wire.VERSION, type_, size, lost) + body


def hello(
    *,
    pid: int | None = None,
    pod_uid: str = POD_UID,
    container: str = CONTAINER,
    devices: tuple[str, ...] = (DEVICE,),
    quota_bytes: int = 1000,
    process: int = 1,
    epoch_ns: int = 1,
    lost: int = 0,
) -> bytes:
    """Return a hello."""
    ids = [device.encode() for device in devices] + [b""] * (wire.DEVICES_MAX - len(devices))
    body = wire.HELLO.pack(
        os.getpid() if pid is None else pid,
        len(devices),
        epoch_ns,
        process,
        pod_uid.encode(),
        container.encode(),
        *ids,
        *[quota_bytes] * wire.DEVICES_MAX,
    )
    return header(wire.MessageType.HELLO, body, lost=lost)


def usage(
    used_bytes: int,
    *,
    peak_bytes: int | None = None,
    refusals: int = 0,
    revision: int = 1,
    launches: int = 0,
    devices: int = 1,
    epoch_ns: int = 1,
    lost: int = 0,
) -> bytes:
    """Return a usage message that says the same of each card."""
    one = (used_bytes, used_bytes if peak_bytes is None else peak_bytes, refusals)
    rest = [0, 0, 0] * (wire.DEVICES_MAX - devices)
    body = wire.USAGE.pack(epoch_ns, revision, launches, devices, 0, *one * devices, *rest)
    return header(wire.MessageType.USAGE, body, lost=lost)


def connect(path: Path) -> socket.socket:
    """Connect to a server."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(path))
    connection.setblocking(False)
    return connection
