"""What CNDev says about a card: identity, memory, place in the machine, MLU-Link ports."""

import ctypes
from collections import Counter
from collections.abc import Mapping

import structlog

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType, Vendor

LOG = structlog.get_logger()

BYTES_PER_MB = 1024**2


def enumerate_cards(cndev: abi.Cndev) -> dict[DeviceId, int]:
    """Return the cards that answer and their handles, in the order of their indices."""
    info = abi.CardInfo()
    if not cndev.fill("cndevGetDeviceCount", info):
        raise LibraryBrokenError("cndevGetDeviceCount does not answer")
    cards = {}
    for index in range(info.number):
        handle = ctypes.c_int32(index)  # what it was before there were handles
        result = cndev.call("cndevGetDeviceHandleByIndex", index, ctypes.byref(handle))
        uuid = abi.Uuid()
        known = result in (abi.OK, abi.NOT_SUPPORTED)
        if known and cndev.fill("cndevGetUUID", uuid, handle) and uuid.uuid:
            cards[_identity(uuid.uuid)] = handle.value
        else:
            LOG.debug("card_without_uuid", index=index, result=result)
    return cards


def describe_card(
    cndev: abi.Cndev, device_id: DeviceId, cards: Mapping[DeviceId, int]
) -> DeviceFingerprint:
    """Return the fingerprint of one of `cards`; what CNDev does not say stays empty."""
    handle = cards[device_id]
    profile = profile_of(Vendor.CAMBRICON, cndev.card_name(handle))
    return DeviceFingerprint(
        device_id=device_id,
        vendor=Vendor.CAMBRICON,
        model=profile.model,
        index=list(cards).index(device_id),
        pci_address=_pci_address(cndev, handle),
        numa_node=_numa_node(cndev, handle),
        vram_bytes=_vram_bytes(cndev, handle),
        memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=_driver_version(cndev, handle),
        links=tuple(
            Link(
                peer=peer,
                type=LinkType.MLU_LINK,
                lanes=ports,
                bandwidth_gbytes_s=ports * profile.lane_gbytes_s,
            )
            for peer, ports in sorted(_ports_to(cndev, handle).items())
            if peer in cards and peer != device_id
        ),
    )


def _identity(uuid: bytes) -> DeviceId:
    return DeviceId(f"MLU-{abi.text_of(uuid)}")  # as Cambricon's own device plugin


def _vram_bytes(cndev: abi.Cndev, handle: int) -> int:
    new, old = abi.MemoryV2(), abi.Memory()
    if cndev.fill("cndevGetMemoryUsageV2", new, handle):
        return int(new.physical_total) * BYTES_PER_MB
    if cndev.fill("cndevGetMemoryUsage", old, handle):
        return int(old.physical_total) * BYTES_PER_MB
    return 0


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


def _driver_version(cndev: abi.Cndev, handle: int) -> str:
    info = abi.VersionInfo()
    if not cndev.fill("cndevGetVersionInfo", info, handle):
        return ""
    return ".".join(str(part) for part in info.driver)


def _ports_to(cndev: abi.Cndev, handle: int) -> Counter[DeviceId]:
    """Count the ports that are up by the card at their other end."""
    peers: Counter[DeviceId] = Counter()
    # Of all the functions this one alone returns its result; a negative one would be an error.
    ports = cndev.call("cndevGetMLULinkPortNumber", handle)
    for port in range(ports if ports <= abi.PORTS_MAX else 0):
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
