"""The part of MTML's ABI that the detector uses: structures, constants, and safe calls.

Everything that MTML speaks of is an opaque object. The detector holds one for the library, one for
the system, and for each card one for itself and one for its memory.
"""

import ctypes

from hcs_agents.detectors.port import LibraryBrokenError, load_library

LIBRARIES = ("libmtml.so.2", "libmtml.so", "/usr/local/musa/lib/libmtml.so")
"""Where the vendor's own binding looks, in this order."""

OK = 0
NOT_SUPPORTED = 4
LINK_DOWN = 0
VOLATILE = 0  # the counters that begin at zero with each reset
LOCATION_DRAM = 1
ECC_CODES = {0: "ECC_CORRECTED", 1: "ECC_UNCORRECTED"}
"""`MTML_MEMORY_ERROR_TYPE_*` and what we call them."""

NAME_BYTES = 32
UUID_BYTES = 48
VERSION_BYTES = 80
LINKS_MAX = 64  # a card has a handful; a driver that says more is not believed
NUMA_WORDS = 16  # of 64 bits: 1024 NUMA nodes, Linux's own limit


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
        self._library = load_library(LIBRARIES)
        self.handle = ctypes.c_void_p()
        result = self.call("mtmlLibraryInit", ctypes.byref(self.handle))
        if result != OK:
            raise LibraryBrokenError(f"mtmlLibraryInit: {result}")

    def call(self, name: str, *arguments: object) -> int:
        """Call a function by name; one that the installed driver lacks answers NOT_SUPPORTED."""
        function = getattr(self._library, name, None)
        return NOT_SUPPORTED if function is None else int(function(*arguments))

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

    def open(self, name: str, *arguments: object) -> ctypes.c_void_p | None:
        """Return the object that a function makes; `None` when it does not."""
        handle = ctypes.c_void_p()
        return handle if self.call(name, *arguments, ctypes.byref(handle)) == OK else None
