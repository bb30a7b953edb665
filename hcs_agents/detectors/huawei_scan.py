"""What DCMI says about a chip: identity, memory, place in the machine, links to other chips."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

from hcs_agents.detectors import huawei_abi as abi
from hcs_agents.detectors.calls import numbered
from hcs_agents.detectors.cards import Answer, Found, answer_of
from hcs_agents.detectors.pcie import way_to
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType, Vendor

BYTES_PER_MB = 1024**2
HCCS_TYPES = (abi.TOPO_HCCS, abi.TOPO_HCCS_SWITCH)
PCIE_TYPES = (abi.TOPO_SYS, abi.TOPO_PHB, abi.TOPO_PXB, abi.TOPO_PIX)
FIRMWARE = (abi.COMPONENT_HILINK, abi.COMPONENT_IMU, abi.COMPONENT_XLOADER)
"""Whose version `npu-smi` calls that of the firmware: 910B, 910C and 310P; 910; 310."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """How DCMI addresses a chip, and its number among all chips."""

    card_id: int
    device_id: int
    position: int
    neighbours: int  # other chips on its board

    @property
    def place(self) -> tuple[int, int]:
        """The first two arguments of nearly every call."""
        return self.card_id, self.device_id


def enumerate_chips(dcmi: abi.Dcmi) -> list[Chip]:
    """Return all chips, lost ones included.

    Raises:
        LibraryBrokenError: the driver does not even say which cards there are.
    """
    count = ctypes.c_int()
    cards = (ctypes.c_int * abi.CARDS_MAX)()
    result = dcmi.call("dcmi_get_card_list", ctypes.byref(count), cards, abi.CARDS_MAX)
    if result != abi.OK:
        raise LibraryBrokenError(f"dcmi_get_card_list: {result}")
    boards = [(card, _chips_of(dcmi, card)) for card in cards[: count.value]]
    places = [(card, chip, len(chips) - 1) for card, chips in boards for chip in chips]
    return [
        Chip(card_id=card, device_id=chip, position=position, neighbours=neighbours)
        for position, (card, chip, neighbours) in enumerate(places)
    ]


def _chips_of(dcmi: abi.Dcmi, card_id: int) -> range:
    device_id_max, mcu_id, cpu_id = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    result = dcmi.call(
        "dcmi_get_device_id_in_card",
        card_id,
        ctypes.byref(device_id_max),
        ctypes.byref(mcu_id),
        ctypes.byref(cpu_id),
    )
    return numbered(device_id_max.value if result == abi.OK else 0)


def found_chips(dcmi: abi.Dcmi) -> Found[Chip]:
    """Return the chips that say who they are.

    Raises:
        LibraryBrokenError: see `enumerate_chips`.
    """
    cards, silent, nameless = {}, 0, []
    for chip in enumerate_chips(dcmi):
        result, device_id = identity_of(dcmi, chip)
        if device_id is not None:
            cards[device_id] = chip
        elif result in (abi.OK, *abi.UNSUPPORTED):
            nameless.append(chip.position)
        else:
            silent += answer_of(result, fine=(), gone=abi.GONE) is Answer.SILENT
    return Found(cards=cards, silent=silent, nameless=tuple(nameless))


def health_of(dcmi: abi.Dcmi, chip: Chip) -> tuple[int, int]:
    """Return how the driver has answered, and a chip's health."""
    health = ctypes.c_uint()
    result = dcmi.call("dcmi_get_device_health", *chip.place, ctypes.byref(health))
    return result, health.value


def answer(dcmi: abi.Dcmi, device_id: DeviceId, chip: Chip) -> Answer:
    """Ask a chip for its health, and who it is."""
    result, health = health_of(dcmi, chip)
    if health == abi.HEALTH_ABSENT:
        return Answer.GONE
    # A driver without this function, or one that tells it to root alone, is no silent one.
    answered = answer_of(result, fine=(abi.OK, *abi.UNSUPPORTED), gone=abi.GONE)
    if answered is Answer.YES and identity_of(dcmi, chip)[1] not in (device_id, None):
        return Answer.GONE
    return answered


def identity_of(dcmi: abi.Dcmi, chip: Chip) -> tuple[int, DeviceId | None]:
    """Return how the driver has answered, and what a chip is known by, unless nothing is said.

    That is its die, written as Huawei's own exporter does: two chips may share a board, and with it
    a serial number, and some boards have none. A driver that does not tell the die tells the board.
    """
    die = abi.DieId()
    kind = ctypes.c_int(abi.VDIE)
    result = dcmi.call("dcmi_get_device_die_v2", *chip.place, kind, ctypes.byref(die))
    if result == abi.OK and any(die.soc_die):
        return result, DeviceId("-".join(f"{word:08X}" for word in die.soc_die))
    if result not in (abi.OK, *abi.UNSUPPORTED):
        return result, None
    result, serial = _serial(dcmi, chip)
    if not serial:
        return result, None
    return result, DeviceId(f"{serial}-{chip.device_id}" if chip.neighbours else serial)


def _serial(dcmi: abi.Dcmi, chip: Chip) -> tuple[int, str]:
    """Return how the driver has answered, and the board's serial number; empty when it has none."""
    label = abi.ElabelInfo()
    result = dcmi.call("dcmi_get_device_elabel_info", *chip.place, ctypes.byref(label))
    return result, abi.text_of(label.serial_number) if result == abi.OK else ""


