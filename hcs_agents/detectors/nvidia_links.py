"""Which NVIDIA cards are wired to which, and with how many NVLink lanes.

NVML tells of each physical link whether it is up and what is at its other end. A cable to another
card counts for that pair. A link to an NVSwitch counts for every pair of cards on the switches, at
full width: the switches do not block. What is at the other end of a link does not change while a
session lasts, so only its state is asked for again. A card that refuses is wired as it was.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pynvml

from hcs_agents.detectors.nvidia_calls import Handle, unless_refused
from hcs_bus.names import DeviceId, LinkType

NO_SUCH_LINK = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
)
SWITCH = ""  # stands for all NVSwitches where otherwise the peer's PCI address stands


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What connects a pair of cards."""

    type: LinkType
    lanes: int  # that are up


class NvLinks:
    """The wiring of one NVML session."""

    def __init__(self) -> None:
        self._bus_ids: dict[DeviceId, str] = {}
        self._remotes: dict[tuple[DeviceId, int], str] = {}  # by card and link
        self._ends: dict[DeviceId, Counter[str]] = {}

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


def _remote_end(handle: Handle, link: int) -> str:
    remote = pynvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link)
    pci = pynvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link)
    return SWITCH if remote == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH else _bus_id(pci)


def _bus_id(pci: "pynvml.nvmlPciInfo_t") -> str:
    return f"{pci.domain:x}:{pci.bus:x}:{pci.device:x}"
