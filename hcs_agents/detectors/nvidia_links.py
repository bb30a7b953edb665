"""Which NVIDIA cards are wired to which, and with how many NVLink lanes.

NVML tells of each physical link whether it is up and what is at its other end. A cable to another
card counts for that pair. A link to an NVSwitch counts for every pair of cards on the switches, at
full width: the switches do not block.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pynvml

from hcs_agents.detectors.nvidia_calls import Handle, unless_lost
from hcs_bus.names import DeviceId, LinkType

NO_SUCH_LINK = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_GPU_IS_LOST,
)
SWITCH = ""  # stands for all NVSwitches where otherwise the peer's PCI address stands


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What connects a pair of cards."""

    type: LinkType
    lanes: int  # that are up


def nvlinks(handles: Mapping[DeviceId, Handle]) -> dict[DeviceId, dict[DeviceId, Wire]]:
    """Return for each card its peers and how it reaches them."""
    at: dict[str, DeviceId] = {}
    for device_id, handle in handles.items():
        with unless_lost():
            at[_bus_id(pynvml.nvmlDeviceGetPciInfo(handle))] = device_id
    ends = {device_id: _remote_ends(handle) for device_id, handle in handles.items()}
    wires: dict[DeviceId, dict[DeviceId, Wire]] = {device_id: {} for device_id in handles}
    for device_id, counted in ends.items():
        for bus_id, lanes in counted.items():
            if bus_id in at:
                wires[device_id][at[bus_id]] = Wire(type=LinkType.NVLINK, lanes=lanes)
        for peer in handles:
            through = min(counted[SWITCH], ends[peer][SWITCH])
            if peer != device_id and through > 0:
                wires[device_id][peer] = Wire(type=LinkType.NVSWITCH, lanes=through)
    return wires


def _remote_ends(handle: Handle) -> Counter[str]:
    ends: Counter[str] = Counter()
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            if pynvml.nvmlDeviceGetNvLinkState(handle, link) != pynvml.NVML_FEATURE_ENABLED:
                continue
            remote = pynvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link)
            is_switch = remote == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH
            pci = pynvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link)
        except pynvml.NVMLError as error:
            if error.value in NO_SUCH_LINK:
                break  # links are numbered without holes
            raise
        ends[SWITCH if is_switch else _bus_id(pci)] += 1
    return ends


def _bus_id(pci: "pynvml.nvmlPciInfo_t") -> str:
    return f"{pci.domain:x}:{pci.bus:x}:{pci.device:x}"
