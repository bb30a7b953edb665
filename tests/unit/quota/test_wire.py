"""Packets that are not exactly as `wire.h` says are refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_agents.quota import wire
from hcs_agents.quota.wire import Hello, Usage, WireError, decode
from tests.support import quota_client


def test_a_hello_is_read() -> None:
    message = decode(quota_client.hello(pid=7, devices=("GPU-a", "2102314NMV0")))
    assert isinstance(message, Hello)
    assert (message.pid, message.pod_uid, message.container) == (7, quota_client.POD_UID, "trainer")
    assert [device.device_id for device in message.devices] == ["GPU-a", "2102314NMV0"]


def test_usage_is_read() -> None:
    message = decode(quota_client.usage(5, peak_bytes=9, refusals=2, revision=3, devices=2))
    assert isinstance(message, Usage)
    assert message.revision == 3
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
        pytest.param(HELLO[:4] + b"\2\0" + HELLO[6:], id="unknown version"),
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
        pytest.param(USAGE[:32] + b"\x11\0\0\0" + USAGE[36:], id="seventeen cards"),
    ],
)
def test_a_malformed_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        decode(packet)


@given(st.binary(max_size=2000))
def test_no_bytes_do_more_than_be_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        decode(packet)


@given(st.integers(min_value=16, max_value=len(HELLO) - 1), st.integers(0, 255))
def test_no_changed_byte_of_a_hello_does_more_than_be_refused(place: int, value: int) -> None:
    packet = HELLO[:place] + bytes([value]) + HELLO[place + 1 :]
    with contextlib.suppress(WireError):
        assert isinstance(decode(packet), Hello)
