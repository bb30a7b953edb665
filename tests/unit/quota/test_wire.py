"""Packets that are not exactly as `wire.h` says are refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_agents.quota import wire
from hcs_agents.quota.wire import Hello, Usage, WireError, decode
from hcs_bus.names import DeviceId, PodUid
from tests.support import quota_client


def test_a_hello_is_read() -> None:
    message = decode(quota_client.hello(pid=7, devices=("GPU-a", "2102314NMV0")))
    assert isinstance(message, Hello)
    assert (message.pid, message.pod_uid, message.container) == (7, quota_client.POD_UID, "trainer")
    assert [device.device_id for device in message.devices] == ["GPU-a", "2102314NMV0"]


def test_usage_is_read() -> None:
    packet = quota_client.usage(5, peak_bytes=9, refusals=2, revision=3, launches=8, devices=2)
    message = decode(packet)
    assert isinstance(message, Usage)
    assert (message.revision, message.launches) == (3, 8)
    assert len(message.devices) == 2
    assert message.devices[1] == wire.DeviceUsage(used_bytes=5, peak_bytes=9, refusals=2)


HELLO = quota_client.hello()
USAGE = quota_client.usage(1)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(HELLO[:15], id="half a header"),
        pytest.param(HELLO[:-1], id="too short"),
        pytest.param(HELLO + b"\0", id="too long"),
        pytest.param(b"\0" + HELLO[1:], id="foreign magic"),
        pytest.param(HELLO[:4] + b"\1\0" + HELLO[6:], id="version of before"),
        pytest.param(HELLO[:6] + b"\2\0" + HELLO[8:], id="hello called usage"),
        pytest.param(USAGE[:6] + b"\3\0" + USAGE[8:], id="reclaim from a process"),
        pytest.param(quota_client.hello(devices=()), id="no card"),
        pytest.param(quota_client.hello(devices=("",)), id="card without id"),
        pytest.param(quota_client.hello(devices=("a b",)), id="blank in an id"),
        pytest.param(quota_client.hello(devices=("a" * 96,)), id="id without end"),
        pytest.param(quota_client.hello(devices=("a\0b",)), id="something behind the end"),
        pytest.param(quota_client.hello(pod_uid="\xff"), id="not ASCII"),
        pytest.param(quota_client.hello(quota_bytes=2**63), id="quota of 64 bits"),
        pytest.param(quota_client.usage(2**63), id="usage of 64 bits"),
        pytest.param(quota_client.usage(1, launches=2**63), id="launches of 64 bits"),
        pytest.param(USAGE[:40] + b"\x11\0\0\0" + USAGE[44:], id="seventeen cards"),
        pytest.param(USAGE[:44] + b"\2\0\0\0" + USAGE[48:], id="share of a second card of one"),
    ],
)
def test_a_malformed_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        decode(packet)


WORDS = st.text("ABCxyz0189._:/-", min_size=1)
NUMBERS = st.integers(0, wire.BYTES_MAX)
WORDS_OF_64_BITS = st.integers(0, 2**64 - 1)
TIMES_LOST = st.integers(0, 2**32 - 1)
HELLOS = st.builds(
    Hello,
    lost=TIMES_LOST,
    pid=st.integers(-(2**31), 2**31 - 1),
    epoch_ns=WORDS_OF_64_BITS,
    process=WORDS_OF_64_BITS,
    pod_uid=WORDS.filter(lambda word: len(word) < wire.POD_UID_BYTES).map(PodUid),
    container=WORDS.filter(lambda word: len(word) < wire.CONTAINER_BYTES),
    devices=st.lists(
        st.builds(
            wire.DeviceQuota,
            device_id=WORDS.filter(lambda word: len(word) < wire.DEVICE_ID_BYTES).map(DeviceId),
            quota_bytes=NUMBERS,
        ),
        min_size=1,
        max_size=wire.DEVICES_MAX,
    ).map(tuple),
)
USAGES = st.builds(
    Usage,
    lost=TIMES_LOST,
    epoch_ns=WORDS_OF_64_BITS,
    revision=WORDS_OF_64_BITS,
    launches=NUMBERS,
    devices=st.lists(
        st.builds(wire.DeviceUsage, used_bytes=NUMBERS, peak_bytes=NUMBERS, refusals=NUMBERS),
        min_size=1,
        max_size=wire.DEVICES_MAX,
    ).map(tuple),
)


def packed(message: Hello | Usage) -> bytes:
    """Lay a message out as the interceptor does."""
    count = len(message.devices)
    empty = wire.DEVICES_MAX - count
    if isinstance(message, Hello):
        ids = [device.device_id.encode() for device in message.devices] + [b""] * empty
        quotas = [device.quota_bytes for device in message.devices] + [0] * empty
        names = (message.pod_uid.encode(), message.container.encode())
        whose = (message.pid, count, message.epoch_ns, message.process)
        body = wire.HELLO.pack(*whose, *names, *ids, *quotas)
        return quota_client.header(wire.MessageType.HELLO, body, lost=message.lost)
    numbers = [(card.used_bytes, card.peak_bytes, card.refusals) for card in message.devices]
    rest = [number for card in numbers + [(0, 0, 0)] * empty for number in card]
    when = (message.epoch_ns, message.revision)
    body = wire.USAGE.pack(*when, message.launches, count, message.unlimited, *rest)
    return quota_client.header(wire.MessageType.USAGE, body, lost=message.lost)


def is_read_or_refused(packet: bytes) -> None:
    """Check that nothing else comes of a packet, and that what was read means the same again."""
    try:
        message = decode(packet)
    except WireError:
        return
    assert decode(packed(message)) == message


@given(HELLOS | USAGES)
def test_what_was_packed_is_read(message: Hello | Usage) -> None:
    assert decode(packed(message)) == message


@given(st.binary(max_size=2000))
def test_no_bytes_do_more_than_be_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        decode(packet)


@given(
    st.sampled_from(
        [(wire.MessageType.HELLO, wire.HELLO.size), (wire.MessageType.USAGE, wire.USAGE.size)]
    ),
    st.integers(0, 2**32),
)
def test_no_body_behind_a_good_header_does_more(
    kind: tuple[wire.MessageType, int], seed: int
) -> None:
    type_, size = kind
    choice = random.Random(seed)
    # Mostly zeros, as in real messages: else the first check would be the last one reached.
    body = bytes(choice.choice((0, 0, 0, 0, choice.randrange(256))) for _ in range(size))
    is_read_or_refused(quota_client.header(type_, body))


@given(HELLOS | USAGES, st.lists(st.tuples(st.integers(0, 1807), st.integers(0, 255)), max_size=8))
def test_no_changed_bytes_do_more_than_be_refused(
    message: Hello | Usage, changes: list[tuple[int, int]]
) -> None:
    packet = bytearray(packed(message))
    for place, value in changes:
        packet[place % len(packet)] = value
    is_read_or_refused(bytes(packet))


@given(HELLOS | USAGES, st.integers(0, 1808))
def test_no_cut_message_is_read(message: Hello | Usage, end: int) -> None:
    packet = packed(message)
    with pytest.raises(WireError):
        decode(packet[: end % len(packet)])
