"""Monitoring inside of a container sees the quota: each vendor's library through the same preload.

Each vendor's program allocates 16 MiB of its first card through the runtime, then asks the
management library about both cards.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hcs_bus.names import Vendor
from tests.support.interceptor import CARD_BYTES, CARDS, GPUS, MIB, NPUS, Rig, compile_c

QUOTA_BYTES = 64 * MIB
DIES = (
    "0A1B2C3D-00000001-0000F00D-12345678-00000001",
    "0A1B2C3D-00000002-0000F00D-12345678-00000002",
)
"""What Ascend's chips are known by."""

IDS = {vendor: ids for vendor, (_, ids) in CARDS.items()} | {Vendor.HUAWEI: DIES}

COMMON = """
import ctypes, json, sys
MIB = 1024 * 1024
size, block, word = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64
def told(function, *where):
    number = word()
    assert function(*where, ctypes.byref(number)) == 0
    return number.value
"""

NVML = """
class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]
class Memory2(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint)] + [
        (name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")]
nvml = ctypes.CDLL("libnvidia-ml.so.1"); cuda = ctypes.CDLL("libcuda.so.1")
assert nvml.nvmlInit_v2() == 0 and cuda.cuInit(0) == 0
context = ctypes.c_void_p(); address = ctypes.c_uint64()
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(address), size(16 * MIB)) == 0
for index in range(2):
    device = ctypes.c_void_p()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0
    memory = Memory(); newer = Memory2(version=0x02000028)
    assert nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0
    assert nvml.nvmlDeviceGetMemoryInfo_v2(device, ctypes.byref(newer)) == 0
    for answer in (memory, newer):
        print(json.dumps([answer.total, answer.free, answer.used]))
"""

ROCM_SMI = """
hip = ctypes.CDLL("libamdhip64.so"); smi = ctypes.CDLL("librocm_smi64.so.2")
assert hip.hipInit(0) == 0 and hip.hipSetDevice(0) == 0 and smi.rsmi_init(word(0)) == 0
assert hip.hipMalloc(ctypes.byref(block()), size(16 * MIB)) == 0
for index in range(2):
    print(json.dumps([told(smi.rsmi_dev_memory_total_get, index, 0),
                      told(smi.rsmi_dev_memory_usage_get, index, 0)]))
"""

CNDEV = """
class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_int64), ("used", ctypes.c_int64), ("rest", ctypes.c_int64 * 20)]
cnrt = ctypes.CDLL("libcnrt.so"); cndev = ctypes.CDLL("libcndev.so")
assert cnrt.cnrtSetDevice(0) == 0 and cndev.cndevInit(0) == 0
assert cnrt.cnrtMalloc(ctypes.byref(block()), size(16 * MIB)) == 0
for index in range(2):
    handle = ctypes.c_int32(); memory = Memory()
    assert cndev.cndevGetDeviceHandleByIndex(index, ctypes.byref(handle)) == 0
    assert cndev.cndevGetMemoryUsageV2(ctypes.byref(memory), handle) == 0
    print(json.dumps([memory.total * MIB, memory.used * MIB]))
"""

MTML = """
musa = ctypes.CDLL("libmusart.so"); mtml = ctypes.CDLL("libmtml.so.2")
library = ctypes.c_void_p()
assert musa.musaSetDevice(0) == 0 and mtml.mtmlLibraryInit(ctypes.byref(library)) == 0
assert musa.musaMalloc(ctypes.byref(block()), size(16 * MIB)) == 0
for index in [0, 1] * 50:  # handles that are given back and made again
    device = ctypes.c_void_p(); memory = ctypes.c_void_p()
    assert mtml.mtmlLibraryInitDeviceByIndex(library, index, ctypes.byref(device)) == 0
    assert mtml.mtmlDeviceInitMemory(device, ctypes.byref(memory)) == 0
    answer = [told(mtml.mtmlMemoryGetTotal, memory), told(mtml.mtmlMemoryGetUsed, memory)]
    assert mtml.mtmlDeviceFreeMemory(memory) == 0
    known = globals().setdefault("known", {}); known[index] = answer
for index in range(2):
    print(json.dumps(known[index]))
"""

