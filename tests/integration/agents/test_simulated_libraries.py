"""The simulated libraries as such: their ABI, and the scenario file under them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pynvml
import pytest
from hypothesis import HealthCheck, given, settings

from hcs_agents.detectors.bounds import MOST
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.names import NodeName, Vendor
from tests.support.nvml_child import VERSIONS_WANTED
from tests.support.sampling import SamplingProcess, put
from tests.support.scenarios import scenarios
from tests.support.simulated import CHECKOUT, LIBRARIES, DetectorProcess, environment

MakeNode = Callable[[str], ScenarioFile]

PREFIXES = {
    Vendor.NVIDIA: "nvml",
    Vendor.HUAWEI: "dcmi",  # and dcmiv2, of newer chips
    Vendor.HYGON: "rsmi_",
    Vendor.CAMBRICON: "cndev",
    Vendor.MTHREADS: "mtml",
}


def exported(library: Path) -> set[str]:
    """Return the names of a library's functions."""
    text = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], check=True, capture_output=True, text=True
    ).stdout
    return {line.split()[-1] for line in text.splitlines()}


def test_a_library_exports_the_vendors_names_and_nothing_else(libraries: Path) -> None:
    for vendor, prefix in PREFIXES.items():
        names = exported(libraries / LIBRARIES[vendor])
        assert {name[: len(prefix)] for name in names} == {prefix}


def test_a_library_has_the_vendors_soname(libraries: Path) -> None:
    for name in LIBRARIES.values():
        text = subprocess.run(
            ["readelf", "-d", str(libraries / name)], check=True, capture_output=True, text=True
        ).stdout
        assert f"Library soname: [{name}]" in text


