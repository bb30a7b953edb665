"""The part of rocm_smi's ABI that the detector uses: structures, constants, and safe calls.

Hygon ships two layouts under one soname. Where they differ, the buffer handed over has the size of
the larger one, and what was filled in tells which layout it is.
"""

import contextlib
import ctypes

from hcs_agents.detectors.calls import Calls
from hcs_agents.detectors.port import LibraryBrokenError, load_library

# Not the bare `librocm_smi64.so`: that one may be AMD's.
LIBRARIES = (
    "librocm_smi64.so.2",
    "/opt/hyhal/lib/librocm_smi64.so",
    "/opt/dtk/.hyhal/lib/librocm_smi64.so",
    "/opt/dtk/.hyhal/rocm_smi/lib/librocm_smi64.so",
)

OK = 0
NOT_SUPPORTED = 2
INSUFFICIENT_SIZE = 11
INIT_ERROR = 8  # not initialised, or no driver under it
NOT_FOUND = 10
UNKNOWN_ERROR = -1  # all ones: rocm_smi has no name of its own for the kernel's ENODEV
GONE = (NOT_FOUND, UNKNOWN_ERROR)
MEMORY_VRAM = 0
COMPONENT_DRIVER = 0
LINK_PCIE = 1
LINK_XGMI = 2
TEMPERATURE_EDGE, TEMPERATURE_MEMORY = 0, 2
TEMPERATURE_CURRENT = 0
CLOCK_SYSTEM, CLOCK_MEMORY = 0, 4
POWER_SENSOR = 0  # the whole card's
TEXT_BYTES = 254
PROCESSES_MAX = 1024  # of the node; the rest is not looked at

BLOCKS = (
    "UMC",
    "SDMA",
    "GFX",
    "MMHUB",
    "ATHUB",
    "PCIE_BIF",
    "HDP",
    "XGMI_WAFL",
    "DF",
    "SMN",
    "SEM",
    "MP0",
    "MP1",
    "FUSE",
    "MCA",
    "VCN",
    "JPEG",
    "IH",
    "MPIO",
)
"""The names of `rsmi_gpu_block_t`, in the order of its bits."""