DCMI = """
class Hbm(ctypes.Structure):
    _fields_ = [("total", word), ("frequency", ctypes.c_uint), ("used", word),
                ("temperature", ctypes.c_int), ("bandwidth", ctypes.c_uint)]
class Ddr(ctypes.Structure):
    _fields_ = [("total", word), ("available", word), ("rest", word * 12)]
class Memory(ctypes.Structure):
    _fields_ = [("total", word), ("frequency", ctypes.c_uint), ("percent", ctypes.c_uint)]
acl = ctypes.CDLL("libascendcl.so"); dcmi = ctypes.CDLL("libdcmi.so")
assert acl.aclInit(None) == 0 and acl.aclrtSetDevice(0) == 0
assert acl.aclrtMallocAlign32(ctypes.byref(block()), size(16 * MIB), 0) == 0
"""

DCMI_CARDS = f"""{DCMI}
assert dcmi.dcmi_init() == 0
cards = (ctypes.c_int * 16)(); count = ctypes.c_int()
assert dcmi.dcmi_get_card_list(ctypes.byref(count), cards, 16) == 0 and count.value == 2
"""

DCMI_HBM = f"""{DCMI_CARDS}
for card in cards[:2]:
    hbm = Hbm(); older = Hbm()
    assert dcmi.dcmi_get_device_hbm_info(card, 0, ctypes.byref(hbm)) == 0
    assert dcmi.dcmi_get_hbm_info(card, 0, ctypes.byref(older)) == 0
    assert (older.total, older.used) == (hbm.total, hbm.used)
    print(json.dumps([hbm.total * MIB, hbm.used * MIB]))
"""

DCMI_DDR = f"""{DCMI_CARDS}
for card in cards[:2]:
    ddr = Ddr(); memory = Memory(); older = Memory()
    assert dcmi.dcmi_get_device_memory_info_v3(card, 0, ctypes.byref(ddr)) == 0
    assert dcmi.dcmi_get_device_memory_info_v2(card, 0, ctypes.byref(memory)) == 0
    assert dcmi.dcmi_get_memory_info(card, 0, ctypes.byref(older)) == 0
    assert older.total == memory.total == ddr.total and older.percent == memory.percent
    used = ddr.total - ddr.available
    assert ddr.total == 1024 or memory.percent == used * 100 // ddr.total
    print(json.dumps([ddr.total * MIB, used * MIB]))
"""

DCMI_950 = f"""{DCMI}
assert dcmi.dcmiv2_init() == 0
for number in range(2):
    hbm = Hbm()
    assert dcmi.dcmi_get_device_hbm_info(number, 0, ctypes.byref(hbm)) == -8255
    assert dcmi.dcmiv2_get_device_hbm_info(number, ctypes.byref(hbm)) == 0
    print(json.dumps([hbm.total * MIB, hbm.used * MIB]))
"""


@dataclass(frozen=True)
class Library:
    """One of the other vendors' libraries."""

    vendor: Vendor
    script: str
    model: str = ""
    """Of the cards, where it is not the usual one."""


OTHERS = {
    "rocm_smi": Library(Vendor.HYGON, ROCM_SMI),
    "cndev": Library(Vendor.CAMBRICON, CNDEV),
    "mtml": Library(Vendor.MTHREADS, MTML),
    "dcmi": Library(Vendor.HUAWEI, DCMI_HBM),
    "dcmi of a card with DDR": Library(Vendor.HUAWEI, DCMI_DDR, model="310P3"),
    "dcmi of the 950": Library(Vendor.HUAWEI, DCMI_950, model="950PR"),
}
EACH_OTHER = pytest.mark.parametrize("name", OTHERS)


