"""The part of MTML's ABI that the detector uses: structures, constants, and safe calls.

Everything that MTML speaks of is an opaque object. The detector holds one for the library, one for
the system, and for each card one for itself, one for its memory, and one for its processor.
"""

import contextlib
import ctypes

from hcs_agents.detectors.calls import Calls
from hcs_agents.detectors.port import LibraryBrokenError, load_library

LIBRARIES = ("libmtml.so.2", "libmtml.so", "/usr/local/musa/lib/libmtml.so")
"""Where the vendor's own binding looks, in this order."""

OK = 0
DRIVER_NOT_LOADED = 1
NOT_SUPPORTED = 4
NO_PERMISSION = 5
NOT_FOUND = 7
UNINITIALIZED = 666
GPU_IS_LOST = 669
GONE = (NOT_FOUND, GPU_IS_LOST)
LINK_DOWN = 0
PCIE_LEVELS = range(6)  # meeting on one board, at one switch, and so on up to two CPUs
VOLATILE = 0  # the counters that begin at zero with each reset
LOCATION_DRAM = 1
CORRECTED, UNCORRECTED = 0, 1
ECC_CODES = {CORRECTED: "ECC_CORRECTED", UNCORRECTED: "ECC_UNCORRECTED"}
"""`MTML_MEMORY_ERROR_TYPE_*` and what we call them."""

NAME_BYTES = 32
UUID_BYTES = 48
VERSION_BYTES = 80
LIBRARY_VERSION_BYTES = 32
SERIAL_BYTES = 64
FIRMWARE_BYTES = 64
LINKS_MAX = 64  # a card has a handful; a driver that says more is not believed
WORD_BITS = 64
NUMA_WORDS = 16  # 1024 NUMA nodes, Linux's own limit
CPU_WORDS = 128  # 8192 CPUs, Linux's own limit on this architecture


class PciInfo(ctypes.Structure):
    """`mtmlPciInfo`."""

    _fields_ = (
        ("sbdf", ctypes.c_char * 32),
        ("segment", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device_id", ctypes.c_uint),
        ("pci_subsystem_id", ctypes.c_uint),
        ("bus_width", ctypes.c_uint),
        ("max_speed", ctypes.c_float),
        ("current_speed", ctypes.c_float),
        ("max_width", ctypes.c_uint),
        ("current_width", ctypes.c_uint),
        ("max_generation", ctypes.c_uint),
        ("current_generation", ctypes.c_uint),
        ("reserved", ctypes.c_int * 6),
    )


class LinkSpec(ctypes.Structure):
    """`mtmlMtLinkSpec`."""

    _fields_ = (
        ("version", ctypes.c_uint),
        ("bandwidth", ctypes.c_uint),
        ("link_count", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 4),
    )


SIZES = {PciInfo: 104, LinkSpec: 28}
"""Bytes of each structure in the vendor's binding."""

for _structure, _bytes in SIZES.items():
    if ctypes.sizeof(_structure) != _bytes:
        raise AssertionError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes")


class Mtml:
    """The loaded library."""

    def __init__(self) -> None:
        """Load and initialise it.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """
        library = load_library(LIBRARIES)
        self.call = Calls(
            library, not_supported=NOT_SUPPORTED, broken=(DRIVER_NOT_LOADED, UNINITIALIZED)
        )
        self.handle = ctypes.c_void_p()
        result = self.call("mtmlLibraryInit", ctypes.byref(self.handle))
        if result != OK:
            raise LibraryBrokenError(f"mtmlLibraryInit: {result}")

    def close(self) -> None:
        """Shut it down, whatever state it is in."""
        with contextlib.suppress(LibraryBrokenError):
            self.call("mtmlLibraryShutDown", self.handle)

    def number(self, name: str, *arguments: object) -> int | None:
        """Return the number that a function stores; `None` when it does not."""
        out = ctypes.c_ulonglong()  # wide enough for all of them, and zero above the shorter ones
        return out.value if self.call(name, *arguments, ctypes.byref(out)) == OK else None

    def text(self, name: str, handle: ctypes.c_void_p, size: int) -> str:
        """Return the text that a function stores; empty when it does not."""
        buffer = ctypes.create_string_buffer(size)
        if self.call(name, handle, buffer, ctypes.c_uint(size)) != OK:
            return ""
        return buffer.value.decode("ascii", "replace").strip()

    def mask(self, name: str, device: ctypes.c_void_p, words: int) -> int:
        """Return the set of numbers that a function stores, as bits; 0 when it does not."""
        buffer = (ctypes.c_ulong * words)()
        if self.call(name, device, ctypes.c_uint(words), buffer) != OK:
            return 0
        return sum(int(word) << (WORD_BITS * place) for place, word in enumerate(buffer))

    def pci(self, device: ctypes.c_void_p) -> PciInfo | None:
        """Return a card's place and link on PCI; `None` when it does not answer."""
        info = PciInfo()
        return info if self.call("mtmlDeviceGetPciInfo", device, ctypes.byref(info)) == OK else None

    def open(self, name: str, *arguments: object) -> ctypes.c_void_p | None:
        """Return the object that a function makes; `None` when it does not."""
        handle = ctypes.c_void_p()
        return handle if self.call(name, *arguments, ctypes.byref(handle)) == OK else None
