"""Hygon's samples and fingerprints: two layouts, a table that may be missing, and sysfs alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import Counters, Reading
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import DeviceSample, ThrottleReason
from hcs_bus.names import DeviceId, Vendor
from tests.support.sampling import WORKING, SamplingProcess, drivers_down, put, without
from tests.support.sampling_contract import SamplingContract
from tests.support.simulated import environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]

ONE_BY_ONE = (
    "rsmi_dev_busy_percent_get",
    "rsmi_dev_memory_busy_percent_get",
    "rsmi_dev_power_ave_get",
    "rsmi_dev_temp_metric_get",
    "rsmi_dev_gpu_clk_freq_get",
    "rsmi_dev_pci_bandwidth_get",
)
TABLE = "rsmi_dev_gpu_metrics_info_get"


class TestHygonSamples(SamplingContract):
    """What holds of every vendor."""

    vendor = Vendor.HYGON


@pytest.fixture(params=[0, 1], ids=["older", "newer"])
def file(request: pytest.FixtureRequest, node_of: MakeNode) -> ScenarioFile:
    """Return a node with a working card, under either layout of the library."""
    file = node_of("hygon-0")
    file.update(lambda s: msgspec.structs.replace(s, rocm_smi_wide=request.param))
    put(file, 6, **WORKING)
    return file


def expected(file: ScenarioFile, **differences: object) -> Reading:
    """Return what card 6 has to say of itself."""
    scenario = file.read()
    # Only the newer table tells the reasons apart.
    reason = ThrottleReason.THERMAL if scenario.rocm_smi_wide else ThrottleReason.OTHER
    sample = DeviceSample(
        device_id=DeviceId(scenario.devices[6].id),
        utilization_percent=87,
        memory_utilization_percent=41,
        vram_used_bytes=3 * 1024**3,
        power_watts=312,
        temperature_celsius=71,
        memory_temperature_celsius=83,
        core_clock_mhz=1_234,
        memory_clock_mhz=1_593,
        throttle_reasons=(reason,),
        pcie_generation=3,
        pcie_width=8,
    )
    return Reading(
        sample=msgspec.structs.replace(sample, **differences),
        counters=Counters(ecc_corrected=5, ecc_uncorrected=2, pcie_replays=9, link_errors=4),
    )


def test_a_working_card_is_told_in_the_events_own_units(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        assert detector.sample()[6] == expected(file)


def test_without_the_table_the_same_is_asked_for_one_by_one(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    old = without(libraries, tmp_path, Vendor.HYGON, TABLE)
    with SamplingProcess(Vendor.HYGON, environment(old, file.path)) as detector:
        assert detector.sample()[6] == expected(file, power_watts=312.5, throttle_reasons=())
        put(file, 6, core_clock_mhz=1_400, pcie_generation=4, pcie_width=16)  # one level alone
        sample = detector.sample()[6].sample
    assert (sample.core_clock_mhz, sample.pcie_generation, sample.pcie_width) == (1_400, 4, 16)


def test_a_table_with_nonsense_in_it_is_not_believed(file: ScenarioFile, libraries: Path) -> None:
    put(file, 6, temperature_c=-4)  # below zero: the table has no sign
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        assert detector.sample()[6].sample.temperature_celsius == -4


def test_what_the_library_lacks_is_not_told(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    lacking = (*ONE_BY_ONE, TABLE, "rsmi_dev_pci_replay_counter_get", "rsmi_dev_ecc_count_get")
    texts = ("serial_number_get", "vbios_version_get")
    functions = (*lacking, *(f"rsmi_dev_{name}" for name in texts), "rsmi_version_get")
    old = without(libraries, tmp_path, Vendor.HYGON, *functions)
    with SamplingProcess(Vendor.HYGON, environment(old, file.path)) as detector:
        reading, device = detector.sample()[6], detector.scan()[6]
    card = file.read().devices[6]
    assert reading == Reading(
        sample=DeviceSample(device_id=DeviceId(card.id), vram_used_bytes=card.memory_used_bytes)
    )
    assert (device.serial, device.firmware_version, device.library_version) == ("", "", "")
    assert (device.pcie_generation_max, device.pcie_width_max) == (0, 0)


def test_without_even_the_memory_in_use_a_card_that_answers_is_told_of(
    libraries: Path, file: ScenarioFile, tmp_path: Path
) -> None:
    old = without(libraries, tmp_path, Vendor.HYGON, "rsmi_dev_memory_usage_get")
    file.update(lambda s: operations.pull(s, 0))
    with SamplingProcess(Vendor.HYGON, environment(old, file.path)) as detector:
        samples = [reading.sample for reading in detector.sample()]
    assert len(samples) == 7
    assert (samples[5].vram_used_bytes, samples[5].utilization_percent) == (None, 87)


@pytest.mark.parametrize("throttle", ["", *ThrottleReason])
def test_the_newer_table_says_what_holds_a_card_back(
    throttle: str, libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    file.update(lambda s: msgspec.structs.replace(s, rocm_smi_wide=1))
    put(file, 0, throttle=throttle)
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        reasons = detector.sample()[0].sample.throttle_reasons
    assert reasons == ((ThrottleReason(throttle),) if throttle else ())


def test_errors_of_the_blocks_of_memory_and_fabric_are_counted(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    for code in ("UMC_UE", "XGMI_WAFL_UE", "XGMI_WAFL_UE", "GFX_UE"):
        file.update(partial(operations.raise_fault, number=0, code=code, at_ns=1))
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        counters = detector.sample()[0].counters
    assert (counters.ecc_uncorrected, counters.link_errors) == (1, 2)


def test_the_library_and_the_kernel_together_fill_the_fingerprint(
    file: ScenarioFile, libraries: Path
) -> None:
    put(file, 0, serial="TK0123", firmware="113-K100", pcie_generation_max=5)
    put(file, 0, pcie_width=4, pcie_width_max=8)
    env, sysfs = environment(libraries, file.path), tree_of(file.path)
    with SamplingProcess(Vendor.HYGON, env, sysfs=sysfs) as detector:
        first, *_, last = detector.scan()
    assert (first.serial, first.firmware_version, first.library_version) == (
        *("TK0123", "113-K100"),
        "2.8.0",
    )
    assert (first.pcie_generation_max, first.pcie_width_max) == (5, 8)
    assert (first.int8_gops, first.matrix_cores) == (392_000, 0)  # no function counts them
    assert (first.cpu_affinity, last.cpu_affinity) == ("0-31", "32-63")
    assert {link.latency_ns for link in fabric_of([first])[0]} == {700}


def test_a_link_that_goes_down_is_gone_from_the_next_fingerprint(
    file: ScenarioFile, libraries: Path
) -> None:
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        assert {len(links) for links in fabric_of(detector.scan())} == {2}
        scenario = file.read()
        down = msgspec.structs.replace(scenario.links[0], up=0)
        file.write(msgspec.structs.replace(scenario, links=(down, *scenario.links[1:])))
        lengths = [len(links) for links in fabric_of(detector.scan())]
    assert (lengths[down.a], lengths[down.b], sum(lengths)) == (1, 1, 14)


def test_another_vendors_card_at_the_address_tells_nothing(
    file: ScenarioFile, libraries: Path
) -> None:
    sysfs = tree_of(file.path)
    for vendor in sysfs.glob("bus/pci/devices/*/vendor"):
        vendor.write_text("0x8086\n")
    with SamplingProcess(Vendor.HYGON, environment(libraries, file.path), sysfs=sysfs) as detector:
        assert {device.cpu_affinity for device in detector.scan()} == {""}


# --- Sysfs alone ---------------------------------------------------------------------------------


def test_without_rocm_smi_the_kernel_tells_what_a_card_does(
    node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    put(file, 6, **WORKING)
    nothing = environment(tmp_path, file.path)
    with SamplingProcess(Vendor.HYGON, nothing, sysfs=tree_of(file.path)) as detector:
        reading = detector.sample()[6]
        put(file, 6, pcie_width=2, temperature_c=90)
        later = detector.sample()[6].sample
        file.update(lambda s: operations.pull(s, 0))
        left = [one.sample.device_id for one in detector.sample()]
    whole = expected(file, power_watts=312.5, throttle_reasons=())
    assert reading == Reading(sample=whole.sample, counters=Counters(pcie_replays=9))
    assert (later.pcie_width, later.temperature_celsius) == (2, 90)
    assert left == [device.id for device in file.read().devices[1:]]


def test_the_slot_bounds_what_a_cards_link_can_be(node_of: MakeNode, tmp_path: Path) -> None:
    file = node_of("hygon-0")
    slot = (tree_of(file.path) / "bus/pci/devices/0000:07:00.0").resolve().parent
    (slot / "max_link_speed").write_text("8.0 GT/s PCIe\n")
    (slot / "max_link_width").write_text("4\n")
    nothing = environment(tmp_path, None)
    with SamplingProcess(Vendor.HYGON, nothing, sysfs=tree_of(file.path)) as detector:
        first, second, *_ = detector.scan()
    assert (first.pcie_generation_max, first.pcie_width_max) == (3, 4)
    assert (second.pcie_generation_max, second.pcie_width_max) == (4, 16)


@pytest.mark.parametrize("command", ["sample", "scan", "wait 5"])
def test_a_topology_that_is_gone_is_no_fault_of_the_cards(
    command: str, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    nothing = environment(tmp_path, file.path)
    with SamplingProcess(Vendor.HYGON, nothing, sysfs=tree_of(file.path)) as detector:
        drivers_down(file, "hygon")
        assert detector.error_of(command) == "LibraryBrokenError"
        assert detector.error_of("reopen") == "LibraryMissingError"
        drivers_down(file, "")
        detector.reopen()
        assert len(detector.sample()) == 8
        assert detector.wait(0.05) == []
