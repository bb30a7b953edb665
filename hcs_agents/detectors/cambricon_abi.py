"""The part of CNDev's ABI that the detector uses: structures, constants, and safe calls.

Most structures begin with the version of the API, which the caller sets. Version 6 is current; a
driver of version 5 refuses it, lacks some of the functions, and fills less of some structures.
"""

import ctypes

from hcs_agents.detectors.port import LibraryBrokenError, load_library

LIBRARIES = (
    "libcndev.so",
    "/usr/local/neuware/lib64/libcndev.so",
    "/usr/lib64/libcndev.so",
)
"""Where the vendor's own tools look, in this order."""

OK = 0
UNSUPPORTED_API_VERSION = 3
NOT_SUPPORTED = 10
TIMEOUT = 17
VERSIONS = (6, 5)  # newest first

HEALTH_GOOD = 1
DEVICE_GOOD = 1
DRIVER_RUNNING = 4
RESULT_PASS = 0
RESULT_FAIL = 20
MAC_UP = 1
EVENT_XID = 1
UUID_BYTES = 37
INCIDENTS_MAX = 64
PORTS_MAX = 64  # a card has fewer than ten; a driver that says more is not believed


class CardInfo(ctypes.Structure):
    """`cndevCardInfo_t`."""

    _fields_ = (("version", ctypes.c_int32), ("number", ctypes.c_uint32))


class Uuid(ctypes.Structure):
    """`cndevUUID_t`; version 5 has no last field."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("uuid", ctypes.c_char * UUID_BYTES),
        ("ncs_uuid64", ctypes.c_uint64),
    )


class MemoryV2(ctypes.Structure):
    """`cndevMemoryInfoV2_t`; sizes in MB, and the driver means 1024 * 1024 by that."""

    _fields_ = (
        ("physical_total", ctypes.c_int64),
        ("physical_used", ctypes.c_int64),
        ("reserved_memory", ctypes.c_int64),
        ("virtual_total", ctypes.c_int64),
        ("virtual_used", ctypes.c_int64),
        ("global_memory", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 16),
    )


class Memory(ctypes.Structure):
    """`cndevMemoryInfo_t` of version 5."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("physical_total", ctypes.c_int64),
        ("physical_used", ctypes.c_int64),
        ("virtual_total", ctypes.c_int64),
        ("virtual_used", ctypes.c_int64),
        ("channel_number", ctypes.c_int64),
        ("channel_used", ctypes.c_int64 * 20),
    )


class VersionInfo(ctypes.Structure):
    """`cndevVersionInfo_t`."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("mcu", ctypes.c_uint32 * 3),
        ("driver", ctypes.c_uint32 * 3),
    )


class PcieV2(ctypes.Structure):
    """`cndevPCIeInfoV2_t`."""

    _fields_ = (
        ("subsystem_id", ctypes.c_uint32),
        ("device_id", ctypes.c_uint32),
        ("vendor", ctypes.c_uint16),
        ("subsystem_vendor", ctypes.c_uint16),
        ("domain", ctypes.c_uint32),
        ("bus", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("function", ctypes.c_uint32),
        ("module_id", ctypes.c_uint16),
        ("slot_id", ctypes.c_uint16),
        ("reserved", ctypes.c_uint32 * 8),
    )


class Pcie(ctypes.Structure):
    """`cndevPCIeInfo_t` of version 5."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("subsystem_id", ctypes.c_uint32),
        ("device_id", ctypes.c_uint32),
        ("vendor", ctypes.c_uint16),
        ("subsystem_vendor", ctypes.c_uint16),
        ("domain", ctypes.c_uint32),
        ("bus", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("function", ctypes.c_uint32),
        ("physical_slot", ctypes.c_char_p),
    )


class NumaNode(ctypes.Structure):
    """`cndevNUMANodeId_t`."""

    _fields_ = (("version", ctypes.c_int32), ("node_id", ctypes.c_int32))


class Health(ctypes.Structure):
    """`cndevCardHealthState_t`; version 5 has only the first two fields."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("health", ctypes.c_int32),
        ("device_state", ctypes.c_uint32),
        ("driver_state", ctypes.c_uint32),
    )


class Incident(ctypes.Structure):
    """`cndevIncidentInfo_t`, its nested structure spread out."""

    _fields_ = (
        ("system", ctypes.c_uint32),
        ("health", ctypes.c_uint32),
        ("message", ctypes.c_char * 512),
        ("device_id", ctypes.c_uint32),
        ("bdf", ctypes.c_uint32),
        ("code", ctypes.c_uint32),
        ("category", ctypes.c_uint32),
        ("severity", ctypes.c_uint32),
    )


class HealthV2(ctypes.Structure):
    """`cndevCardHealthStateV2_t`."""

    _fields_ = (
        ("health", ctypes.c_int32),
        ("device_state", ctypes.c_uint32),
        ("driver_state", ctypes.c_uint32),
        ("overall_health", ctypes.c_uint32),
        ("incident_count", ctypes.c_uint32),
        ("incidents", Incident * INCIDENTS_MAX),
        ("reserved", ctypes.c_uint32 * 8),
    )


class LinkStatusV2(ctypes.Structure):
    """`cndevMLULinkStatusV2_t`."""

    _fields_ = (
        ("mac_state", ctypes.c_uint32),
        ("serdes_state", ctypes.c_uint32),
        ("presence_state", ctypes.c_uint32),
        ("serdes_progress", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 7),
    )


class LinkStatus(ctypes.Structure):
    """`cndevMLULinkStatus_t` of version 5."""

    _fields_ = (("version", ctypes.c_int32), ("is_active", ctypes.c_uint32))


class LinkRemote(ctypes.Structure):
    """`cndevMLULinkRemoteInfo_t`; version 5 ends with the connection's type."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("mc_sn", ctypes.c_uint64),
        ("ba_sn", ctypes.c_uint64),
        ("slot_id", ctypes.c_uint32),
        ("port_id", ctypes.c_uint32),
        ("dev_ip", ctypes.c_uint8 * 16),
        ("uuid", ctypes.c_char * UUID_BYTES),
        ("dev_ip_version", ctypes.c_uint32),
        ("is_ip_valid", ctypes.c_uint32),
        ("connect_type", ctypes.c_int32),
        ("ncs_uuid64", ctypes.c_uint64),
        ("mac_address", ctypes.c_uint8 * 6),
        ("port_name", ctypes.c_char * 256),
    )


