"""What NVML says an NVIDIA card is. What it does not tell stays empty.

A card is what it is for as long as an NVML session lasts: each is asked once, and again only while
it puts an answer off. Its links may go down and come up, so their states are asked at intervals.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec
import pynvml

from hcs_agents.detectors import pci
from hcs_agents.detectors.calls import cpu_list
from hcs_agents.detectors.nvidia_calls import SESSION_OVER, UNSUPPORTED, Handle, Inquiry
from hcs_agents.detectors.nvidia_links import NvLinks, Wire
from hcs_agents.detectors.pcie import measured
from hcs_agents.hardware import HardwareProfile, profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, Vendor

LINKS_S = 10.0  # between two looks at the links, a dozen calls a card

NUMA_WORDS = 16  # 64-bit words of node mask: 1024 NUMA nodes, Linux's own limit
CPU_WORDS = 128  # 8192 CPUs, likewise

BITS_PER_BYTE = 8
MBYTES_PER_GBYTE = 1000

TURING = (7, 5)
MATRIX_CORES = {
    (7, 0): (64, 8),
    (7, 2): (64, 8),
    TURING: (64, 8),
    (8, 0): (64, 4),
    (8, 6): (128, 4),
    (8, 7): (128, 4),
    (8, 9): (128, 4),
    (9, 0): (128, 4),
    (10, 0): (128, 4),
    (12, 0): (128, 4),
}
"""By compute capability: FP32 cores and tensor cores of one streaming multiprocessor.

From the multiprocessor descriptions in NVIDIA's CUDA C++ Programming Guide (Compute Capabilities).
NVML tells a card's FP32 cores, which so gives its tensor cores: 6912 / 64 * 4 = 432 of an A100.
"""


@dataclass(kw_only=True)
class NvidiaCard:
    """A card of an NVML session."""

    index: int
    handle: Handle
    pci_address: str  # where it is plugged in; empty: it has not said so


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What is the same for every card of the node."""

    driver: str
    library: str
    runtime: str

    @classmethod
    def read(cls, ask: Inquiry) -> Self:
        """Ask NVML."""
        cuda = ask.told(0, pynvml.nvmlSystemGetCudaDriverVersion)
        return cls(
            driver=str(ask.told("", pynvml.nvmlSystemGetDriverVersion)),
            library=ask.told("", pynvml.nvmlSystemGetNVMLVersion),
            runtime=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        )


@dataclass(frozen=True, kw_only=True)
class _Description:
    device: DeviceFingerprint  # without links
    lane_gbytes_s: float


class NvidiaDescriber:
    """Describes the cards of one NVML session; see the module's docstring."""

    def __init__(self, sysfs: Path, *, monotonic_s: Callable[[], float]) -> None:
        self._sysfs = sysfs
        self._monotonic_s = monotonic_s
        self._versions: Versions | None = None
        self._known: dict[DeviceId, _Description] = {}
        self._links = NvLinks()
        self._wires: dict[DeviceId, dict[DeviceId, Wire]] = {}
        self._links_due_s = float("-inf")

    def describe(self, cards: Mapping[DeviceId, NvidiaCard]) -> list[DeviceFingerprint]:
        """Return the fingerprints of cards, but for those that have never told enough for one.

        Raises:
            pynvml.NVMLError: the session is over; or of several cards none tells anything.
        """
        if self._monotonic_s() >= self._links_due_s or self._wires.keys() != cards.keys():
            self._wires = self._links.read({one: card.handle for one, card in cards.items()})
            self._links_due_s = self._monotonic_s() + LINKS_S
        found = []
        refusals = []
        for device_id, card in cards.items():
            try:
                one = self._description(device_id, card)
            except pynvml.NVMLError as error:
                if error.value in SESSION_OVER:
                    raise
                refusals.append(error)
                continue
            links = _links(self._wires[device_id], one.lane_gbytes_s)
            found.append(msgspec.structs.replace(one.device, index=card.index, links=links))
        if len(refusals) > 1 and not found and refusals[0].value != pynvml.NVML_ERROR_GPU_IS_LOST:
            raise refusals[0]  # it is not the cards then
        return measured(found)

    def _description(self, device_id: DeviceId, card: NvidiaCard) -> _Description:
        known = self._known.get(device_id)
        if known is not None:
            return known
        ask = Inquiry()
        versions = self._versions or Versions.read(ask)
        if ask.is_complete:
            self._versions = versions
        described = _describe(device_id, card, versions=versions, ask=ask)
        one = replace(described, device=pci.complete(described.device, self._sysfs))
        if ask.is_complete:
            self._known[device_id] = one
        return one


