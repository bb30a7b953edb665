"""What an NVIDIA card is and does, from the scenario through NVML to the detector."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pynvml
import pytest

from hcs_agents.detectors.nvidia import REOPEN_S_INITIAL
from hcs_agents.detectors.nvidia_describe import LINKS_S
from hcs_agents.detectors.port import Counters
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile, SimLink
from hcs_bus.events import DeviceSample, FaultState, Link, ThrottleReason
from hcs_bus.names import DeviceId, LinkType, Vendor
from tests.support.sampling import SamplingProcess, drivers_down, put, without
from tests.support.simulated import CHECKOUT, environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]

WORKING: dict[str, int | str] = {
    "utilization_percent": 87,
    "memory_utilization_percent": 41,
    "memory_used_bytes": 3 * 1024**3,
    "power_mw": 312_500,
    "temperature_c": 71,
    "memory_temperature_c": 83,
    "core_clock_mhz": 1_215,
    "memory_clock_mhz": 1_593,
    "pcie_generation": 3,
    "pcie_width": 8,
    "throttle": "power",
    "ecc_corrected": 2**40 + 5,
    "ecc_uncorrected": 2,
    "pcie_replays": 19,
    "link_errors": 2**40 + 3,
}


@pytest.fixture
def node(node_of: MakeNode) -> ScenarioFile:
    """Return a node whose first two cards are NVIDIA's, with 12 NVLinks between them."""
    return node_of("mixed-0")


def with_links(scenario: Scenario, *links: SimLink) -> Scenario:
    return msgspec.structs.replace(scenario, links=links)


# --- Fingerprints --------------------------------------------------------------------------------


def test_a_fingerprint_says_all_that_a_card_is(libraries: Path, node: ScenarioFile) -> None:
    put(node, 0, serial="1652021000042", firmware="92.00.45.00.03")
    put(node, 1, numa=1, pcie_generation_max=5, pcie_width_max=8)
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        first, second = detector.scan()
    assert (first.serial, first.firmware_version) == ("1652021000042", "92.00.45.00.03")
    assert (first.int8_gops, first.matrix_cores) == (624_000, 432)
    assert (first.driver_version, first.library_version) == ("550.127.08", "12.550.127.08")
    assert first.runtime_version == "12.4"
    assert (first.pcie_generation_max, first.pcie_width_max) == (4, 16)
    assert (second.pcie_generation_max, second.pcie_width_max) == (5, 8)
    assert (first.cpu_affinity, second.cpu_affinity) == ("0-47", "48-95")
    assert (second.serial.isdecimal(), len(second.serial)) == (True, 13)
    assert second.firmware_version == ""  # the scenario gives it none


