"""What an Ascend card is and does, from the scenario through DCMI to the detector."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import Counters
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import DeviceSample
from hcs_bus.names import DeviceId, Vendor
from tests.support.sampling import SamplingProcess, drivers_down, put, without
from tests.support.simulated import environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]

FIRST, SECOND = 2, 3  # the numbers of the Ascend cards of mixed-0

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
    "ecc_corrected": 5_000,
    "ecc_uncorrected": 2,
    "pcie_replays": 19,
    "link_errors": 2**40 + 3,
}


@pytest.fixture
def node(node_of: MakeNode) -> ScenarioFile:
    """Return a node whose last two cards are Huawei's, with HCCS between them."""
    return node_of("mixed-0")


# --- Fingerprints --------------------------------------------------------------------------------


def test_a_fingerprint_says_all_that_a_card_is(libraries: Path, node: ScenarioFile) -> None:
    put(node, FIRST, firmware="7.5.0.1.129")
    put(node, SECOND, numa=1, model="910B1")
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        first, second = detector.scan()
    assert (first.serial, first.firmware_version) == ("2102314NMV0219950128", "7.5.0.1.129")
    assert (first.int8_gops, first.matrix_cores) == (492_000, 20)
    assert (second.int8_gops, second.matrix_cores) == (728_000, 24)
    assert (first.driver_version, first.library_version) == ("24.1.0", "24.1.0")
    assert (first.cpu_affinity, second.cpu_affinity) == ("0-47", "48-95")
    assert second.firmware_version == ""  # the scenario gives it none
    # DCMI tells neither, and this machine's own /sys shows no such card.
    assert (first.pcie_generation_max, first.pcie_width_max, first.numa_node) == (0, 0, -1)
    assert first.runtime_version == ""


