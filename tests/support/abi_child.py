"""What the simulated libraries answer to wrong calls: `python -m tests.support.abi_child VENDOR`.

A process of its own, because a library's state is the process's. The second card has to be lost.
"""

import ctypes
import json
import sys
from ctypes import byref, c_int, c_uint, c_uint64, c_ulonglong, c_void_p

from hcs_agents.detectors import cambricon_abi as cndev_abi
from hcs_bus.names import Vendor

MARK = b"\xff"
FAR = 99  # no such card, block or link


def rocm_smi() -> dict[str, int]:
    """Ask rocm_smi."""
    library = ctypes.CDLL("librocm_smi64.so.2")
    number, counts = c_uint(), ctypes.create_string_buffer(MARK * 128, 128)
    return {
        "before init": library.rsmi_num_monitor_devices(byref(number)),
        "end before init": library.rsmi_shut_down(),
        "init": library.rsmi_init(c_uint64(0)),
        "no such card": library.rsmi_dev_id_get(FAR, byref(number)),
        "lost card": c_uint(library.rsmi_dev_id_get(1, byref(number))).value,
        "no pointer": library.rsmi_dev_id_get(0, None),
        "short buffer": library.rsmi_dev_name_get(0, counts, ctypes.c_size_t(3)),
        "no such block": library.rsmi_dev_ecc_count_get(0, c_uint64(1 << 30), counts),
        "counters": library.rsmi_dev_ecc_count_get(0, c_uint64(1), _marked(counts)),
        "bytes of the counters": len(counts.raw.rstrip(MARK)),
        "end": library.rsmi_shut_down(),
    }


def _marked(buffer: "ctypes.Array[ctypes.c_char]") -> "ctypes.Array[ctypes.c_char]":
    buffer.raw = MARK * len(buffer)
    return buffer


def cndev() -> dict[str, int]:
    """Ask CNDev."""
    library = ctypes.CDLL("libcndev.so")
    info, old = cndev_abi.CardInfo(version=6), cndev_abi.CardInfo(version=5)
    uuid, status = cndev_abi.Uuid(version=6), cndev_abi.LinkStatusV2()
    events, data = c_void_p(), cndev_abi.EventData(version=6)
    return {
        "before init": library.cndevGetDeviceCount(byref(info)),
        "end before init": library.cndevRelease(),
        "init": library.cndevInit(0),
        "older version": library.cndevGetDeviceCount(byref(old)),
        "no such card": library.cndevGetUUID(byref(uuid), FAR),
        "lost card": library.cndevGetUUID(byref(uuid), 1),
        "no pointer": library.cndevGetUUID(None, 0),
        "no such port": library.cndevGetMLULinkStatusV2(byref(status), 0, FAR),
        "events": library.cndevEventHandleCreate(byref(events)),
        "nothing happened": library.cndevEventWait(events, byref(data), 1),
        "end of events": library.cndevEventHandleDestroy(events),
        "no such events": library.cndevEventWait(events, byref(data), 1),
        "end": library.cndevRelease(),
    }


def mtml() -> dict[str, int]:
    """Ask MTML."""
    library = ctypes.CDLL("libmtml.so.2")
    handle, device, memory, number = c_void_p(), c_void_p(), c_void_p(), c_ulonglong()
    text, counter = ctypes.create_string_buffer(4), library.mtmlMemoryGetEccErrorCounter
    return {
        "before init": library.mtmlLibraryCountDevice(handle, byref(number)),
        "end before init": library.mtmlLibraryShutDown(handle),
        "init": library.mtmlLibraryInit(byref(handle)),
        "another's handle": library.mtmlLibraryCountDevice(c_void_p(1), byref(number)),
        "no such card": library.mtmlLibraryInitDeviceByIndex(handle, FAR, byref(device)),
        "lost card": library.mtmlLibraryInitDeviceByIndex(handle, 1, byref(device)),
        "card": library.mtmlLibraryInitDeviceByIndex(handle, 0, byref(device)),
        "memory": library.mtmlDeviceInitMemory(device, byref(memory)),
        "short buffer": library.mtmlDeviceGetUUID(device, text, c_uint(len(text))),
        "no such link": library.mtmlDeviceGetMtLinkState(device, FAR, byref(number)),
        "counter": counter(memory, c_int(1), c_int(0), c_int(1), byref(number)),
        "counter over resets": counter(memory, c_int(1), c_int(1), c_int(1), byref(number)),
        "card for memory": library.mtmlMemoryGetTotal(device, byref(number)),
        "end": library.mtmlLibraryShutDown(handle),
    }


if __name__ == "__main__":
    ask = {Vendor.HYGON: rocm_smi, Vendor.CAMBRICON: cndev, Vendor.MTHREADS: mtml}
    print(json.dumps(ask[Vendor(sys.argv[1])]()))
