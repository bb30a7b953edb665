"""What Hygon's driver adds to a card's directory on PCI: amdgpu's names and units."""

import contextlib
from pathlib import Path

from hcs_agents.detectors.pci import PciCard, read
from hcs_bus.names import Vendor


class DcuCard(PciCard):
    """The directory of one card."""

    def __init__(self, sysfs: Path, address: str) -> None:
        super().__init__(sysfs, address, Vendor.HYGON)

    def sensors(self) -> dict[str, int]:
        """Return the hardware monitor's readings by what they are labelled: "edge", "sclk"."""
        if not self.is_there:
            return {}
        found = {}
        for label in self.directory.glob("hwmon/hwmon*/*_label"):
            reading = read(label.with_name(label.name.removesuffix("_label") + "_input"))
            with contextlib.suppress(ValueError):
                found[read(label)] = int(reading)
        for power in self.directory.glob("hwmon/hwmon*/power1_average"):  # has no label
            with contextlib.suppress(ValueError):
                found["power"] = int(read(power))
        return found
