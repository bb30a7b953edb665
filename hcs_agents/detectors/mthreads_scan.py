"""What MTML says about a card: identity, memory, place in the machine, MTLink."""

import ctypes
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from hcs_agents.detectors import mthreads_abi as abi
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType, Vendor


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's index, and the objects through which MTML speaks of it."""

    index: int
    device: ctypes.c_void_p
    memory: ctypes.c_void_p


def attach(mtml: abi.Mtml, index: int) -> tuple[DeviceId, Card] | None:
    """Return the card with an index; `None` when it does not answer or has no identity."""
    device = mtml.open("mtmlLibraryInitDeviceByIndex", mtml.handle, ctypes.c_uint(index))
    if device is None:
        return None
    device_id = identity_of(mtml, device)
    memory = mtml.open("mtmlDeviceInitMemory", device)
    if not device_id or memory is None:
        mtml.call("mtmlLibraryFreeDevice", device)
        return None
    return device_id, Card(index=index, device=device, memory=memory)


def detach(mtml: abi.Mtml, card: Card) -> None:
    """Give a card's objects back."""
    mtml.call("mtmlDeviceFreeMemory", card.memory)
    mtml.call("mtmlLibraryFreeDevice", card.device)


def identity_of(mtml: abi.Mtml, device: ctypes.c_void_p) -> DeviceId:
    """Return a card's UUID; empty when it does not answer."""
    return DeviceId(mtml.text("mtmlDeviceGetUUID", device, abi.UUID_BYTES))


def vram_bytes(mtml: abi.Mtml, card: Card) -> int | None:
    """Return a card's memory; `None` when it does not answer."""
    return mtml.number("mtmlMemoryGetTotal", card.memory)


def ecc_errors(mtml: abi.Mtml, card: Card) -> dict[str, int]:
    """Return the errors of a card's memory since its reset, of the kinds that it counts."""
    arguments = (ctypes.c_uint(abi.VOLATILE), ctypes.c_uint(abi.LOCATION_DRAM))
    name = "mtmlMemoryGetEccErrorCounter"
    counts = {
        code: mtml.number(name, card.memory, ctypes.c_uint(kind), *arguments)
        for kind, code in abi.ECC_CODES.items()
    }
    return {code: count for code, count in counts.items() if count is not None}


def describe_card(
    mtml: abi.Mtml, device_id: DeviceId, card: Card, known: Collection[DeviceId]
) -> DeviceFingerprint:
    """Return a card's fingerprint; what MTML does not say stays empty."""
    name = mtml.text("mtmlDeviceGetName", card.device, abi.NAME_BYTES)
    profile = profile_of(Vendor.MTHREADS, name)
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.MTHREADS,
        model=profile.model,
        index=card.index,
        pci_address=_pci_address(mtml, card),
        numa_node=_numa_node(mtml, card),
        vram_bytes=vram_bytes(mtml, card) or 0,
        memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=_driver_version(mtml),
        links=tuple(
            Link(
                peer=peer,
                type=LinkType.MTLINK,
                lanes=lanes,
                bandwidth_gbytes_s=lanes * profile.lane_gbytes_s,
            )
            for peer, lanes in sorted(_links_to(mtml, card).items())
            if peer in known and peer != device_id
        ),
    )


def _pci_address(mtml: abi.Mtml, card: Card) -> str:
    pci = abi.PciInfo()
    if mtml.call("mtmlDeviceGetPciInfo", card.device, ctypes.byref(pci)) != abi.OK:
        return ""
    return f"{pci.segment:04x}:{pci.bus:02x}:{pci.device:02x}.0"  # cards have one function


def _numa_node(mtml: abi.Mtml, card: Card) -> int:
    """Return the node of the card's memory, -1 when the platform does not say."""
    words = (ctypes.c_ulong * abi.NUMA_WORDS)()
    size = ctypes.c_uint(abi.NUMA_WORDS)
    if mtml.call("mtmlDeviceGetMemoryAffinityWithinNode", card.device, size, words) != abi.OK:
        return -1
    mask: int = sum(int(word) << (64 * place) for place, word in enumerate(words))
    return (mask & -mask).bit_length() - 1


def _driver_version(mtml: abi.Mtml) -> str:
    system = mtml.open("mtmlLibraryInitSystem", mtml.handle)
    if system is None:
        return ""
    version = mtml.text("mtmlSystemGetDriverVersion", system, abi.VERSION_BYTES)
    mtml.call("mtmlLibraryFreeSystem", system)
    return version


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
        remote = mtml.open("mtmlDeviceGetMtLinkRemoteDevice", card.device, number)
        if remote is not None:
            peers[identity_of(mtml, remote)] += 1
    return peers
