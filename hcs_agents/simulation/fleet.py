"""The simulated nodes of a local cluster: some of each vendor, and one with two vendors."""

import uuid
from collections.abc import Iterable
from itertools import combinations

from hcs_agents.hardware import profile_of
from hcs_agents.simulation.scenario import Scenario, SimDevice, SimLink
from hcs_bus.names import LinkType, NodeName, Vendor

NVIDIA_DRIVER = "550.127.08"
ASCEND_DRIVER = "24.1.0"
HYGON_DRIVER = "6.3.8"
CAMBRICON_DRIVER = "6.2.10"
MTHREADS_DRIVER = "2.7.0"
PCI_BUSES = (0x07, 0x0F, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD)  # of an HGX board
CARDS_PER_NUMA_NODE = 4
IDENTITIES = uuid.UUID("6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51")
"""The name space of the simulated cards' identities: the same in every cluster."""


def default_fleet() -> tuple[Scenario, ...]:
    """Return the nodes."""
    return (
        _uniform("a100-0", Vendor.NVIDIA, "NVIDIA A100-SXM4-80GB", LinkType.NVSWITCH, lanes=12),
        _uniform("a800-0", Vendor.NVIDIA, "NVIDIA A800-SXM4-80GB", LinkType.NVSWITCH, lanes=8),
        _uniform("ascend-0", Vendor.HUAWEI, "910B3", LinkType.HCCS),
        _mixed("mixed-0"),
        _uniform("hygon-0", Vendor.HYGON, "K100_AI", LinkType.XGMI, pairs=rings(4)),
        _uniform("cambricon-0", Vendor.CAMBRICON, "MLU370-X8", LinkType.MLU_LINK, pairs=groups(2)),
        _uniform("mthreads-0", Vendor.MTHREADS, "MTT S4000", LinkType.MTLINK, pairs=groups(4)),
    )


def groups(size: int) -> Iterable[tuple[int, int]]:
    """Return the pairs of cards when each is wired to each within groups of `size` cards."""
    for first in range(0, len(PCI_BUSES), size):
        yield from combinations(range(first, first + size), 2)


def rings(size: int) -> Iterable[tuple[int, int]]:
    """Return the pairs of cards when the node has rings of `size` cards."""
    for first in range(0, len(PCI_BUSES), size):
        for place in range(size):
            a, b = sorted((first + place, first + (place + 1) % size))
            yield a, b


def _uniform(
    node: str,
    vendor: Vendor,
    model: str,
    type_: LinkType,
    *,
    lanes: int = 1,
    pairs: Iterable[tuple[int, int]] | None = None,
) -> Scenario:
    devices = tuple(_device(node, number, vendor, model) for number in range(len(PCI_BUSES)))
    pairs = groups(len(devices)) if pairs is None else pairs
    links = tuple(SimLink(a=a, b=b, type=type_, lanes=lanes) for a, b in pairs)
    return _scenario(node, devices, links)


def _mixed(node: str) -> Scenario:
    models = ((Vendor.NVIDIA, "NVIDIA A100-PCIE-40GB"), (Vendor.HUAWEI, "910B4"))
    devices = tuple(
        _device(node, 2 * place + card, vendor, model)
        for place, (vendor, model) in enumerate(models)
        for card in range(2)
    )
    links = (
        SimLink(a=0, b=1, type=LinkType.NVLINK, lanes=12),
        SimLink(a=2, b=3, type=LinkType.HCCS, lanes=1),
    )
    return _scenario(node, devices, links)


def _scenario(node: str, devices: tuple[SimDevice, ...], links: tuple[SimLink, ...]) -> Scenario:
    vendors = {device.vendor for device in devices}
    return Scenario(
        node=NodeName(node),
        nvidia_driver=NVIDIA_DRIVER if Vendor.NVIDIA in vendors else "",
        ascend_driver=ASCEND_DRIVER if Vendor.HUAWEI in vendors else "",
        hygon_driver=HYGON_DRIVER if Vendor.HYGON in vendors else "",
        cambricon_driver=CAMBRICON_DRIVER if Vendor.CAMBRICON in vendors else "",
        mthreads_driver=MTHREADS_DRIVER if Vendor.MTHREADS in vendors else "",
        devices=devices,
        links=links,
    )


def _device(node: str, number: int, vendor: Vendor, model: str) -> SimDevice:
    profile = profile_of(vendor, model)
    return SimDevice(
        vendor=vendor,
        model=model,
        id=_identity(node, number, vendor),
        pci=f"0000:{PCI_BUSES[number]:02x}:00.0",
        numa=number // CARDS_PER_NUMA_NODE,
        vram_bytes=profile.vram_bytes,
        memory_bandwidth_gbytes_s=round(profile.memory_bandwidth_gbytes_s),
        serial=_serial(node, number) if vendor is Vendor.HUAWEI else "",
    )


def _identity(node: str, number: int, vendor: Vendor) -> str:
    identity = uuid.uuid5(IDENTITIES, f"{node}/{number}")
    if vendor is Vendor.NVIDIA:
        return f"GPU-{identity}"
    if vendor is Vendor.HYGON:
        return f"{identity.int >> 64:016x}"  # KFD's unique id, 64 bits
    if vendor is Vendor.CAMBRICON:
        return f"MLU-{identity}"
    if vendor is Vendor.MTHREADS:
        return str(identity)
    words = (identity.int >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0, 48))
    return "-".join(f"{word:08X}" for word in words)  # of a die


def _serial(node: str, number: int) -> str:
    identity = uuid.uuid5(IDENTITIES, f"{node}/{number}")
    return f"2102314NMV{identity.int % 10**10:010d}"  # of a board, 20 characters