def pci_address(handle: Handle) -> str:
    """Return where a card is plugged in.

    Raises:
        pynvml.NVMLError: it does not say.
    """
    place = pynvml.nvmlDeviceGetPciInfo(handle)
    return f"{place.domain:04x}:{place.bus:02x}:{place.device:02x}.0"


def _describe(
    device_id: DeviceId, card: NvidiaCard, *, versions: Versions, ask: Inquiry
) -> _Description:
    handle = card.handle
    name = str(ask.told("", pynvml.nvmlDeviceGetName, handle))
    profile = profile_of(Vendor.NVIDIA, name)
    device = DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.NVIDIA,
        model=profile.model,
        index=card.index,
        pci_address=card.pci_address or pci_address(handle),
        numa_node=_numa_node(ask, handle),
        vram_bytes=_vram_bytes(handle),
        memory_bandwidth_gbytes_s=(
            profile.memory_bandwidth_gbytes_s or _memory_bandwidth_gbytes_s(ask, handle)
        ),
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=versions.driver,
        serial=ask.told("", pynvml.nvmlDeviceGetSerial, handle),
        int8_gops=profile.int8_gops,
        matrix_cores=_matrix_cores(ask, handle, profile),
        pcie_generation_max=ask.told(0, pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_width_max=ask.told(0, pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        cpu_affinity=cpu_list(
            _mask_of(ask.told((), pynvml.nvmlDeviceGetCpuAffinity, handle, CPU_WORDS))
        ),
        library_version=versions.library,
        runtime_version=versions.runtime,
        firmware_version=ask.told("", pynvml.nvmlDeviceGetVbiosVersion, handle),
    )
    return _Description(device=device, lane_gbytes_s=profile.lane_gbytes_s)


def _links(wires: Mapping[DeviceId, Wire], lane_gbytes_s: float) -> tuple[Link, ...]:
    return tuple(
        Link(
            peer=peer,
            type=wire.type,
            lanes=wire.lanes,
            bandwidth_gbytes_s=wire.lanes * lane_gbytes_s,
        )
        for peer, wire in sorted(wires.items())
    )


def _vram_bytes(handle: Handle) -> int:
    """Return the card's memory; 0 for a card that shares the host's and so has none to tell."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        return 0


def _memory_bandwidth_gbytes_s(ask: Inquiry, handle: Handle) -> float:
    """Return what the memory's bus moves at most: two bits a line with each of its clocks."""
    clock_mhz = ask.told(0, pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM)
    bits = ask.told(0, pynvml.nvmlDeviceGetMemoryBusWidth, handle)
    return 2 * clock_mhz * bits / BITS_PER_BYTE / MBYTES_PER_GBYTE


def _numa_node(ask: Inquiry, handle: Handle) -> int:
    """Return the node of the card's memory, -1 when the platform does not say."""
    scope = pynvml.NVML_AFFINITY_SCOPE_NODE
    nodes = ask.told((), pynvml.nvmlDeviceGetMemoryAffinity, handle, NUMA_WORDS, scope)
    mask = _mask_of(nodes)
    return (mask & -mask).bit_length() - 1


def _mask_of(words: Iterable[int]) -> int:
    return sum(int(word) << (64 * place) for place, word in enumerate(words))


def _matrix_cores(ask: Inquiry, handle: Handle, profile: HardwareProfile) -> int:
    """Return how many tensor cores there are, 0 when that cannot be told.

    Turing's GTX cards and their professional sisters have its compute capability and no tensor
    cores: of Turing only the models of our table count.
    """
    capability = ask.told((0, 0), pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    if capability not in MATRIX_CORES or (capability == TURING and not profile.fp16_gflops):
        return 0
    fp32_cores, matrix_cores = MATRIX_CORES[capability]
    return ask.told(0, pynvml.nvmlDeviceGetNumGpuCores, handle) // fp32_cores * matrix_cores
