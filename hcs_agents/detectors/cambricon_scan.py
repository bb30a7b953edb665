"""What CNDev says about a card: identity, memory, place in the machine, links to other cards."""

import ctypes
import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.calls import cpu_list, numbered, positive
from hcs_agents.detectors.cards import Answer, Found, answer_of
from hcs_agents.detectors.pcie import PcieWays
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import DeviceId, LinkType, Vendor

BYTES_PER_MB = 1024**2
WORD_BITS = 32


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """A card's index, which it keeps while others come and go, and how CNDev speaks of it."""

    index: int
    handle: int


def enumerate_cards(cndev: abi.Cndev) -> Found[Place]:
    """Return the cards that answer, in the order of their indices."""
    info = abi.CardInfo()
    if not cndev.fill("cndevGetDeviceCount", info):
        raise LibraryBrokenError("cndevGetDeviceCount does not answer")
    cards, silent, nameless = {}, 0, []
    for index in numbered(info.number):
        handle = ctypes.c_int32(index)  # what it was before there were handles
        result = cndev.call("cndevGetDeviceHandleByIndex", index, ctypes.byref(handle))
        uuid = abi.Uuid()
        if result in (abi.OK, abi.NOT_SUPPORTED):
            result = cndev.ask("cndevGetUUID", uuid, handle)
        if result == abi.OK and uuid.uuid:
            cards[_identity(uuid.uuid)] = Place(index=index, handle=handle.value)
        elif result in (abi.OK, *abi.LACKING):
            nameless.append(index)
        else:
            silent += answer_of(result, fine=(), gone=abi.GONE) is Answer.SILENT
    return Found(cards=cards, silent=silent, nameless=tuple(nameless))


def answer(cndev: abi.Cndev, device_id: DeviceId, handle: int) -> Answer:
    """Ask a card who it is, and its driver whether it can say how it is."""
    uuid, state = abi.Uuid(), abi.Health()
    result = cndev.ask("cndevGetUUID", uuid, handle)
    if result != abi.OK:
        return answer_of(result, fine=(), gone=abi.GONE)
    if _identity(uuid.uuid) != device_id:
        return Answer.GONE
    result = cndev.ask("cndevGetCardHealthState", state, handle)
    return answer_of(result, fine=(abi.OK, abi.NO_PERMISSION, *abi.LACKING), gone=abi.GONE)


def describe_card(
    cndev: abi.Cndev,
    device_id: DeviceId,
    cards: Mapping[DeviceId, Place],
    ways: PcieWays[Place],
) -> DeviceFingerprint:
    """Return the fingerprint of one of `cards`; what CNDev does not say stays empty."""
    handle = cards[device_id].handle
    profile = profile_of(Vendor.CAMBRICON, cndev.card_name(handle))
    driver_version, firmware_version = _versions(cndev, handle)
    generation_max, width_max = _link_max(cndev, handle)
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.CAMBRICON,
        model=profile.model,
        index=cards[device_id].index,
        pci_address=_pci_address(cndev, handle),
        numa_node=_numa_node(cndev, handle),
        vram_bytes=(memory_of(cndev, handle) or (0, 0))[0],
        memory_bandwidth_gbytes_s=(
            profile.memory_bandwidth_gbytes_s or _memory_bandwidth_gbytes_s(cndev, handle)
        ),
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=driver_version,
        links=ways.links(
            device_id,
            cards,
            functools.partial(_share_pcie, cndev),
            fabric=LinkType.MLU_LINK,
            lanes_to=_ports_to(cndev, cards[device_id].handle),
            lane_gbytes_s=profile.lane_gbytes_s,
        ),
        serial=_serial(cndev, handle),
        int8_gops=profile.int8_gops,
        matrix_cores=_cores(cndev, handle),
        pcie_generation_max=generation_max,
        pcie_width_max=width_max,
        cpu_affinity=_cpu_affinity(cndev, handle),
        library_version=_library_version(cndev),
        firmware_version=firmware_version,
    )


def _identity(uuid: bytes) -> DeviceId:
    return DeviceId(f"MLU-{abi.text_of(uuid)}")  # as Cambricon's own device plugin


