"""Moore Threads' samples and fingerprints, and what an older MTML leaves open."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import Counters, Reading
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import DeviceSample
from hcs_bus.names import DeviceId, Vendor
from tests.support.sampling import WORKING, SamplingProcess, put, without
from tests.support.sampling_contract import SamplingContract
from tests.support.simulated import environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]

NUMBERS = (
    "mtmlDeviceGetPowerUsage",
    "mtmlMemoryGetClock",
    "mtmlMemoryGetUtilization",
    "mtmlMemoryGetEccErrorCounter",
    "mtmlDeviceGetPciInfo",
)
IDENTITY = (
    "mtmlDeviceGetSerialNumber",
    "mtmlDeviceGetMtBiosVersion",
    "mtmlDeviceGetCpuAffinityWithinNode",
    "mtmlLibraryGetVersion",
)


class TestMooreThreadsSamples(SamplingContract):
    """What holds of every vendor."""

    vendor = Vendor.MTHREADS


@pytest.fixture
def file(node_of: MakeNode) -> ScenarioFile:
    """Return a node with a working card."""
    file = node_of("mthreads-0")
    put(file, 6, **WORKING)
    return file


def test_a_working_card_is_told_in_the_events_own_units(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        reading = detector.sample()[6]
    assert reading == Reading(
        sample=DeviceSample(
            device_id=DeviceId(file.read().devices[6].id),
            utilization_percent=87,
            memory_utilization_percent=41,
            vram_used_bytes=3 * 1024**3,
            power_watts=312.5,
            temperature_celsius=71,
            core_clock_mhz=1_234,
            memory_clock_mhz=1_593,
            pcie_generation=3,
            pcie_width=8,
        ),
        counters=Counters(ecc_corrected=5, ecc_uncorrected=2),
    )


@pytest.mark.parametrize("without_gpu", ["mtmlDeviceInitGpu", "mtmlGpuGetUtilization"])
def test_what_the_library_lacks_is_not_told(
    without_gpu: str, libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    gpu = (without_gpu, "mtmlGpuGetTemperature", "mtmlGpuGetClock")
    old = without(libraries, tmp_path, Vendor.MTHREADS, *gpu, *NUMBERS, *IDENTITY)
    with SamplingProcess(Vendor.MTHREADS, environment(old, file.path)) as detector:
        reading, device = detector.sample()[6], detector.scan()[6]
    card = file.read().devices[6]
    assert reading == Reading(
        sample=DeviceSample(device_id=DeviceId(card.id), vram_used_bytes=card.memory_used_bytes)
    )
    assert (device.serial, device.firmware_version, device.library_version) == ("", "", "")
    assert (device.pci_address, device.cpu_affinity) == ("", "")
    assert (device.pcie_generation_max, device.pcie_width_max) == (0, 0)


def test_without_even_the_memory_in_use_a_card_that_answers_is_told_of(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    old = without(libraries, tmp_path, Vendor.MTHREADS, "mtmlMemoryGetUsed")
    file.update(lambda s: operations.pull(s, 0))
    with SamplingProcess(Vendor.MTHREADS, environment(old, file.path)) as detector:
        samples = [reading.sample for reading in detector.sample()]
    assert len(samples) == 7
    assert (samples[5].vram_used_bytes, samples[5].utilization_percent) == (None, 87)


def test_the_fingerprint_has_all_that_the_library_tells(
    file: ScenarioFile, libraries: Path
) -> None:
    put(file, 0, serial="S4K-77", firmware="3.4.1", pcie_generation_max=5, pcie_width_max=8)
    put(file, 1, numa=-1)
    with SamplingProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        first, second, *_, last = detector.scan()
    assert (first.serial, first.firmware_version, first.library_version) == (
        *("S4K-77", "3.4.1"),
        "2.0.0",
    )
    assert (first.pcie_generation_max, first.pcie_width_max) == (5, 8)
    assert (first.int8_gops, first.matrix_cores) == (200_000, 0)  # only shader cores are counted
    assert (first.cpu_affinity, second.cpu_affinity, last.cpu_affinity) == ("0-31", "", "32-63")
    assert second.serial == file.read().devices[1].id  # the simulation's own, where none is given


def test_a_link_that_goes_down_is_gone_from_the_next_fingerprint(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        assert {len(links) for links in fabric_of(detector.scan())} == {3}
        scenario = file.read()
        down = msgspec.structs.replace(scenario.links[0], up=0)
        file.write(msgspec.structs.replace(scenario, links=(down, *scenario.links[1:])))
        assert [len(links) for links in fabric_of(detector.scan())] == [2, 2, 3, 3, 3, 3, 3, 3]


def test_errors_that_were_told_as_faults_are_counted(file: ScenarioFile, libraries: Path) -> None:
    file.update(lambda s: operations.raise_fault(s, 6, "ECC_UNCORRECTED", at_ns=1))
    with SamplingProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        assert detector.sample()[6].counters.ecc_uncorrected == 3
