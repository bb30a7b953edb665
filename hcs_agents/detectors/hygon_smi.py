"""Hygon cards as rocm_smi tells about them.

Hygon ships two layouts under one soname. Where they differ, the buffer handed over has the size of
the larger one, and only fields that lie at the same place in both are read.
"""

import ctypes
from collections.abc import Mapping

import structlog

from hcs_agents.detectors.hygon_models import PCI_VENDOR
from hcs_agents.detectors.hygon_source import Dcu, identity, pci_address
from hcs_agents.detectors.port import LibraryBrokenError, load_library
from hcs_bus.names import DeviceId

LOG = structlog.get_logger()

# Not the bare `librocm_smi64.so`: that one may be AMD's.
LIBRARIES = (
    "librocm_smi64.so.2",
    "/opt/hyhal/lib/librocm_smi64.so",
    "/opt/dtk/.hyhal/lib/librocm_smi64.so",
    "/opt/dtk/.hyhal/rocm_smi/lib/librocm_smi64.so",
)

OK = 0
NOT_SUPPORTED = 2
MEMORY_VRAM = 0
COMPONENT_DRIVER = 0
LINK_XGMI = 2
TEXT_BYTES = 256
DOMAIN_SHIFT = 32

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

CODE_SUFFIX = "_UE"  # uncorrectable errors: the driver's own word for them


class ErrorCount(ctypes.Structure):
    """`rsmi_error_count_t` of the newer layout; the older one ends behind the second field."""

    _fields_ = (
        ("correctable_err", ctypes.c_uint64),
        ("uncorrectable_err", ctypes.c_uint64),
        ("deferred_err", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 5),
    )


if ctypes.sizeof(ErrorCount) != 64:  # noqa: PLR2004  # bytes in the vendor's header
    raise AssertionError(f"rsmi_error_count_t has {ctypes.sizeof(ErrorCount)} bytes")


class RocmSmi:
    """The source that asks the library."""

    def __init__(self) -> None:
        """Load and initialise it.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """
        self._library = load_library(LIBRARIES)
        result = self._call("rsmi_init", ctypes.c_uint64(0))
        if result != OK:
            raise LibraryBrokenError(f"rsmi_init: {result}")

    def close(self) -> None:
        """Shut it down; see `DcuSource`."""
        self._call("rsmi_shut_down")

    def cards(self) -> dict[DeviceId, int]:
        """Enumerate; see `DcuSource`."""
        count = ctypes.c_uint32()
        result = self._call("rsmi_num_monitor_devices", ctypes.byref(count))
        if result != OK:
            raise LibraryBrokenError(f"rsmi_num_monitor_devices: {result}")
        found = {}
        for index in range(count.value):
            if self._number("rsmi_dev_vendor_id_get", index, ctypes.c_uint16()) != PCI_VENDOR:
                continue  # lost, or another vendor's card
            unique_id = self._number("rsmi_dev_unique_id_get", index, ctypes.c_uint64())
            device_id = identity(unique_id or 0)
            if device_id is None:
                LOG.debug("card_without_unique_id", index=index)
                continue
            found[device_id] = index
        return found

    def describe(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> Dcu | None:
        """Describe; see `DcuSource`."""
        index = cards[device_id]
        numa = self._number("rsmi_topo_numa_affinity_get", index, ctypes.c_int32())
        dcu = Dcu(
            device_id=device_id,
            index=index,
            pci_device=self._number("rsmi_dev_id_get", index, ctypes.c_uint16()),
            name=self._text("rsmi_dev_name_get", ctypes.c_uint32(index), ctypes.c_size_t),
            pci_address=self._pci_address(index),
            numa_node=-1 if numa is None else numa,
            vram_bytes=self._vram_bytes(index) or 0,
            driver_version=self._text("rsmi_version_str_get", COMPONENT_DRIVER, ctypes.c_uint32),
            peers=tuple(
                peer for peer, other in cards.items() if other != index and self._xgmi(index, other)
            ),
        )
        # Asked last: a card that went away while it was described is not reported half.
        return dcu if self._answers(index) else None

    def uncorrectable(self, cards: Mapping[DeviceId, int]) -> dict[DeviceId, dict[str, int] | None]:
        """Read the RAS counters of the blocks that have them; see `DcuSource`."""
        return {device_id: self._counters(index) for device_id, index in cards.items()}

    def _counters(self, index: int) -> dict[str, int] | None:
        if not self._answers(index):
            return None
        blocks = self._number("rsmi_dev_ecc_enabled_get", index, ctypes.c_uint64())
        counts = {}
        for place, name in enumerate(BLOCKS):
            if blocks is not None and not blocks >> place & 1:
                continue
            errors = ErrorCount()
            block = ctypes.c_uint64(1 << place)
            result = self._call(
                "rsmi_dev_ecc_count_get", ctypes.c_uint32(index), block, ctypes.byref(errors)
            )
            if result == OK:
                counts[name + CODE_SUFFIX] = int(errors.uncorrectable_err)
        return counts

    # --- Calls ------------------------------------------------------------------------------------

    def _call(self, name: str, *arguments: object) -> int:
        """Call a function; one that the installed driver lacks answers NOT_SUPPORTED."""
        function = getattr(self._library, name, None)
        return NOT_SUPPORTED if function is None else int(function(*arguments))

    def _number(
        self,
        name: str,
        index: int,
        out: ctypes.c_uint16 | ctypes.c_uint64 | ctypes.c_int32,
    ) -> int | None:
        result = self._call(name, ctypes.c_uint32(index), ctypes.byref(out))
        return out.value if result == OK else None

    def _text(
        self,
        name: str,
        first: object,
        length_type: type[ctypes.c_size_t] | type[ctypes.c_uint32],
    ) -> str:
        buffer = ctypes.create_string_buffer(TEXT_BYTES)
        if self._call(name, first, buffer, length_type(TEXT_BYTES)) != OK:
            return ""
        return buffer.value.decode("ascii", "replace").strip()

    def _answers(self, index: int) -> bool:
        return self._vram_bytes(index) is not None

    def _vram_bytes(self, index: int) -> int | None:
        total = ctypes.c_uint64()
        arguments = (ctypes.c_uint32(index), MEMORY_VRAM, ctypes.byref(total))
        return total.value if self._call("rsmi_dev_memory_total_get", *arguments) == OK else None

    def _pci_address(self, index: int) -> str:
        bdf = self._number("rsmi_dev_pci_id_get", index, ctypes.c_uint64())
        return "" if bdf is None else pci_address(bdf >> DOMAIN_SHIFT, bdf & 0xFFFF)

    def _xgmi(self, index: int, other: int) -> bool:
        hops, kind = ctypes.c_uint64(), ctypes.c_int()
        result = self._call(
            "rsmi_topo_get_link_type",
            ctypes.c_uint32(index),
            ctypes.c_uint32(other),
            ctypes.byref(hops),
            ctypes.byref(kind),
        )
        return result == OK and kind.value == LINK_XGMI and hops.value == 1
