"""What MTML says about a card: identity, memory, place in the machine, links to other cards."""

import ctypes
import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hcs_agents.detectors import mthreads_abi as abi
from hcs_agents.detectors.calls import cpu_list, positive
from hcs_agents.detectors.cards import Answer, answer_of
from hcs_agents.detectors.pcie import PcieWays
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import DeviceId, LinkType, Vendor


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's index, and the objects through which MTML speaks of it."""

    index: int
    device: ctypes.c_void_p
    memory: ctypes.c_void_p
    gpu: ctypes.c_void_p | None  # older drivers may have none to give
    remotes: dict[int, DeviceId] = field(default_factory=dict)
    """Who is at the other end of each link. MTML makes an object to say so, which nobody says how
    to give back: it is asked once, not with each scan."""


def attach(mtml: abi.Mtml, index: int) -> tuple[DeviceId, Card] | Answer:
    """Return the card with an index, or how it takes to being asked: `YES` has no identity."""
    device = ctypes.c_void_p()
    result = mtml.call(
        "mtmlLibraryInitDeviceByIndex", mtml.handle, ctypes.c_uint(index), ctypes.byref(device)
    )
    if result != abi.OK:
        return answer_of(result, fine=(), gone=abi.GONE)
    result, device_id = identity_of(mtml, device)
    memory = mtml.open("mtmlDeviceInitMemory", device) if device_id else None
    if memory is None:
        mtml.call("mtmlLibraryFreeDevice", device)
        has_none = not device_id and result in (abi.OK, abi.NOT_SUPPORTED)
        return Answer.YES if has_none else answer_of(result, fine=(), gone=abi.GONE)
    gpu = mtml.open("mtmlDeviceInitGpu", device)
    return device_id, Card(index=index, device=device, memory=memory, gpu=gpu)


def detach(mtml: abi.Mtml, card: Card) -> None:
    """Give a card's objects back."""
    if card.gpu is not None:
        mtml.call("mtmlDeviceFreeGpu", card.gpu)
    mtml.call("mtmlDeviceFreeMemory", card.memory)
    mtml.call("mtmlLibraryFreeDevice", card.device)


def identity_of(mtml: abi.Mtml, device: ctypes.c_void_p) -> tuple[int, DeviceId]:
    """Return how a card's driver has answered, and the card's UUID; empty when it does not say."""
    buffer = ctypes.create_string_buffer(abi.UUID_BYTES)
    result = mtml.call("mtmlDeviceGetUUID", device, buffer, ctypes.c_uint(abi.UUID_BYTES))
    return result, DeviceId(buffer.value.decode("ascii", "replace").strip())


def answer(mtml: abi.Mtml, device_id: DeviceId, card: Card) -> Answer:
    """Ask a card who it is, and for its memory."""
    result, now = identity_of(mtml, card.device)
    if result != abi.OK:
        return answer_of(result, fine=(), gone=abi.GONE)
    if now != device_id:
        return Answer.GONE
    total = ctypes.c_ulonglong()
    result = mtml.call("mtmlMemoryGetTotal", card.memory, ctypes.byref(total))
    fine = (abi.OK, abi.NOT_SUPPORTED, abi.NO_PERMISSION)
    return answer_of(result, fine=fine, gone=abi.GONE)


def vram_bytes(mtml: abi.Mtml, card: Card) -> int | None:
    """Return a card's memory; `None` when it does not answer."""
    return mtml.number("mtmlMemoryGetTotal", card.memory)


def ecc_errors(mtml: abi.Mtml, card: Card) -> dict[str, int]:
    """Return the errors of a card's memory since its reset, of the kinds that it counts."""
    counts = {code: ecc_count(mtml, card, kind) for kind, code in abi.ECC_CODES.items()}
    return {code: count for code, count in counts.items() if count is not None}


def ecc_count(mtml: abi.Mtml, card: Card, kind: int) -> int | None:
    """Return the errors of one kind since the card's reset; `None` when it does not count them."""
    arguments = (ctypes.c_uint(kind), ctypes.c_uint(abi.VOLATILE), ctypes.c_uint(abi.LOCATION_DRAM))
    return mtml.number("mtmlMemoryGetEccErrorCounter", card.memory, *arguments)


