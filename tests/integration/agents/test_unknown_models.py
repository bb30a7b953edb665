"""A model that our table does not know: what its library says of it, nobody else does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.names import Vendor
from tests.support.sampling import put
from tests.support.simulated import UNIFORM_NODES, DetectorProcess, environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]


@pytest.mark.parametrize("vendor", [Vendor.NVIDIA, Vendor.CAMBRICON, Vendor.MTHREADS])
def test_its_memory_is_as_fast_as_its_library_says(
    vendor: Vendor, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of(UNIFORM_NODES[vendor])
    known = file.read().devices[3].memory_bandwidth_gbytes_s
    put(file, 0, model="of next year", memory_bandwidth_gbytes_s=1_024)
    put(file, 1, model="of next year", memory_bandwidth_gbytes_s=0)  # it does not say
    put(file, 2, memory_bandwidth_gbytes_s=1_024)  # the data sheet counts
    with DetectorProcess(vendor, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    told = [device.memory_bandwidth_gbytes_s for device in devices[:3]]
    assert told == [1_024, 0, pytest.approx(known, abs=1)]
    assert (devices[0].model, devices[0].fp16_gflops) == ("of next year", 0)


@pytest.mark.parametrize("has_library", [True, False])
def test_its_xgmi_is_as_fast_as_the_kernel_says(
    has_library: bool, libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    put(file, 0, model="of next year")
    links = tree_of(file.path).glob("class/kfd/kfd/topology/nodes/1/io_links/*/properties")
    for link in links:
        text = link.read_text()
        link.write_text(text.replace("max_bandwidth 46000\n", "max_bandwidth 64000\n"))
    env = environment(libraries if has_library else tmp_path, file.path)
    with DetectorProcess(Vendor.HYGON, env, sysfs=tree_of(file.path)) as detector:
        first, second, *_ = fabric_of(detector.scan())
    assert {link.bandwidth_gbytes_s for link in first} == {128}  # both directions
    assert {link.bandwidth_gbytes_s for link in second} == {92}  # as the data sheet says
