"""The part of `/sys` that shows a node's Hygon cards: KFD's topology, and the PCI devices.

The tree stands beside the scenario file and follows it. A new one is made in full, then a symbolic
link is turned to it, so a reader finds the old or the new one. Files hold what the kernel's hold.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hcs_bus.names import LinkType, Vendor

if TYPE_CHECKING:  # it is the one who calls
    from hcs_agents.simulation.scenario import Scenario, SimDevice

PCI_VENDOR = 0x1D94
PCI_DEVICES = {"Z100L": 0x55B7, "K100": 0x62B7, "K100_AI": 0x6210, "BW200": 0x6310}
CPU_CORES = 64
SIMDS = 480  # 120 compute units of four
LINK_PCIE, LINK_XGMI = 2, 11
WEIGHT_PCIE, WEIGHT_XGMI = 20, 15  # KFD's own; larger is further
HEAP_SYSTEM, HEAP_PRIVATE = 0, 2
CPU_NODE = 0  # the cards' nodes follow it


def tree_of(scenario_file: Path) -> Path:
    """Return where the tree of a scenario file is."""
    return scenario_file.with_suffix(".sysfs")


def write_tree(scenario: "Scenario", link: Path) -> None:
    """Put the tree in place of whatever `link` leads to."""
    old = link.resolve() if link.is_symlink() else None
    tree = link.with_name(f".{link.name}.{scenario.generation}")
    shutil.rmtree(tree, ignore_errors=True)  # of a writer that was killed
    _write_nodes(scenario, tree / "class/kfd/kfd/topology/nodes")
    for device in _present(scenario).values():
        _write_pci(device, tree / "bus/pci/devices" / device.pci)
    _write(tree / "module/hydcu/version", scenario.hygon_driver)
    turned = link.with_name(f".{link.name}.new")
    turned.unlink(missing_ok=True)
    turned.symlink_to(tree.name)
    turned.replace(link)
    if old is not None and old != tree:
        shutil.rmtree(old, ignore_errors=True)


def _present(scenario: "Scenario") -> "dict[int, SimDevice]":
    """Return the cards that are there by their numbers over the node."""
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
        for place, (peer, kind, weight) in enumerate(
            [(CPU_NODE, LINK_PCIE, WEIGHT_PCIE)] + [(one, LINK_XGMI, WEIGHT_XGMI) for one in peers]
        ):
            _write_properties(
                nodes / str(node_of[number]) / "io_links" / str(place),
                {"type": kind, "node_from": node_of[number], "node_to": peer, "weight": weight},
            )


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
            "vendor_id": PCI_VENDOR,
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


def _write_pci(device: "SimDevice", directory: Path) -> None:
    _write(directory / "vendor", f"{PCI_VENDOR:#06x}")
    _write(directory / "device", f"{PCI_DEVICES.get(device.model, 0):#06x}")
    _write(directory / "numa_node", str(device.numa))


def _write_properties(directory: Path, properties: Mapping[str, int]) -> None:
    lines = [f"{name} {value}" for name, value in properties.items()]
    _write(directory / "properties", "\n".join(lines))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "ascii")
