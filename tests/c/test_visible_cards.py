"""The simulated runtimes understand the vendors' visibility variables as the real ones do."""

import subprocess
import sys

import pytest

from tests.support.interceptor import GPUS, Rig

CUDA = """
import ctypes, uuid
cuda = ctypes.CDLL("libcuda.so.1")
if cuda.cuInit(0) == 0:
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    for ordinal in range(count.value):
        raw = (ctypes.c_char * 16)()
        cuda.cuDeviceGetUuid_v2(raw, ordinal)
        print("GPU-" + str(uuid.UUID(bytes=raw.raw)))
"""
ACL = """
import ctypes
acl = ctypes.CDLL("libascendcl.so")
count = ctypes.c_uint()
acl.aclrtGetDeviceCount(ctypes.byref(count))
print(count.value)
"""


def run(rig: Rig, script: str, settings: dict[str, str]) -> list[str]:
    """Return the lines that a program prints which is not preloaded."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env=rig.environment(LD_PRELOAD="", **settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("container", "process", "expected"),
    [
        (None, None, [0, 1]),
        ("all", None, [0, 1]),
        ("none", None, []),
        ("void", None, []),
        ("", None, []),  # an annotation that the Pod does not have
        ("1", None, [1]),
        ("1,0", None, [0, 1]),  # a set: the container numbers its cards in the node's order
        (GPUS[1], None, [1]),
        (None, "1,0", [1, 0]),
        (None, f"{GPUS[1]},{GPUS[0]}", [1, 0]),
        (None, GPUS[1], [1]),
        (None, "", []),
        (None, "-1", []),
        (None, "0,7,1", [0]),  # the first that names no card ends the list
        (None, "0,0", []),
        (GPUS[1], "0", [1]),  # numbered within the container
        (GPUS[1], "1", []),
    ],
)
def test_cuda_sees(
    rig: Rig, container: str | None, process: str | None, expected: list[int]
) -> None:
    settings = {"NVIDIA_VISIBLE_DEVICES": container, "CUDA_VISIBLE_DEVICES": process}
    given = {name: value for name, value in settings.items() if value is not None}
    assert run(rig, CUDA, given) == [GPUS[index] for index in expected]


@pytest.mark.parametrize(
    ("container", "process", "expected"),
    [
        (None, None, 2),
        ("0,1", None, 2),
        ("0-1", None, 2),
        ("Ascend910-1", None, 1),
        ("", None, 0),
        ("5", None, 0),
        (None, "1", 1),
        (None, "1,5,0", 1),
        ("1", "0", 1),
        ("1", "1", 0),
    ],
)
def test_acl_sees(rig: Rig, container: str | None, process: str | None, expected: int) -> None:
    settings = {"ASCEND_VISIBLE_DEVICES": container, "ASCEND_RT_VISIBLE_DEVICES": process}
    given = {name: value for name, value in settings.items() if value is not None}
    assert run(rig, ACL, given) == [str(expected)]