class Version(ctypes.Structure):
    """`rsmi_version_t`."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("patch", ctypes.c_uint32),
        ("build", ctypes.c_char_p),
    )


class ErrorCount(ctypes.Structure):
    """`rsmi_error_count_t` of the newer layout; the older one ends behind the second field."""

    _fields_ = (
        ("correctable_err", ctypes.c_uint64),
        ("uncorrectable_err", ctypes.c_uint64),
        ("deferred_err", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 5),
    )


class Frequencies(ctypes.Structure):
    """`rsmi_frequencies_t` of the older layout: Hz, or transfers per second."""

    _fields_ = (
        ("num_supported", ctypes.c_uint32),
        ("current", ctypes.c_uint32),
        ("frequency", ctypes.c_uint64 * 32),
    )


class WideFrequencies(ctypes.Structure):
    """`rsmi_frequencies_t` of the newer layout."""

    _fields_ = (
        ("has_deep_sleep", ctypes.c_bool),
        ("num_supported", ctypes.c_uint32),
        ("current", ctypes.c_uint32),
        ("frequency", ctypes.c_uint64 * 33),
    )


class PcieBandwidth(ctypes.Structure):
    """`rsmi_pcie_bandwidth_t` of the older layout."""

    _fields_ = (("transfer_rate", Frequencies), ("lanes", ctypes.c_uint32 * 32))


class WidePcieBandwidth(ctypes.Structure):
    """`rsmi_pcie_bandwidth_t` of the newer layout."""

    _fields_ = (("transfer_rate", WideFrequencies), ("lanes", ctypes.c_uint32 * 33))


class ProcessInfo(ctypes.Structure):
    """`rsmi_process_info_t`."""

    _fields_ = (
        ("process_id", ctypes.c_uint32),
        ("pasid", ctypes.c_uint32),
        ("vram_usage", ctypes.c_uint64),  # bytes
        ("sdma_usage", ctypes.c_uint64),
        ("cu_occupancy", ctypes.c_uint32),
    )


class GpuMetrics(ctypes.Structure):
    """`rsmi_gpu_metrics_t` up to revision 1.3. The older layout ends at 96 bytes: at revision 1.1.

    All ones in a field: the card does not tell it.
    """

    _fields_ = (
        ("structure_size", ctypes.c_uint16),
        ("format_revision", ctypes.c_uint8),
        ("content_revision", ctypes.c_uint8),
        ("temperature_edge", ctypes.c_uint16),  # degrees Celsius
        ("temperature_hotspot", ctypes.c_uint16),
        ("temperature_mem", ctypes.c_uint16),
        ("temperature_vr", ctypes.c_uint16 * 3),
        ("average_gfx_activity", ctypes.c_uint16),  # percent
        ("average_umc_activity", ctypes.c_uint16),
        ("average_mm_activity", ctypes.c_uint16),
        ("average_socket_power", ctypes.c_uint16),  # watts
        ("energy_accumulator", ctypes.c_uint64),
        ("system_clock_counter", ctypes.c_uint64),
        ("average_clock", ctypes.c_uint16 * 7),
        ("current_gfxclk", ctypes.c_uint16),  # MHz
        ("current_socclk", ctypes.c_uint16),
        ("current_uclk", ctypes.c_uint16),
        ("current_media_clock", ctypes.c_uint16 * 4),
        ("throttle_status", ctypes.c_uint32),  # bits of this very chip
        ("current_fan_speed", ctypes.c_uint16),
        ("pcie_link_width", ctypes.c_uint16),
        ("pcie_link_speed", ctypes.c_uint16),  # 0.1 GT/s
        ("gfx_activity_acc", ctypes.c_uint32),
        ("mem_activity_acc", ctypes.c_uint32),
        ("temperature_hbm", ctypes.c_uint16 * 4),
        ("firmware_timestamp", ctypes.c_uint64),
        ("voltage", ctypes.c_uint16 * 3),
        ("indep_throttle_status", ctypes.c_uint64),  # bits that mean the same on every chip
    )


SIZES = {
    Version: 24,
    ErrorCount: 64,
    Frequencies: 264,
    WideFrequencies: 280,
    PcieBandwidth: 392,
    WidePcieBandwidth: 416,
    ProcessInfo: 32,
    GpuMetrics: 120,
}
"""Bytes of each structure in the vendor's header; of the metrics, up to where they are read."""

for _structure, _bytes in SIZES.items():
    if ctypes.sizeof(_structure) != _bytes:
        raise AssertionError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes")

BUFFER_BYTES = 2048  # more than the largest structure of either layout: the metrics have 1832


