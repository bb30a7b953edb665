"""Which NVIDIA cards are wired to which, with how many NVLink lanes, and which share only PCIe.

NVML tells of each physical link whether it is up and what is at its other end. A cable to another
card counts for that pair. A link to an NVSwitch counts for every pair of cards on the switches, at
full width: the switches do not block. What is at the other end of a link does not change while a
session lasts, so only its state is asked for again. A card that refuses is wired as it was. Of a
pair without NVLink NVML tells how far up its way over PCIe goes; that does not change either.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pynvml

from hcs_agents.detectors.nvidia_calls import (
    SESSION_OVER,
    UNSUPPORTED,
    Handle,
    unless_refused,
)
from hcs_agents.detectors.pcie import PcieWays
from hcs_bus.names import DeviceId, LinkType

NO_SUCH_LINK = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
)
PCIE_LEVELS = (
    pynvml.NVML_TOPOLOGY_INTERNAL,
    pynvml.NVML_TOPOLOGY_SINGLE,
    pynvml.NVML_TOPOLOGY_MULTIPLE,
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE,
    pynvml.NVML_TOPOLOGY_NODE,
    pynvml.NVML_TOPOLOGY_SYSTEM,
)
"""Where two cards' ways over PCIe meet: on their board, at one switch, and so on up to two CPUs."""
SWITCH = ""  # stands for all NVSwitches where otherwise the peer's PCI address stands


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What connects a pair of cards."""

    type: LinkType
    lanes: int  # of NVLink that are up


class NvLinks:
    """The wiring of one NVML session."""

    def __init__(self) -> None:
        self._bus_ids: dict[DeviceId, str] = {}
        self._remotes: dict[tuple[DeviceId, int], str] = {}  # by card and link
        self._ends: dict[DeviceId, Counter[str]] = {}
        self._ways: PcieWays[Handle] = PcieWays()

    def read(self, handles: Mapping[DeviceId, Handle]) -> dict[DeviceId, dict[DeviceId, Wire]]:
        """Return for each card its peers and how it reaches them."""
        for device_id, handle in handles.items():
            with unless_refused():
                if device_id not in self._bus_ids:
                    self._bus_ids[device_id] = _bus_id(pynvml.nvmlDeviceGetPciInfo(handle))
                self._ends[device_id] = self._ends_of(device_id, handle)
        at = {self._bus_ids[one]: one for one in handles if one in self._bus_ids}
        ends = {device_id: self._ends.get(device_id, Counter()) for device_id in handles}
        wires: dict[DeviceId, dict[DeviceId, Wire]] = {device_id: {} for device_id in handles}
        for device_id, counted in ends.items():
            for bus_id, lanes in counted.items():
                if bus_id in at:
                    wires[device_id][at[bus_id]] = Wire(type=LinkType.NVLINK, lanes=lanes)
            for peer in handles:
                through = min(counted[SWITCH], ends[peer][SWITCH])
                if peer != device_id and through > 0:
                    wires[device_id][peer] = Wire(type=LinkType.NVSWITCH, lanes=through)
        for device_id, wired in wires.items():
            for peer in self._ways.peers(device_id, handles, _share_pcie, wired=wired):
                wired[peer] = Wire(type=LinkType.PCIE, lanes=0)
        return wires

    def _ends_of(self, device_id: DeviceId, handle: Handle) -> Counter[str]:
        ends: Counter[str] = Counter()
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
            try:
                if pynvml.nvmlDeviceGetNvLinkState(handle, link) != pynvml.NVML_FEATURE_ENABLED:
                    continue
                if (device_id, link) not in self._remotes:
                    self._remotes[device_id, link] = _remote_end(handle, link)
            except pynvml.NVMLError as error:
                if error.value in NO_SUCH_LINK:
                    break  # links are numbered without holes
                raise
            ends[self._remotes[device_id, link]] += 1
        return ends


def _share_pcie(one: Handle, other: Handle) -> bool | None:
    try:
        return pynvml.nvmlDeviceGetTopologyCommonAncestor(one, other) in PCIE_LEVELS
    except pynvml.NVMLError as error:
        if error.value in SESSION_OVER:
            raise
        return False if error.value in UNSUPPORTED else None


def _remote_end(handle: Handle, link: int) -> str:
    remote = pynvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link)
    pci = pynvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link)
    return SWITCH if remote == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH else _bus_id(pci)


def _bus_id(pci: "pynvml.nvmlPciInfo_t") -> str:
    return f"{pci.domain:x}:{pci.bus:x}:{pci.device:x}"