def test_a_fingerprint_stays_the_same_while_the_card_works(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        idle = detector.scan()
        put(node, 0, **WORKING)
        assert detector.scan() == idle


@pytest.mark.parametrize(
    ("model", "matrix_cores"),
    [
        ("Tesla V100-SXM2-32GB", 640),
        ("Tesla T4", 320),
        ("NVIDIA A40", 336),
        ("NVIDIA L40S", 568),
        ("NVIDIA H100 80GB HBM3", 528),
        ("NVIDIA GeForce GTX 1660", 0),  # of the T4's compute capability, without tensor cores
        ("NVIDIA of next year", 0),
    ],
)
def test_tensor_cores_are_as_many_as_the_data_sheet_says(
    model: str, matrix_cores: int, libraries: Path, node: ScenarioFile
) -> None:
    put(node, 0, model=model)
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        assert detector.scan()[0].matrix_cores == matrix_cores


def test_cards_on_switches_reach_each_other_and_nobody_else(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("a100-0")
    wires = [SimLink(a=n, b=n + 1, type=LinkType.NVSWITCH, lanes=6) for n in range(3)]
    cable = SimLink(a=6, b=7, type=LinkType.NVLINK, lanes=4)
    file.update(lambda s: with_links(s, *wires, cable))
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        devices = detector.scan()
        ids = [device.device_id for device in devices]
        for number in range(4):
            peers = sorted(set(ids[:4]) - {ids[number]})
            assert fabric_of(devices)[number] == tuple(
                Link(peer=peer, type=LinkType.NVSWITCH, lanes=6, bandwidth_gbytes_s=300)
                for peer in peers
            )
        assert fabric_of(devices)[4:6] == [(), ()]
        to_seven = Link(peer=ids[7], type=LinkType.NVLINK, lanes=4, bandwidth_gbytes_s=200)
        assert fabric_of(devices)[6] == (to_seven,)


def test_a_link_that_goes_down_is_missing_in_the_next_fingerprint(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("a100-0")
    wires = [SimLink(a=n, b=n + 1, type=LinkType.NVSWITCH, lanes=2) for n in range(2)]
    cable = SimLink(a=6, b=7, type=LinkType.NVLINK, lanes=4)
    file.update(lambda s: with_links(s, *wires, cable))
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        assert [len(links) for links in fabric_of(detector.scan())] == [2, 2, 2, 0, 0, 0, 1, 1]
        down = [msgspec.structs.replace(link, up=0) for link in (wires[0], cable)]
        file.update(lambda s: with_links(s, down[0], wires[1], down[1]))
        detector.later(LINKS_S)
        assert fabric_of(detector.scan()) == [()] * 8  # the third card is alone on its switch


# --- Samples -------------------------------------------------------------------------------------


def test_a_sample_says_all_that_a_card_does(libraries: Path, node: ScenarioFile) -> None:
    put(node, 0, **WORKING)
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        first, second = detector.sample()
    cards = node.read().devices
    assert first.sample == DeviceSample(
        device_id=DeviceId(cards[0].id),
        utilization_percent=87,
        memory_utilization_percent=41,
        vram_used_bytes=3 * 1024**3,
        power_watts=312.5,
        temperature_celsius=71,
        memory_temperature_celsius=83,
        core_clock_mhz=1_215,
        memory_clock_mhz=1_593,
        throttle_reasons=(ThrottleReason.POWER,),
        pcie_generation=3,
        pcie_width=8,
    )
    assert first.counters == Counters(
        ecc_corrected=2**40 + 5,
        ecc_uncorrected=2,
        pcie_replays=19,
        link_errors=2**40 + 3,
    )
    assert (second.sample.device_id, second.sample.utilization_percent) == (cards[1].id, 0)
    assert second.counters == Counters(
        ecc_corrected=0, ecc_uncorrected=0, pcie_replays=0, link_errors=0
    )


def test_what_changes_is_seen_by_the_next_sample(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        before = detector.sample()[0]
        assert (before.sample.temperature_celsius, before.sample.pcie_width) == (35, 16)
        put(node, 0, temperature_c=93, ecc_corrected=7, pcie_width=4, throttle="thermal")
        after = detector.sample()[0]
        assert (after.sample.temperature_celsius, after.sample.pcie_width) == (93, 4)
        assert after.sample.throttle_reasons == (ThrottleReason.THERMAL,)
        assert after.counters.ecc_corrected == 7
        put(node, 0, temperature_c=-12, memory_temperature_c=-3, throttle="")
        cold = detector.sample()[0].sample
        assert (cold.temperature_celsius, cold.memory_temperature_celsius) == (-12, -3)
        assert cold.throttle_reasons == ()


@pytest.mark.parametrize("reason", list(ThrottleReason))
def test_reasons_for_low_clocks_are_told_apart(
    reason: ThrottleReason, libraries: Path, node: ScenarioFile
) -> None:
    put(node, 0, throttle=str(reason), utilization_percent=50)
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        throttled, idle = detector.sample()
    assert throttled.sample.throttle_reasons == (reason,)
    assert idle.sample.throttle_reasons == ()  # that nothing runs is no reason


def test_a_lost_card_is_left_out_until_it_is_back(libraries: Path, node: ScenarioFile) -> None:
    ids = [device.id for device in node.read().devices]
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.pull(s, 0))
        detector.calls()
        assert [reading.sample.device_id for reading in detector.sample()] == [ids[1]]
        assert detector.calls()["nvmlDeviceGetPowerUsage"] == 1  # what is gone is asked no more
        node.update(lambda s: operations.plug(s, 0))
        assert [reading.sample.device_id for reading in detector.sample()] == [ids[1]]
        detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
        detector.later(REOPEN_S_INITIAL)  # NVML sees it again after a new init
        detector.wait_until(lambda signal: signal.state is FaultState.CLEARED)
        assert [reading.sample.device_id for reading in detector.sample()] == ids[:2]


def test_a_card_without_links_counts_no_link_errors(libraries: Path, node: ScenarioFile) -> None:
    node.update(with_links)
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        assert {reading.counters.link_errors for reading in detector.sample()} == {None}


def test_a_sample_takes_ten_calls_a_card(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        detector.calls()
        detector.sample()
        assert detector.calls().total() == 2 * 10


def test_what_the_driver_lacks_is_unknown_and_looked_for_once(
    libraries: Path, node: ScenarioFile, tmp_path: Path
) -> None:
    missing = (
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetCurrPcieLinkWidth",
        "nvmlDeviceGetVbiosVersion",
        "nvmlDeviceGetNumGpuCores",
        "nvmlDeviceGetMaxPcieLinkGeneration",
        "nvmlDeviceGetCpuAffinity",
        "nvmlSystemGetNVMLVersion",
        "nvmlSystemGetCudaDriverVersion",
    )
    older = without(libraries, tmp_path, Vendor.NVIDIA, *missing)
    put(node, 0, **WORKING, firmware="92.00.45.00.03")
    with SamplingProcess(Vendor.NVIDIA, environment(older, node.path)) as detector:
        device = detector.scan()[0]
        assert (device.firmware_version, device.matrix_cores) == ("", 0)
        assert (device.pcie_generation_max, device.pcie_width_max) == (0, 16)
        assert (device.cpu_affinity, device.library_version, device.runtime_version) == ("", "", "")
        detector.calls()
        first = detector.sample()[0]
        assert first.counters == Counters()
        assert (first.sample.utilization_percent, first.sample.power_watts) == (None, None)
        assert (first.sample.memory_temperature_celsius, first.sample.pcie_width) == (None, None)
        assert (first.sample.temperature_celsius, first.sample.pcie_generation) == (71, 3)
        assert {name for name in detector.calls() if name in missing} == set(missing[:4])
        assert detector.sample()[0] == first
        assert not {name for name in detector.calls() if name in missing}
        detector.reopen()  # the driver may be another one now
        detector.calls()
        detector.sample()
        assert {name for name in detector.calls() if name in missing} == set(missing[:4])


def test_older_names_serve_where_the_newer_ones_are_missing(
    libraries: Path, node: ScenarioFile, tmp_path: Path
) -> None:
    newer = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons")
    older = without(libraries, tmp_path, Vendor.NVIDIA, *newer)
    put(node, 0, **WORKING)
    with SamplingProcess(Vendor.NVIDIA, environment(older, node.path)) as detector:
        sample = detector.sample()[0].sample
        assert (sample.temperature_celsius, sample.throttle_reasons) == (
            71,
            (ThrottleReason.POWER,),
        )
        detector.calls()
        detector.sample()
        assert not {name for name in detector.calls() if name in newer}


# --- The driver ----------------------------------------------------------------------------------


def test_a_driver_that_goes_away_breaks_the_session_until_it_is_opened_anew(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        drivers_down(node, "huawei nvidia")
        for command in ("sample", "scan", "wait 0.1", "reopen"):
            assert detector.error_of(command) == "LibraryBrokenError"
        drivers_down(node, "")
        detector.open()
        assert len(detector.sample()) == len(detector.scan()) == 2
        node.update(lambda s: operations.raise_fault(s, 0, "79", at_ns=1))
        assert detector.wait_until(lambda _: True).code == "79"


def test_a_session_does_not_outlive_its_driver(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        drivers_down(node, "nvidia")
        assert detector.error_of("sample") == "LibraryBrokenError"
        drivers_down(node, "")
        assert detector.error_of("sample") == "LibraryBrokenError"
        detector.reopen()
        assert len(detector.sample()) == 2


def test_the_driver_of_another_vendor_is_no_concern(libraries: Path, node: ScenarioFile) -> None:
    drivers_down(node, "huawei")
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        assert len(detector.sample()) == 2


@pytest.mark.parametrize("command", ["sample", "scan", "reopen"])
def test_a_call_about_a_hanging_card_returns_when_the_hang_ends(
    command: str, libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        put(node, 1, hangs=1)
        detector.begin(command)
        assert detector.is_blocked()
        put(node, 0, utilization_percent=1)  # any other change leaves it blocked
        assert detector.is_blocked()
        put(node, 1, hangs=0, temperature_c=64)
        answer = detector.finish()
        if command == "sample":
            assert answer[1]["sample"]["temperature_celsius"] == 64  # read after the hang
        assert detector.sample()[1].sample.temperature_celsius == 64


def test_wrong_questions_get_nvmls_own_return_codes(libraries: Path, node: ScenarioFile) -> None:
    text = subprocess.run(
        [sys.executable, "-m", "tests.support.nvml_child", "questions"],
        env=environment(libraries, node.path),
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    ).stdout
    answers: dict[str, Any] = json.loads(text)
    assert answers == {
        "no such clock": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "video clock": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "no such sensor": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "wrong version": pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        "no pointer": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "mask too short": pynvml.NVML_ERROR_INSUFFICIENT_SIZE,
        "no firmware": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "types": [pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT],
        "driver gone": pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        "init without driver": pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        "driver back": pynvml.NVML_ERROR_UNINITIALIZED,
        "end": pynvml.NVML_SUCCESS,
        "init": pynvml.NVML_SUCCESS,
        "after init": pynvml.NVML_SUCCESS,
    }
