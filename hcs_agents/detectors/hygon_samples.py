"""What a Hygon card does at the moment, as rocm_smi tells it.

The card's firmware keeps nearly all of it in one table, which one call reads. Older cards keep no
table, or leave fields of it open; what is missing is then asked for one by one.
"""

import ctypes
from collections.abc import Callable

from hcs_agents.detectors import hygon_abi as abi
from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.pci import generation_of
from hcs_agents.detectors.port import Counters, Reading
from hcs_bus.events import DeviceSample, ThrottleReason
from hcs_bus.names import DeviceId

MEMORY_BLOCK = abi.BLOCKS.index("UMC")
FABRIC_BLOCK = abi.BLOCKS.index("XGMI_WAFL")

UINT16_UNKNOWN = 2**16 - 1
UINT32_UNKNOWN = 2**32 - 1
UINT64_UNKNOWN = 2**64 - 1
RATES_PER_GT_S = 10  # the table counts link speeds in 0.1 GT/s
TRANSFERS_PER_GT = 1_000_000_000
MICROWATTS_PER_WATT = 1_000_000
MILLIDEGREES_PER_DEGREE = 1_000
HZ_PER_MHZ = 1_000_000

# `indep_throttle_status` from revision 1.3 of the table on, as amdgpu's driver numbers its bits:
# power and current limits below, then temperatures, then PROCHOT, which the board pulls.
INDEPENDENT_SINCE = (1, 3)
THROTTLERS = (
    (0x0000_0000_FFFF_FFFF, ThrottleReason.POWER),
    (0x0000_3FFF_0000_0000, ThrottleReason.THERMAL),
    (0x0000_C000_0000_0000, ThrottleReason.HARDWARE),
    (0xFFFF_0000_0000_0000, ThrottleReason.OTHER),
)

Value = float | int | None


def read_card(rsmi: abi.Rsmi, device_id: DeviceId, index: int) -> Reading | None:
    """Return what a card does; `None` when it does not answer."""
    table = rsmi.metrics(index)
    values = {} if table is None else _at_once(table)
    for names, ask in ONE_BY_ONE:
        if any(values.get(name) is None for name in names):
            values |= dict(zip(names, ask(rsmi, index), strict=True))
    counters = _counters(rsmi, index)
    used_bytes = rsmi.number(
        "rsmi_dev_memory_usage_get", index, ctypes.c_uint64(), ctypes.c_int(abi.MEMORY_VRAM)
    )
    # Asked last: a card that went away meanwhile is left out, not told of half.
    if used_bytes is None and rsmi.vram_bytes(index) is None:
        return None
    sample = DeviceSample(
        device_id=device_id,
        vram_used_bytes=used_bytes,
        throttle_reasons=() if table is None else _throttle_reasons(table),
        **values,  # type: ignore[arg-type]  # each name goes with its own type
    )
    return Reading(sample=sample, counters=counters)


def link_max(rsmi: abi.Rsmi, index: int) -> tuple[int, int]:
    """Return the highest PCIe generation and most lanes that a card can have, 0 for unknown."""
    levels = _pcie_levels(rsmi.pcie_bandwidth(index))
    return (
        max((generation or 0 for generation, _ in levels), default=0),
        max((lanes or 0 for _, lanes in levels), default=0),
    )


# --- All at once ---------------------------------------------------------------------------------


def _at_once(table: abi.GpuMetrics) -> dict[str, Value]:
    power = table.average_socket_power
    rate = table.pcie_link_speed
    return {
        "utilization_percent": percent(table.average_gfx_activity),
        "memory_utilization_percent": percent(table.average_umc_activity),
        "power_watts": None if power == UINT16_UNKNOWN else power,
        "temperature_celsius": celsius(table.temperature_edge),
        "memory_temperature_celsius": celsius(table.temperature_mem),
        "core_clock_mhz": _known(table.current_gfxclk),
        "memory_clock_mhz": _known(table.current_uclk),
        "pcie_generation": generation_of(rate / RATES_PER_GT_S),
        "pcie_width": _known(table.pcie_link_width),
    }


def _known(value: int) -> int | None:
    return None if value == UINT16_UNKNOWN else positive(value)


def _throttle_reasons(table: abi.GpuMetrics) -> tuple[ThrottleReason, ...]:
    revision = (table.format_revision, table.content_revision)
    status = table.indep_throttle_status
    if revision >= INDEPENDENT_SINCE and status not in (0, UINT64_UNKNOWN):
        return tuple(reason for mask, reason in THROTTLERS if status & mask)
    # What this very chip's bits mean is not published, only that none is set while nothing holds
    # the card back.
    held_back = table.throttle_status not in (0, UINT32_UNKNOWN)
    return (ThrottleReason.OTHER,) if held_back else ()