def test_a_test_that_fails_while_its_detector_hangs_says_why_and_leaves_no_process(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    with (
        pytest.raises(ZeroDivisionError),
        SamplingProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector,
    ):
        put(file, 0, hangs=1)
        detector.begin("scan")
        raise ZeroDivisionError
    assert detector.ended


def test_a_card_that_was_away_is_lost_until_nvml_is_initialised_anew(
    libraries: Path, node_of: MakeNode
) -> None:
    text = subprocess.run(
        [sys.executable, "-m", "tests.support.nvml_child", "returns"],
        env=environment(libraries, node_of("mixed-0").path),
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    ).stdout
    assert json.loads(text) == {
        "away": pynvml.NVML_ERROR_GPU_IS_LOST,
        "plugged in": pynvml.NVML_ERROR_GPU_IS_LOST,
        "handle": pynvml.NVML_ERROR_GPU_IS_LOST,
        "neighbour": pynvml.NVML_SUCCESS,
        "second init": pynvml.NVML_ERROR_GPU_IS_LOST,
        "new session": pynvml.NVML_SUCCESS,
    }


def test_wrong_calls_get_nvmls_own_return_codes(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("mixed-0")
    file.update(lambda s: operations.pull(s, 1))
    text = subprocess.run(
        [sys.executable, "-m", "tests.support.nvml_child", "codes"],
        env=environment(libraries, file.path),
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    ).stdout
    assert json.loads(text) == {
        "count before init": pynvml.NVML_ERROR_UNINITIALIZED,
        "shutdown before init": pynvml.NVML_ERROR_UNINITIALIZED,
        "index out of range": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "lost card": pynvml.NVML_ERROR_GPU_IS_LOST,
        "no card": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "short buffer": pynvml.NVML_ERROR_INSUFFICIENT_SIZE,
        "wrong version": pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        "link out of range": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "no such link": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "unknown field": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "known field": pynvml.NVML_SUCCESS,
        "nothing happened": pynvml.NVML_ERROR_TIMEOUT,
        "unknown event": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "freed set": pynvml.NVML_ERROR_INVALID_ARGUMENT,
    }


def answers_to_wrong_calls(vendor: Vendor, libraries: Path, file: ScenarioFile) -> dict[str, int]:
    """Return what the vendor's library answers when its second card is lost."""
    file.update(lambda s: operations.pull(s, 1))
    text = subprocess.run(
        [sys.executable, "-m", "tests.support.abi_child", vendor],
        env=environment(libraries, file.path),
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    ).stdout
    answers: dict[str, int] = json.loads(text)
    return answers


@pytest.mark.parametrize(("wide", "bytes_"), [(0, 16), (1, 64)])
def test_wrong_calls_get_rocm_smis_own_return_codes(
    wide: int, bytes_: int, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    file.update(lambda s: msgspec.structs.replace(s, rocm_smi_wide=wide))
    assert answers_to_wrong_calls(Vendor.HYGON, libraries, file) == {
        "before init": 8,
        "end before init": 8,
        "init": 0,
        "no such card": 1,
        "lost card": 0xFFFFFFFF,
        "no pointer": 1,
        "short buffer": 11,
        "no such block": 2,
        "counters": 0,
        "bytes of the counters": bytes_,
        "end": 0,
    }


def test_wrong_calls_get_cndevs_own_return_codes(libraries: Path, node_of: MakeNode) -> None:
    assert answers_to_wrong_calls(Vendor.CAMBRICON, libraries, node_of("cambricon-0")) == {
        "before init": 4,
        "end before init": 4,
        "init": 0,
        "older version": 3,
        "no such card": 6,
        "lost card": 18,
        "no pointer": 5,
        "no such port": 11,
        "events": 0,
        "nothing happened": 17,
        "end of events": 0,
        "no such events": 5,
        "end": 0,
    }


def test_wrong_calls_get_mtmls_own_return_codes(libraries: Path, node_of: MakeNode) -> None:
    assert answers_to_wrong_calls(Vendor.MTHREADS, libraries, node_of("mthreads-0")) == {
        "before init": 666,
        "end before init": 666,
        "init": 0,
        "another's handle": 3,
        "no such card": 3,
        "lost card": 669,
        "card": 0,
        "memory": 0,
        "short buffer": 6,
        "no such link": 3,
        "counter": 0,
        "counter over resets": 4,
        "card for memory": 3,
        "end": 0,
    }


def test_a_reader_never_sees_half_of_a_change(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("a100-0")

    def with_memory(scenario: Scenario, used: int) -> Scenario:
        first = msgspec.structs.replace(
            scenario.devices[0], vram_bytes=2 * used, memory_used_bytes=used
        )
        return msgspec.structs.replace(scenario, devices=(first, *scenario.devices[1:]))

    file.update(lambda s: with_memory(s, 1))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.nvml_child", "halves"],
        env=environment(libraries, file.path),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        used = 1
        while reader.poll() is None:
            used += 1
            file.write(with_memory(file.read(), used))
        seen = json.loads(reader.stdout.readline())
    assert seen["wrong"] == 0
    assert seen["versions"] == VERSIONS_WANTED, "the reader has to have seen changes"


def test_the_library_reads_whatever_scenario_is_written(libraries: Path, tmp_path: Path) -> None:
    file = ScenarioFile(tmp_path / "any.ini")
    file.write(Scenario(node=NodeName("any")))

    with DetectorProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:

        @given(scenarios())
        @settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
        def check(scenario: Scenario) -> None:
            scenario = _within_limits(scenario)
            file.write(msgspec.structs.replace(scenario, generation=0))
            detector.reopen()
            seen = {(d.index, d.device_id, d.vram_bytes, d.driver_version) for d in detector.scan()}
            cards = [card for card in scenario.devices if card.vendor is Vendor.NVIDIA]
            assert seen == {
                (index, card.id, card.vram_bytes, scenario.nvidia_driver)
                for index, card in enumerate(cards)
                if card.present
            }

        check()


def _within_limits(scenario: Scenario) -> Scenario:
    """Make ids differ, and nothing larger than what the agent believes."""
    devices = tuple(
        msgspec.structs.replace(
            device,
            id=f"{place}{device.id[:90]}",
            vram_bytes=min(device.vram_bytes, int(MOST["vram_bytes"])),
        )
        for place, device in enumerate(scenario.devices)
    )
    short = scenario.nvidia_driver[:79].strip()  # NVML's own limit
    return msgspec.structs.replace(scenario, devices=devices, nvidia_driver=short)


@pytest.mark.parametrize(
    "damage",
    [
        "garbage",
        "[device.0]\nvendor = nvidia\nid = A\nvram_bytes = 18446744073709551616",
        "[device.1]\nvendor = nvidia\nid = A\npci = 0000:07:00.0",
        "[device.0]\nvendor = nvidia\nid = A\npci = 0000:07:00.0\n[link.0.1]\ntype = nvlink",
        "[event.1]\ndevice = 0\ncode = 79\nstate = raised",
        "[node]\nname = " + "x" * 600,
        "[device.0",
    ],
)
def test_a_damaged_file_leaves_the_last_good_scenario_in_force(
    damage: str, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    with DetectorProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        before = detector.scan()
        good = file.path.read_text()
        file.path.write_text(damage)
        detector.reopen()  # what a card is, a session asks once
        assert detector.scan() == before
        file.path.write_text(good.replace("550.127.08", "999.1"))
        detector.reopen()
        assert {device.driver_version for device in detector.scan()} == {"999.1"}
