"""What a Cambricon card does at the moment, as CNDev tells it.

There is one function per quantity, and an older one behind some that drivers of version 5 have. No
function tells how busy a card's memory is.

Two functions count errors in different ways, and ports count each for itself. So a count comes from
the same function each time, and is unknown while a port does not tell its own: a number that falls
for an instant and is back looks like as many new errors.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.cambricon_scan import memory_of
from hcs_agents.detectors.port import Counters, DeviceProcess, Reading
from hcs_bus.events import DeviceSample, ThrottleReason
from hcs_bus.names import DeviceId

THROTTLES = (
    (("tdp", "power_setting"), ThrottleReason.POWER),
    (("thermal_slowdown",), ThrottleReason.THERMAL),
    (("power_brake",), ThrottleReason.HARDWARE),
    (("clock_setting", "frequency_locked"), ThrottleReason.OTHER),
)

BYTES_PER_KB = 1024


Counter = tuple[str, Callable[[], Any], Callable[[Any], tuple[int, ...]]]
"""A function that counts errors, the structure that it fills, and what counts of that."""

MEMORY_ERRORS: tuple[Counter, ...] = (
    (
        "cndevGetMemEccCounter",
        abi.MemoryErrors,
        lambda new: (
            new.volatile_sram_single + new.volatile_dram_single,
            new.volatile_sram_double + new.volatile_sram_parity + new.volatile_dram_double,
        ),
    ),
    ("cndevGetECCInfo", abi.EccInfo, lambda old: (old.corrected, old.uncorrected)),
)
"""The corrected and the uncorrected ones since the driver was loaded, newest function first."""

PORT_ERRORS: tuple[Counter, ...] = (
    (
        "cndevGetMLULinkErrorCounter",
        abi.LinkErrors,
        lambda new: (new.fec_uncorrected + new.received_bad + new.sent_bad,),
    ),
    (
        "cndevGetMLULinkCounter",
        abi.LinkCounters,
        lambda old: (old.replays + old.crc24 + old.crc32,),
    ),
)
"""What went wrong on a port; what its FEC put right is everyday life on such a wire."""


class Sampler:
    """Reads cards of one loaded library; how many ports a card has is asked once."""

    def __init__(self, cndev: abi.Cndev) -> None:
        self._cndev = cndev
        self._ports: dict[DeviceId, int] = {}
        self._chosen: dict[tuple[DeviceId, tuple[int, ...]], tuple[Counter, ...]] = {}

    def read(self, device_id: DeviceId, handle: int) -> Reading | None:
        """Return what a card does; `None` when it does not answer."""
        cndev = self._cndev
        temperature, memory_temperature = _temperatures(cndev, handle)
        core_clock, memory_clock = _clocks(cndev, handle)
        generation, width = _link(cndev, handle)
        power_watts, reasons = _power_watts(cndev, handle), _throttle_reasons(cndev, handle)
        utilization, counters = _utilization(cndev, handle), self._counters(device_id, handle)
        # Asked last: a card that went away meanwhile is left out, not told of half.
        memory = memory_of(cndev, handle)
        if memory is None:
            return None
        sample = DeviceSample(
            device_id=device_id,
            utilization_percent=utilization,
            vram_used_bytes=memory[1],
            power_watts=power_watts,
            temperature_celsius=temperature,
            memory_temperature_celsius=memory_temperature,
            core_clock_mhz=core_clock,
            memory_clock_mhz=memory_clock,
            throttle_reasons=reasons,
            pcie_generation=generation,
            pcie_width=width,
        )
        return Reading(sample=sample, counters=counters)

    def _counters(self, device_id: DeviceId, handle: int) -> Counters:
        memory = self._count(MEMORY_ERRORS, device_id, handle)
        corrected, uncorrected = memory or (None, None)
        replays = abi.PcieReplays()
        known = self._cndev.fill("cndevGetPcieReplayCounter", replays, handle)
        return Counters(
            ecc_corrected=corrected,
            ecc_uncorrected=uncorrected,
            pcie_replays=int(replays.counter) if known else None,
            link_errors=self._link_errors(device_id, handle),
        )

    def _link_errors(self, device_id: DeviceId, handle: int) -> int | None:
        """Return the errors of all ports; `None` when none counts, or one does not tell for now."""
        if not self._ports.get(device_id):
            self._ports[device_id] = self._cndev.port_count(handle)
        ports = range(self._ports[device_id])
        counts = [self._count(PORT_ERRORS, device_id, handle, port) for port in ports]
        told = [sum(count) for count in counts if count is not None]
        return sum(told) if any(counts) and len(told) == len(ports) else None

    def _count(
        self, functions: tuple[Counter, ...], device_id: DeviceId, handle: int, *port: int
    ) -> tuple[int, ...] | None:
        """Ask the function that has told before, or the first that the driver does not lack.

        Empty when it lacks all of them, `None` when it does not tell for now.
        """
        key = (device_id, port)
        for function in self._chosen.get(key, functions):
            name, structure, of = function
            filled = structure()
            result = self._cndev.ask(name, filled, handle, *port)
            if result == abi.OK:
                self._chosen[key] = (function,)
                return of(filled)
            if result not in abi.LACKING:
                return None
        return None if key in self._chosen else ()


def processes_of(cndev: abi.Cndev, device_id: DeviceId, handle: int) -> list[DeviceProcess]:
    """Return the processes on a card; of more than there is room for, the driver tells none."""
    count, result = ctypes.c_uint32(abi.PROCESSES_EXPECTED), abi.INSUFFICIENT_SPACE
    while result == abi.INSUFFICIENT_SPACE and count.value <= abi.PROCESSES_MAX:
        infos = (abi.ProcessInfo * count.value)()
        for info in infos:
            info.version = cndev.version
        result = cndev.call("cndevGetProcessInfo", ctypes.byref(count), infos, handle)
        if result == abi.INSUFFICIENT_SPACE and count.value <= len(infos):
            break  # it does not say how much room it wants
    if result != abi.OK:
        return []
    return [
        DeviceProcess(
            device_id=device_id, pid=info.pid, used_bytes=info.physical_used * BYTES_PER_KB
        )
        for info in infos[: count.value]
    ]


def _utilization(cndev: abi.Cndev, handle: int) -> float | None:
    info = abi.Utilization()
    known = cndev.fill("cndevGetDeviceUtilizationInfo", info, handle)
    return percent(info.average_core) if known else None


def _power_watts(cndev: abi.Cndev, handle: int) -> float | None:
    power: abi.PowerV2 | abi.Power = abi.PowerV2()
    if not cndev.fill("cndevGetDevicePowerInfo", power, handle):
        power = abi.Power()
        if not cndev.fill("cndevGetPowerInfo", power, handle):
            return None
    return power.usage if power.usage >= 0 else None


def _temperatures(cndev: abi.Cndev, handle: int) -> tuple[float | None, float | None]:
    """Return what the chip and its memory have; a card without a sensor in the chip has a board."""
    info = abi.Temperature()
    if not cndev.fill("cndevGetTemperatureInfo", info, handle):
        return None, None
    return celsius(info.chip or info.board), celsius(info.memory)


def _clocks(cndev: abi.Cndev, handle: int) -> tuple[int | None, int | None]:
    info = abi.Frequency()
    if not cndev.fill("cndevGetFrequencyInfo", info, handle):
        return None, None
    return positive(info.board), positive(info.ddr)


def _throttle_reasons(cndev: abi.Cndev, handle: int) -> tuple[ThrottleReason, ...]:
    info = abi.ThrottleReasons()
    if not cndev.fill("cndevGetPerformanceThrottleReason", info, handle):
        return ()
    return tuple(
        reason for names, reason in THROTTLES if any(getattr(info, name) == 1 for name in names)
    )


def _link(cndev: abi.Cndev, handle: int) -> tuple[int | None, int | None]:
    link = abi.PciLink()
    if not cndev.fill("cndevGetCurrentPCIInfo", link, handle):
        return None, None
    return positive(link.speed), positive(link.width)
