"""The part of DCMI's ABI that the detector uses: structures, constants, and safe calls.

Names keep the vendor's spelling. A symbol that the installed driver lacks answers NOT_SUPPORT.
"""

import ctypes

LIBRARIES = (
    "libdcmi.so",
    "/usr/local/Ascend/driver/lib64/driver/libdcmi.so",
    "/usr/local/dcmi/libdcmi.so",
)
"""Where the vendor's own tools look, in this order."""

OK = 0
OPER_NOT_PERMITTED = -8002
TIME_OUT = -8006
INVALID_DEVICE_ID = -8007
DEVICE_NOT_EXIST = -8008
NOT_SUPPORT_IN_CONTAINER = -8013
NOT_SUPPORT = -8255

UNSUPPORTED = (NOT_SUPPORT, NOT_SUPPORT_IN_CONTAINER, OPER_NOT_PERMITTED)
GONE = (DEVICE_NOT_EXIST, INVALID_DEVICE_ID)

HEALTH_CRITICAL = 3
HEALTH_ABSENT = 0xFFFFFFFF
DEVICE_TYPE_DDR, DEVICE_TYPE_HBM = 0, 2
FREQ_AICORE_CURRENT = 7
UTILIZATION_AICORE = 2
COMPONENT_XLOADER = 1
COMPONENT_IMU = 8
COMPONENT_HILINK = 18
MAIN_CMD_HCCS = 16
HCCS_CMD_STATISTICS = 5  # with counters of 64 bits
MAIN_CMD_PCIE = 55
PCIE_CMD_ERRORS = 1
HCCS_PORTS = 16
VDIE = 1  # of the dies of a chip, the one that its id is the chip's
TOPO_SYS = 1  # where two chips' ways over PCIe meet: at two CPUs,
TOPO_PHB = 2  # at one,
TOPO_HCCS = 3
TOPO_PXB = 4  # at the last of several switches,
TOPO_PIX = 5  # at one
TOPO_SIO = 6  # two dies in one package; older drivers say so when they do not know
TOPO_HCCS_SWITCH = 7
ASSERTION_RECOVERED = 0
ASSERTION_RAISED = 1

CARDS_MAX = 64
ERROR_CODES_MAX = 128  # as the driver's own limit
PROCESSES_MAX = 32  # of a chip, as the driver's own limit
AFFINITY_BYTES = 32  # TOPO_INFO_MAX_LENTH
TEXT_BYTES = 256


class ChipInfo(ctypes.Structure):
    """`struct dcmi_chip_info_v2`."""

    _fields_ = (
        ("chip_type", ctypes.c_char * 32),
        ("chip_name", ctypes.c_char * 32),
        ("chip_ver", ctypes.c_char * 32),
        ("aicore_cnt", ctypes.c_uint),
        ("npu_name", ctypes.c_char * 32),
    )


class PcieInfo(ctypes.Structure):
    """`struct dcmi_pcie_info_all`."""

    _fields_ = (
        ("venderid", ctypes.c_uint),
        ("subvenderid", ctypes.c_uint),
        ("deviceid", ctypes.c_uint),
        ("subdeviceid", ctypes.c_uint),
        ("domain", ctypes.c_int),
        ("bdf_busid", ctypes.c_uint),
        ("bdf_deviceid", ctypes.c_uint),
        ("bdf_funcid", ctypes.c_uint),
        ("reserve", ctypes.c_ubyte * 32),
    )


class ElabelInfo(ctypes.Structure):
    """`struct dcmi_elabel_info`."""

    _fields_ = (
        ("product_name", ctypes.c_char * 256),
        ("model", ctypes.c_char * 256),
        ("manufacturer", ctypes.c_char * 256),
        ("manufacturer_date", ctypes.c_char * 256),
        ("serial_number", ctypes.c_char * 256),
    )


class DieId(ctypes.Structure):
    """`struct dcmi_die_id`."""

    _fields_ = (("soc_die", ctypes.c_uint * 5),)


class ProcessMemory(ctypes.Structure):
    """`struct dcmi_proc_mem_info`; in bytes."""

    _fields_ = (("proc_id", ctypes.c_int), ("proc_mem_usage", ctypes.c_ulonglong))


class HbmInfo(ctypes.Structure):
    """`struct dcmi_hbm_info`; sizes in MB, and the driver means 1024 * 1024 by that."""

    _fields_ = (
        ("memory_size", ctypes.c_ulonglong),
        ("freq", ctypes.c_uint),
        ("memory_usage", ctypes.c_ulonglong),
        ("temp", ctypes.c_int),
        ("bandwith_util_rate", ctypes.c_uint),
    )


