"""What the kernel says about a card's place on PCI, whatever library there is.

A library that lacks one of these facts, or whose driver is too old for it, is helped out from here:
`/sys/bus/pci/devices/<address>`. Nothing is told of a directory that shows another vendor's card.
"""

import contextlib
from pathlib import Path

import msgspec

from hcs_agents.detectors.calls import TEXT_MAX, positive
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import Vendor

SYSFS = Path("/sys")
DEVICES = Path("bus/pci/devices")
VENDORS = {
    Vendor.NVIDIA: 0x10DE,
    Vendor.HUAWEI: 0x19E5,
    Vendor.HYGON: 0x1D94,
    Vendor.CAMBRICON: 0xCABC,
    Vendor.MTHREADS: 0x1ED5,
}
"""Their numbers on PCI."""
TRANSFER_RATES_GT_S = (2.5, 5, 8, 16, 32, 64)
"""Of PCIe's generations from 1 on, per lane."""


def generation_of(rate_gt_s: float) -> int | None:
    """Return the PCIe generation of a transfer rate; `None` for none of them."""
    if rate_gt_s > TRANSFER_RATES_GT_S[-1]:
        return None
    return positive(sum(rate_gt_s >= rate for rate in TRANSFER_RATES_GT_S))


class PciCard:
    """The directory of one card; empty when another vendor's is there, or none."""

    def __init__(self, sysfs: Path, address: str, vendor: Vendor) -> None:
        self.directory = sysfs / DEVICES / address
        self.is_there = (
            bool(address) and read(self.directory / "vendor") == f"{VENDORS[vendor]:#06x}"
        )

    def text(self, name: str) -> str:
        """Return a file's text; empty when there is no such file."""
        text = read(self.directory / name) if self.is_there else ""
        return text if len(text) <= TEXT_MAX else ""

    def number(self, name: str) -> int | None:
        """Return a file's number; `None` when there is none."""
        text = self.text(name)
        with contextlib.suppress(ValueError):
            return int(text)
        return None

    @property
    def numa_node(self) -> int:
        """Return the node that the card is at, -1 when the platform does not say."""
        node = self.number("numa_node")
        return -1 if node is None else node

    def link(self) -> tuple[int | None, int | None]:
        """Return the generation and the lanes that the card's link has now."""
        return _generation(self.text("current_link_speed")), self._width("current_link_width")

    def link_max(self) -> tuple[int, int]:
        """Return the highest generation and most lanes of card and slot together, 0 for unknown."""
        if not self.is_there:
            return 0, 0
        slot = self.directory.resolve().parent  # the port that the card is plugged into
        speeds = [_generation(read(one / "max_link_speed")) for one in (self.directory, slot)]
        widths = [read(one / "max_link_width") for one in (self.directory, slot)]
        lanes = [int(width) for width in widths if width.isdecimal()]
        return min(filter(None, speeds), default=0), min(filter(None, lanes), default=0)

    def _width(self, name: str) -> int | None:
        return positive(self.number(name))


def complete(device: DeviceFingerprint, sysfs: Path) -> DeviceFingerprint:
    """Fill in what a library has left open and PCI tells."""
    told = (device.pcie_generation_max, device.pcie_width_max, device.cpu_affinity)
    if all(told) and device.numa_node >= 0:
        return device
    card = PciCard(sysfs, device.pci_address, device.vendor)
    generation_max, width_max = card.link_max()
    return msgspec.structs.replace(
        device,
        numa_node=device.numa_node if device.numa_node >= 0 else card.numa_node,
        pcie_generation_max=device.pcie_generation_max or generation_max,
        pcie_width_max=device.pcie_width_max or width_max,
        cpu_affinity=device.cpu_affinity or card.text("local_cpulist"),
    )


def read(path: Path) -> str:
    """Return a file's text; empty when there is none: a card that goes takes its files along."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _generation(speed: str) -> int | None:
    """Read the kernel's words: "16.0 GT/s PCIe", or "Unknown"."""
    with contextlib.suppress(ValueError):
        return generation_of(float(speed.partition(" ")[0]))
    return None