def test_a_fingerprint_stays_the_same_while_the_card_works(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        idle = detector.scan()
        put(node, FIRST, **WORKING)
        assert detector.scan() == idle


def test_a_link_that_goes_down_is_missing_in_the_next_fingerprint(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        assert [len(links) for links in fabric_of(detector.scan())] == [1, 1]
        links = tuple(msgspec.structs.replace(link, up=0) for link in node.read().links)
        node.update(lambda s: msgspec.structs.replace(s, links=links))
        assert [len(links) for links in fabric_of(detector.scan())] == [0, 0]


TWO_CHIPS = """#include <string.h>
        int dcmi_init(void) { return 0; }
        int dcmi_get_card_list(int *n, int *list, int length) {
            *n = length > 1 ? 2 : 0; list[0] = 0; list[1] = 1; return 0; }
        int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
            *max = 2 - card; *mcu = *cpu = -1; return 0; }
        int dcmi_get_device_elabel_info(int card, int device, char *out) {
            (void)device; strcpy(out + 1024, card ? "BOARD-B" : "BOARD-A"); return 0; }
        """


def test_two_dies_of_one_package_are_linked_and_older_drivers_say_so_of_what_they_do_not_know(
    libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("ascend-0")
    file.update(lambda s: msgspec.structs.replace(s, links=()))
    for number in range(8):  # an Ascend 910C is two of them
        put(file, number, serial=f"2102314NMV000000000{number // 2}")
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    twins = [devices[device.index ^ 1].device_id for device in devices]
    links = [(link.lanes, link.bandwidth_gbytes_s) for (link,) in fabric_of(devices)]
    assert [link.peer for (link,) in fabric_of(devices)] == twins
    assert links == [(1, 0)] * 8  # nobody publishes how fast that is
    source = tmp_path / "older.c"
    source.write_text(
        TWO_CHIPS
        + """int dcmi_get_topo_info_by_device_id(int a, int b, int c, int d, int *type) {
            (void)b; (void)d; *type = 6; return a < 0 || c < 0; }
        """
    )
    library = str(tmp_path / "libdcmi.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with SamplingProcess(Vendor.HUAWEI, environment(tmp_path, None)) as detector:
        found = {device.device_id: device.links for device in detector.scan()}
    assert {chip: [link.peer for link in links] for chip, links in found.items()} == {
        "BOARD-A-0": ["BOARD-A-1"],
        "BOARD-A-1": ["BOARD-A-0"],
        "BOARD-B": [],
    }


def test_the_chips_of_one_board_are_told_apart_by_their_dies(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("ascend-0")
    cards = file.read().devices
    for number in range(8):  # an Ascend 910C has two chips a board
        put(file, number, serial=f"2102314NMV000000000{number // 2}", utilization_percent=number)
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, file.path)) as detector:
        devices, readings = detector.scan(), detector.sample()
    assert [device.device_id for device in devices] == [card.id for card in cards]
    assert [device.index for device in devices] == list(range(8))
    assert [device.serial[-1] for device in devices] == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert [reading.sample.utilization_percent for reading in readings] == list(range(8))


def test_a_driver_that_tells_no_die_tells_the_board_and_the_chips_number(tmp_path: Path) -> None:
    source = tmp_path / "two.c"
    source.write_text(TWO_CHIPS)
    library = str(tmp_path / "libdcmi.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with SamplingProcess(Vendor.HUAWEI, environment(tmp_path, None)) as detector:
        devices = detector.scan()
    assert [device.device_id for device in devices] == ["BOARD-A-0", "BOARD-A-1", "BOARD-B"]
    assert [device.serial for device in devices] == ["BOARD-A", "BOARD-A", "BOARD-B"]


def test_a_chip_that_does_not_tell_its_die_for_now_is_not_mistaken_for_another(
    tmp_path: Path,
) -> None:
    source = tmp_path / "busy.c"
    source.write_text(
        TWO_CHIPS
        + """int dcmi_get_device_die_v2(int card, int device, int type, unsigned *die) {
            for (int i = 0; i < 5; i++) die[i] = card + 1;
            return type == 1 && device == 0 ? 0 : -8020; /* DCMI_ERR_CODE_DEVICE_NOT_READY */ }
        """
    )
    library = str(tmp_path / "libdcmi.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with SamplingProcess(Vendor.HUAWEI, environment(tmp_path, None)) as detector:
        ids = [device.device_id for device in detector.scan()]
    assert ids == ["-".join([word] * 5) for word in ("00000001", "00000002")]


def test_the_kernel_tells_of_the_pcie_link_what_dcmi_does_not(
    libraries: Path, node: ScenarioFile
) -> None:
    put(node, FIRST, numa=1, pcie_generation_max=5, pcie_width_max=8, pcie_generation=3)
    env = environment(libraries, node.path)
    with SamplingProcess(Vendor.HUAWEI, env, sysfs=tree_of(node.path)) as detector:
        device = detector.scan()[0]
        assert (device.pcie_generation_max, device.pcie_width_max) == (5, 8)
        assert (device.numa_node, device.cpu_affinity) == (1, "48-95")
        for width in (16, 4, 16):
            put(node, FIRST, pcie_width=width)
            sample = detector.sample()[0].sample
            assert (sample.pcie_generation, sample.pcie_width) == (3, width)


# --- Samples -------------------------------------------------------------------------------------


def test_a_sample_says_all_that_a_card_does(libraries: Path, node: ScenarioFile) -> None:
    put(node, FIRST, **WORKING)
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        first, second = detector.sample()
    cards = node.read().devices
    assert first.sample == DeviceSample(
        device_id=DeviceId(cards[FIRST].id),
        utilization_percent=87,
        memory_utilization_percent=41,
        vram_used_bytes=3 * 1024**3,
        power_watts=312.5,
        temperature_celsius=71,
        memory_temperature_celsius=83,
        core_clock_mhz=1_215,
        memory_clock_mhz=1_593,
    )  # nothing of the PCIe link: without a /sys; no reason for a low clock: DCMI tells none
    assert first.counters == Counters(
        ecc_corrected=5_000, ecc_uncorrected=2, pcie_replays=19, link_errors=2**40 + 3
    )
    assert (second.sample.device_id, second.sample.utilization_percent) == (cards[SECOND].id, 0)
    assert second.counters == Counters(
        ecc_corrected=0, ecc_uncorrected=0, pcie_replays=0, link_errors=0
    )


def test_what_changes_is_seen_by_the_next_sample(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        assert detector.sample()[0].sample.temperature_celsius == 35
        put(node, FIRST, temperature_c=93, ecc_uncorrected=7, core_clock_mhz=800)
        after = detector.sample()[0]
        assert (after.sample.temperature_celsius, after.sample.core_clock_mhz) == (93, 800)
        assert after.counters.ecc_uncorrected == 7
        put(node, FIRST, temperature_c=-12, memory_temperature_c=-3)
        cold = detector.sample()[0].sample
        assert (cold.temperature_celsius, cold.memory_temperature_celsius) == (-12, -3)


def test_a_lost_card_is_left_out_until_it_is_back(libraries: Path, node: ScenarioFile) -> None:
    ids = [device.id for device in node.read().devices]
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.pull(s, FIRST))
        detector.sample()
        detector.calls()
        assert [reading.sample.device_id for reading in detector.sample()] == [ids[SECOND]]
        assert detector.calls().total() == 1 + 8  # what is gone is asked nothing more
        node.update(lambda s: operations.pull(s, SECOND))
        assert (detector.sample(), detector.scan()) == ([], [])
        node.update(lambda s: operations.plug(operations.plug(s, SECOND), FIRST))
        assert [reading.sample.device_id for reading in detector.sample()] == ids[FIRST:]


def test_a_chip_with_ddr_tells_as_much_of_its_memory(libraries: Path, node: ScenarioFile) -> None:
    vram_bytes = 24 * 1024**3
    put(node, FIRST, model="310P3", vram_bytes=vram_bytes, **WORKING)
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        device, reading = detector.scan()[0], detector.sample()[0]
        detector.calls()
        detector.sample()
        asked = detector.calls()
    assert (device.model, device.vram_bytes) == ("Ascend 310P3", vram_bytes)
    assert reading.sample.vram_used_bytes == 3 * 1024**3
    assert reading.sample.memory_utilization_percent == 41
    assert (reading.sample.memory_clock_mhz, reading.counters.ecc_corrected) == (1_593, 5_000)
    assert reading.sample.memory_temperature_celsius is None  # it has no such sensor
    assert asked["dcmi_get_device_hbm_info"] == 1  # of the other chip, which has HBM
    assert asked["dcmi_get_device_memory_info_v3"] == 1


def test_a_card_without_links_counts_no_link_errors(libraries: Path, node: ScenarioFile) -> None:
    node.update(lambda s: msgspec.structs.replace(s, links=()))
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        assert {reading.counters.link_errors for reading in detector.sample()} == {None}


def test_a_sample_takes_eight_calls_a_card(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        detector.sample()
        assert detector.calls()["dcmi_get_device_pcie_info_v2"] == 2  # once, to find it in /sys
        detector.sample()
        assert detector.calls().total() == 2 * 8


def test_what_the_driver_lacks_is_unknown_and_asked_for_once(
    libraries: Path, node: ScenarioFile, tmp_path: Path
) -> None:
    missing = (
        "dcmi_get_device_utilization_rate",
        "dcmi_get_device_ecc_info",
        "dcmi_get_device_info",
        "dcmi_get_dcmi_version",
        "dcmi_get_device_component_static_version",
    )
    older = without(libraries, tmp_path, Vendor.HUAWEI, *missing)
    put(node, FIRST, **WORKING, firmware="7.5.0.1.129")
    with SamplingProcess(Vendor.HUAWEI, environment(older, node.path)) as detector:
        device = detector.scan()[0]
        assert (device.library_version, device.firmware_version) == ("", "")
        assert device.driver_version == "24.1.0"
        detector.calls()
        first = detector.sample()[0]
        assert first.counters == Counters()
        assert first.sample.utilization_percent is None
        assert (first.sample.temperature_celsius, first.sample.power_watts) == (71, 312.5)
        assert {name for name in detector.calls() if name in missing} == set(missing[:3])
        assert detector.sample()[0] == first
        assert not {name for name in detector.calls() if name in missing}
        detector.reopen()  # the driver may be another one now
        detector.calls()
        detector.sample()
        assert {name for name in detector.calls() if name in missing} == set(missing[:3])


def test_what_no_sensor_can_say_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "odd.c"
    source.write_text(
        """#include <string.h>
        int dcmi_init(void) { return 0; }
        int dcmi_get_card_list(int *n, int *list, int length) {
            *n = length > 0; list[0] = 0; return 0; }
        int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
            *max = card == 0; *mcu = *cpu = -1; return 0; }
        int dcmi_get_device_elabel_info(int card, int device, char *out) {
            (void)card; (void)device; strcpy(out + 1024, "SERIAL-1"); return 0; }
        int dcmi_get_device_temperature(int card, int device, int *celsius) {
            (void)card; (void)device; *celsius = -275; return 0; }
        int dcmi_get_device_power_info(int card, int device, int *power) {
            (void)card; (void)device; *power = -1; return 0; }
        int dcmi_get_device_utilization_rate(int card, int device, int type, unsigned *percent) {
            (void)card; (void)device; (void)type; *percent = 255; return 0; }
        int dcmi_get_device_ecc_info(int card, int device, int type, unsigned char *out) {
            (void)card; (void)device; (void)type; memset(out, 1, 64); return 0; }
        """
    )
    library = str(tmp_path / "libdcmi.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with SamplingProcess(Vendor.HUAWEI, environment(tmp_path, None)) as detector:
        (reading,) = detector.sample()
    assert reading.sample == DeviceSample(device_id=DeviceId("SERIAL-1"))
    assert reading.counters == Counters(ecc_corrected=0x01010101, ecc_uncorrected=0x01010101)


# --- The driver ----------------------------------------------------------------------------------


def test_a_driver_that_goes_away_breaks_the_library_until_it_is_opened_anew(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        drivers_down(node, "huawei")
        for command in ("sample", "scan", "wait 0.1", "reopen"):
            assert detector.error_of(command) == "LibraryBrokenError"
        drivers_down(node, "")
        detector.open()
        assert len(detector.sample()) == len(detector.scan()) == 2
        node.update(lambda s: operations.raise_fault(s, FIRST, "80E18402", at_ns=1))
        assert detector.wait_until(lambda _: True).code == "80E18402"


def test_a_library_does_not_outlive_its_driver(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        drivers_down(node, "huawei")
        assert detector.error_of("sample") == "LibraryBrokenError"
        drivers_down(node, "")
        assert detector.error_of("sample") == "LibraryBrokenError"
        detector.reopen()
        assert len(detector.sample()) == 2


def test_a_driver_that_goes_away_loses_no_card(libraries: Path, node: ScenarioFile) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        drivers_down(node, "huawei")
        assert detector.error_of("wait 0.1") == "LibraryBrokenError"
        drivers_down(node, "")
        detector.reopen()
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3


@pytest.mark.parametrize("command", ["sample", "scan"])
def test_a_call_about_a_hanging_card_returns_when_the_hang_ends(
    command: str, libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)) as detector:
        put(node, SECOND, hangs=1)
        detector.begin(command)
        assert detector.is_blocked()
        put(node, FIRST, utilization_percent=1)  # any other change leaves it blocked
        assert detector.is_blocked()
        put(node, SECOND, hangs=0, temperature_c=64)
        answer = detector.finish()
        if command == "sample":
            assert answer[1]["sample"]["temperature_celsius"] == 64  # read after the hang
        assert detector.sample()[1].sample.temperature_celsius == 64


def test_a_hanging_card_does_not_keep_the_detector_from_closing(
    libraries: Path, node: ScenarioFile
) -> None:
    with SamplingProcess(Vendor.HUAWEI, environment(libraries, node.path)):
        put(node, SECOND, hangs=1)  # its thread is in the driver, waiting for events
    # Leaving the block has waited for the process, which closes its detector before it ends.
