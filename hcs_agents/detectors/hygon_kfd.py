"""Hygon cards as the kernel's own topology tells about them, for nodes without rocm_smi.

KFD has one directory per node of the machine; a node with SIMDs is a card. Sysfs has no RAS
counters of these cards, so all that can be told of a fault is that a card is gone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.cards import Answer, Found
from hcs_agents.detectors.hygon_pci import DcuCard
from hcs_agents.detectors.hygon_source import Dcu, identity, pci_address
from hcs_agents.detectors.pci import VENDORS, read
from hcs_agents.detectors.pcie import way_to
from hcs_agents.detectors.port import Counters, DeviceProcess, LibraryBrokenError, Reading
from hcs_bus.events import DeviceSample, Link
from hcs_bus.names import DeviceId, LinkType, Vendor

NODES = Path("class/kfd/kfd/topology/nodes")
PROCESSES = Path("class/kfd/kfd/proc")
IO_LINK_PCIE = 2
IO_LINK_XGMI = 11
HEAP_FRAME_BUFFER = (1, 2)  # the part that the host can map, and the rest

# What the hardware monitor counts in.
MILLIDEGREES_PER_DEGREE = 1_000
MICROWATTS_PER_WATT = 1_000_000
HZ_PER_MHZ = 1_000_000

# KFD states what a link moves one way: 32000 MB/s of PCIe 4 with 16 lanes.
MBYTES_PER_GBYTE = 1_000
DIRECTIONS = 2


class _Node(NamedTuple):
    location: int  # on PCI
    number: int  # which the kernel gives anew when cards come and go


class KfdTopology:
    """The source that reads sysfs."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs

    def has_cards(self) -> bool:
        """Say whether there is anything to tell: nodes without such cards have no topology."""
        return bool(self._found())

    def close(self) -> None:
        """Nothing is held; see `DcuSource`."""

    def cards(self) -> Found[int]:
        """Return the cards in the order of their PCI addresses; see `DcuSource`."""
        return Found(cards={d: node.location for d, node in self._present().items()})

    def answers(self, cards: Mapping[DeviceId, int]) -> dict[DeviceId, Answer]:
        """See which cards are there; see `DcuSource`."""
        present = self._present()  # not by number: the kernel may number the rest anew
        return {d: Answer.YES if d in present else Answer.GONE for d in cards}

    def describe(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> Dcu | None:
        """Describe; see `DcuSource`."""
        node = self._found().get(device_id)
        if node is None:
            return None
        directory = self._directory(node)
        properties = _properties(directory)
        address = _address(properties)
        pci = DcuCard(self._sysfs, address)
        generation_max, width_max = pci.link_max()
        return Dcu(
            device_id=device_id,
            index=list(cards).index(device_id),
            pci_device=properties.get("device_id"),
            name=read(directory / "name"),
            pci_address=address,
            numa_node=pci.numa_node,
            vram_bytes=sum(
                bank.get("size_in_bytes", 0)
                for bank in _children(directory / "mem_banks")
                if bank.get("heap_type") in HEAP_FRAME_BUFFER
            ),
            driver_version=self._driver_version(),
            links=self._links(device_id),
            serial=pci.text("serial_number"),
            pcie_generation_max=generation_max,
            pcie_width_max=width_max,
            cpu_affinity=pci.text("local_cpulist"),
            firmware_version=pci.text("vbios_version"),
        )

    def wires(self, device_id: DeviceId) -> dict[DeviceId, Link]:
        """Return a card's wires by the card at their other end, as the platform states them."""
        cards = self._found()
        if device_id not in cards:
            return {}
        peer_at = {node.number: peer for peer, node in cards.items()}
        links = [link for link in self._io_links(cards[device_id]) if _is_xgmi(link)]
        wired = {peer_at[link["node_to"]]: link for link in links if link["node_to"] in peer_at}
        return {peer: _wire(peer, link) for peer, link in wired.items()}

    def uncorrectable(self, index: int) -> dict[str, int]:
        """Sysfs has no such counters; see `DcuSource`."""
        del index
        return {}

    def sample(self, cards: Mapping[DeviceId, int]) -> list[Reading]:
        """Read what the driver shows of each; see `DcuSource`."""
        readings = []
        for device_id, node in self._present().items():
            if device_id in cards:
                address = _address(_properties(self._directory(node)))
                readings.append(_read_card(device_id, DcuCard(self._sysfs, address)))
        return readings

    def processes(self, cards: Mapping[DeviceId, int]) -> list[DeviceProcess]:
        """Read what each process that has KFD open holds of each card; see `DcuSource`."""
        found = []
        for device_id, node in self._present().items():
            gpu_id = read(self._directory(node) / "gpu_id")
            for file in (self._sysfs / PROCESSES).glob(f"[0-9]*/vram_{gpu_id}"):
                used, pid = read(file), file.parent.name
                if device_id in cards and used.isdecimal() and int(used) and pid.isdecimal():
                    found.append(
                        DeviceProcess(device_id=device_id, pid=int(pid), used_bytes=int(used))
                    )
        return found

    def _present(self) -> dict[DeviceId, _Node]:
        if not (self._sysfs / NODES).is_dir():
            raise LibraryBrokenError("KFD's topology is gone")
        return self._found()

    def _found(self) -> dict[DeviceId, _Node]:
        found = []
        for directory in (self._sysfs / NODES).glob("[0-9]*"):
            properties = _properties(directory)
            device_id = identity(properties.get("unique_id", 0))
            is_card = properties.get("simd_count", 0) > 0
            if (
                is_card
                and properties.get("vendor_id") == VENDORS[Vendor.HYGON]
                and device_id is not None
            ):
                location = properties.get("domain", 0) << 16 | properties.get("location_id", 0)
                node = _Node(location=location, number=int(directory.name))
                found.append((node, device_id))
        return {device_id: node for node, device_id in sorted(found)}

    def _links(self, device_id: DeviceId) -> tuple[Link, ...]:
        cards, wires = self._found(), self.wires(device_id)
        found = list(wires.values())
        if device_id in cards and self._is_on_pcie(cards[device_id]):
            others = [peer for peer in cards if peer != device_id and peer not in wires]
            found += [way_to(peer) for peer in others if self._is_on_pcie(cards[peer])]
        return tuple(sorted(found, key=lambda link: link.peer))

    def _is_on_pcie(self, node: _Node) -> bool:
        """Say whether a card reaches a processor over PCIe; KFD names only next neighbours."""
        return any(link.get("type") == IO_LINK_PCIE for link in self._io_links(node))

    def _io_links(self, node: _Node) -> list[dict[str, int]]:
        return _children(self._directory(node) / "io_links")

    def _directory(self, node: _Node) -> Path:
        return self._sysfs / NODES / str(node.number)

    def _driver_version(self) -> str:
        versions = sorted((self._sysfs / "module").glob("hy*cu/version"))
        return read(versions[0]) if versions else ""


def _read_card(device_id: DeviceId, pci: DcuCard) -> Reading:
    sensors = pci.sensors()
    generation, width = pci.link()
    return Reading(
        sample=DeviceSample(
            device_id=device_id,
            utilization_percent=percent(pci.number("gpu_busy_percent")),
            memory_utilization_percent=percent(pci.number("mem_busy_percent")),
            vram_used_bytes=pci.number("mem_info_vram_used"),
            power_watts=_scaled(sensors, "power", MICROWATTS_PER_WATT),
            temperature_celsius=celsius(_scaled(sensors, "edge", MILLIDEGREES_PER_DEGREE)),
            memory_temperature_celsius=celsius(_scaled(sensors, "mem", MILLIDEGREES_PER_DEGREE)),
            core_clock_mhz=_clock_mhz(sensors, "sclk"),
            memory_clock_mhz=_clock_mhz(sensors, "mclk"),
            pcie_generation=generation,
            pcie_width=width,
        ),
        counters=Counters(pcie_replays=pci.number("pcie_replay_count")),
    )


def _scaled(sensors: Mapping[str, int], name: str, unit: int) -> float | None:
    return sensors[name] / unit if name in sensors else None


def _clock_mhz(sensors: Mapping[str, int], name: str) -> int | None:
    return positive(sensors[name] // HZ_PER_MHZ) if name in sensors else None


def _address(properties: Mapping[str, int]) -> str:
    return pci_address(properties.get("domain", 0), properties.get("location_id", 0))


def _is_xgmi(link: Mapping[str, int]) -> bool:
    return link.get("type") == IO_LINK_XGMI and "node_to" in link


def _wire(peer: DeviceId, link: Mapping[str, int]) -> Link:
    return Link(
        peer=peer,
        type=LinkType.XGMI,
        lanes=1,
        bandwidth_gbytes_s=DIRECTIONS * link.get("max_bandwidth", 0) / MBYTES_PER_GBYTE,
        latency_ns=link.get("min_latency", 0),
    )


def _children(directory: Path) -> list[dict[str, int]]:
    return [_properties(child) for child in sorted(directory.glob("[0-9]*"))]


def _properties(directory: Path) -> dict[str, int]:
    """Read lines of a name and a decimal number; a file that is not there has none."""
    pairs = (line.partition(" ") for line in read(directory / "properties").splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}
