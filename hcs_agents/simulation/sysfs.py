"""The part of `/sys` that shows a node's cards: the PCI devices, and KFD's topology of Hygon's.

The tree stands beside the scenario file and follows it. A new one is made in full, then a symbolic
link is turned to it, so a reader finds the old or the new one. Files hold what the kernel's hold.
What the driver adds is there only while it is loaded; that a card hangs cannot be shown in files.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hcs_bus.names import LinkType, Vendor

if TYPE_CHECKING:  # it is the one who calls
    from hcs_agents.simulation.scenario import Scenario, SimDevice

PCI_VENDORS = {
    Vendor.NVIDIA: 0x10DE,
    Vendor.HUAWEI: 0x19E5,
    Vendor.HYGON: 0x1D94,
    Vendor.CAMBRICON: 0xCABC,
    Vendor.MTHREADS: 0x1ED5,
}
PCI_DEVICES = {"Z100L": 0x55B7, "K100": 0x62B7, "K100_AI": 0x6210, "BW200": 0x6310}
PCI_CLASS = 0x0B4000  # a co-processor
PORT_CLASS = 0x060400  # a bridge
CPU_CORES = 64
CPUS_PER_NUMA_NODE = 32
SIMDS = 480  # 120 compute units of four
LINK_PCIE, LINK_XGMI = 2, 11
WEIGHT_PCIE, WEIGHT_XGMI = 20, 15  # KFD's own; larger is further
LATENCY_PCIE_NS, LATENCY_XGMI_NS = 0, 700  # of the simulated platform; 0: it does not state it
BANDWIDTH_PCIE_MBYTES_S, BANDWIDTH_XGMI_MBYTES_S = 32_000, 46_000
HEAP_SYSTEM, HEAP_PRIVATE = 0, 2
CPU_NODE = 0  # the cards' nodes follow it
TRANSFER_RATES = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0"}
"""GT/s of PCIe's generations, as the kernel writes them."""


def tree_of(scenario_file: Path) -> Path:
    """Return where the tree of a scenario file is."""
    return scenario_file.with_suffix(".sysfs")


def write_tree(scenario: "Scenario", link: Path) -> None:
    """Put the tree in place of whatever `link` leads to."""
    old = link.resolve() if link.is_symlink() else None
    tree = link.with_name(f".{link.name}.{scenario.generation}")
    shutil.rmtree(tree, ignore_errors=True)  # of a writer that was killed
    loaded = Vendor.HYGON not in scenario.drivers_down.split()
    (tree / "bus/pci/devices").mkdir(parents=True)
    for number, device in enumerate(scenario.devices):
        if device.present:
            card = _write_pci(device, tree, port_number=number)
            if loaded and device.vendor is Vendor.HYGON:
                _write_driver(device, card, monitor=number)
    if loaded and any(device.vendor is Vendor.HYGON for device in scenario.devices):
        _write_nodes(scenario, tree / "class/kfd/kfd/topology/nodes")
        _write(tree / "module/hydcu/version", scenario.hygon_driver)
    turned = link.with_name(f".{link.name}.new")
    turned.unlink(missing_ok=True)
    turned.symlink_to(tree.name)
    turned.replace(link)
    if old is not None and old != tree:
        shutil.rmtree(old, ignore_errors=True)


def _present(scenario: "Scenario") -> "dict[int, SimDevice]":
    """Return Hygon's cards that are there by their numbers over the node."""
    return {
        number: device
        for number, device in enumerate(scenario.devices)
        if device.vendor is Vendor.HYGON and device.present
    }


def _write_nodes(scenario: "Scenario", nodes: Path) -> None:
    present = _present(scenario)
    node_of = {number: CPU_NODE + 1 + place for place, number in enumerate(present)}
    _write_properties(nodes / str(CPU_NODE), {"cpu_cores_count": CPU_CORES, "simd_count": 0})
    _write(nodes / str(CPU_NODE) / "gpu_id", "0")
    _write_properties(nodes / str(CPU_NODE) / "mem_banks/0", {"heap_type": HEAP_SYSTEM})
    for number, device in present.items():
        _write_card(device, nodes / str(node_of[number]), gpu_id=number + 1)
        peers = _peers(scenario, number, node_of)
        links = [_io_link(node_of[number], CPU_NODE, LINK_PCIE)]
        links += [_io_link(node_of[number], peer, LINK_XGMI) for peer in peers]
        for place, link in enumerate(links):
            _write_properties(nodes / str(node_of[number]) / "io_links" / str(place), link)


def _io_link(node: int, peer: int, kind: int) -> dict[str, int]:
    direct = kind == LINK_XGMI
    latency_ns = LATENCY_XGMI_NS if direct else LATENCY_PCIE_NS
    return {
        "type": kind,
        "version_major": 0,
        "version_minor": 0,
        "node_from": node,
        "node_to": peer,
        "weight": WEIGHT_XGMI if direct else WEIGHT_PCIE,
        "min_latency": latency_ns,
        "max_latency": latency_ns,
        "min_bandwidth": 0,
        "max_bandwidth": BANDWIDTH_XGMI_MBYTES_S if direct else BANDWIDTH_PCIE_MBYTES_S,
        "recommended_transfer_size": 0,
        "flags": 1,
    }


