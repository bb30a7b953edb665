"""NVIDIA cards that fail in the middle of something: no fault is lost, and no neighbour blamed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.nvidia import REFUSALS_S, REOPEN_S_INITIAL, REOPEN_S_MAX
from hcs_agents.detectors.nvidia_describe import LINKS_S
from hcs_agents.detectors.port import FaultSignal
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.sampling import SamplingProcess, put
from tests.support.simulated import environment

MakeNode = Callable[[str], ScenarioFile]
UNKNOWN = 999  # NVML_ERROR_UNKNOWN
RESET_REQUIRED = 16
NO_PERMISSION = 4
INIT = "nvmlInitWithFlags"
HOUR_S = 3600.0


class SickNode:
    """A node of eight cards, of which some answer every question with an error."""

    def __init__(self, libraries: Path, file: ScenarioFile) -> None:
        self.file = file
        self.ids = [device.id for device in file.read().devices]
        self._refusals = file.path.with_suffix(".refusals")
        self.env = environment(libraries, file.path) | {
            "HCS_SIM_NVML_REFUSALS": str(self._refusals)
        }

    def refuse(self, code: int, *numbers: int) -> None:
        """Let these cards refuse, and no others."""
        beside = self._refusals.with_suffix(".new")
        beside.write_text("".join(f"{number} {code}\n" for number in numbers))
        beside.replace(self._refusals)

    def update(self, *changes: Callable[[Scenario], Scenario]) -> None:
        """Change all of this at the same moment."""

        def change(scenario: Scenario) -> Scenario:
            for one in changes:
                scenario = one(scenario)
            return scenario

        self.file.update(change)

    def detector(self) -> SamplingProcess:
        """Start a detector."""
        return SamplingProcess(Vendor.NVIDIA, self.env)


@pytest.fixture
def node(libraries: Path, node_of: MakeNode) -> SickNode:
    """Return eight cards that are well."""
    return SickNode(libraries, node_of("a100-0"))


def xid(number: int, code: str) -> Callable[[Scenario], Scenario]:
    return lambda scenario: operations.raise_fault(scenario, number, code, at_ns=1)


def hang(number: int, *, hangs: bool = True) -> Callable[[Scenario], Scenario]:
    return lambda scenario: operations.set_hanging(scenario, number, hangs=hangs)


def pull(number: int) -> Callable[[Scenario], Scenario]:
    return lambda scenario: operations.pull(scenario, number)


def plug(number: int) -> Callable[[Scenario], Scenario]:
    return lambda scenario: operations.plug(scenario, number)


def is_lost(state: FaultState) -> Callable[[FaultSignal], bool]:
    return lambda signal: (signal.code, signal.state) == ("lost", state)


def waits(detector: SamplingProcess, count: int = 6) -> list[FaultSignal]:
    """Wait a few times and return what was told."""
    return [signal for _ in range(count) for signal in detector.wait(0.01)]


# --- Xids that a failing card leaves behind ------------------------------------------------------


@pytest.mark.parametrize("code", ["31", "79"])
def test_an_xid_is_told_although_its_card_hangs_from_that_moment(code: str, node: SickNode) -> None:
    with node.detector() as detector:
        node.update(xid(3, code), hang(3))
        detector.begin("wait 60")
        signals = msgspec.convert(detector.finish(), list[FaultSignal])
        assert [(one.device_id, one.code) for one in signals] == [(node.ids[3], code)]
        node.update(hang(3, hangs=False))


def test_an_xid_is_told_although_nvml_refuses_from_that_moment(node: SickNode) -> None:
    with node.detector() as detector:
        node.update(xid(3, "31"))
        node.refuse(UNKNOWN, *range(8))
        assert [signal.code for signal in detector.wait(60)] == ["31"]


def test_an_xid_that_comes_while_the_event_set_is_made_anew_is_told(node: SickNode) -> None:
    with node.detector() as detector:
        node.update(pull(0))
        detector.wait_until(is_lost(FaultState.RAISED))  # the next call makes a new set
        node.update(xid(1, "31"))
        assert [signal.code for signal in detector.wait(60)] == ["31"]


def test_an_xid_that_comes_before_nvml_is_initialised_anew_is_told_before_that(
    node: SickNode,
) -> None:
    with node.detector() as detector:
        node.update(pull(0))
        detector.wait_until(is_lost(FaultState.RAISED))
        detector.later(REOPEN_S_INITIAL)
        node.update(xid(1, "31"), hang(2))
        detector.begin("wait 60")
        signals = msgspec.convert(detector.finish(), list[FaultSignal])
        assert [(one.device_id, one.code) for one in signals] == [(node.ids[1], "31")]
        node.update(hang(2, hangs=False))


def test_an_xid_that_comes_before_a_session_ends_is_told_in_the_next(node: SickNode) -> None:
    with node.detector() as detector:
        node.update(xid(1, "31"))
        detector.reopen()
        assert [signal.code for signal in detector.wait(60)] == ["31"]


def test_a_fatal_xid_that_nobody_heard_is_noticed_by_what_it_leaves(node: SickNode) -> None:
    with node.detector() as detector:
        put(node.file, 1, recovery_action=1)
        assert [(one.device_id, one.code) for one in detector.wait()] == [(node.ids[1], "recovery")]
        put(node.file, 1, recovery_action=0)
        assert detector.wait_until(lambda _: True).state is FaultState.CLEARED


def test_an_absurd_recovery_action_is_none(node: SickNode) -> None:
    with node.detector() as detector:
        put(node.file, 1, recovery_action=2**32 - 1)
        assert waits(detector) == []


# --- One sick card -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [UNKNOWN, RESET_REQUIRED])
def test_a_card_that_refuses_is_lost_after_some_looks_and_its_neighbours_are_well(
    code: int, node: SickNode
) -> None:
    with node.detector() as detector:
        assert len(detector.scan()) == 8
        node.refuse(code, 3)
        assert len(detector.scan()) == 8  # it may be a moment's
        assert waits(detector) == []
        assert len(detector.sample()) == 8
        detector.later(REFUSALS_S)
        (lost,) = waits(detector)
        assert (lost.device_id, lost.code) == (node.ids[3], "lost")
        assert lost.detail.startswith("NVML answers: ")
        others = node.ids[:3] + node.ids[4:]
        assert [device.device_id for device in detector.scan()] == others
        assert [reading.sample.device_id for reading in detector.sample()] == others
        node.update(xid(5, "79"))
        assert detector.wait_until(lambda _: True).code == "79"
        node.refuse(code)
        assert detector.wait_until(is_lost(FaultState.CLEARED)).device_id == node.ids[3]
        assert len(detector.scan()) == 8


def test_a_card_that_refuses_for_a_moment_has_no_fault(node: SickNode) -> None:
    with node.detector() as detector:
        for _ in range(3):
            node.refuse(UNKNOWN, 3)
            assert waits(detector, 1) == []
            detector.later(REFUSALS_S)
            assert waits(detector, 1) == []  # so long, but only two looks
            node.refuse(UNKNOWN)
            assert waits(detector, 2) == []


def test_a_card_that_only_withholds_an_answer_is_well(node: SickNode) -> None:
    with node.detector() as detector:
        node.refuse(NO_PERMISSION, 3)
        waits(detector, 3)
        detector.later(REFUSALS_S)
        assert waits(detector) == []


def test_a_card_that_refuses_from_the_start_hides_none_of_the_others(node: SickNode) -> None:
    node.refuse(UNKNOWN, 3)
    with node.detector() as detector:
        assert len(detector.scan()) == len(detector.sample()) == 7
        node.update(xid(5, "31"))
        assert detector.wait_until(lambda _: True).code == "31"
        node.refuse(UNKNOWN)
        assert len(detector.scan()) == 8
        assert detector.wait(0.01) == []  # which registers it
        node.update(xid(3, "31"))
        assert detector.wait_until(lambda _: True).device_id == node.ids[3]


def test_when_all_cards_refuse_the_library_is_broken_and_no_card_blamed(node: SickNode) -> None:
    with node.detector() as detector:
        detector.scan()
        node.refuse(UNKNOWN, *range(8))
        assert waits(detector, 3) == []
        detector.later(REFUSALS_S)
        assert detector.error_of("wait 0.01") == "LibraryBrokenError"
        node.refuse(UNKNOWN)
        detector.reopen()
        assert len(detector.scan()) == 8
        assert waits(detector) == []


# --- Cards that come back, and cards that do not -------------------------------------------------


def test_a_card_in_the_place_of_another_is_itself(node: SickNode) -> None:
    newcomer = "GPU-00000000-1111-2222-3333-444444444444"
    with node.detector() as detector:
        node.update(pull(3))
        detector.wait_until(is_lost(FaultState.RAISED))
        put(node.file, 3, id=newcomer)
        node.update(plug(3))
        detector.later(REOPEN_S_INITIAL)
        assert waits(detector) == []  # the old one is not back
        now = [*node.ids[:3], newcomer, *node.ids[4:]]
        assert [device.device_id for device in detector.scan()] == now
        assert [reading.sample.device_id for reading in detector.sample()] == now
        node.update(xid(3, "31"))
        assert [signal.device_id for signal in waits(detector)] == [newcomer]
        detector.calls()
        for _ in range(20):
            detector.later(HOUR_S)
            assert waits(detector, 2) == []
        assert detector.calls()[INIT] == 0, "nobody is awaited any more"


def test_a_replaced_card_that_returns_is_no_more_lost(node: SickNode) -> None:
    with node.detector() as detector:
        for number, name in ((3, "GPU-another"), (3, node.ids[3])):
            node.update(pull(number))
            detector.wait_until(is_lost(FaultState.RAISED))
            put(node.file, number, id=name)
            node.update(plug(number))
            detector.later(REOPEN_S_INITIAL)
            signals = waits(detector)
        assert [(one.device_id, one.state) for one in signals] == [
            (node.ids[3], FaultState.CLEARED)
        ]


def test_a_card_that_refused_is_not_back_when_another_answers_in_its_place(node: SickNode) -> None:
    with node.detector() as detector:
        node.refuse(UNKNOWN, 3)
        waits(detector, 3)
        detector.later(REFUSALS_S)
        assert detector.wait_until(is_lost(FaultState.RAISED)).device_id == node.ids[3]
        put(node.file, 3, id="GPU-another")
        node.refuse(UNKNOWN)
        assert waits(detector) == []
        assert [device.device_id for device in detector.scan()][3] == "GPU-another"


def test_a_card_swapped_between_two_looks_is_not_told_twice(node: SickNode) -> None:
    with node.detector() as detector:
        detector.scan()
        put(node.file, 3, id="GPU-another")
        assert [device.device_id for device in detector.scan()][3] == "GPU-another"
        assert len(detector.sample()) == len(detector.scan()) == 8
        node.update(xid(3, "31"))
        assert [signal.device_id for signal in waits(detector)] == ["GPU-another"]


def test_a_card_that_does_not_return_is_looked_for_more_and_more_seldom(node: SickNode) -> None:
    with node.detector() as detector:
        node.update(pull(3))
        detector.wait_until(is_lost(FaultState.RAISED))
        detector.calls()
        for _ in range(120):
            detector.later(HOUR_S / 120)
            assert waits(detector, 1) == []
        assert 5 <= detector.calls()[INIT] <= 9  # at 5, 15, 35 … of the 3600 s
        node.update(plug(3))
        detector.later(REOPEN_S_MAX)
        assert detector.wait_until(lambda _: True).state is FaultState.CLEARED


# --- What it costs -------------------------------------------------------------------------------


def test_a_scan_asks_once_in_a_session_what_a_card_is(node: SickNode) -> None:
    with node.detector() as detector:
        first = detector.scan()
        detector.calls()
        assert detector.scan() == first
        assert detector.calls() == {
            "nvmlDeviceGetCount_v2": 1,
            "nvmlDeviceGetHandleByIndex_v2": 8,
            "nvmlDeviceGetUUID": 8,
        }
        detector.later(LINKS_S)
        assert detector.scan() == first
        assert set(detector.calls()) == {
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetHandleByIndex_v2",
            "nvmlDeviceGetUUID",
            "nvmlDeviceGetNvLinkState",
        }
        put(node.file, 0, firmware="92.00.45.00.03")
        detector.reopen()
        assert detector.scan()[0].firmware_version == "92.00.45.00.03"


def test_what_a_card_puts_off_is_asked_again(node: SickNode) -> None:
    node.refuse(UNKNOWN, 3)
    with node.detector() as detector:
        detector.scan()
        node.refuse(UNKNOWN)
        assert detector.scan()[3].model == "A100 SXM4 80GB"


OLD_NVML = """#include <string.h>
static int card;
int nvmlInitWithFlags(unsigned f) { (void)f; return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int e) { (void)e; return "error"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = &card; return (int)i; }
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
struct process { unsigned pid; unsigned long used; unsigned gpu, compute; };
static int one(unsigned *n, struct process *p, unsigned pid) {
    if (*n < 1) { *n = 1; return 7; }
    *n = 1; p[0].pid = pid; p[0].used = pid * 1024UL; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, struct process *p) {
    (void)h; return one(n, p, 11); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, unsigned *n, struct process *p) {
    (void)h; return one(n, p, 12); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *h, unsigned *n, struct process *p) {
    (void)h; return one(n, p, 13); }
"""


@pytest.fixture
def old_nvml(tmp_path: Path) -> dict[str, str]:
    """Return the environment of an NVML that knows no Xids, and processes of every kind."""
    source = tmp_path / "old.c"
    source.write_text(OLD_NVML)
    library = str(tmp_path / "libnvidia-ml.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(source)], check=True)
    return environment(tmp_path, None)


def test_an_event_set_without_cards_is_not_waited_on(old_nvml: dict[str, str]) -> None:
    with SamplingProcess(Vendor.NVIDIA, old_nvml) as detector:
        detector.calls()
        assert detector.wait(0.05) == []
        assert detector.calls()["nvmlEventSetWait_v2"] == 0, "it would not block"
        detector.begin("wait 0.5")
        assert detector.is_blocked()
        assert detector.finish() == []


def test_processes_that_draw_and_those_of_mps_are_on_the_card_too(old_nvml: dict[str, str]) -> None:
    with SamplingProcess(Vendor.NVIDIA, old_nvml) as detector:
        processes = {(one.pid, one.used_bytes) for one in detector.processes()}
    assert processes == {(11, 11 * 1024), (12, 12 * 1024), (13, 13 * 1024)}
