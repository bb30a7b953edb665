"""The part of CNDev's ABI that the detector uses: structures, constants, and safe calls.

Most structures begin with the version of the API, which the caller sets. Version 6 is current; a
driver of version 5 refuses it, lacks some of the functions, and fills less of some structures.
"""

import contextlib
import ctypes

from hcs_agents.detectors.calls import Calls
from hcs_agents.detectors.port import LibraryBrokenError, load_library

LIBRARIES = (
    "libcndev.so",
    "/usr/local/neuware/lib64/libcndev.so",
    "/usr/lib64/libcndev.so",
)
"""Where the vendor's own tools look, in this order."""

OK = 0
NO_DRIVER = 1
UNSUPPORTED_API_VERSION = 3
UNINITIALIZED = 4
INVALID_DEVICE_ID = 6
INSUFFICIENT_SPACE = 9
NOT_SUPPORTED = 10
NO_DEVICES = 12
NO_PERMISSION = 13
NOT_FOUND = 14
TIMEOUT = 17
IN_PROBLEM = 18  # the card, not the driver
LACKING = (NOT_SUPPORTED, UNSUPPORTED_API_VERSION)
GONE = (INVALID_DEVICE_ID, NO_DEVICES, NOT_FOUND, IN_PROBLEM)
VERSIONS = (6, 5)  # newest first

HEALTH_GOOD = 1
DEVICE_GOOD = 1
DRIVER_RUNNING = 4
RESULT_PASS = 0
RESULT_FAIL = 20
MAC_UP = 1
PCIE_RELATIONS = range(1, 7)  # meeting on one board, at one switch, and so on up to two CPUs
EVENT_XID = 1
UUID_BYTES = 37
INCIDENTS_MAX = 64
AFFINITY_WORDS = 1024  # of 32 CPUs each
PROCESSES_EXPECTED, PROCESSES_MAX = 16, 4096  # of one card; a driver that says more is not believed
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


class ProcessInfo(ctypes.Structure):
    """`cndevProcessInfo_t`; sizes in units of 1024 bytes."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("pid", ctypes.c_uint32),
        ("physical_used", ctypes.c_uint64),
        ("virtual_used", ctypes.c_uint64),
    )


class DdrInfo(ctypes.Structure):
    """`cndevDDRInfo_t`."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("data_width", ctypes.c_uint32),  # bits
        ("bandwidth", ctypes.c_uint32),  # whole GB/s; the rest, in a form of its own, is less
        ("bandwidth_decimal", ctypes.c_uint32),
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


class LibVersion(ctypes.Structure):
    """`cndevLibVersionInfo_t`."""

    _fields_ = (("version", ctypes.c_int32), ("library", ctypes.c_uint32 * 3))


class CardSn(ctypes.Structure):
    """`cndevCardSN_t`; what people read of these numbers is hexadecimal."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("sn", ctypes.c_uint64),
        ("mother_board_sn", ctypes.c_uint64),
    )


class CoreCount(ctypes.Structure):
    """`cndevCardCoreCount_t`."""

    _fields_ = (("version", ctypes.c_int32), ("count", ctypes.c_int32))


class Affinity(ctypes.Structure):
    """`cndevAffinity_t`; of the words in use the first one has the highest CPUs."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("cpu_count", ctypes.c_uint32),
        ("bit_map", ctypes.c_uint32 * AFFINITY_WORDS),
    )


class PciLink(ctypes.Structure):
    """`cndevCurrentPCIInfo_t` and `cndevPCIInfo_t`: generation and lanes."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("speed", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


class PcieReplays(ctypes.Structure):
    """`cndevPcieReplayCounter_t`."""

    _fields_ = (("version", ctypes.c_int32), ("counter", ctypes.c_uint32))


class Utilization(ctypes.Structure):
    """`cndevUtilizationInfo_t`; percent."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("average_core", ctypes.c_int32),
        ("core", ctypes.c_int32 * 80),
    )


class PowerV2(ctypes.Structure):
    """`cndevDevicePowerInfo_t`; watts."""

    _fields_ = (
        ("usage", ctypes.c_int32),
        ("cap", ctypes.c_int32),
        ("machine", ctypes.c_int32),
        ("tdp", ctypes.c_int32),
        ("max_power", ctypes.c_int32),
        ("reserved", ctypes.c_int32 * 16),
    )


class Power(ctypes.Structure):
    """`cndevPowerInfo_t` of version 5."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("usage", ctypes.c_int32),
        ("cap", ctypes.c_int32),
        ("usage_decimal", ctypes.c_int32),
        ("machine", ctypes.c_int32),
        ("cap_decimal", ctypes.c_int32),
    )


class Temperature(ctypes.Structure):
    """`cndevTemperatureInfo_t`; degrees Celsius. Version 5 has no last field."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("board", ctypes.c_int32),
        ("cluster", ctypes.c_int32 * 20),
        ("memory_die", ctypes.c_int32 * 8),
        ("chip", ctypes.c_int32),
        ("air_inlet", ctypes.c_int32),
        ("air_outlet", ctypes.c_int32),
        ("memory", ctypes.c_int32),
        ("video_input", ctypes.c_int32),
        ("cpu", ctypes.c_int32),
        ("isp", ctypes.c_int32),
    )