def _peers(scenario: "Scenario", number: int, node_of: Mapping[int, int]) -> list[int]:
    wired = [x for x in scenario.links if x.type is LinkType.XGMI and x.up and number in (x.a, x.b)]
    others = [link.b if link.a == number else link.a for link in wired]
    return sorted(node_of[other] for other in others if other in node_of)


def _write_card(device: "SimDevice", node: Path, *, gpu_id: int) -> None:
    domain, bus, slot = device.pci.split(":")
    place, function = slot.split(".")
    location = int(bus, 16) << 8 | int(place, 16) << 3 | int(function)
    _write(node / "gpu_id", str(gpu_id))
    _write(node / "name", "")  # as the driver leaves it for these cards
    _write_properties(
        node,
        {
            "cpu_cores_count": 0,
            "simd_count": SIMDS,
            "mem_banks_count": 1,
            "vendor_id": PCI_VENDORS[Vendor.HYGON],
            "device_id": PCI_DEVICES.get(device.model, 0),
            "location_id": location,
            "domain": int(domain, 16),
            "local_mem_size": 0,
            "unique_id": _unique_id(device),
        },
    )
    bank = {"heap_type": HEAP_PRIVATE, "size_in_bytes": device.vram_bytes, "flags": 0}
    _write_properties(node / "mem_banks/0", bank)


def _unique_id(device: "SimDevice") -> int:
    with contextlib.suppress(ValueError):  # an id that is not hexadecimal: the card has none
        return int(device.id, 16)
    return 0


def _write_pci(device: "SimDevice", tree: Path, *, port_number: int) -> Path:
    """Write what PCI itself tells of a card and of the port it is plugged into."""
    domain = device.pci.partition(":")[0]
    port = f"{domain}:00:{1 + port_number // 8:02x}.{port_number % 8}"
    slot = tree / f"devices/pci{domain}:00" / port
    _write_function(device, slot, kind=PORT_CLASS)
    card = slot / device.pci
    _write_function(device, card, kind=PCI_CLASS)
    _write(card / "vendor", f"{PCI_VENDORS[device.vendor]:#06x}")
    _write(card / "device", f"{PCI_DEVICES.get(device.model, 0):#06x}")
    link = tree / "bus/pci/devices" / device.pci
    link.unlink(missing_ok=True)  # two cards at one address: no bus has that, a scenario may
    link.symlink_to(f"../../../{card.relative_to(tree)}")
    return card


def _write_function(device: "SimDevice", directory: Path, *, kind: int) -> None:
    _write(directory / "class", f"{kind:#08x}")
    _write(directory / "numa_node", str(device.numa))
    _write(directory / "local_cpulist", _near_cpus(device.numa))
    _write(directory / "current_link_speed", _speed(device.pcie_generation))
    _write(directory / "current_link_width", str(device.pcie_width))
    _write(directory / "max_link_speed", _speed(device.pcie_generation_max))
    _write(directory / "max_link_width", str(device.pcie_width_max))


def _near_cpus(numa: int) -> str:
    """Return the CPUs of a NUMA node; all of them where the platform knows none."""
    if numa < 0:
        return f"0-{CPU_CORES - 1}"
    first = numa * CPUS_PER_NUMA_NODE
    return f"{first}-{first + CPUS_PER_NUMA_NODE - 1}"


def _speed(generation: int) -> str:
    rate = TRANSFER_RATES.get(generation)
    return "Unknown" if rate is None else f"{rate} GT/s PCIe"


def _write_driver(device: "SimDevice", card: Path, *, monitor: int) -> None:
    """Write what the driver adds to a card's directory."""
    _write(card / "gpu_busy_percent", str(device.utilization_percent))
    _write(card / "mem_busy_percent", str(device.memory_utilization_percent))
    _write(card / "mem_info_vram_total", str(device.vram_bytes))
    _write(card / "mem_info_vram_used", str(device.memory_used_bytes))
    _write(card / "pcie_replay_count", str(device.pcie_replays))
    _write(card / "serial_number", device.serial or device.id)
    _write(card / "vbios_version", device.firmware)
    sensors = {
        "temp1": ("edge", device.temperature_c * 1_000),  # millidegrees
        "temp3": ("mem", device.memory_temperature_c * 1_000),
        "freq1": ("sclk", device.core_clock_mhz * 1_000_000),  # Hz
        "freq2": ("mclk", device.memory_clock_mhz * 1_000_000),
    }
    directory = card / "hwmon" / f"hwmon{monitor}"
    for name, (label, reading) in sensors.items():
        _write(directory / f"{name}_label", label)
        _write(directory / f"{name}_input", str(reading))
    _write(directory / "power1_average", str(device.power_mw * 1_000))  # microwatts


def _write_properties(directory: Path, properties: Mapping[str, int]) -> None:
    lines = [f"{name} {value}" for name, value in properties.items()]
    _write(directory / "properties", "\n".join(lines))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "ascii")
