"""Monitoring inside of a container sees the quota: NVML through the same preload."""

import json
import subprocess
import sys

from tests.support.interceptor import CARD_BYTES, GPUS, MIB, Rig

QUOTA_BYTES = 64 * MIB
NVML = """
import ctypes, json
class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]
class Memory2(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint)] + [
        (name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")]
nvml = ctypes.CDLL("libnvidia-ml.so.1"); cuda = ctypes.CDLL("libcuda.so.1")
assert nvml.nvmlInit_v2() == 0 and cuda.cuInit(0) == 0
context = ctypes.c_void_p(); block = ctypes.c_uint64()
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(16 * 1024 * 1024)) == 0
for index in range(2):
    device = ctypes.c_void_p()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0
    memory = Memory(); newer = Memory2(version=0x02000028)
    assert nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0
    assert nvml.nvmlDeviceGetMemoryInfo_v2(device, ctypes.byref(newer)) == 0
    for answer in (memory, newer):
        print(json.dumps([answer.total, answer.free, answer.used]))
"""


def answers(rig: Rig, **settings: str) -> list[list[int]]:
    """Return total, free and used of each card, as both versions of the query say it."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", NVML],
        env=rig.environment(**{"HCS_DEVICES": ",".join(GPUS), **settings}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nvml_shows_the_quota(rig: Rig) -> None:
    first, second = [QUOTA_BYTES, 48 * MIB, 16 * MIB], [QUOTA_BYTES, QUOTA_BYTES, 0]
    said = answers(rig, HCS_VRAM_QUOTA=str(QUOTA_BYTES))
    assert said == [first, first, second, second]


def test_nvml_goes_by_the_cards_id(rig: Rig) -> None:
    quotas = f"{32 * MIB},{64 * MIB}"
    said = answers(rig, HCS_VRAM_QUOTA=quotas, HCS_DEVICES=",".join(reversed(GPUS)))
    assert [total for total, _, _ in said] == [64 * MIB, 64 * MIB, 32 * MIB, 32 * MIB]


def test_nvml_shows_the_card_without_a_quota_or_with_a_larger_one(rig: Rig) -> None:
    for quota in ("", str(4 * CARD_BYTES)):
        said = answers(rig, HCS_VRAM_QUOTA=quota)
        assert {total for total, _, _ in said} == {CARD_BYTES}


def test_nvml_never_underflows(rig: Rig) -> None:
    said = answers(rig, HCS_VRAM_QUOTA=str(16 * MIB))
    assert said[0] == [16 * MIB, 0, 16 * MIB]