class MemoryInfo(ctypes.Structure):
    """`struct dcmi_get_memory_info_stru`, of chips with DDR; in MB, as above."""

    _fields_ = (
        ("memory_size", ctypes.c_ulonglong),
        ("memory_available", ctypes.c_ulonglong),
        ("freq", ctypes.c_uint),
        ("hugepagesize", ctypes.c_ulonglong),
        ("hugepages_total", ctypes.c_ulonglong),
        ("hugepages_free", ctypes.c_ulonglong),
        ("utiliza", ctypes.c_uint),
        ("reserve", ctypes.c_ubyte * 60),
    )


class EccInfo(ctypes.Structure):
    """`struct dcmi_ecc_info`."""

    _fields_ = (
        ("enable_flag", ctypes.c_int),
        ("single_bit_error_cnt", ctypes.c_uint),
        ("double_bit_error_cnt", ctypes.c_uint),
        ("total_single_bit_error_cnt", ctypes.c_uint),
        ("total_double_bit_error_cnt", ctypes.c_uint),
        ("single_bit_isolated_pages_cnt", ctypes.c_uint),
        ("double_bit_isolated_pages_cnt", ctypes.c_uint),
    )


class EccAnswer(ctypes.Structure):
    """Room for `EccInfo` and for what newer drivers write behind it."""

    _fields_ = (("info", EccInfo), ("newer", ctypes.c_uint * 9))


class PcieErrors(ctypes.Structure):
    """`struct dcmi_pcie_link_error_info`."""

    _fields_ = (
        ("tx_err_cnt", ctypes.c_uint),
        ("rx_err_cnt", ctypes.c_uint),
        ("lcrc_err_cnt", ctypes.c_uint),
        ("ecrc_err_cnt", ctypes.c_uint),
        ("retry_cnt", ctypes.c_uint),
        ("rsv", ctypes.c_uint * 32),
    )


class HccsStatistics(ctypes.Structure):
    """`struct dcmi_hccs_statistic_info_u64`; one counter per port."""

    _fields_ = (
        ("tx_cnt", ctypes.c_ulonglong * HCCS_PORTS),
        ("rx_cnt", ctypes.c_ulonglong * HCCS_PORTS),
        ("crc_err_cnt", ctypes.c_ulonglong * HCCS_PORTS),
        ("retry_cnt", ctypes.c_ulonglong * HCCS_PORTS),
        ("reserved", ctypes.c_ulonglong * 64),
    )


class EventFilter(ctypes.Structure):
    """`struct dcmi_event_filter`; all zero lets everything through."""

    _fields_ = (
        ("filter_flag", ctypes.c_ulonglong),
        ("event_id", ctypes.c_uint),
        ("severity", ctypes.c_ubyte),
        ("node_type", ctypes.c_ubyte),
        ("resv", ctypes.c_ubyte * 32),
    )


class FaultEvent(ctypes.Structure):
    """`struct dcmi_dms_fault_event`."""

    _fields_ = (
        ("event_id", ctypes.c_uint),
        ("deviceid", ctypes.c_ushort),
        ("node_type", ctypes.c_ubyte),
        ("node_id", ctypes.c_ubyte),
        ("sub_node_type", ctypes.c_ubyte),
        ("sub_node_id", ctypes.c_ubyte),
        ("severity", ctypes.c_ubyte),
        ("assertion", ctypes.c_ubyte),
        ("event_serial_num", ctypes.c_int),
        ("notify_serial_num", ctypes.c_int),
        ("alarm_raised_time", ctypes.c_ulonglong),
        ("event_name", ctypes.c_char * 256),
        ("additional_info", ctypes.c_char * 32),
        ("os_id", ctypes.c_ubyte),
        ("resv_1", ctypes.c_ubyte * 1),
        ("node_type_ex", ctypes.c_ushort),
        ("sub_node_type_ex", ctypes.c_ushort),
        ("resv_2", ctypes.c_ubyte * 2),
        ("resv", ctypes.c_ubyte * 24),
    )


class Event(ctypes.Structure):
    """`struct dcmi_event`; its union has this one member."""

    _fields_ = (("type", ctypes.c_int), ("dms_event", FaultEvent))


SIZES = {
    ChipInfo: 132,
    PcieInfo: 64,
    ElabelInfo: 1280,
    DieId: 20,
    ProcessMemory: 16,
    HbmInfo: 32,
    MemoryInfo: 112,
    EccInfo: 28,
    PcieErrors: 148,
    HccsStatistics: 1024,
    EventFilter: 48,
    FaultEvent: 352,
    Event: 360,
}
"""Bytes of each structure in the vendor's header."""

for _structure, _bytes in SIZES.items():
    if ctypes.sizeof(_structure) != _bytes:
        raise AssertionError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes")


class Dcmi:
    """The loaded library. Every call returns DCMI's return code."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, name: str, *arguments: object) -> int:
        """Call a function by name; each argument is a ctypes value or `int`."""
        function = getattr(self._library, name, None)
        return NOT_SUPPORT if function is None else int(function(*arguments))


def text_of(value: bytes) -> str:
    """Return a C text field; boards are known to fill unused ones with odd bytes."""
    return value.decode("ascii", "replace").strip()