class Rsmi:
    """The loaded library."""

    def __init__(self) -> None:
        """Load and initialise it.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """
        library = load_library(LIBRARIES)
        self.call = Calls(library, not_supported=NOT_SUPPORTED, broken=(INIT_ERROR,))
        result = self.call("rsmi_init", ctypes.c_uint64(0))
        if result != OK:
            raise LibraryBrokenError(f"rsmi_init: {result}")

    def close(self) -> None:
        """Shut it down, whatever state it is in."""
        with contextlib.suppress(LibraryBrokenError):
            self.call("rsmi_shut_down")

    def number(
        self,
        name: str,
        index: int,
        out: ctypes.c_uint16 | ctypes.c_uint32 | ctypes.c_uint64 | ctypes.c_int32 | ctypes.c_int64,
        *arguments: object,
    ) -> int | None:
        """Return the number that a function stores about a card; `None` when it does not."""
        result = self.call(name, ctypes.c_uint32(index), *arguments, ctypes.byref(out))
        return out.value if result == OK else None

    def text(
        self,
        name: str,
        first: object,
        length_type: type[ctypes.c_size_t] | type[ctypes.c_uint32] = ctypes.c_uint32,
    ) -> str:
        """Return the text that a function stores; empty when it does not."""
        buffer = ctypes.create_string_buffer(TEXT_BYTES)
        if self.call(name, first, buffer, length_type(TEXT_BYTES)) != OK:
            return ""
        return buffer.value.decode("ascii", "replace").strip()

    def vram_bytes(self, index: int) -> int | None:
        """Return a card's memory; `None` when it does not answer."""
        return self.number(
            "rsmi_dev_memory_total_get", index, ctypes.c_uint64(), ctypes.c_int(MEMORY_VRAM)
        )

    def errors(self, index: int, place: int) -> ErrorCount | None:
        """Return the RAS counters of one of `BLOCKS`; `None` when it has none."""
        errors = ErrorCount()
        arguments = (ctypes.c_uint32(index), ctypes.c_uint64(1 << place), ctypes.byref(errors))
        return errors if self.call("rsmi_dev_ecc_count_get", *arguments) == OK else None

    def pids(self) -> list[int]:
        """Return the processes that have the driver open; this list says nothing of memory."""
        infos = (ProcessInfo * PROCESSES_MAX)()
        count = ctypes.c_uint32(PROCESSES_MAX)
        result = self.call("rsmi_compute_process_info_get", infos, ctypes.byref(count))
        told = result in (OK, INSUFFICIENT_SIZE)
        return [info.process_id for info in infos[: count.value]] if told else []

    def process_vram_bytes(self, pid: int, index: int) -> int:
        """Return what a process has of a card; 0 also when it has ended."""
        info = ProcessInfo()
        arguments = (ctypes.c_uint32(pid), ctypes.c_uint32(index), ctypes.byref(info))
        known = self.call("rsmi_compute_process_info_by_device_get", *arguments) == OK
        return int(info.vram_usage) if known else 0

    def metrics(self, index: int) -> GpuMetrics | None:
        """Return the table that a card's firmware keeps; `None` when it keeps none."""
        buffer = self._filled("rsmi_dev_gpu_metrics_info_get", ctypes.c_uint32(index))
        return None if buffer is None else GpuMetrics.from_buffer_copy(buffer)

    def frequencies(self, index: int, clock: int) -> Frequencies | WideFrequencies | None:
        """Return the levels of a clock; `None` when the library does not say."""
        kind = ctypes.c_int(clock)
        buffer = self._filled("rsmi_dev_gpu_clk_freq_get", ctypes.c_uint32(index), kind)
        if buffer is None:
            return None
        wide = _is_wide(buffer)
        return (WideFrequencies if wide else Frequencies).from_buffer_copy(buffer)

    def pcie_bandwidth(self, index: int) -> PcieBandwidth | WidePcieBandwidth | None:
        """Return the levels of the card's PCIe link; `None` when the library does not say."""
        buffer = self._filled("rsmi_dev_pci_bandwidth_get", ctypes.c_uint32(index))
        if buffer is None:
            return None
        wide = _is_wide(buffer)
        return (WidePcieBandwidth if wide else PcieBandwidth).from_buffer_copy(buffer)

    def _filled(self, name: str, *arguments: object) -> "ctypes.Array[ctypes.c_char] | None":
        buffer = ctypes.create_string_buffer(BUFFER_BYTES)
        return buffer if self.call(name, *arguments, buffer) == OK else None


def _is_wide(buffer: "ctypes.Array[ctypes.c_char]") -> bool:
    """Tell the layouts of `rsmi_frequencies_t` apart.

    The older one begins with a count, which is not 0, and an index below it; the newer one with a
    flag, and the count behind it.
    """
    first, second = (ctypes.c_uint32 * 2).from_buffer(buffer)
    return first == 0 or (first == 1 and second > 0)
