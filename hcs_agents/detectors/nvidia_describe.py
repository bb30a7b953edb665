"""What NVML says an NVIDIA card is. What it does not tell stays empty."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import pynvml

from hcs_agents.detectors.calls import cpu_list
from hcs_agents.detectors.nvidia_calls import Handle, told
from hcs_agents.detectors.nvidia_links import Wire
from hcs_agents.hardware import HardwareProfile, profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, Vendor

NUMA_WORDS = 16  # 64-bit words of node mask: 1024 NUMA nodes, Linux's own limit
CPU_WORDS = 128  # 8192 CPUs, likewise

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


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What is the same for every card of the node."""

    driver: str
    library: str
    runtime: str

    @classmethod
    def read(cls) -> Self:
        """Ask NVML."""
        cuda = told(0, pynvml.nvmlSystemGetCudaDriverVersion)
        return cls(
            driver=str(told("", pynvml.nvmlSystemGetDriverVersion)),
            library=told("", pynvml.nvmlSystemGetNVMLVersion),
            runtime=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        )


def describe_card(
    device_id: DeviceId,
    handle: Handle,
    *,
    index: int,
    versions: Versions,
    wires: Mapping[DeviceId, Wire],
) -> DeviceFingerprint:
    """Return a card's fingerprint.

    Raises:
        pynvml.NVMLError: the card is lost, or the session is over.
    """
    name = str(told("", pynvml.nvmlDeviceGetName, handle))
    profile = profile_of(Vendor.NVIDIA, name)
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.NVIDIA,
        model=profile.model,
        index=index,
        pci_address=_pci_address(handle),
        numa_node=_numa_node(handle),
        vram_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=versions.driver,
        links=tuple(
            Link(
                peer=peer,
                type=wire.type,
                lanes=wire.lanes,
                bandwidth_gbytes_s=wire.lanes * profile.lane_gbytes_s,
            )
            for peer, wire in sorted(wires.items())
        ),
        serial=told("", pynvml.nvmlDeviceGetSerial, handle),
        int8_gops=profile.int8_gops,
        matrix_cores=_matrix_cores(handle, profile),
        pcie_generation_max=told(0, pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_width_max=told(0, pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        cpu_affinity=cpu_list(
            _mask_of(told((), pynvml.nvmlDeviceGetCpuAffinity, handle, CPU_WORDS))
        ),
        library_version=versions.library,
        runtime_version=versions.runtime,
        firmware_version=told("", pynvml.nvmlDeviceGetVbiosVersion, handle),
    )


def _pci_address(handle: Handle) -> str:
    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"


def _numa_node(handle: Handle) -> int:
    """Return the node of the card's memory, -1 when the platform does not say."""
    scope = pynvml.NVML_AFFINITY_SCOPE_NODE
    nodes = told((), pynvml.nvmlDeviceGetMemoryAffinity, handle, NUMA_WORDS, scope)
    mask = _mask_of(nodes)
    return (mask & -mask).bit_length() - 1


def _mask_of(words: Iterable[int]) -> int:
    return sum(int(word) << (64 * place) for place, word in enumerate(words))


def _matrix_cores(handle: Handle, profile: HardwareProfile) -> int:
    """Return how many tensor cores there are, 0 when that cannot be told.

    Turing's GTX cards and their professional sisters have its compute capability and no tensor
    cores: of Turing only the models of our table count.
    """
    capability = told((0, 0), pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    if capability not in MATRIX_CORES or (capability == TURING and not profile.fp16_gflops):
        return 0
    fp32_cores, matrix_cores = MATRIX_CORES[capability]
    return told(0, pynvml.nvmlDeviceGetNumGpuCores, handle) // fp32_cores * matrix_cores
