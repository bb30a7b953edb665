"""The detectors against the simulated libraries: what is there, what is missing."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import LinkType, NodeName, Vendor
from tests.support.simulated import FABRICS, LIBRARIES, DetectorProcess, environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]


def test_eight_nvidia_cards_are_seen_with_their_nvlink_fabric(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("a100-0")
    with DetectorProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    scenario = file.read()
    assert [device.device_id for device in devices] == [device.id for device in scenario.devices]
    assert [device.index for device in devices] == list(range(8))
    first = devices[0]
    assert (first.model, first.vram_bytes) == ("A100 SXM4 80GB", 80 * 1024**3)
    assert (first.pci_address, first.numa_node) == ("0000:07:00.0", 0)
    assert (first.fp16_gflops, first.driver_version) == (312_000, scenario.nvidia_driver)
    peers = {link.peer for link in first.links}
    assert peers == {device.device_id for device in devices[1:]}
    assert {(x.type, x.lanes, x.bandwidth_gbytes_s) for x in first.links} == {
        (LinkType.NVSWITCH, 12, 600.0)
    }


def test_nvlink_lanes_follow_the_scenario(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("a800-0")
    with DetectorProcess(Vendor.NVIDIA, environment(libraries, file.path)) as detector:
        assert {link.lanes for device in detector.scan() for link in device.links} == {8}


def test_eight_ascend_cards_are_seen_with_their_hccs_mesh(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("ascend-0")
    with DetectorProcess(Vendor.HUAWEI, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    assert [device.device_id for device in devices] == [card.id for card in file.read().devices]
    first = devices[0]
    assert (first.model, first.vram_bytes) == ("Ascend 910B3", 64 * 1024**3)
    assert (first.pci_address, first.fp16_gflops) == ("0000:07:00.0", 295_000)
    assert {link.type for link in first.links} == {LinkType.HCCS}
    assert len(first.links) == 7


def test_eight_hygon_cards_are_seen_with_their_xgmi_rings(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("hygon-0")
    with DetectorProcess(Vendor.HYGON, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    scenario = file.read()
    assert [device.device_id for device in devices] == [card.id for card in scenario.devices]
    first, last = devices[0], devices[-1]
    assert (first.model, first.vram_bytes) == ("DCU K100-AI", 64 * 1024**3)
    assert (first.pci_address, last.pci_address) == ("0000:07:00.0", "0000:bd:00.0")
    assert (first.numa_node, last.numa_node) == (0, 1)
    assert (first.fp16_gflops, first.driver_version) == (192_000, scenario.hygon_driver)
    ids = [device.device_id for device in devices]
    links = fabric_of(devices)[0]
    assert {link.peer for link in links} == {ids[1], ids[3]}
    assert {(link.type, link.bandwidth_gbytes_s) for link in links} == {(LinkType.XGMI, 92)}


def test_eight_cambricon_cards_are_seen_with_their_bridges(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("cambricon-0")
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    scenario = file.read()
    ids = [device.device_id for device in devices]
    assert ids == [card.id for card in scenario.devices]
    first, last = devices[0], devices[-1]
    assert (first.model, first.vram_bytes) == ("MLU370-X8", 48 * 1024**3)
    assert (first.pci_address, last.pci_address) == ("0000:07:00.0", "0000:bd:00.0")
    assert (first.numa_node, last.numa_node) == (0, 1)
    assert (first.fp16_gflops, first.driver_version) == (96_000, scenario.cambricon_driver)
    (link,) = fabric_of(devices)[7]
    assert (link.peer, link.type) == (ids[6], LinkType.MLU_LINK)
    assert (link.lanes, link.bandwidth_gbytes_s) == (1, 200)


def test_eight_moore_threads_cards_are_seen_with_their_mtlink_groups(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mthreads-0")
    with DetectorProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        devices = detector.scan()
    scenario = file.read()
    ids = [device.device_id for device in devices]
    assert ids == [card.id for card in scenario.devices]
    first, last = devices[0], devices[-1]
    assert (first.model, first.vram_bytes) == ("MTT S4000", 48 * 1024**3)
    assert (first.pci_address, last.pci_address) == ("0000:07:00.0", "0000:bd:00.0")
    assert (first.numa_node, last.numa_node) == (0, 1)
    assert (first.fp16_gflops, first.driver_version) == (100_000, scenario.mthreads_driver)
    links = fabric_of(devices)[7]
    assert {link.peer for link in links} == set(ids[4:7])
    assert {(x.type, x.lanes, x.bandwidth_gbytes_s) for x in links} == {(LinkType.MTLINK, 1, 80)}


def test_the_vendors_of_one_node_do_not_see_each_other(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("every-0")
    cards = file.read().devices
    for vendor in Vendor:
        with DetectorProcess(vendor, environment(libraries, file.path)) as detector:
            devices = detector.scan()
        assert [d.device_id for d in devices] == [c.id for c in cards if c.vendor is vendor]
        assert [d.index for d in devices] == [0, 1]
        assert [[link.type for link in d.links] for d in devices] == [[FABRICS[vendor]]] * 2
        assert all(d.pci_address for d in devices)


@pytest.mark.parametrize("vendor", list(Vendor))
def test_a_node_without_cards_has_none(vendor: Vendor, libraries: Path, tmp_path: Path) -> None:
    file = ScenarioFile(tmp_path / "empty.ini")
    file.write(Scenario(node=NodeName("empty")))
    with DetectorProcess(vendor, environment(libraries, file.path)) as detector:
        assert detector.scan() == []
        assert detector.wait(0.05) == []


@pytest.mark.parametrize("vendor", list(Vendor))
def test_a_missing_library_is_said_to_be_missing(vendor: Vendor, tmp_path: Path) -> None:
    with DetectorProcess(vendor, environment(tmp_path, None)) as detector:
        assert detector.opened["error"] == "LibraryMissingError"


@pytest.mark.parametrize(("vendor", "name"), LIBRARIES.items())
def test_a_library_that_is_no_library_is_broken(vendor: Vendor, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("not an ELF file")
    with DetectorProcess(vendor, environment(tmp_path, None)) as detector:
        assert detector.opened["error"] == "LibraryBrokenError"


@pytest.mark.parametrize("vendor", list(Vendor))
def test_a_library_without_its_driver_is_broken(
    vendor: Vendor, libraries: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "no-such-file.ini"
    with DetectorProcess(vendor, environment(libraries, nowhere)) as detector:
        assert detector.opened["error"] == "LibraryBrokenError"


def test_an_old_dcmi_with_few_symbols_leaves_fields_unknown(tmp_path: Path) -> None:
    source = tmp_path / "old.c"
    source.write_text(
        """#include <string.h>
        int dcmi_init(void) { return 0; }
        int dcmi_get_card_list(int *n, int *list, int length) {
            *n = length > 0; list[0] = 5; return 0; }
        int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
            *max = card == 5; *mcu = *cpu = -1; return 0; }
        int dcmi_get_device_elabel_info(int card, int device, char *out) {
            (void)card; (void)device; strcpy(out + 1024, "SERIAL-1"); return 0; }
        """
    )
    library = str(tmp_path / "libdcmi.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with DetectorProcess(Vendor.HUAWEI, environment(tmp_path, None)) as detector:
        (device,) = detector.scan()
        assert detector.wait(0.05) == []
    assert device.device_id == "SERIAL-1"
    assert (device.model, device.vram_bytes, device.numa_node) == ("", 0, -1)


def test_an_old_nvml_without_events_and_fields_still_shows_its_card(tmp_path: Path) -> None:
    source = tmp_path / "old.c"
    source.write_text(
        """#include <string.h>
        static int card;
        int nvmlInitWithFlags(unsigned f) { (void)f; return 0; }
        int nvmlShutdown(void) { return 0; }
        const char *nvmlErrorString(int e) { (void)e; return "error"; }
        int nvmlSystemGetDriverVersion(char *v, unsigned n) { (void)n; strcpy(v, "390"); return 0; }
        int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = &card; return (int)i; }
        int nvmlDeviceGetName(void *h, char *v, unsigned n) {
            (void)h; (void)n; strcpy(v, "Old"); return 0; }
        int nvmlDeviceGetUUID(void *h, char *v, unsigned n) {
            (void)h; (void)n; strcpy(v, "GPU-1"); return 0; }
        int nvmlDeviceGetPciInfo_v3(void *h, char *pci) { (void)h; memset(pci, 0, 68); return 0; }
        int nvmlDeviceGetMemoryInfo(void *h, unsigned long *m) { (void)h; m[0] = 7; return 0; }
        int nvmlEventSetCreate(void **set) { *set = &card; return 0; }
        int nvmlEventSetFree(void *set) { (void)set; return 0; }
        int nvmlDeviceRegisterEvents(void *h, unsigned long long t, void *set) {
            (void)h; (void)t; (void)set; return 3; }
        int nvmlEventSetWait_v2(void *set, void *data, unsigned ms) {
            (void)set; (void)data; (void)ms; return 10; }
        """
    )
    library = str(tmp_path / "libnvidia-ml.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    with DetectorProcess(Vendor.NVIDIA, environment(tmp_path, None)) as detector:
        (device,) = detector.scan()
        assert detector.wait(0.05) == []
    assert (device.device_id, device.model, device.vram_bytes) == ("GPU-1", "Old", 7)
    assert (device.numa_node, device.links) == (-1, ())


def test_a_fault_in_force_before_the_agent_started_is_told(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    file.update(lambda s: operations.raise_fault(s, 1, "79", at_ns=1))
    file.update(lambda s: operations.raise_fault(s, 2, "80E18402", at_ns=1))
    expected = {Vendor.NVIDIA: "recovery", Vendor.HUAWEI: "80E18402"}  # NVML replays no Xid
    for vendor, code in expected.items():
        with DetectorProcess(vendor, environment(libraries, file.path)) as detector:
            signal = detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
            assert signal.code == code
