"""What an Ascend chip does at the moment, and what its driver counts, in eight calls.

DCMI says nothing of the PCIe link's speed and width, which the kernel tells, nor why a clock is
low. It counts ECC errors since the start and over the chip's life; the former are read, as with
every vendor.
"""

import ctypes
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from hcs_agents.detectors import huawei_abi as abi
from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.huawei_scan import BYTES_PER_MB, Chip, pci_address
from hcs_agents.detectors.pci import PciCard
from hcs_agents.detectors.port import Counters, DeviceProcess, Reading
from hcs_bus.events import DeviceSample
from hcs_bus.names import DeviceId, Vendor

UNITS_PER_WATT = 10  # power comes in tenths

Structure = TypeVar("Structure", bound=ctypes.Structure)


class HuaweiSampler:
    """Reads samples through one opened library; it remembers what each chip cannot tell."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._refused: dict[DeviceId, set[Hashable]] = {}
        self._addresses: dict[tuple[DeviceId, Chip], str] = {}

    def read(self, dcmi: abi.Dcmi, device_id: DeviceId, chip: Chip) -> Reading | None:
        """Return a chip's reading, `None` when it does not answer."""
        asked = _Questions(dcmi, chip, self._refused.setdefault(device_id, set()))
        try:
            sample, counters = _sample(asked, device_id), _counters(asked)
        except _GoneError:
            return None
        if not asked.answered:
            return None
        here = (device_id, chip)
        if not self._addresses.get(here):
            self._addresses[here] = pci_address(dcmi, chip)
        generation, width = PciCard(self._sysfs, self._addresses[here], Vendor.HUAWEI).link()
        sample = msgspec.structs.replace(sample, pcie_generation=generation, pcie_width=width)
        return Reading(sample=sample, counters=counters)


def processes_of(dcmi: abi.Dcmi, device_id: DeviceId, chip: Chip) -> list[DeviceProcess] | None:
    """Return the processes on a chip; `None` when it does not answer."""
    infos = (abi.ProcessMemory * abi.PROCESSES_MAX)()
    count = ctypes.c_int()
    result = dcmi.call("dcmi_get_device_resource_info", *chip.place, infos, ctypes.byref(count))
    if result not in (abi.OK, *abi.UNSUPPORTED):
        return None
    return [
        DeviceProcess(device_id=device_id, pid=info.proc_id, used_bytes=info.proc_mem_usage)
        for info in infos[: max(0, count.value)]
    ]


class _GoneError(Exception):
    """There is no such chip any more."""


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """What a chip's memory does."""

    used_bytes: int | None = None
    utilization_percent: int | None = None
    clock_mhz: int | None = None
    temperature_celsius: int | None = None


class _Questions:
    """Questions to one chip that come again and again: what it cannot tell is not asked twice."""

    def __init__(self, dcmi: abi.Dcmi, chip: Chip, refused: set[Hashable]) -> None:
        self._dcmi = dcmi
        self._chip = chip
        self._refused = refused  # kept by the caller
        self.answered = False  # at least one

    def number(self, function: str, *arguments: int) -> int | None:
        """Return a number of 32 bits; all of those are signed or small."""
        out = ctypes.c_int()
        return out.value if self._ask((function, *arguments), ctypes.byref(out)) else None

    def cannot_tell(self, function: str, *arguments: int) -> bool:
        """Say whether this chip has refused a question for good."""
        return (function, *arguments) in self._refused

    def structure(self, out: Structure, function: str, *arguments: int) -> Structure | None:
        """Return `out`, filled in."""
        return out if self._ask((function, *arguments), ctypes.byref(out)) else None

    def info(self, out: Structure, main_cmd: int, sub_cmd: int) -> Structure | None:
        """Return `out`, filled in by the function that has a command for everything else."""
        question = ("dcmi_get_device_info", main_cmd, sub_cmd)
        size = ctypes.c_uint(ctypes.sizeof(out))
        return out if self._ask(question, ctypes.byref(out), ctypes.byref(size)) else None

    def _ask(self, question: tuple[str, *tuple[int, ...]], *pointers: object) -> bool:
        if question in self._refused:
            return False
        function, *arguments = question
        result = self._dcmi.call(function, *self._chip.place, *arguments, *pointers)
        if result in abi.GONE:
            raise _GoneError
        if result in abi.UNSUPPORTED:
            self._refused.add(question)
        self.answered |= result == abi.OK
        return result == abi.OK


def _sample(asked: _Questions, device_id: DeviceId) -> DeviceSample:
    power = asked.number("dcmi_get_device_power_info")
    memory = _memory(asked)
    return DeviceSample(
        device_id=device_id,
        utilization_percent=percent(
            asked.number("dcmi_get_device_utilization_rate", abi.UTILIZATION_AICORE)
        ),
        memory_utilization_percent=percent(memory.utilization_percent),
        vram_used_bytes=memory.used_bytes,
        power_watts=None if power is None or power < 0 else power / UNITS_PER_WATT,
        temperature_celsius=celsius(asked.number("dcmi_get_device_temperature")),
        memory_temperature_celsius=celsius(memory.temperature_celsius),
        core_clock_mhz=positive(asked.number("dcmi_get_device_frequency", abi.FREQ_AICORE_CURRENT)),
        memory_clock_mhz=positive(memory.clock_mhz),
    )


def _memory(asked: _Questions) -> _Memory:
    """Ask for the chip's HBM; chips such as the 310P have DDR, which has no sensor."""
    hbm = asked.structure(abi.HbmInfo(), "dcmi_get_device_hbm_info")
    if hbm is not None:
        return _Memory(
            used_bytes=int(hbm.memory_usage) * BYTES_PER_MB,
            utilization_percent=hbm.bandwith_util_rate,
            clock_mhz=hbm.freq,
            temperature_celsius=hbm.temp,
        )
    if not asked.cannot_tell("dcmi_get_device_hbm_info"):
        return _Memory()
    ddr = asked.structure(abi.MemoryInfo(), "dcmi_get_device_memory_info_v3")
    if ddr is None:
        return _Memory()
    return _Memory(
        used_bytes=max(0, ddr.memory_size - ddr.memory_available) * BYTES_PER_MB,
        utilization_percent=ddr.utiliza,
        clock_mhz=ddr.freq,
    )


def _counters(asked: _Questions) -> Counters:
    ecc = asked.structure(abi.EccAnswer(), "dcmi_get_device_ecc_info", abi.DEVICE_TYPE_HBM)
    if asked.cannot_tell("dcmi_get_device_ecc_info", abi.DEVICE_TYPE_HBM):
        ecc = asked.structure(abi.EccAnswer(), "dcmi_get_device_ecc_info", abi.DEVICE_TYPE_DDR)
    pcie = asked.info(abi.PcieErrors(), abi.MAIN_CMD_PCIE, abi.PCIE_CMD_ERRORS)
    hccs = asked.info(abi.HccsStatistics(), abi.MAIN_CMD_HCCS, abi.HCCS_CMD_STATISTICS)
    return Counters(
        ecc_corrected=None if ecc is None else int(ecc.info.single_bit_error_cnt),
        ecc_uncorrected=None if ecc is None else int(ecc.info.double_bit_error_cnt),
        pcie_replays=None if pcie is None else int(pcie.retry_cnt),
        link_errors=None if hccs is None else sum(hccs.crc_err_cnt) + sum(hccs.retry_cnt),
    )
