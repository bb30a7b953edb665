"""What is Huawei's own about faults: events that are pushed, and health that nobody explains."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hcs_agents.detectors.port import FaultSignal
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import LinkType, Severity, Vendor
from tests.support.simulated import DetectorProcess, environment

MakeNode = Callable[[str], ScenarioFile]
CODE = "80E18402"

DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* What the file says: health, and what the list of codes answers. */
static void look(int *health, int *list) {
    FILE *file = fopen(getenv("HCS_TEST_HEALTH"), "r");
    if (!file || fscanf(file, "%d %d", health, list) != 2) abort();
    fclose(file);
}
int dcmi_init(void) { return 0; }
int dcmi_get_card_list(int *n, int *list, int length) {
    *n = length > 1 ? 2 : 0; list[0] = 0; list[1] = 1; return 0; }
int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
    *max = card < 2; *mcu = *cpu = -1; return 0; }
int dcmi_get_device_elabel_info(int card, int device, char *out) {
    (void)device; strcpy(out + 1024, card ? "BOARD-B" : "BOARD-A"); return 0; }
int dcmi_get_topo_info_by_device_id(int a, int b, int c, int d, int *kind) {
    (void)(a + b + c + d); *kind = TOPOLOGY; return 0; }
int dcmi_get_device_health(int card, int device, unsigned *health) {
    int now, list; look(&now, &list);
    *health = card || device ? 0 : (unsigned)now; return 0; }
int dcmi_get_device_errorcode_v2(int card, int device, int *n, unsigned *codes, unsigned length) {
    int health, list; look(&health, &list);
    *n = 0;
    if (!card && !device && list > 0 && length) { codes[0] = 0x80E18402; *n = 1; }
    return list < 0 ? list : 0; }
struct filter { unsigned long long flag; unsigned id; unsigned char rest[36]; };
int dcmi_get_fault_event(int card, int device, int timeout_ms, struct filter filter, char *event) {
    static int told;
    if (!card && !device && !__atomic_exchange_n(&told, 1, __ATOMIC_SEQ_CST) && !filter.flag) {
        memset(event, 0, 360);
        *(unsigned *)(event + 8) = 0x80E18402;
        event[18] = SEVERITY; event[19] = ASSERTION;
        return 0;
    }
    usleep((unsigned)timeout_ms * 1000); return -8006; }
"""


