"""What a driver says is let through field by field, only if an event can say it and it can be true.

Drivers say "not available" in many tongues: all ones, -275 degrees, 32767, not a number. One such
field in an event would park the event, and with it what all other cards of the node say. So each
field is held against the type that the event gives it, and against what no card can be; one that
does not fit becomes unknown. A card without a name of its own cannot be told of at all.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import structlog

from hcs_agents.detectors.port import Counters, DeviceProcess, Reading
from hcs_bus.events import DeviceFingerprint, DeviceName, DeviceSample

LOG = structlog.get_logger()

MOST: dict[str, float] = {
    "power_watts": 20_000,
    "core_clock_mhz": 20_000,
    "memory_clock_mhz": 30_000,
    "pcie_generation": 15,
    "pcie_generation_max": 15,
    "pcie_width": 64,
    "pcie_width_max": 64,
    "matrix_cores": 1_000_000,
    "memory_bandwidth_gbytes_s": 1_000_000,
    "vram_bytes": 2**50,
    "vram_used_bytes": 2**50,
}
"""Several times what the largest card has: more can only be a driver's word for "unknown"."""

COUNT_MAX = 2**53 - 1  # of errors: no card lives to see them, and JSON's readers know no more
PID_MAX = 2**22  # the kernel's limit
TEXT_MAX = 253  # characters; as most texts of events

Struct = TypeVar("Struct", bound=msgspec.Struct)


def readings(found: Iterable[Reading]) -> tuple[Reading, ...]:
    """Return what can be told of samples."""
    return tuple(
        Reading(sample=_told(one.sample), counters=_told_counters(one.counters))
        for one in found
        if _has_name(one.sample)
    )


def fingerprints(found: Iterable[DeviceFingerprint]) -> tuple[DeviceFingerprint, ...]:
    """Return what can be told of cards."""
    told = []
    for device in found:
        if not _has_name(device) or not _fits(device, "index"):
            continue
        links = tuple(link for link in device.links if _is_whole(link))
        told.append(_told(msgspec.structs.replace(device, links=links)))
    return tuple(told)


def processes(found: Iterable[DeviceProcess]) -> tuple[DeviceProcess, ...]:
    """Return what can be told of processes."""
    return tuple(
        one
        if one.used_bytes is None or 0 <= one.used_bytes <= MOST["vram_used_bytes"]
        else msgspec.structs.replace(one, used_bytes=None)
        for one in found
        if 0 < one.pid <= PID_MAX
    )


def _has_name(device: DeviceSample | DeviceFingerprint) -> bool:
    try:
        msgspec.convert(device.device_id, DeviceName)
    except msgspec.ValidationError:
        LOG.warning("card_without_a_usable_name", device=device.device_id[:TEXT_MAX])
        return False
    return True


def _told_counters(counters: Counters) -> Counters:
    told = {
        name: None if count is None or not 0 <= count <= COUNT_MAX else count
        for name, count in msgspec.structs.asdict(counters).items()
    }
    return Counters(**told)


def _told(struct: Struct) -> Struct:
    """Return a structure in which everything fits."""
    wrong = [name for name in _scalars(type(struct)) if not _fits(struct, name)]
    if not wrong:
        return struct
    LOG.debug("impossible_values", fields=wrong)
    return msgspec.structs.replace(struct, **{name: _unknown(struct, name) for name in wrong})


def _is_whole(struct: msgspec.Struct) -> bool:
    return all(_fits(struct, name) for name in _scalars(type(struct)))


def _fits(struct: msgspec.Struct, name: str) -> bool:
    value = getattr(struct, name)
    if value is None:
        return True  # unknown already
    if isinstance(value, str):
        if len(value) > TEXT_MAX or "\0" in value:
            return False
    elif not math.isfinite(value) or value > MOST.get(name, math.inf):
        return False
    try:
        msgspec.convert(value, _scalars(type(struct))[name])
    except msgspec.ValidationError:
        return False
    return True


def _unknown(struct: msgspec.Struct, name: str) -> object:
    """Return the word of this structure for a fact that nobody knows."""
    field = next(one for one in msgspec.structs.fields(struct) if one.name == name)
    if not field.required:
        return field.default
    if name == "numa_node":
        return -1
    return "" if isinstance(getattr(struct, name), str) else 0


@functools.cache
def _scalars(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the numbers and texts of a structure with their types, bounds included."""
    rest = {"vendor", "type", "links", "throttle_reasons"}  # ours, not a driver's
    return {one.name: one.type for one in msgspec.structs.fields(struct) if one.name not in rest}
