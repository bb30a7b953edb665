"""How cards of one node reach each other: over switches that lose links, and over PCIe alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from hcs_agents.detectors.nvidia_describe import LINKS_S
from hcs_agents.simulation import operations
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import LinkType, Vendor
from hcs_edge.cli.sim import sim
from tests.support.sampling import SamplingProcess, put, without
from tests.support.simulated import (
    FABRICS,
    UNIFORM_NODES,
    DetectorProcess,
    environment,
)

MakeNode = Callable[[str], ScenarioFile]
Reach = dict[tuple[int, int], tuple[LinkType, int, float]]

WITHOUT_FABRIC = {
    Vendor.NVIDIA: "Tesla T4",
    Vendor.HUAWEI: "310P3",
    Vendor.HYGON: "Z100L",
    Vendor.CAMBRICON: "MLU370-S4",
    Vendor.MTHREADS: "MTT S3000",
}
QUESTIONS = {
    Vendor.NVIDIA: "nvmlDeviceGetTopologyCommonAncestor",
    Vendor.CAMBRICON: "cndevTopologyGetRelationship",
    Vendor.MTHREADS: "mtmlDeviceGetTopologyLevel",
}
"""What is asked of two cards beside what wires them."""


def reach(devices: list[DeviceFingerprint]) -> Reach:
    """Return how each card reaches each other: the type, lanes and bandwidth, by their indices."""
    index_of = {device.device_id: device.index for device in devices}
    return {
        (device.index, index_of[link.peer]): (link.type, link.lanes, link.bandwidth_gbytes_s)
        for device in devices
        for link in device.links
    }


@pytest.mark.parametrize(
    ("node", "whole", "less", "least"),
    [
        ("a100-0", (12, 600), (10, 500), (8, 400)),
        ("a800-0", (8, 400), (6, 300), (4, 200)),
    ],
)
def test_a_downed_pair_on_switches_takes_links_from_both_cards_to_everybody(
    node: str,
    whole: tuple[int, float],
    less: tuple[int, float],
    least: tuple[int, float],
    libraries: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HCS_HOME", str(tmp_path))
    (tmp_path / "scenarios").mkdir()
    file = ScenarioFile(tmp_path / "scenarios" / f"{node}.ini")
    file.write(next(one for one in default_fleet() if one.node == node))

    def of_the_cards(*left: tuple[int, float]) -> Reach:
        """Return how cards reach each other whose own links are `left`, and the others' whole."""
        has = dict(enumerate(left)) | dict.fromkeys(range(len(left), 8), whole)
        return {
            (a, b): (LinkType.NVSWITCH, *min(has[a], has[b])) for a in has for b in has if a != b
        }

    def after(command: str) -> Reach:
        assert CliRunner().invoke(sim, command.split()).exit_code == 0
        detector.later(LINKS_S)
        return reach(detector.scan())

    with DetectorProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        assert reach(detector.scan()) == of_the_cards()
        assert after(f"link {node}/0 {node}/1 down") == of_the_cards(less, less)
        assert after(f"link {node}/2 {node}/0 down") == of_the_cards(least, less, less)
        assert after(f"link {node}/0 {node}/1 up") == of_the_cards(less, whole, less)
        assert after(f"link {node}/0 {node}/2 up") == of_the_cards()


# --- PCIe ----------------------------------------------------------------------------------------


def on_pcie_alone(file: ScenarioFile, vendor: Vendor) -> Reach:
    """Take a node's fabric away, and let its cards' slots differ; return how they reach others."""
    file.update(lambda s: msgspec.structs.replace(s, links=()))
    slots: dict[int, tuple[int, int, float]] = dict.fromkeys(range(8), (4, 16, 64))
    slots |= {1: (3, 16, 32), 2: (5, 4, 32), 5: (4, 8, 32), 6: (1, 1, 0.5)}
    for number, (generation, width, _) in slots.items():
        now = {"pcie_generation": generation, "pcie_width": width}
        most = {f"{name}_max": value for name, value in now.items()}
        put(file, number, model=WITHOUT_FABRIC[vendor], **now, **most)
    return {
        (a, b): (LinkType.PCIE, min(slots[a][1], slots[b][1]), min(slots[a][2], slots[b][2]))
        for a in slots
        for b in slots
        if a != b
    }


@pytest.mark.parametrize("vendor", list(Vendor))
def test_cards_without_a_fabric_reach_each_other_over_pcie_at_the_width_of_the_narrower(
    vendor: Vendor, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of(UNIFORM_NODES[vendor])
    expected = on_pcie_alone(file, vendor)
    env = environment(libraries, file.path)
    with DetectorProcess(vendor, env, sysfs=tree_of(file.path)) as detector:
        assert reach(detector.scan()) == expected


def test_without_rocm_smi_the_kernel_tells_who_is_on_pcie(
    node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    expected = on_pcie_alone(file, Vendor.HYGON)
    env = environment(tmp_path, None)
    with DetectorProcess(Vendor.HYGON, env, sysfs=tree_of(file.path)) as detector:
        assert reach(detector.scan()) == expected


def types(detector: DetectorProcess) -> list[list[LinkType]]:
    """Look at the links anew; return their types, card by card."""
    detector.later(LINKS_S)
    return [[link.type for link in device.links] for device in detector.scan()]


@pytest.mark.parametrize("vendor", list(Vendor))
def test_cards_whose_wire_is_down_are_left_with_pcie(
    vendor: Vendor, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("every-0")
    a, b = (n for n, card in enumerate(file.read().devices) if card.vendor is vendor)
    with DetectorProcess(vendor, environment(libraries, file.path)) as detector:
        assert types(detector) == [[FABRICS[vendor]]] * 2
        file.update(partial(operations.set_link, a=a, b=b, up=False))
        assert types(detector) == [[LinkType.PCIE]] * 2
        file.update(partial(operations.set_link, a=a, b=b, up=True))
        assert types(detector) == [[FABRICS[vendor]]] * 2


@pytest.mark.parametrize("vendor", list(QUESTIONS))
def test_whether_two_cards_are_on_one_pcie_is_asked_once_in_a_session(
    vendor: Vendor, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of(UNIFORM_NODES[vendor])
    on_pcie_alone(file, vendor)
    with SamplingProcess(vendor, environment(libraries, file.path)) as detector:
        found = detector.scan()
        assert detector.calls()[QUESTIONS[vendor]] == 8 * 7 / 2
        detector.later(LINKS_S)
        assert detector.scan() == found
        assert detector.calls()[QUESTIONS[vendor]] == 0
        detector.reopen()
        assert detector.scan() == found
        assert detector.calls()[QUESTIONS[vendor]] == 8 * 7 / 2


@pytest.mark.parametrize("vendor", list(QUESTIONS))
def test_a_library_that_does_not_know_where_cards_are_tells_of_no_way(
    vendor: Vendor, libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of(UNIFORM_NODES[vendor])
    on_pcie_alone(file, vendor)
    older = without(libraries, tmp_path, vendor, QUESTIONS[vendor])
    with SamplingProcess(vendor, environment(older, file.path)) as detector:
        assert reach(detector.scan()) == {}