class EventData(ctypes.Structure):
    """`cndevEventData_t`."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("device", ctypes.c_int32),
        ("event_data", ctypes.c_uint64),
        ("event_type", ctypes.c_uint64),
        ("timestamp", ctypes.c_uint64),
        ("compute_instance_id", ctypes.c_uint32),
        ("mlu_instance_id", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64 * 8),
    )


SIZES = {
    CardInfo: 8,
    Uuid: 56,
    MemoryV2: 176,
    Memory: 208,
    VersionInfo: 28,
    PcieV2: 64,
    Pcie: 40,
    NumaNode: 8,
    Health: 16,
    Incident: 540,
    HealthV2: 34612,
    LinkStatusV2: 44,
    LinkStatus: 8,
    LinkRemote: 376,
    EventData: 104,
}
"""Bytes of each structure in the vendor's header."""

for _structure, _bytes in SIZES.items():
    if ctypes.sizeof(_structure) != _bytes:
        raise AssertionError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes")

HEALTH_ERRORS = (
    "OK",
    "UNKNOWN",
    "INTERNAL",
    "XID_ERROR",
    "PCIE_REPLAY_RATE",
    "PCIE_GENERATION",
    "PCIE_WIDTH",
    "LOW_BANDWIDTH",
    "HIGH_LATENCY",
    "MLULINK_DOWN",
    "MLULINK_REPLAY",
    "MLULINK_ERROR_THRESHOLD",
    "MLULINK_CRC_ERROR_THRESHOLD",
    "DIE2DIE_CRC_ERROR_THRESHOLD",
    "SBE_VIOLATION",
    "DBE_VIOLATION",
    "SBE_THRESHOLD_VIOLATION",
    "DBE_THRESHOLD_VIOLATION",
    "ROW_REMAP_FAILURE",
    "PENDING_ROW_REMAP",
    "ADDRESSSWAP_FAILURE",
    "PENDING_ADDRESSSWAP",
    "REPAIR_FAILURE",
    "PENDING_PAGE_REPAIR",
    "PENDING_PAGE_RETIREMENTS",
    "PAGE_REPAIR_RESOURCE_THRESHOLD",
    "TEMP_VIOLATION",
    "THERMAL_VIOLATION",
    "DEVICE_COUNT_MISMATCH",
    "DRIVER_ERROR",
    "DEVSYS_ERROR",
)
"""`cndevHealthError_t` from 0 on, without the prefix."""


def health_code(number: int) -> str:
    """Return the fault code of a health error; a newer driver may have more of them."""
    known = number < len(HEALTH_ERRORS)
    return f"CNDEV_FR_{HEALTH_ERRORS[number] if known else number}"


class Cndev:
    """The loaded library, at the newest version of its API that we and it know."""

    def __init__(self) -> None:
        """Load and initialise it.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """
        self._library = load_library(LIBRARIES)
        result = self.call("cndevInit", 0)
        if result != OK:
            raise LibraryBrokenError(f"cndevInit: {result}")
        self.version = next((v for v in VERSIONS if self._speaks(v)), VERSIONS[-1])

    def _speaks(self, version: int) -> bool:
        info = CardInfo(version=version)
        return self.call("cndevGetDeviceCount", ctypes.byref(info)) != UNSUPPORTED_API_VERSION

    def call(self, name: str, *arguments: object) -> int:
        """Call a function by name; one that the installed driver lacks answers NOT_SUPPORTED."""
        function = getattr(self._library, name, None)
        return NOT_SUPPORTED if function is None else int(function(*arguments))

    def fill(self, name: str, structure: ctypes.Structure, *arguments: object) -> bool:
        """Let a function fill a structure, its first argument; false when it did not."""
        if hasattr(structure, "version"):
            structure.version = self.version
        return self.call(name, ctypes.byref(structure), *arguments) == OK

    def card_name(self, handle: int) -> str:
        """Return the name of a card's model."""
        function = getattr(self._library, "cndevGetCardNameStringByDevId", None)
        if function is None:
            return ""
        function.restype = ctypes.c_char_p
        return text_of(function(handle) or b"")


def text_of(value: bytes) -> str:
    """Return a C text field."""
    return value.decode("ascii", "replace").strip()