def describe_card(
    mtml: abi.Mtml, device_id: DeviceId, cards: Mapping[DeviceId, Card], ways: PcieWays[Card]
) -> DeviceFingerprint:
    """Return the fingerprint of one of `cards`; what MTML does not say stays empty."""
    card = cards[device_id]
    name = mtml.text("mtmlDeviceGetName", card.device, abi.NAME_BYTES)
    profile = profile_of(Vendor.MTHREADS, name)
    pci = mtml.pci(card.device)
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.MTHREADS,
        model=profile.model,
        index=card.index,
        pci_address=_pci_address(pci),
        numa_node=_numa_node(mtml, card),
        vram_bytes=vram_bytes(mtml, card) or 0,
        memory_bandwidth_gbytes_s=(
            profile.memory_bandwidth_gbytes_s
            or mtml.number("mtmlMemoryGetBandwidth", card.memory)
            or 0
        ),
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=_driver_version(mtml),
        links=ways.links(
            device_id,
            cards,
            functools.partial(_share_pcie, mtml),
            fabric=LinkType.MTLINK,
            lanes_to=_links_to(mtml, cards[device_id]),
            lane_gbytes_s=profile.lane_gbytes_s,
        ),
        serial=_serial(mtml, card),
        int8_gops=profile.int8_gops,
        pcie_generation_max=0 if pci is None else positive(pci.max_generation) or 0,
        pcie_width_max=0 if pci is None else positive(pci.max_width) or 0,
        cpu_affinity=cpu_list(
            mtml.mask("mtmlDeviceGetCpuAffinityWithinNode", card.device, abi.CPU_WORDS)
        ),
        library_version=mtml.text("mtmlLibraryGetVersion", mtml.handle, abi.LIBRARY_VERSION_BYTES),
        firmware_version=mtml.text("mtmlDeviceGetMtBiosVersion", card.device, abi.FIRMWARE_BYTES),
    )


def _pci_address(pci: abi.PciInfo | None) -> str:
    if pci is None:
        return ""
    return f"{pci.segment:04x}:{pci.bus:02x}:{pci.device:02x}.0"  # cards have one function


def _numa_node(mtml: abi.Mtml, card: Card) -> int:
    """Return the node of the card's memory, -1 when the platform does not say."""
    mask = mtml.mask("mtmlDeviceGetMemoryAffinityWithinNode", card.device, abi.NUMA_WORDS)
    return (mask & -mask).bit_length() - 1


def _serial(mtml: abi.Mtml, card: Card) -> str:
    """Return the board's serial number; this function takes the length before the buffer."""
    buffer = ctypes.create_string_buffer(abi.SERIAL_BYTES)
    size = ctypes.c_uint(abi.SERIAL_BYTES)
    if mtml.call("mtmlDeviceGetSerialNumber", card.device, size, buffer) != abi.OK:
        return ""
    return buffer.value.decode("ascii", "replace").strip()


def _driver_version(mtml: abi.Mtml) -> str:
    system = mtml.open("mtmlLibraryInitSystem", mtml.handle)
    if system is None:
        return ""
    version = mtml.text("mtmlSystemGetDriverVersion", system, abi.VERSION_BYTES)
    mtml.call("mtmlLibraryFreeSystem", system)
    return version


def _share_pcie(mtml: abi.Mtml, one: Card, other: Card) -> bool | None:
    """Say whether two cards are on one PCIe; `None` when that is put off."""
    level = ctypes.c_uint()
    result = mtml.call("mtmlDeviceGetTopologyLevel", one.device, other.device, ctypes.byref(level))
    if result == abi.NOT_SUPPORTED:
        return False
    return level.value in abi.PCIE_LEVELS if result == abi.OK else None


def _links_to(mtml: abi.Mtml, card: Card) -> Counter[DeviceId]:
    """Count the links that are up, if only at lower speed, by the card at their other end."""
    spec = abi.LinkSpec()
    peers: Counter[DeviceId] = Counter()
    if mtml.call("mtmlDeviceGetMtLinkSpec", card.device, ctypes.byref(spec)) != abi.OK:
        return peers
    for link in range(spec.link_count if spec.link_count <= abi.LINKS_MAX else 0):
        number = ctypes.c_uint(link)
        state = mtml.number("mtmlDeviceGetMtLinkState", card.device, number)
        if state in (None, abi.LINK_DOWN):
            continue
        peer = card.remotes.get(link) or _remote(mtml, card, number)
        if peer:
            card.remotes[link] = peer
            peers[peer] += 1
    return peers


def _remote(mtml: abi.Mtml, card: Card, link: ctypes.c_uint) -> DeviceId:
    remote = mtml.open("mtmlDeviceGetMtLinkRemoteDevice", card.device, link)
    return DeviceId("") if remote is None else identity_of(mtml, remote)[1]