# --- One by one ----------------------------------------------------------------------------------


def _busy(rsmi: abi.Rsmi, index: int) -> tuple[Value]:
    return (percent(rsmi.number("rsmi_dev_busy_percent_get", index, ctypes.c_uint32())),)


def _memory_busy(rsmi: abi.Rsmi, index: int) -> tuple[Value]:
    return (percent(rsmi.number("rsmi_dev_memory_busy_percent_get", index, ctypes.c_uint32())),)


def _power_watts(rsmi: abi.Rsmi, index: int) -> tuple[Value]:
    sensor = ctypes.c_uint32(abi.POWER_SENSOR)
    microwatts = rsmi.number("rsmi_dev_power_ave_get", index, ctypes.c_uint64(), sensor)
    return (None if microwatts is None else microwatts / MICROWATTS_PER_WATT,)


def _temperature(sensor: int) -> Callable[[abi.Rsmi, int], tuple[Value]]:
    def ask(rsmi: abi.Rsmi, index: int) -> tuple[Value]:
        arguments = (ctypes.c_uint32(sensor), ctypes.c_int(abi.TEMPERATURE_CURRENT))
        millidegrees = rsmi.number("rsmi_dev_temp_metric_get", index, ctypes.c_int64(), *arguments)
        return (None if millidegrees is None else celsius(millidegrees / MILLIDEGREES_PER_DEGREE),)

    return ask


def _clock(clock: int) -> Callable[[abi.Rsmi, int], tuple[Value]]:
    def ask(rsmi: abi.Rsmi, index: int) -> tuple[Value]:
        levels = rsmi.frequencies(index, clock)
        if levels is None or not levels.current < levels.num_supported <= len(levels.frequency):
            return (None,)
        return (positive(levels.frequency[levels.current] // HZ_PER_MHZ),)

    return ask


def _pcie_now(rsmi: abi.Rsmi, index: int) -> tuple[Value, Value]:
    bandwidth = rsmi.pcie_bandwidth(index)
    levels = _pcie_levels(bandwidth)
    current = len(levels) if bandwidth is None else bandwidth.transfer_rate.current
    return levels[current] if current < len(levels) else (None, None)


def _pcie_levels(
    bandwidth: abi.PcieBandwidth | abi.WidePcieBandwidth | None,
) -> list[tuple[int | None, int | None]]:
    """Return generation and lanes of each level."""
    if bandwidth is None:
        return []
    count = bandwidth.transfer_rate.num_supported
    rates = bandwidth.transfer_rate.frequency[:count]
    lanes = bandwidth.lanes[:count]
    return [
        (generation_of(rate / TRANSFERS_PER_GT), positive(width))
        for rate, width in zip(rates, lanes, strict=True)
    ]


ONE_BY_ONE: tuple[tuple[tuple[str, ...], Callable[[abi.Rsmi, int], tuple[Value, ...]]], ...] = (
    (("utilization_percent",), _busy),
    (("memory_utilization_percent",), _memory_busy),
    (("power_watts",), _power_watts),
    (("temperature_celsius",), _temperature(abi.TEMPERATURE_EDGE)),
    (("memory_temperature_celsius",), _temperature(abi.TEMPERATURE_MEMORY)),
    (("core_clock_mhz",), _clock(abi.CLOCK_SYSTEM)),
    (("memory_clock_mhz",), _clock(abi.CLOCK_MEMORY)),
    (("pcie_generation", "pcie_width"), _pcie_now),
)
"""The fields of a sample, and what to ask where the table leaves one open."""


# --- Counters ------------------------------------------------------------------------------------


def _counters(rsmi: abi.Rsmi, index: int) -> Counters:
    """Return what is counted of the memory, the PCIe link and the fabric."""
    memory = rsmi.errors(index, MEMORY_BLOCK)
    fabric = rsmi.errors(index, FABRIC_BLOCK)
    return Counters(
        ecc_corrected=None if memory is None else int(memory.correctable_err),
        ecc_uncorrected=None if memory is None else int(memory.uncorrectable_err),
        pcie_replays=rsmi.number("rsmi_dev_pci_replay_counter_get", index, ctypes.c_uint64()),
        link_errors=None
        if fabric is None
        else int(fabric.correctable_err + fabric.uncorrectable_err),
    )
