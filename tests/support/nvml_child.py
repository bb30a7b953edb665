"""What a program sees that calls NVML itself; run as `python -m tests.support.nvml_child WHAT`."""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pynvml

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile

VERSIONS_WANTED = 20
READ_S_MAX = 60.0


def code_of(call: Callable[[], object]) -> int:
    """Return NVML's return code of a call."""
    try:
        call()
    except pynvml.NVMLError as error:
        return int(error.value)
    return 0


def codes() -> dict[str, int]:
    """Return the codes of wrong calls. Card 0 is there, card 1 is pulled."""
    library = ctypes.CDLL("libnvidia-ml.so.1")
    seen = {"count before init": library.nvmlDeviceGetCount_v2(ctypes.byref(ctypes.c_uint()))}
    seen["shutdown before init"] = library.nvmlShutdown()
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    seen["index out of range"] = code_of(lambda: pynvml.nvmlDeviceGetHandleByIndex(99))
    seen["lost card"] = code_of(lambda: pynvml.nvmlDeviceGetHandleByIndex(1))
    seen["no card"] = library.nvmlDeviceGetName(None, ctypes.create_string_buffer(96), 96)
    seen["short buffer"] = library.nvmlDeviceGetName(card, ctypes.create_string_buffer(4), 4)
    seen["wrong version"] = code_of(lambda: pynvml.nvmlDeviceGetMemoryInfo(card, version=1))
    seen["link out of range"] = code_of(lambda: pynvml.nvmlDeviceGetNvLinkState(card, 99))
    seen["no such link"] = code_of(lambda: pynvml.nvmlDeviceGetNvLinkState(card, 12))
    fields = pynvml.nvmlDeviceGetFieldValues(card, [pynvml.NVML_FI_DEV_ECC_CURRENT, 230])
    seen["unknown field"], seen["known field"] = fields[0].nvmlReturn, fields[1].nvmlReturn
    events = pynvml.nvmlEventSetCreate()
    seen["nothing happened"] = code_of(lambda: pynvml.nvmlEventSetWait(events, 10))
    seen["unknown event"] = code_of(lambda: pynvml.nvmlDeviceRegisterEvents(card, 1, events))
    pynvml.nvmlEventSetFree(events)
    seen["freed set"] = code_of(lambda: pynvml.nvmlEventSetWait(events, 10))
    return seen


def halves() -> dict[str, int]:
    """Read a card whose used memory is always half of its memory; count what contradicts that."""
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    reads, wrong = 0, 0
    seen: set[int] = set()
    end_s = time.monotonic() + READ_S_MAX
    print("reading", flush=True)
    while len(seen) < VERSIONS_WANTED and time.monotonic() < end_s:
        memory = pynvml.nvmlDeviceGetMemoryInfo(card)
        reads += 1
        wrong += memory.total != 2 * memory.used
        seen.add(memory.total)
    return {"reads": reads, "wrong": wrong, "versions": len(seen)}


def questions() -> dict[str, int | list[int]]:
    """Return the codes of wrong questions to card 0, and of a driver that goes and comes back."""
    library = ctypes.CDLL("libnvidia-ml.so.1")
    scenario = ScenarioFile(Path(os.environ["HCS_SIM_SCENARIO"]))
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    versionless = pynvml.c_nvmlTemperature_v1_t()
    seen: dict[str, int | list[int]] = {
        "no such clock": code_of(lambda: pynvml.nvmlDeviceGetClockInfo(card, 4)),
        "video clock": code_of(lambda: pynvml.nvmlDeviceGetClockInfo(card, 3)),
        "no such sensor": code_of(lambda: pynvml.nvmlDeviceGetTemperature(card, 1)),
        "wrong version": library.nvmlDeviceGetTemperatureV(card, ctypes.byref(versionless)),
        "no pointer": library.nvmlDeviceGetPowerUsage(card, None),
        "no firmware": code_of(lambda: pynvml.nvmlDeviceGetVbiosVersion(card)),
    }
    far = pynvml.nvmlDeviceGetHandleByIndex(1)
    _put_on_node(scenario, number=1, numa=2)
    seen["mask too short"] = code_of(lambda: pynvml.nvmlDeviceGetCpuAffinity(far, 1))
    fields = (pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL, pynvml.NVML_FI_DEV_MEMORY_TEMP)
    seen["types"] = [
        field.valueType for field in pynvml.nvmlDeviceGetFieldValues(card, list(fields))
    ]
    scenario.update(lambda s: msgspec.structs.replace(s, drivers_down="nvidia"))
    seen["driver gone"] = code_of(lambda: pynvml.nvmlDeviceGetName(card))
    seen["init without driver"] = library.nvmlInitWithFlags(0)
    scenario.update(lambda s: msgspec.structs.replace(s, drivers_down=""))
    seen["driver back"] = code_of(lambda: pynvml.nvmlDeviceGetName(card))
    seen["end"] = library.nvmlShutdown()
    seen["init"] = library.nvmlInitWithFlags(0)
    seen["after init"] = code_of(lambda: pynvml.nvmlDeviceGetName(card))
    return seen


def returns() -> dict[str, int]:
    """Return the codes of a card that is pulled and plugged in again."""
    scenario = ScenarioFile(Path(os.environ["HCS_SIM_SCENARIO"]))
    pynvml.nvmlInit()
    cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in (0, 1)]

    def code() -> int:
        return code_of(lambda: pynvml.nvmlDeviceGetMemoryInfo(cards[1]))

    scenario.update(lambda s: operations.pull(s, 1))
    seen = {"away": code()}
    scenario.update(lambda s: operations.plug(s, 1))
    seen["plugged in"] = code()
    seen["handle"] = code_of(lambda: pynvml.nvmlDeviceGetHandleByIndex(1))
    seen["neighbour"] = code_of(lambda: pynvml.nvmlDeviceGetMemoryInfo(cards[0]))
    pynvml.nvmlInit()  # which only counts
    seen["second init"] = code()
    pynvml.nvmlShutdown()
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()
    seen["new session"] = code()
    return seen


def _put_on_node(scenario: ScenarioFile, *, number: int, numa: int) -> None:
    devices = list(scenario.read().devices)
    devices[number] = msgspec.structs.replace(devices[number], numa=numa)
    scenario.update(lambda s: msgspec.structs.replace(s, devices=tuple(devices)))


if __name__ == "__main__":
    ask = {"codes": codes, "halves": halves, "questions": questions, "returns": returns}
    print(json.dumps(ask[sys.argv[1]]()), flush=True)
