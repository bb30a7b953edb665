"""What is Cambricon's own: health states, Xids, drivers of the older API version."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import FaultSignal
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.simulated import DetectorProcess, environment, fabric_of

MakeNode = Callable[[str], ScenarioFile]


def wait_for(detector: DetectorProcess, code: str) -> FaultSignal:
    """Wait for the next signal of a code."""
    return detector.wait_until(lambda signal: signal.code == code)


def test_an_xid_is_an_occurrence_and_told_at_once(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("cambricon-0")
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        for at_ns in (1, 2):
            file.update(partial(operations.raise_fault, number=5, code="17", at_ns=at_ns))
            (signal,) = detector.wait(timeout_s=60)
            assert (signal.device_id, signal.code) == (file.read().devices[5].id, "17")
            assert not signal.lasting
            assert detector.wait(0.1) == []
    assert file.read().faults == ()


def test_an_xid_of_a_card_that_was_away_is_told(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("cambricon-0")
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        file.update(lambda s: operations.pull(s, 5))
        detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
        assert len(detector.scan()) == 7
        assert detector.wait(0.1) == []
        file.update(lambda s: operations.plug(s, 5))
        assert len(detector.scan()) == 8
        detector.wait_until(lambda signal: signal.state is FaultState.CLEARED)
        file.update(lambda s: operations.raise_fault(s, 5, "17", at_ns=1))
        assert detector.wait_until(lambda _: True).code == "17"


def test_an_xid_of_a_card_that_came_later_is_told(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("cambricon-0")
    file.update(lambda s: operations.pull(s, 5))
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert len(detector.scan()) == 7
        file.update(lambda s: operations.plug(s, 5))
        assert len(detector.scan()) == 8
        file.update(lambda s: operations.raise_fault(s, 5, "17", at_ns=1))
        assert detector.wait_until(lambda _: True).code == "17"


def test_two_incidents_end_one_by_one(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("cambricon-0")
    codes = ("CNDEV_FR_DBE_VIOLATION", "CNDEV_FR_TEMP_VIOLATION")
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        for code in codes:
            file.update(partial(operations.raise_fault, number=0, code=code, at_ns=1))
        raised = [wait_for(detector, code) for code in codes]
        assert [signal.detail for signal in raised] == [f"simulated {code}" for code in codes]
        for code in codes:
            file.update(partial(operations.clear_faults, number=0, code=code, at_ns=2))
            ended = detector.wait_until(lambda _: True)
            assert (ended.code, ended.state) == (code, FaultState.CLEARED)


def test_a_port_that_is_down_is_no_link(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("cambricon-0")
    scenario = file.read()
    first = msgspec.structs.replace(scenario.links[0], up=0)
    file.write(msgspec.structs.replace(scenario, links=(first, *scenario.links[1:])))
    with DetectorProcess(Vendor.CAMBRICON, environment(libraries, file.path)) as detector:
        assert [len(links) for links in fabric_of(detector.scan())] == [0, 0, 1, 1, 1, 1, 1, 1]


OLD_DRIVER = """#include <stdint.h>
#include <string.h>
int cndevInit(int reserved) { return reserved; }
int cndevRelease(void) { return 0; }
int cndevGetDeviceCount(int *info) {
    if (info[0] != 5) return 3;
    info[1] = 1; return 0; }
int cndevGetUUID(int *info, int card) {
    if (info[0] != 5 || card != 0) return 3;
    strcpy((char *)(info + 1), "0123"); return 0; }
int cndevGetMemoryUsage(int64_t *info, int card) { (void)card; info[1] = 16384; return 0; }
int cndevGetPCIeInfo(uint32_t *info, int card) { (void)card; info[4] = 1; info[5] = 0x1a;
    info[6] = 2; info[7] = 3; return 0; }
int cndevGetCardHealthState(int *info, int card) { (void)card; info[1] = HEALTH; return 0; }
"""


@pytest.mark.parametrize(("health", "codes"), [(1, []), (0, ["unhealthy"])])
def test_a_driver_of_api_version_5_is_spoken_to_in_its_own_way(
    health: int, codes: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "old.c"
    source.write_text(OLD_DRIVER)
    build = ["cc", "-shared", "-fPIC", f"-DHEALTH={health}", "-o", str(tmp_path / "libcndev.so")]
    subprocess.run([*build, str(source)], check=True)
    with DetectorProcess(Vendor.CAMBRICON, environment(tmp_path, None)) as detector:
        (device,) = detector.scan()
        assert [signal.code for signal in detector.wait(0.05)] == codes
    assert (device.device_id, device.vram_bytes) == ("MLU-0123", 16 * 1024**3)
    assert (device.pci_address, device.numa_node) == ("0001:1a:02.3", -1)
    assert (device.model, device.links) == ("", ())


NEWER_DRIVER = (
    OLD_DRIVER
    + """
int cndevGetCardHealthStateV2(int *info, int card) {
    (void)card; memset(info, 0, 34612); info[0] = info[1] = STATE; info[2] = 4; return RESULT; }
"""
)
TIMED_OUT, NOT_SUPPORTED = 17, 10


@pytest.mark.parametrize(
    ("state", "result", "codes"),
    [
        (1, 0, []),
        (0, 0, ["unhealthy"]),
        (1, TIMED_OUT, []),  # it has the function: what the older one says is another matter
        (1, NOT_SUPPORTED, ["unhealthy"]),
    ],
)
def test_an_unhealthy_card_without_an_incident_is_unhealthy(
    state: int, result: int, codes: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "newer.c"
    source.write_text(NEWER_DRIVER)
    defines = ["-DHEALTH=0", f"-DSTATE={state}", f"-DRESULT={result}"]
    build = ["cc", "-shared", "-fPIC", *defines, "-o", str(tmp_path / "libcndev.so")]
    subprocess.run([*build, str(source)], check=True)
    with DetectorProcess(Vendor.CAMBRICON, environment(tmp_path, None)) as detector:
        assert len(detector.scan()) == 1
        assert [signal.code for signal in detector.wait(0.05)] == codes