def run(rig: Rig, script: str, **settings: str) -> list[list[int]]:
    """Return the lists that a program prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", COMMON + script],
        env=rig.environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def answers(rig: Rig, **settings: str) -> list[list[int]]:
    """Return total, free and used of each NVIDIA card, as both versions of the query say it."""
    return run(rig, NVML, **{"HCS_DEVICES": ",".join(GPUS), **settings})


def other_answers(rig: Rig, name: str, **settings: str) -> list[list[int]]:
    """Return total and used of each card, as one of the other libraries says it."""
    library = OTHERS[name]
    usual, _ = CARDS[library.vendor]
    text = rig.scenario.read_text().replace(usual, library.model or usual)
    for npu, die in zip(NPUS, DIES, strict=True):
        text = text.replace(npu, die)
    rig.scenario.write_text(text)
    return run(rig, library.script, **{"HCS_DEVICES": ",".join(IDS[library.vendor]), **settings})


def test_nvml_shows_the_quota(rig: Rig) -> None:
    first, second = [QUOTA_BYTES, 48 * MIB, 16 * MIB], [QUOTA_BYTES, QUOTA_BYTES, 0]
    said = answers(rig, HCS_VRAM_QUOTA=str(QUOTA_BYTES))
    assert said == [first, first, second, second]


def test_nvml_goes_by_the_cards_id(rig: Rig) -> None:
    quotas = f"{32 * MIB},{64 * MIB}"
    said = answers(rig, HCS_VRAM_QUOTA=quotas, HCS_DEVICES=",".join(reversed(GPUS)))
    assert [total for total, _, _ in said] == [64 * MIB, 64 * MIB, 32 * MIB, 32 * MIB]


def test_nvml_shows_a_card_of_somebody_else_as_it_is(rig: Rig) -> None:
    said = answers(rig, HCS_VRAM_QUOTA=str(QUOTA_BYTES), HCS_DEVICES=GPUS[0])
    assert [total for total, _, _ in said] == [QUOTA_BYTES, QUOTA_BYTES, CARD_BYTES, CARD_BYTES]
    Path(rig.ledger).unlink()
    said = answers(rig, HCS_VRAM_QUOTA=str(QUOTA_BYTES), HCS_DEVICES=GPUS[1])
    assert [total for total, _, _ in said] == [CARD_BYTES, CARD_BYTES, QUOTA_BYTES, QUOTA_BYTES]


def test_nvml_counts_the_cards_where_it_was_told_no_ids(rig: Rig) -> None:
    said = answers(rig, HCS_VRAM_QUOTA=f"{32 * MIB},{64 * MIB}", HCS_DEVICES="")
    assert [total for total, _, _ in said] == [32 * MIB, 32 * MIB, 64 * MIB, 64 * MIB]


def test_nvml_shows_the_card_without_a_quota_or_with_a_larger_one(rig: Rig) -> None:
    for quota in ("", str(4 * CARD_BYTES)):
        said = answers(rig, HCS_VRAM_QUOTA=quota)
        assert {total for total, _, _ in said} == {CARD_BYTES}


def test_nvml_never_underflows(rig: Rig) -> None:
    said = answers(rig, HCS_VRAM_QUOTA=str(16 * MIB))
    assert said[0] == [16 * MIB, 0, 16 * MIB]


@EACH_OTHER
def test_the_other_vendors_libraries_show_the_quota(rig: Rig, name: str) -> None:
    said = other_answers(rig, name, HCS_VRAM_QUOTA=str(QUOTA_BYTES))
    assert said == [[QUOTA_BYTES, 16 * MIB], [QUOTA_BYTES, 0]]


@EACH_OTHER
def test_they_go_by_the_cards_id(rig: Rig, name: str) -> None:
    settings = {"HCS_VRAM_QUOTA": f"{32 * MIB},{64 * MIB}"}
    settings["HCS_DEVICES"] = ",".join(reversed(IDS[OTHERS[name].vendor]))
    assert [total for total, _ in other_answers(rig, name, **settings)] == [64 * MIB, 32 * MIB]


@EACH_OTHER
def test_a_card_of_somebody_else_shows_itself(rig: Rig, name: str) -> None:
    settings = {"HCS_VRAM_QUOTA": str(QUOTA_BYTES), "HCS_DEVICES": IDS[OTHERS[name].vendor][0]}
    assert [total for total, _ in other_answers(rig, name, **settings)] == [
        QUOTA_BYTES,
        CARD_BYTES,
    ]


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "mtml"])
def test_without_ids_the_librarys_own_number_counts(rig: Rig, name: str) -> None:
    settings = {"HCS_VRAM_QUOTA": f"{32 * MIB},{64 * MIB}", "HCS_DEVICES": ""}
    assert [total for total, _ in other_answers(rig, name, **settings)] == [32 * MIB, 64 * MIB]


@EACH_OTHER
def test_they_show_the_card_without_a_quota_or_with_a_larger_one(rig: Rig, name: str) -> None:
    for quota in ("", str(4 * CARD_BYTES)):
        said = other_answers(rig, name, HCS_VRAM_QUOTA=quota)
        assert [total for total, _ in said] == [CARD_BYTES, CARD_BYTES]


@EACH_OTHER
def test_they_show_a_full_quota_as_full(rig: Rig, name: str) -> None:
    said = other_answers(rig, name, HCS_VRAM_QUOTA=str(16 * MIB))
    assert said[0] == [16 * MIB, 16 * MIB]


OLD_LIBRARIES = r"""
#include <stdint.h>
#include <stdio.h>
struct memory { int version; int64_t total, used, virtual_total, virtual_used, channels[21]; };
struct uuid { int version; char text[40]; };
struct ddr { uint64_t total, available; uint32_t frequency; uint64_t pages[3]; uint32_t rest[16]; };
int cndevGetMemoryUsage(struct memory *memory, int device);
int cndevGetUUID(struct uuid *uuid, int device);
int dcmi_get_device_memory_info_v3(int card, int chip, struct ddr *ddr);
int dcmi_get_device_elabel_info(int card, int chip, char label[1280]);
int cndevGetMemoryUsage(struct memory *memory, int device) {
    memory->total = 1024, memory->used = 100 + device;
    return memory->version == 5 ? 0 : 3;
}
int cndevGetUUID(struct uuid *uuid, int device) {
    snprintf(uuid->text, 37, "%d", device + 1);
    return uuid->version == 5 ? 0 : 3;
}
int dcmi_get_device_memory_info_v3(int card, int chip, struct ddr *ddr) {
    ddr->total = 1024, ddr->available = 1000 - card - chip;
    return 0;
}
int dcmi_get_device_elabel_info(int card, int chip, char label[1280]) {
    sprintf(label + 1024, "board%d", card + chip);
    return 0;
}
"""
"""The queries that the simulated libraries are too new for, or the wrong chip: Cambricon's before
version 6, and the DDR of Ascend chips without HBM."""

OLD = """
class Memory(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), ("total", ctypes.c_int64), ("used", ctypes.c_int64),
                ("rest", ctypes.c_int64 * 23)]