class Driver:
    """A driver that pushes one event, and whose health is set by the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.set(health=0)

    def build(self, *, assertion: int, severity: int = 3, topology: int = 3) -> dict[str, str]:
        """Build it; return the environment of a process that finds it."""
        (self._directory / "driver.c").write_text(DRIVER)
        words = {"ASSERTION": assertion, "SEVERITY": severity, "TOPOLOGY": topology}
        defines = [f"-D{name}={value}" for name, value in words.items()]
        library = ["-o", str(self._directory / "libdcmi.so"), str(self._directory / "driver.c")]
        subprocess.run(["cc", "-shared", "-fPIC", *defines, *library], check=True)
        health = {"HCS_TEST_HEALTH": str(self._directory / "health")}
        return environment(self._directory, None) | health

    def set(self, *, health: int, listed: int = 0) -> None:
        """Let the first chip be so healthy, and its list have a code, none, or a refusal."""
        new = self._directory / "health.new"
        new.write_text(f"{health} {listed}")
        new.replace(self._directory / "health")


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path)


def next_of(detector: DetectorProcess) -> tuple[str, FaultState]:
    """Wait for the next signal."""
    signal = detector.wait_until(lambda _: True)
    return signal.code, signal.state


# --- Events --------------------------------------------------------------------------------------


def test_a_fault_that_ends_between_two_looks_is_told_by_its_events(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("ascend-0")

    def raise_and_clear(scenario: Scenario) -> Scenario:
        raised = operations.raise_fault(scenario, 3, CODE, at_ns=1)
        return operations.clear_faults(raised, 3, CODE, at_ns=2)

    with DetectorProcess(Vendor.HUAWEI, environment(libraries, file.path)) as detector:
        assert detector.wait(0.05) == []
        file.update(raise_and_clear)
        assert next_of(detector) == (CODE, FaultState.RAISED)
        assert next_of(detector) == (CODE, FaultState.CLEARED)


def test_each_chips_events_are_its_own(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("ascend-0")
    with DetectorProcess(Vendor.HUAWEI, environment(libraries, file.path)) as detector:
        for number in range(8):
            file.update(partial(operations.raise_fault, number=number, code=CODE, at_ns=1))
            raised = detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
            assert raised.device_id == file.read().devices[number].id


def event_of(driver: Driver, *, assertion: int, severity: int) -> FaultSignal:
    """Return the first signal of a driver that pushes one event; its list of codes is refused."""
    driver.set(health=0, listed=-8255)
    env = driver.build(assertion=assertion, severity=severity)
    with DetectorProcess(Vendor.HUAWEI, env) as detector:
        signal = detector.wait_until(lambda _: True)
        assert detector.wait(0.1) == []
    return signal


@pytest.mark.parametrize(("assertion", "lasting"), [(1, True), (2, False)])
def test_an_event_without_an_end_is_an_occurrence(
    assertion: int, driver: Driver, *, lasting: bool
) -> None:
    signal = event_of(driver, assertion=assertion, severity=3)
    assert (signal.device_id, signal.code) == ("BOARD-A", CODE)
    assert (signal.state, signal.lasting) == (FaultState.RAISED, lasting)


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (0, Severity.INFO),
        (1, Severity.WARNING),
        (2, Severity.DEGRADED),
        (3, Severity.FATAL),
        (9, Severity.FATAL),
    ],
)
def test_an_events_severity_is_the_drivers(
    severity: int, expected: Severity, driver: Driver
) -> None:
    assert event_of(driver, assertion=2, severity=severity).severity is expected


@pytest.mark.parametrize(
    ("topology", "type_"),
    [
        (1, LinkType.PCIE),  # over two processors
        (2, LinkType.PCIE),
        (3, LinkType.HCCS),
        (4, LinkType.PCIE),
        (5, LinkType.PCIE),
        (7, LinkType.HCCS),  # over a switch
        (6, None),  # dies of one package; these are two boards
        (9, None),
    ],
)
def test_chips_are_linked_by_what_the_driver_says(
    topology: int, type_: LinkType | None, driver: Driver
) -> None:
    env = driver.build(assertion=0, topology=topology)
    with DetectorProcess(Vendor.HUAWEI, env) as detector:
        devices = detector.scan()
    links = [[link.type for link in device.links] for device in devices]
    assert links == [[] if type_ is None else [type_]] * 2


# --- Health --------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [0, -8255, -8002])
def test_critical_health_that_no_code_explains_is_a_fault_until_it_is_over(
    listed: int, driver: Driver
) -> None:
    env = driver.build(assertion=0)
    with DetectorProcess(Vendor.HUAWEI, env) as detector:
        assert detector.wait(0.1) == []
        driver.set(health=3, listed=listed)
        raised = detector.wait_until(lambda _: True)
        assert (raised.device_id, raised.code) == ("BOARD-A", "unhealthy")
        assert (raised.state, raised.lasting) == (FaultState.RAISED, True)
        assert detector.wait(0.1) == []
        assert len(detector.scan()) == 2
        driver.set(health=0, listed=listed)
        assert next_of(detector) == ("unhealthy", FaultState.CLEARED)


def test_health_that_a_code_explains_is_that_code_alone(driver: Driver) -> None:
    env = driver.build(assertion=0)
    with DetectorProcess(Vendor.HUAWEI, env) as detector:
        driver.set(health=3, listed=1)
        assert next_of(detector) == (CODE, FaultState.RAISED)
        assert [detector.wait(0.05) for _ in range(3)] == [[]] * 3
        driver.set(health=3, listed=-8002)  # refused for the moment: what was told holds
        assert [detector.wait(0.05) for _ in range(3)] == [[]] * 3
        driver.set(health=0, listed=0)
        assert next_of(detector) == (CODE, FaultState.CLEARED)


@pytest.mark.parametrize("health", [1, 2])
def test_health_that_is_only_worse_than_good_is_no_fault(health: int, driver: Driver) -> None:
    env = driver.build(assertion=0)
    with DetectorProcess(Vendor.HUAWEI, env) as detector:
        driver.set(health=health)
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3
