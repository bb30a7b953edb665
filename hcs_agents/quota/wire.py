"""The messages between interceptor and agent, as `c/interceptor/wire.h` lays them out.

One packet is one message, in native byte order; both ends are on one machine. A test compiles a C
program against the header and compares its bytes with what is read here.
"""

import enum
import re
import struct
from collections.abc import Sequence

import msgspec

from hcs_bus.names import DeviceId, PodUid

MAGIC = 0x51534348
VERSION = 2
DEVICES_MAX = 16
POD_UID_BYTES = 40
CONTAINER_BYTES = 64
DEVICE_ID_BYTES = 96

HEADER = struct.Struct("=IHHII")  # magic, version, type, size, lost
HELLO = struct.Struct(
    f"=iIQQ{POD_UID_BYTES}s{CONTAINER_BYTES}s"
    + f"{DEVICE_ID_BYTES}s" * DEVICES_MAX
    + f"{DEVICES_MAX}Q"
)  # pid, device_count, epoch_ns, process, pod_uid, container, device_ids, quota_bytes
USAGE = struct.Struct("=QQQII" + "QQQ" * DEVICES_MAX)
# epoch_ns, revision, launches, device_count, unlimited; used_bytes, peak_bytes, refusals per card
DRIVER = struct.Struct(f"=QQII{DEVICES_MAX}Q")
# epoch_ns, looked_at_ns, device_count, reserved; used_bytes
PACKET_BYTES_MAX = HEADER.size + HELLO.size
NOT_TOLD = 2**64 - 1
"""HCS_WIRE_NOT_TOLD: of a card whose driver does not say, or was not asked."""

BYTES_MAX = COUNT_MAX = 2**63 - 1
"""What a fact can say; the interceptor takes no larger quota."""

WORD = re.compile(rb"[A-Za-z0-9._:/-]+")
"""What pod uids, container names, UUIDs and serial numbers consist of."""


class MessageType(enum.IntEnum):
    """Who says what."""

    HELLO = 1  # the process, first
    USAGE = 2  # the process, when its container's ledger changed
    RECLAIM = 3  # the agent: a neighbour of yours ended
    DRIVER = 4  # the agent: what the driver says that you have of your cards


class WireError(Exception):
    """The packet is none of ours."""


class DeviceQuota(msgspec.Struct, frozen=True, kw_only=True):
    """A card that the container may use, and how much of it."""

    device_id: DeviceId
    quota_bytes: int


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """A process introduces itself."""

    lost: int  # messages that this process could not send
    pid: int  # as the process sees itself
    epoch_ns: int  # names the container's ledger
    process: int  # names the process, on all its connections
    pod_uid: PodUid
    container: str
    devices: tuple[DeviceQuota, ...]


class DeviceUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes of the container together have of one card."""

    used_bytes: int
    peak_bytes: int
    refusals: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The container's ledger; of two from one epoch, the higher revision is newer.

    The launches are the process's own, of all cards together, since it began; its own, too, are the
    cards of which it does not keep to its share, a bit for each.
    """

    lost: int
    epoch_ns: int
    revision: int
    launches: int
    unlimited: int = 0
    devices: tuple[DeviceUsage, ...]


RECLAIM_PACKET = HEADER.pack(MAGIC, VERSION, MessageType.RECLAIM, HEADER.size, 0)


def driver_packet(*, epoch_ns: int, looked_at_ns: int, used_bytes: Sequence[int | None]) -> bytes:
    """Return what a process is told of its cards, in the order of its hello; `None`: not known."""
    told = [NOT_TOLD if used is None else min(used, NOT_TOLD) for used in used_bytes]
    rest = [NOT_TOLD] * (DEVICES_MAX - len(told))
    body = DRIVER.pack(epoch_ns, looked_at_ns, len(told), 0, *told, *rest)
    return HEADER.pack(MAGIC, VERSION, MessageType.DRIVER, HEADER.size + len(body), 0) + body


def decode(packet: bytes) -> Hello | Usage:
    """Read what a process sent.

    Raises:
        WireError: anything in it is not as `wire.h` says.
    """
    if len(packet) < HEADER.size:
        raise WireError(f"packet has {len(packet)} bytes, a header has {HEADER.size}")
    magic, version, type_, size, lost = HEADER.unpack_from(packet)
    if (magic, version, size) != (MAGIC, VERSION, len(packet)):
        raise WireError(f"magic {magic:#x}, version {version}, size {size} of {len(packet)} bytes")
    body = packet[HEADER.size :]
    if type_ == MessageType.HELLO and len(body) == HELLO.size:
        return _hello(lost, body)
    if type_ == MessageType.USAGE and len(body) == USAGE.size:
        return _usage(lost, body)
    raise WireError(f"message of type {type_} with {len(packet)} bytes")


def _hello(lost: int, body: bytes) -> Hello:
    pid, count, epoch_ns, process, pod_uid, container, *rest = HELLO.unpack(body)
    _check(count, rest[DEVICES_MAX:])
    ids, quotas = rest[:DEVICES_MAX], rest[DEVICES_MAX:]
    return Hello(
        lost=lost,
        pid=pid,
        epoch_ns=epoch_ns,
        process=process,
        pod_uid=PodUid(_word("pod_uid", pod_uid)),
        container=_word("container", container),
        devices=tuple(
            DeviceQuota(device_id=DeviceId(_word("device_ids", id_)), quota_bytes=quota)
            for id_, quota in zip(ids[:count], quotas[:count], strict=True)
        ),
    )


def _usage(lost: int, body: bytes) -> Usage:
    epoch_ns, revision, launches, count, unlimited, *numbers = USAGE.unpack(body)
    _check(count, [launches, *numbers])
    if unlimited >> count:
        raise WireError(f"unlimited is {unlimited:#b}, there are {count} cards")
    return Usage(
        lost=lost,
        epoch_ns=epoch_ns,
        revision=revision,
        launches=launches,
        unlimited=unlimited,
        devices=tuple(
            DeviceUsage(used_bytes=used, peak_bytes=peak, refusals=refusals)
            for used, peak, refusals in zip(*[iter(numbers[: 3 * count])] * 3, strict=True)
        ),
    )


def _check(count: int, numbers: list[int]) -> None:
    if not 1 <= count <= DEVICES_MAX:
        raise WireError(f"device_count is {count}, allowed are 1 to {DEVICES_MAX}")
    if max(numbers) > BYTES_MAX:
        raise WireError(f"a number is {max(numbers)}, allowed are at most {BYTES_MAX}")


def _word(field: str, padded: bytes) -> str:
    text, end, padding = padded.partition(b"\0")
    if not end or padding.strip(b"\0") or not WORD.fullmatch(text):
        raise WireError(f"{field} is {padded!r}, not a word padded with zeros")
    return text.decode("ascii")