class Ddr(ctypes.Structure):
    _fields_ = [("total", word), ("available", word), ("rest", word * 12)]
cndev = ctypes.CDLL("libcndev.so"); dcmi = ctypes.CDLL("libdcmi.so")
for index in range(2):
    memory = Memory(version=5); ddr = Ddr()
    assert cndev.cndevGetMemoryUsage(ctypes.byref(memory), index) == 0
    assert dcmi.dcmi_get_device_memory_info_v3(index, 0, ctypes.byref(ddr)) == 0
    print(json.dumps([memory.total, memory.used, ddr.total, ddr.available]))
"""


def test_old_queries_show_the_quota_too(rig: Rig) -> None:
    source = rig.directory / "old.c"
    source.write_text(OLD_LIBRARIES)
    for name in ("libcndev.so", "libdcmi.so"):
        compile_c(rig.directory / name, "-shared", "-fPIC", f"-Wl,-soname,{name}", str(source))
    beside = {"LD_LIBRARY_PATH": str(rig.directory), "HCS_VRAM_QUOTA": str(QUOTA_BYTES)}
    cambricon = run(rig, OLD, HCS_DEVICES="MLU-1", **beside)
    assert cambricon == [[64, 0, 1024, 1000], [1024, 101, 1024, 999]]
    Path(rig.ledger).unlink()
    ascend = run(rig, OLD, HCS_DEVICES="board1", **beside)
    assert ascend == [[1024, 100, 1024, 1000], [1024, 101, 64, 64]]