def memory_of(cndev: abi.Cndev, handle: int) -> tuple[int, int] | None:
    """Return a card's memory and what of it is in use, in bytes; `None` when it does not say."""
    memory: abi.MemoryV2 | abi.Memory = abi.MemoryV2()
    if not cndev.fill("cndevGetMemoryUsageV2", memory, handle):
        memory = abi.Memory()
        if not cndev.fill("cndevGetMemoryUsage", memory, handle):
            return None
    return memory.physical_total * BYTES_PER_MB, memory.physical_used * BYTES_PER_MB


def _memory_bandwidth_gbytes_s(cndev: abi.Cndev, handle: int) -> float:
    info = abi.DdrInfo()
    return float(info.bandwidth) if cndev.fill("cndevGetDDRInfo", info, handle) else 0


def _pci_address(cndev: abi.Cndev, handle: int) -> str:
    pci: abi.PcieV2 | abi.Pcie = abi.PcieV2()
    if not cndev.fill("cndevGetPCIeInfoV2", pci, handle):
        pci = abi.Pcie()
        if not cndev.fill("cndevGetPCIeInfo", pci, handle):
            return ""
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.{pci.function:x}"


def _numa_node(cndev: abi.Cndev, handle: int) -> int:
    numa = abi.NumaNode()
    return int(numa.node_id) if cndev.fill("cndevGetNUMANodeIdByDevId", numa, handle) else -1


def _versions(cndev: abi.Cndev, handle: int) -> tuple[str, str]:
    """Return the versions of the driver and of the card's controller, MCU."""
    info = abi.VersionInfo()
    if not cndev.fill("cndevGetVersionInfo", info, handle):
        return "", ""
    return _dotted(info.driver), _dotted(info.mcu) if any(info.mcu) else ""


def _library_version(cndev: abi.Cndev) -> str:
    info = abi.LibVersion()
    return _dotted(info.library) if cndev.fill("cndevGetLibVersion", info) else ""


def _dotted(parts: Iterable[int]) -> str:
    return ".".join(str(part) for part in parts)


def _serial(cndev: abi.Cndev, handle: int) -> str:
    info = abi.CardSn()
    return f"{info.sn:x}" if cndev.fill("cndevGetCardSN", info, handle) and info.sn else ""


def _cores(cndev: abi.Cndev, handle: int) -> int:
    """Return how many MLU cores a card has; each has a unit that multiplies matrices."""
    info = abi.CoreCount()
    known = cndev.fill("cndevGetCoreCount", info, handle)
    return positive(info.count) or 0 if known else 0


def _link_max(cndev: abi.Cndev, handle: int) -> tuple[int, int]:
    link = abi.PciLink()
    if not cndev.fill("cndevGetMaxPCIInfo", link, handle):
        return 0, 0
    return positive(link.speed) or 0, positive(link.width) or 0


def _cpu_affinity(cndev: abi.Cndev, handle: int) -> str:
    affinity = abi.Affinity()
    if not cndev.fill("cndevGetDeviceAffinity", affinity, handle):
        return ""
    words = affinity.bit_map[: -(-affinity.cpu_count // WORD_BITS)]
    return cpu_list(functools.reduce(lambda mask, word: mask << WORD_BITS | word, words, 0))


def _share_pcie(cndev: abi.Cndev, one: Place, other: Place) -> bool | None:
    """Say whether two cards are on one PCIe; `None` when that is put off."""
    answer = abi.Relationship()
    result = cndev.ask("cndevTopologyGetRelationship", answer, one.handle, other.handle)
    if result in abi.LACKING:
        return False
    return answer.relation in abi.PCIE_RELATIONS if result == abi.OK else None


def _ports_to(cndev: abi.Cndev, handle: int) -> Counter[DeviceId]:
    """Count the ports that are up by the card at their other end."""
    peers: Counter[DeviceId] = Counter()
    for port in range(cndev.port_count(handle)):
        remote = abi.LinkRemote()
        if _is_up(cndev, handle, port) and cndev.fill(
            "cndevGetMLULinkRemoteInfo", remote, handle, port
        ):
            peers[_identity(remote.uuid)] += 1
    return peers


def _is_up(cndev: abi.Cndev, handle: int, port: int) -> bool:
    new, old = abi.LinkStatusV2(), abi.LinkStatus()
    if cndev.fill("cndevGetMLULinkStatusV2", new, handle, port):
        return bool(new.mac_state == abi.MAC_UP)
    return cndev.fill("cndevGetMLULinkStatus", old, handle, port) and bool(old.is_active)