class Frequency(ctypes.Structure):
    """`cndevFrequencyInfo_t`; MHz. Version 5 ends behind the flags."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("board", ctypes.c_int32),
        ("ddr", ctypes.c_int32),
        ("over_temperature_flag", ctypes.c_uint8),
        ("fast_flag", ctypes.c_uint8),
        ("cluster_count", ctypes.c_uint16),
        ("cluster", ctypes.c_uint16 * 20),
        ("board_default", ctypes.c_int32),
        ("board_range", ctypes.c_int32 * 2),
    )


class ThrottleReasons(ctypes.Structure):
    """`cndevPerformanceThrottleReason_t`; 1: the reason applies."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("tdp", ctypes.c_uint32),
        ("power_setting", ctypes.c_uint32),
        ("clock_setting", ctypes.c_uint32),
        ("frequency_locked", ctypes.c_uint32),
        ("power_brake", ctypes.c_uint32),
        ("thermal_slowdown", ctypes.c_uint32),
    )


class MemoryErrors(ctypes.Structure):
    """`cndevMemEccCounter_t`; volatile: since the driver was loaded."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("volatile_sram_single", ctypes.c_uint32),
        ("volatile_sram_double", ctypes.c_uint32),
        ("volatile_sram_parity", ctypes.c_uint32),
        ("volatile_dram_single", ctypes.c_uint32),
        ("volatile_dram_double", ctypes.c_uint32),
        ("aggregate", ctypes.c_uint64 * 5),
        ("aggregate_threshold_exceeded", ctypes.c_bool),
        ("reserved", ctypes.c_uint64 * 11),
    )


class EccInfo(ctypes.Structure):
    """`cndevECCInfo_t`; version 5 has no last field."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("one_bit", ctypes.c_uint64),
        ("multiple_one", ctypes.c_uint64),
        ("multiple", ctypes.c_uint64),
        ("multiple_multiple", ctypes.c_uint64),
        ("corrected", ctypes.c_uint64),
        ("uncorrected", ctypes.c_uint64),
        ("total", ctypes.c_uint64),
        ("address_forbidden", ctypes.c_uint64),
    )


class LinkErrors(ctypes.Structure):
    """`cndevMLULinkErrorCounter_t`."""

    _fields_ = (
        ("fec_corrected", ctypes.c_uint64),
        ("fec_uncorrected", ctypes.c_uint64),
        ("received_bad", ctypes.c_uint64),
        ("sent_bad", ctypes.c_uint64),
        ("illegal_accesses", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 11),
    )


class LinkCounters(ctypes.Structure):
    """`cndevMLULinkCounter_t`, of ports that have no counters of the kind above."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("traffic", ctypes.c_uint64 * 4),
        ("replays", ctypes.c_uint64),
        ("fatal", ctypes.c_uint64),
        ("ecc_double", ctypes.c_uint64),
        ("crc24", ctypes.c_uint64),
        ("crc32", ctypes.c_uint64),
        ("corrected", ctypes.c_uint64),
        ("uncorrected", ctypes.c_uint64),
        ("failed", ctypes.c_uint64 * 3),
        ("others", ctypes.c_uint64 * 4),
    )


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


class Relationship(ctypes.Structure):
    """`cndevTopologyRelationship_t`."""

    _fields_ = (("version", ctypes.c_int32), ("relation", ctypes.c_uint32))


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
    DdrInfo: 16,
    ProcessInfo: 24,
    VersionInfo: 28,
    PcieV2: 64,
    Pcie: 40,
    NumaNode: 8,
    LibVersion: 16,
    CardSn: 24,
    CoreCount: 8,
    Affinity: 4104,
    PciLink: 12,
    PcieReplays: 8,
    Utilization: 328,
    PowerV2: 84,
    Power: 24,
    Temperature: 148,
    Frequency: 68,
    ThrottleReasons: 28,
    MemoryErrors: 160,
    EccInfo: 72,
    LinkErrors: 128,
    LinkCounters: 152,
    Health: 16,
    Incident: 540,
    HealthV2: 34612,
    LinkStatusV2: 44,
    LinkStatus: 8,
    LinkRemote: 376,
    Relationship: 8,
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
        library = load_library(LIBRARIES)
        self.call = Calls(library, not_supported=NOT_SUPPORTED, broken=(NO_DRIVER, UNINITIALIZED))
        result = self.call("cndevInit", 0)
        if result != OK:
            raise LibraryBrokenError(f"cndevInit: {result}")
        self.version = next((v for v in VERSIONS if self._speaks(v)), VERSIONS[-1])

    def _speaks(self, version: int) -> bool:
        info = CardInfo(version=version)
        return self.call("cndevGetDeviceCount", ctypes.byref(info)) != UNSUPPORTED_API_VERSION

    def close(self) -> None:
        """Release it, whatever state it is in."""
        with contextlib.suppress(LibraryBrokenError):
            self.call("cndevRelease")

    def ask(self, name: str, structure: ctypes.Structure, *arguments: object) -> int:
        """Let a function fill a structure, its first argument, and return its status."""
        if hasattr(structure, "version"):
            structure.version = self.version
        return self.call(name, ctypes.byref(structure), *arguments)

    def fill(self, name: str, structure: ctypes.Structure, *arguments: object) -> bool:
        """Let a function fill a structure; false when it did not."""
        return self.ask(name, structure, *arguments) == OK

    def card_name(self, handle: int) -> str:
        """Return the name of a card's model."""
        function = self.call.find("cndevGetCardNameStringByDevId")
        if function is None:
            return ""
        function.restype = ctypes.c_char_p
        return text_of(function(handle) or b"")

    def port_count(self, handle: int) -> int:
        """Return how many MLU-Link ports a card has; its function alone returns its result."""
        function = self.call.find("cndevGetMLULinkPortNumber")
        ports = 0 if function is None else int(function(handle))
        return ports if 0 <= ports <= PORTS_MAX else 0


def text_of(value: bytes) -> str:
    """Return a C text field."""
    return value.decode("ascii", "replace").strip()
