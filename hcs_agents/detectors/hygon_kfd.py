"""Hygon cards as the kernel's own topology tells about them, for nodes without rocm_smi.

KFD has one directory per node of the machine; a node with SIMDs is a card. Sysfs has no RAS
counters of these cards, so all that can be told of a fault is that a card is gone.
"""

from collections.abc import Mapping
from pathlib import Path

from hcs_agents.detectors.hygon_models import PCI_VENDOR
from hcs_agents.detectors.hygon_source import Dcu, identity, pci_address
from hcs_bus.names import DeviceId

NODES = Path("class/kfd/kfd/topology/nodes")
IO_LINK_XGMI = 11
HEAP_FRAME_BUFFER = (1, 2)  # the part that the host can map, and the rest


class KfdTopology:
    """The source that reads sysfs."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs

    def close(self) -> None:
        """Nothing is held; see `DcuSource`."""

    def cards(self) -> dict[DeviceId, int]:
        """Return the cards in the order of their PCI addresses; see `DcuSource`."""
        found = []
        for directory in (self._sysfs / NODES).glob("[0-9]*"):
            properties = _properties(directory)
            device_id = identity(properties.get("unique_id", 0))
            is_card = properties.get("simd_count", 0) > 0
            if is_card and properties.get("vendor_id") == PCI_VENDOR and device_id is not None:
                found.append((_address(properties), device_id, int(directory.name)))
        return {device_id: node for _, device_id, node in sorted(found)}

    def describe(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> Dcu | None:
        """Describe; see `DcuSource`."""
        directory = self._node(cards[device_id])
        properties = _properties(directory)
        if not properties:
            return None
        address = _address(properties)
        wired = {link["node_to"] for link in _children(directory / "io_links") if _is_xgmi(link)}
        return Dcu(
            device_id=device_id,
            index=list(cards).index(device_id),
            pci_device=properties.get("device_id"),
            name=_text(directory / "name"),
            pci_address=address,
            numa_node=self._numa_node(address),
            vram_bytes=sum(
                bank.get("size_in_bytes", 0)
                for bank in _children(directory / "mem_banks")
                if bank.get("heap_type") in HEAP_FRAME_BUFFER
            ),
            driver_version=self._driver_version(),
            peers=tuple(peer for peer, node in cards.items() if node in wired),
        )

    def uncorrectable(self, cards: Mapping[DeviceId, int]) -> dict[DeviceId, dict[str, int] | None]:
        """See which cards are there; see `DcuSource`."""
        present = self.cards()  # not by number: the kernel may number the rest anew
        return {device_id: {} if device_id in present else None for device_id in cards}

    def _node(self, number: int) -> Path:
        return self._sysfs / NODES / str(number)

    def _numa_node(self, address: str) -> int:
        text = _text(self._sysfs / "bus/pci/devices" / address / "numa_node")
        return int(text) if text.isdecimal() else -1

    def _driver_version(self) -> str:
        versions = sorted((self._sysfs / "module").glob("hy*cu/version"))
        return _text(versions[0]) if versions else ""


def _address(properties: Mapping[str, int]) -> str:
    return pci_address(properties.get("domain", 0), properties.get("location_id", 0))


def _is_xgmi(link: Mapping[str, int]) -> bool:
    return link.get("type") == IO_LINK_XGMI and "node_to" in link


def _children(directory: Path) -> list[dict[str, int]]:
    return [_properties(child) for child in sorted(directory.glob("[0-9]*"))]


def _properties(directory: Path) -> dict[str, int]:
    """Read lines of a name and a decimal number; a file that is not there has none."""
    pairs = (line.partition(" ") for line in _text(directory / "properties").splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:  # a card that goes away takes its files along
        return ""
