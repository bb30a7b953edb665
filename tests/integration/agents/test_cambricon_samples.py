"""Cambricon's samples and fingerprints, and what an older CNDev tells instead."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.cambricon_samples import Sampler
from hcs_agents.detectors.port import Counters, Reading
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import DeviceSample, ThrottleReason
from hcs_bus.names import DeviceId, Vendor
from tests.support.sampling import WORKING, SamplingProcess, put, without
from tests.support.sampling_contract import SamplingContract
from tests.support.simulated import environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]

NEWER = ("cndevGetMemEccCounter", "cndevGetMLULinkErrorCounter")
OLDER = ("cndevGetECCInfo", "cndevGetMLULinkCounter")
OTHERS = (
    "cndevGetDeviceUtilizationInfo",
    "cndevGetDevicePowerInfo",
    "cndevGetTemperatureInfo",
    "cndevGetFrequencyInfo",
    "cndevGetPerformanceThrottleReason",
    "cndevGetCurrentPCIInfo",
    "cndevGetPcieReplayCounter",
)
IDENTITY = (
    "cndevGetCardSN",
    "cndevGetCoreCount",
    "cndevGetDeviceAffinity",
    "cndevGetMaxPCIInfo",
    "cndevGetLibVersion",
    "cndevGetVersionInfo",
)


class TestCambriconSamples(SamplingContract):
    """What holds of every vendor."""

    vendor = Vendor.CAMBRICON


@pytest.fixture
def file(node_of: MakeNode) -> ScenarioFile:
    """Return a node with a working card."""
    file = node_of("cambricon-0")
    put(file, 6, **WORKING)
    return file


def expected(file: ScenarioFile) -> Reading:
    """Return what card 6 has to say of itself; no function tells how busy its memory is."""
    return Reading(
        sample=DeviceSample(
            device_id=DeviceId(file.read().devices[6].id),
            utilization_percent=87,
            vram_used_bytes=3 * 1024**3,
            power_watts=312,
            temperature_celsius=71,
            memory_temperature_celsius=83,
            core_clock_mhz=1_234,
            memory_clock_mhz=1_593,
            throttle_reasons=(ThrottleReason.THERMAL,),
            pcie_generation=3,
            pcie_width=8,
        ),
        counters=Counters(ecc_corrected=5, ecc_uncorrected=2, pcie_replays=9, link_errors=4),
    )


def test_a_working_card_is_told_in_the_events_own_units(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert detector.sample()[6] == expected(file)


def test_an_older_library_counts_errors_with_other_functions(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    old = without(libraries, tmp_path, Vendor.CAMBRICON, *NEWER)
    with SamplingProcess(Vendor.CAMBRICON, environment(old, file.path)) as detector:
        assert detector.sample()[6] == expected(file)


def test_what_the_library_lacks_is_not_told(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    old = without(libraries, tmp_path, Vendor.CAMBRICON, *NEWER, *OLDER, *OTHERS, *IDENTITY)
    with SamplingProcess(Vendor.CAMBRICON, environment(old, file.path)) as detector:
        reading, device = detector.sample()[6], detector.scan()[6]
    card = file.read().devices[6]
    assert reading == Reading(
        sample=DeviceSample(device_id=DeviceId(card.id), vram_used_bytes=card.memory_used_bytes)
    )
    assert (device.serial, device.firmware_version, device.library_version) == ("", "", "")
    assert (device.matrix_cores, device.cpu_affinity, device.driver_version) == (0, "", "")
    assert (device.pcie_generation_max, device.pcie_width_max) == (0, 0)


@pytest.mark.parametrize("throttle", ["", *ThrottleReason])
def test_the_driver_says_what_holds_a_card_back(
    throttle: str, file: ScenarioFile, libraries: Path
) -> None:
    put(file, 0, throttle=throttle)
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        reasons = detector.sample()[0].sample.throttle_reasons
    assert reasons == ((ThrottleReason(throttle),) if throttle else ())


def test_the_fingerprint_has_all_that_the_library_tells(
    file: ScenarioFile, libraries: Path
) -> None:
    put(file, 0, serial="1234abcd5678ef", firmware="1.1.4", pcie_generation_max=5, pcie_width_max=8)
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        first, *_, last = detector.scan()
    assert (first.serial, first.firmware_version, first.library_version) == (
        *("1234abcd5678ef", "1.1.4"),
        "6.0.0",
    )
    assert last.firmware_version == ""
    assert (first.pcie_generation_max, first.pcie_width_max) == (5, 8)
    assert (first.int8_gops, first.matrix_cores) == (256_000, 16)
    assert (first.cpu_affinity, last.cpu_affinity) == ("0-31", "32-63")


def test_cpus_beyond_the_first_word_of_the_map_are_the_right_ones(
    file: ScenarioFile, libraries: Path
) -> None:
    put(file, 0, numa=5)
    put(file, 1, numa=-1)
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert [device.cpu_affinity for device in detector.scan()[:3]] == ["160-191", "", "0-31"]


def test_a_port_that_goes_down_is_gone_from_the_next_fingerprint(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert {len(links) for links in fabric_of(detector.scan())} == {1}
        scenario = file.read()
        down = msgspec.structs.replace(scenario.links[0], up=0)
        file.write(msgspec.structs.replace(scenario, links=(down, *scenario.links[1:])))
        assert [len(links) for links in fabric_of(detector.scan())] == [0, 0, 1, 1, 1, 1, 1, 1]


def test_errors_of_several_ports_are_counted_together(file: ScenarioFile, libraries: Path) -> None:
    scenario = file.read()
    wide = tuple(msgspec.structs.replace(link, lanes=3) for link in scenario.links)
    file.write(msgspec.structs.replace(scenario, links=wide))
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert [one.counters.link_errors for one in detector.sample()[5:]] == [0, 4, 0]


def test_a_card_without_ports_counts_no_link_errors(file: ScenarioFile, libraries: Path) -> None:
    file.update(lambda s: msgspec.structs.replace(s, links=()))
    with SamplingProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert {one.counters.link_errors for one in detector.sample()} == {None}


class CountingPorts:
    """A driver whose card has two ports, which have both functions; the test says how they are."""

    version = 6

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], int] = {}  # by function and port; the others are fine

    def call(self, *_: object) -> int:
        """Know nothing else."""
        return abi.NOT_SUPPORTED

    def fill(self, *_: object) -> bool:
        """Know nothing else."""
        return False

    def port_count(self, handle: int) -> int:
        """Return how many ports the card has."""
        assert handle == 0
        return 2

    def ask(self, name: str, structure: ctypes.Structure, handle: int, port: int = -1) -> int:
        """Count 600 and 400 errors with the newer function, a few with the older one."""
        assert handle == 0
        result = self.answers.get((name, port), abi.OK if port >= 0 else abi.NOT_SUPPORTED)
        if result == abi.OK and isinstance(structure, abi.LinkErrors):
            structure.fec_uncorrected = (600, 400)[port]
        elif result == abi.OK and isinstance(structure, abi.LinkCounters):
            structure.crc24 = 3
        return result

    def link_errors(self, sampler: Sampler) -> int | None:
        """Return what a sample says of the ports."""
        return sampler._counters(DeviceId("card"), 0).link_errors


def test_what_a_port_does_not_tell_for_a_moment_makes_no_new_errors() -> None:
    driver = CountingPorts()
    sampler = Sampler(driver)  # type: ignore[arg-type]  # a stand-in for the library
    assert driver.link_errors(sampler) == 1000
    for result in (abi.TIMEOUT, abi.NOT_SUPPORTED):
        driver.answers = {("cndevGetMLULinkErrorCounter", 0): result}
        assert driver.link_errors(sampler) is None
    driver.answers = {}
    assert driver.link_errors(sampler) == 1000


def test_a_port_that_times_out_at_first_is_not_counted_by_the_older_function() -> None:
    driver = CountingPorts()
    sampler = Sampler(driver)  # type: ignore[arg-type]  # a stand-in for the library
    driver.answers = {("cndevGetMLULinkErrorCounter", 1): abi.TIMEOUT}
    assert driver.link_errors(sampler) is None
    driver.answers = {}
    assert driver.link_errors(sampler) == 1000


def test_a_port_that_has_no_counter_is_left_out() -> None:
    driver = CountingPorts()
    sampler = Sampler(driver)  # type: ignore[arg-type]  # a stand-in for the library
    names = ("cndevGetMLULinkErrorCounter", "cndevGetMLULinkCounter")
    driver.answers = {(name, 1): abi.NOT_SUPPORTED for name in names}
    assert driver.link_errors(sampler) == 600
