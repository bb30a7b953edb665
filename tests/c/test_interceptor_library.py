"""The library itself: what it exports, and its parts under sanitizers."""

import re
import subprocess
from pathlib import Path

import pytest

from hcs_agents.quota import wire
from hcs_bus.names import DeviceId, PodUid
from tests.support.interceptor import CHECKOUT, INTERCEPTOR

EXPORTS = CHECKOUT / "tests" / "golden" / "interceptor_exports.txt"
"""Each one shadows a name in every program of the container."""


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("programs")
def test_it_exports_its_hooks_and_nothing_else() -> None:
    lines = _output("nm", "-D", "--defined-only", "--format=posix", INTERCEPTOR).splitlines()
    assert sorted(line.split()[0] for line in lines) == EXPORTS.read_text().split()


@pytest.mark.usefixtures("programs")
def test_it_needs_only_the_c_library() -> None:
    lines = _output("readelf", "-d", INTERCEPTOR).splitlines()
    needed = {line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line}
    assert needed <= {"libc.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2"}


@pytest.mark.usefixtures("programs")
def test_it_starts_with_every_c_library_since_2_17() -> None:
    # One that it does not start with ends the program: `ld.so` takes no version for optional.
    versions = _output("readelf", "--wide", "--version-info", INTERCEPTOR)
    needed = {tuple(map(int, name.split("."))) for name in re.findall(r"GLIBC_([\d.]+)", versions)}
    assert needed
    assert max(needed) <= (2, 17)


def test_the_table_agrees_with_a_plain_array(programs: Path) -> None:
    _output(programs / "table_check")


def test_python_and_c_understand_each_others_messages(programs: Path) -> None:
    raw = subprocess.run([programs / "wire_sample"], capture_output=True, check=True).stdout
    size = wire.HEADER.size + wire.HELLO.size
    assert wire.decode(raw[:size]) == wire.Hello(
        lost=7,
        pid=4711,
        epoch_ns=1234567890123456789,
        process=2**64 - 1,
        pod_uid=PodUid("6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"),
        container="trainer",
        devices=(
            wire.DeviceQuota(device_id=DeviceId("GPU-first"), quota_bytes=2**40),
            wire.DeviceQuota(device_id=DeviceId("GPU-second"), quota_bytes=3),
        ),
    )
    end = size + wire.HEADER.size + wire.USAGE.size
    assert wire.decode(raw[size:end]) == wire.Usage(
        lost=9,
        epoch_ns=1234567890123456789,
        revision=42,
        launches=2**50,
        unlimited=2,
        devices=(
            wire.DeviceUsage(used_bytes=1, peak_bytes=2, refusals=3),
            wire.DeviceUsage(used_bytes=4, peak_bytes=5, refusals=6),
        ),
    )
    assert raw[end:] == wire.driver_packet(
        epoch_ns=1234567890123456789, looked_at_ns=43, used_bytes=(2**40, None, 7)
    )
