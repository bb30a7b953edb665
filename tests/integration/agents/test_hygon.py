"""What is Hygon's own: two layouts, error counters, and sysfs where rocm_smi is missing."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile, SimFault
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import FaultState
from hcs_bus.names import LinkType, Vendor
from tests.support.simulated import DetectorProcess, environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]


def counting(scenario: Scenario, count: int) -> Scenario:
    """Let card 1's UMC counter stand at `count`."""
    fault = SimFault(device=1, code="UMC_UE", count=max(count, 1))
    return msgspec.structs.replace(scenario, faults=(fault,) if count else ())


@pytest.mark.parametrize("wide", [0, 1])
def test_both_layouts_of_the_counters_are_understood(
    wide: int, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    file.update(lambda s: msgspec.structs.replace(s, rocm_smi_wide=wide))
    file.update(lambda s: operations.raise_fault(s, 6, "XGMI_WAFL_UE", at_ns=1))
    with DetectorProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        assert len(detector.scan()) == 8
        (signal,) = detector.wait()
    assert (signal.device_id, signal.code) == (file.read().devices[6].id, "XGMI_WAFL_UE")


def test_a_counter_that_grows_is_one_fault_and_one_that_falls_is_a_reset(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    with DetectorProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:

        def states_after(count: int) -> list[FaultState]:
            file.update(lambda s: counting(s, count))
            return [signal.state for signal in detector.wait(2.0)]

        assert states_after(3) == [FaultState.RAISED]
        assert states_after(5) == []
        assert states_after(1) == [FaultState.CLEARED, FaultState.RAISED]
        assert states_after(0) == [FaultState.CLEARED]


def test_cards_of_another_vendor_behind_the_same_library_are_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "amd.c"
    source.write_text(
        """#include <stdint.h>
        int rsmi_init(uint64_t flags) { (void)flags; return 0; }
        int rsmi_shut_down(void) { return 0; }
        int rsmi_num_monitor_devices(uint32_t *n) { *n = 2; return 0; }
        int rsmi_dev_vendor_id_get(uint32_t i, uint16_t *id) {
            *id = i ? 0x1d94 : 0x1002; return 0; }
        int rsmi_dev_unique_id_get(uint32_t i, uint64_t *id) { *id = 0xabc + i; return 0; }
        int rsmi_dev_memory_total_get(uint32_t i, int t, uint64_t *n) {
            (void)i; (void)t; *n = 7; return 0; }
        """
    )
    library = str(tmp_path / "librocm_smi64.so.2")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with DetectorProcess(Vendor.HYGON, environment(tmp_path, None)) as detector:
        (device,) = detector.scan()
        assert detector.wait(0.05) == []
    assert (device.device_id, device.index) == ("0000000000000abd", 1)
    assert (device.model, device.vram_bytes, device.numa_node) == ("", 7, -1)  # an old library


TWO_CARDS = """#include <stdint.h>
int rsmi_init(uint64_t flags) { return (int)flags; }
int rsmi_shut_down(void) { return 0; }
int rsmi_num_monitor_devices(uint32_t *n) { *n = 2; return 0; }
int rsmi_dev_vendor_id_get(uint32_t i, uint16_t *id) { (void)i; *id = 0x1d94; return 0; }
int rsmi_dev_unique_id_get(uint32_t i, uint64_t *id) { *id = 0xabc + i; return 0; }
int rsmi_topo_get_link_type(uint32_t a, uint32_t b, uint64_t *hops, int *kind) {
    *hops = HOPS; *kind = KIND; return a == b; }
"""
PCIE, XGMI = 1, 2


@pytest.mark.parametrize(
    ("kind", "hops", "types"),
    [(XGMI, 1, [LinkType.XGMI]), (XGMI, 2, []), (PCIE, 2, [LinkType.PCIE]), (0, 1, [])],
)
def test_only_a_wire_from_card_to_card_is_one(
    kind: int, hops: int, types: list[LinkType], tmp_path: Path
) -> None:
    source = tmp_path / "two.c"
    source.write_text(TWO_CARDS)
    defines = [f"-DHOPS={hops}", f"-DKIND={kind}"]
    build = ["cc", "-shared", "-fPIC", *defines, "-o", str(tmp_path / "librocm_smi64.so.2")]
    subprocess.run([*build, str(source)], check=True)
    with DetectorProcess(Vendor.HYGON, environment(tmp_path, None)) as detector:
        found = [[link.type for link in device.links] for device in detector.scan()]
    assert found == [types] * 2


def test_what_the_kernel_says_to_be_on_pcie_is_no_wire(node_of: MakeNode, tmp_path: Path) -> None:
    file = node_of("hygon-0")
    links = list(tree_of(file.path).glob("class/kfd/kfd/topology/nodes/*/io_links/*/properties"))
    of_xgmi = [one for one in links if "type 11\n" in one.read_text()]
    with DetectorProcess(
        Vendor.HYGON, environment(tmp_path, None), sysfs=tree_of(file.path)
    ) as detector:
        assert sum(map(len, fabric_of(detector.scan()))) == len(of_xgmi) > 0
        for one in of_xgmi:
            one.write_text(one.read_text().replace("type 11\n", "type 2\n"))
        devices = detector.scan()
        assert {link.type for device in devices for link in device.links} == {LinkType.PCIE}
        assert [len(device.links) for device in devices] == [7] * 8
        for one in links:
            if "node_from 1\n" in one.read_text():  # as of a card that is a processor's own part
                one.write_text(one.read_text().replace("type 2\n", "type 1\n"))
        assert [len(device.links) for device in detector.scan()] == [0] + [6] * 7


def test_without_rocm_smi_the_kernel_tells_the_same(
    libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    both, sysfs = environment(libraries, file.path), tree_of(file.path)
    with DetectorProcess(Vendor.HYGON, both, sysfs=sysfs) as detector:
        expected = [msgspec.structs.replace(d, library_version="") for d in detector.scan()]
    nothing = environment(tmp_path, file.path)
    with DetectorProcess(Vendor.HYGON, nothing, sysfs=sysfs) as detector:
        assert detector.scan() == expected


def test_without_rocm_smi_a_pulled_card_is_lost_until_it_is_back(
    node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    cards = [card.id for card in file.read().devices]
    nothing = environment(tmp_path, file.path)
    with DetectorProcess(Vendor.HYGON, nothing, sysfs=tree_of(file.path)) as detector:
        file.update(lambda s: operations.pull(s, 2))
        lost = detector.wait_until(lambda signal: signal.code == "lost")
        assert (lost.device_id, lost.state) == (cards[2], FaultState.RAISED)
        assert [device.device_id for device in detector.scan()] == cards[:2] + cards[3:]
        assert detector.wait(1.5) == []  # the kernel has numbered the others anew
        file.update(lambda s: operations.plug(s, 2))
        back = detector.wait_until(lambda signal: signal.code == "lost")
        assert (back.device_id, back.state) == (cards[2], FaultState.CLEARED)
        assert [device.device_id for device in detector.scan()] == cards


def test_a_topology_without_hygon_cards_is_a_missing_library(
    node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    for properties in tree_of(file.path).glob("class/kfd/kfd/topology/nodes/*/properties"):
        properties.write_text(properties.read_text().replace("vendor_id 7572", "vendor_id 4098"))
    nothing = environment(tmp_path, None)
    with DetectorProcess(Vendor.HYGON, nothing, sysfs=tree_of(file.path)) as detector:
        assert detector.opened["error"] == "LibraryMissingError"
