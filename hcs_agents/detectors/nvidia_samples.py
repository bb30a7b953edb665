"""What an NVIDIA card does at the moment, and what its driver counts, in ten calls.

Whatever is a field of `nvmlDeviceGetFieldValues` comes with that one call. Memory that the driver
keeps for itself counts as used: nobody else can have it.
"""

import ctypes
from collections.abc import Container, Hashable, Mapping

import pynvml

from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.nvidia_calls import Handle, Questions, told
from hcs_agents.detectors.port import Counters, DeviceProcess, Reading
from hcs_bus.events import DeviceSample, ThrottleReason
from hcs_bus.names import DeviceId

MILLIWATTS_PER_WATT = 1000

LINK_ERRORS = (
    pynvml.NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
    pynvml.NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
    pynvml.NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
    pynvml.NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
)
FIELDS = (
    pynvml.NVML_FI_DEV_MEMORY_TEMP,
    pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL,
    pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL,
    pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER,
    *LINK_ERRORS,
)
TEMPERATURE = (pynvml.nvmlDeviceGetTemperatureV, pynvml.nvmlDeviceGetTemperature)
CLOCK_REASONS = (
    pynvml.nvmlDeviceGetCurrentClocksEventReasons,
    pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
)
PROCESS_LISTS = (
    (
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
    ),
    (
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
    ),
    (
        pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v2,
    ),
)
"""Newer and older names of the same question."""

POWER_BITS = pynvml.nvmlClocksEventReasonSwPowerCap
THERMAL_BITS = pynvml.nvmlClocksEventReasonSwThermalSlowdown
HARDWARE_BITS = (
    pynvml.nvmlClocksEventReasonHwSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)
IDLE_BITS = pynvml.nvmlClocksEventReasonGpuIdle  # low clocks because there is nothing to do
TOLD_APART = POWER_BITS | THERMAL_BITS | HARDWARE_BITS | IDLE_BITS


class NvidiaSampler:
    """Reads samples of one NVML session; it remembers what each card cannot tell."""

    def __init__(self) -> None:
        self._refused: dict[DeviceId, set[Hashable]] = {}
        self._link_errors = LinkErrors()

    def read(self, device_id: DeviceId, handle: Handle) -> Reading:
        """Return a card's reading.

        Raises:
            pynvml.NVMLError: the card is lost, or the session is over.
        """
        refused = self._refused.setdefault(device_id, set())
        card = Questions(handle, refused)
        utilization = card.ask(pynvml.nvmlDeviceGetUtilizationRates)
        memory = card.ask(pynvml.nvmlDeviceGetMemoryInfo)
        power_mw = card.ask(pynvml.nvmlDeviceGetPowerUsage)
        temperature = card.ask_first(TEMPERATURE, pynvml.NVML_TEMPERATURE_GPU)
        fields = card.fields(FIELDS)
        memory_temperature = fields.get(pynvml.NVML_FI_DEV_MEMORY_TEMP)
        return Reading(
            sample=DeviceSample(
                device_id=device_id,
                utilization_percent=percent(utilization and utilization.gpu),
                memory_utilization_percent=percent(utilization and utilization.memory),
                vram_used_bytes=memory and int(memory.used),
                power_watts=None if power_mw is None else power_mw / MILLIWATTS_PER_WATT,
                temperature_celsius=celsius(_signed(temperature)),
                memory_temperature_celsius=celsius(_signed(memory_temperature)),
                core_clock_mhz=positive(
                    card.ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM)
                ),
                memory_clock_mhz=positive(
                    card.ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM)
                ),
                throttle_reasons=_reasons(card.ask_first(CLOCK_REASONS) or 0),
                pcie_generation=positive(card.ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration)),
                pcie_width=positive(card.ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth)),
            ),
            counters=Counters(
                ecc_corrected=fields.get(pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL),
                ecc_uncorrected=fields.get(pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL),
                pcie_replays=fields.get(pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER),
                link_errors=self._link_errors.of(device_id, fields, refused=refused),
            ),
        )


class LinkErrors:
    """Sums up what a card counts of its links: always the same counters, or nothing.

    A sum that misses one counter falls, and rises when it is back, which would look like new
    errors. So which ones they are is settled once, when all that the card has have answered.
    """

    def __init__(self) -> None:
        self._summed: dict[DeviceId, tuple[int, ...]] = {}

    def of(
        self, device_id: DeviceId, fields: Mapping[int, int], *, refused: Container[Hashable]
    ) -> int | None:
        """Return the sum; `None` when the card does not tell it, or not all of it, this time."""
        counted = tuple(number for number in LINK_ERRORS if number not in refused)
        if counted and all(number in fields for number in counted):
            self._summed.setdefault(device_id, counted)
        summed = self._summed.get(device_id, ())
        if not summed or any(number not in fields for number in summed):
            return None
        return sum(fields[number] for number in summed)


def processes_of(device_id: DeviceId, handle: Handle) -> list[DeviceProcess]:
    """Return a card's processes, each once: one that also draws is in two lists.

    Raises:
        pynvml.NVMLError: the card is lost, or the session is over.
    """
    found = {}
    for names in PROCESS_LISTS:
        answers = (told(None, name, handle) for name in names)
        for process in next((answer for answer in answers if answer is not None), ()):
            found[process.pid] = DeviceProcess(
                device_id=device_id, pid=process.pid, used_bytes=process.usedGpuMemory
            )
    return list(found.values())


def _reasons(bits: int) -> tuple[ThrottleReason, ...]:
    told = (
        (ThrottleReason.POWER, bits & POWER_BITS),
        (ThrottleReason.THERMAL, bits & THERMAL_BITS),
        (ThrottleReason.HARDWARE, bits & HARDWARE_BITS),
        (ThrottleReason.OTHER, bits & ~TOLD_APART),
    )
    return tuple(reason for reason, present in told if present)


def _signed(value: int | None) -> int | None:
    """Return a temperature, some of which NVML says as unsigned numbers."""
    return None if value is None else ctypes.c_int(value).value
