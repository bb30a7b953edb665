"""What the kernel says about a Hygon card's place on PCI, whatever library there is.

The numbers that the driver itself adds to this directory are amdgpu's: same names, same units.
"""

import contextlib
from pathlib import Path

from hcs_agents.detectors.calls import TEXT_MAX, positive
from hcs_agents.detectors.hygon_models import PCI_VENDOR

DEVICES = Path("bus/pci/devices")
TRANSFER_RATES_GT_S = (2.5, 5, 8, 16, 32, 64)
"""Of PCIe's generations from 1 on, per lane."""


def generation_of(rate_gt_s: float) -> int | None:
    """Return the PCIe generation of a transfer rate; `None` for none of them."""
    if rate_gt_s > TRANSFER_RATES_GT_S[-1]:
        return None
    return positive(sum(rate_gt_s >= rate for rate in TRANSFER_RATES_GT_S))


class PciCard:
    """The directory of one card; empty when another vendor's is there, or none."""

    def __init__(self, sysfs: Path, address: str) -> None:
        self._directory = sysfs / DEVICES / address
        self._is_ours = bool(address) and read(self._directory / "vendor") == f"{PCI_VENDOR:#06x}"

    def text(self, name: str) -> str:
        """Return a file's text; empty when there is no such file."""
        text = read(self._directory / name) if self._is_ours else ""
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
        if not self._is_ours:
            return 0, 0
        slot = self._directory.resolve().parent  # the port that the card is plugged into
        speeds = [_generation(read(one / "max_link_speed")) for one in (self._directory, slot)]
        widths = [read(one / "max_link_width") for one in (self._directory, slot)]
        lanes = [int(width) for width in widths if width.isdecimal()]
        return min(filter(None, speeds), default=0), min(filter(None, lanes), default=0)

    def sensors(self) -> dict[str, int]:
        """Return the hardware monitor's readings by what they are labelled: "edge", "sclk"."""
        if not self._is_ours:
            return {}
        found = {}
        for label in self._directory.glob("hwmon/hwmon*/*_label"):
            reading = read(label.with_name(label.name.removesuffix("_label") + "_input"))
            with contextlib.suppress(ValueError):
                found[read(label)] = int(reading)
        for power in self._directory.glob("hwmon/hwmon*/power1_average"):  # has no label
            with contextlib.suppress(ValueError):
                found["power"] = int(read(power))
        return found

    def _width(self, name: str) -> int | None:
        return positive(self.number(name))


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
