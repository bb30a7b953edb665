"""What a library does not tell of a card's place on PCI, the kernel tells, for every vendor."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.pci import PciCard, complete
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.names import Vendor
from tests.support.detectors import fingerprint_of
from tests.support.sampling import SamplingProcess, put, without
from tests.support.simulated import UNIFORM_NODES, environment

MakeNode = Callable[[str], ScenarioFile]
CARD = 5
LACKING = {
    Vendor.NVIDIA: (
        "nvmlDeviceGetMaxPcieLinkGeneration",
        "nvmlDeviceGetMaxPcieLinkWidth",
        "nvmlDeviceGetCpuAffinity",
        "nvmlDeviceGetMemoryAffinity",
    ),
    Vendor.HUAWEI: ("dcmi_get_affinity_cpu_info_by_device_id",),
    Vendor.HYGON: ("rsmi_dev_pci_bandwidth_get", "rsmi_topo_numa_affinity_get"),
    Vendor.CAMBRICON: (
        "cndevGetMaxPCIInfo",
        "cndevGetDeviceAffinity",
        "cndevGetNUMANodeIdByDevId",
    ),
    Vendor.MTHREADS: (
        "mtmlDeviceGetCpuAffinityWithinNode",
        "mtmlDeviceGetMemoryAffinityWithinNode",
    ),
}


@pytest.mark.parametrize("vendor", list(Vendor))
def test_what_an_old_library_lacks_the_kernel_tells(
    vendor: Vendor, libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of(UNIFORM_NODES[vendor])
    put(file, CARD, numa=1, pcie_generation_max=3, pcie_width_max=8)
    old = tmp_path / "old"
    old.mkdir()
    env = environment(without(libraries, old, vendor, *LACKING[vendor]), file.path)
    with SamplingProcess(vendor, env, sysfs=tree_of(file.path)) as detector:
        device = detector.scan()[CARD]
    assert (device.pcie_generation_max, device.pcie_width_max) == (3, 8)
    assert (device.numa_node, device.cpu_affinity) == (1, "32-63")


def test_another_vendors_card_at_the_address_tells_nothing(
    node_of: MakeNode,
) -> None:
    file = node_of("a100-0")
    sysfs = tree_of(file.path)
    card = msgspec.structs.replace(fingerprint_of(0), pci_address="0000:07:00.0", numa_node=-1)
    assert complete(card, sysfs).pcie_width_max == 16
    other = msgspec.structs.replace(card, vendor=Vendor.HUAWEI)
    assert complete(other, sysfs) == other
    assert PciCard(sysfs, "", Vendor.NVIDIA).text("numa_node") == ""


def test_what_a_library_has_told_stands(node_of: MakeNode) -> None:
    sysfs = tree_of(node_of("a100-0").path)
    card = msgspec.structs.replace(
        fingerprint_of(0), pci_address="0000:07:00.0", numa_node=7, pcie_width_max=4
    )
    told = complete(card, sysfs)
    assert (told.numa_node, told.pcie_width_max, told.pcie_generation_max) == (7, 4, 4)


def test_a_pulled_card_is_gone_from_the_tree_and_a_plugged_one_is_back(node_of: MakeNode) -> None:
    file = node_of("every-0")
    addresses = [device.pci for device in file.read().devices]
    devices = tree_of(file.path) / "bus/pci/devices"
    assert {path.name for path in devices.iterdir()} == set(addresses)
    put(file, 3, present=0)
    assert {path.name for path in devices.iterdir()} == set(addresses) - {addresses[3]}
    put(file, 3, present=1)
    assert {path.name for path in devices.iterdir()} == set(addresses)