def describe_chip(
    dcmi: abi.Dcmi, device_id: DeviceId, chips: Mapping[DeviceId, Chip]
) -> DeviceFingerprint:
    """Return the fingerprint of one of `chips`; what DCMI does not say stays empty."""
    chip = chips[device_id]
    info = _chip_info(dcmi, chip)
    profile = profile_of(Vendor.HUAWEI, abi.text_of(info.npu_name) or abi.text_of(info.chip_name))
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.HUAWEI,
        model=profile.model,
        index=_index(dcmi, chip),
        pci_address=pci_address(dcmi, chip),
        numa_node=-1,  # DCMI does not say
        vram_bytes=_vram_bytes(dcmi, chip),
        memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=_version(dcmi, "dcmi_get_driver_version"),
        links=tuple(
            link
            for peer, other in sorted(chips.items(), key=lambda item: item[0])
            if peer != device_id
            and (link := _link(dcmi, chip, peer, other, profile.lane_gbytes_s)) is not None
        ),
        serial=_serial(dcmi, chip)[1],
        int8_gops=profile.int8_gops,
        matrix_cores=int(info.aicore_cnt),
        cpu_affinity=_cpu_affinity(dcmi, chip),
        library_version=_version(dcmi, "dcmi_get_dcmi_version"),
        firmware_version=_firmware_version(dcmi, chip),
    )


def _chip_info(dcmi: abi.Dcmi, chip: Chip) -> abi.ChipInfo:
    """Return what names the chip; empty when it does not answer."""
    info = abi.ChipInfo()
    result = dcmi.call("dcmi_get_device_chip_info_v2", *chip.place, ctypes.byref(info))
    return info if result == abi.OK else abi.ChipInfo()


def _index(dcmi: abi.Dcmi, chip: Chip) -> int:
    logic_id = ctypes.c_int()
    result = dcmi.call("dcmi_get_device_logic_id", ctypes.byref(logic_id), *chip.place)
    return logic_id.value if result == abi.OK else chip.position


def pci_address(dcmi: abi.Dcmi, chip: Chip) -> str:
    """Return where a chip is on PCI; empty when it does not answer."""
    pci = abi.PcieInfo()
    if dcmi.call("dcmi_get_device_pcie_info_v2", *chip.place, ctypes.byref(pci)) != abi.OK:
        return ""
    place = f"{pci.domain:04x}:{pci.bdf_busid:02x}:{pci.bdf_deviceid:02x}"
    return f"{place}.{pci.bdf_funcid:x}"


def _vram_bytes(dcmi: abi.Dcmi, chip: Chip) -> int:
    memory: abi.HbmInfo | abi.MemoryInfo = abi.HbmInfo()
    result = dcmi.call("dcmi_get_device_hbm_info", *chip.place, ctypes.byref(memory))
    if result in abi.UNSUPPORTED:  # chips such as the 310P have DDR
        memory = abi.MemoryInfo()
        result = dcmi.call("dcmi_get_device_memory_info_v3", *chip.place, ctypes.byref(memory))
    return int(memory.memory_size) * BYTES_PER_MB if result == abi.OK else 0


def _version(dcmi: abi.Dcmi, function: str) -> str:
    buffer = ctypes.create_string_buffer(abi.TEXT_BYTES)
    result = dcmi.call(function, buffer, ctypes.c_uint(abi.TEXT_BYTES))
    return abi.text_of(buffer.value) if result == abi.OK else ""


def _firmware_version(dcmi: abi.Dcmi, chip: Chip) -> str:
    buffer = ctypes.create_string_buffer(abi.TEXT_BYTES)
    length = ctypes.c_uint(abi.TEXT_BYTES)
    function = "dcmi_get_device_component_static_version"
    for component in FIRMWARE:
        if dcmi.call(function, *chip.place, ctypes.c_uint(component), buffer, length) == abi.OK:
            return abi.text_of(buffer.value)
    return ""


def _cpu_affinity(dcmi: abi.Dcmi, chip: Chip) -> str:
    """Return the CPUs near the chip: "0-47"."""
    buffer = ctypes.create_string_buffer(abi.TEXT_BYTES)
    length = ctypes.c_int(abi.AFFINITY_BYTES)
    result = dcmi.call(
        "dcmi_get_affinity_cpu_info_by_device_id", *chip.place, buffer, ctypes.byref(length)
    )
    return abi.text_of(buffer.value) if result == abi.OK else ""


def _link(
    dcmi: abi.Dcmi, chip: Chip, peer: DeviceId, other: Chip, lane_gbytes_s: float
) -> Link | None:
    """Return what connects a chip to another; `None` when DCMI does not know."""
    kind = _topology(dcmi, chip, other)
    if kind in PCIE_TYPES:
        return way_to(peer)
    if kind == abi.TOPO_SIO and other.card_id == chip.card_id:
        lane_gbytes_s = 0  # more than HCCS, but nobody says how much
    elif kind not in HCCS_TYPES:
        return None
    return Link(peer=peer, type=LinkType.HCCS, lanes=1, bandwidth_gbytes_s=lane_gbytes_s)


def _topology(dcmi: abi.Dcmi, chip: Chip, other: Chip) -> int | None:
    kind = ctypes.c_int(-1)
    result = dcmi.call(
        "dcmi_get_topo_info_by_device_id", *chip.place, *other.place, ctypes.byref(kind)
    )
    return kind.value if result == abi.OK else None
