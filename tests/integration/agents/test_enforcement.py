"""Real programs on simulated cards: the driver lists them, and who has no quota is found out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.enforcement import Enforcement, Strangers, look_up
from hcs_agents.quota import QuotaServer
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid, Vendor
from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CARDS,
    GPUS,
    MIB,
    POD_UID,
    SIMULATED,
    VENDORS,
    Program,
    Rig,
    build_libraries,
)
from tests.support.simulated import DetectorProcess, environment

MakeNode = Callable[[str], ScenarioFile]
PATIENCE_S = 20.0
GRACE_LOOKS = 10
ON_CARD = 48 * MIB
NO_PRELOAD = {"LD_PRELOAD": ""}
SETTINGS = {
    "HCS_VRAM_QUOTA": str(64 * MIB),
    "HCS_DEVICES": GPUS[0],
    "HCS_POD_UID": POD_UID,
    "HCS_CONTAINER": "trainer",
}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Give one container on one simulated node."""
    build_libraries()
    return Rig(directory=tmp_path, programs=tmp_path)


def detector_of(vendor: Vendor, rig: Rig) -> DetectorProcess:
    """Return a vendor's detector on the rig's node."""
    return DetectorProcess(vendor, environment(SIMULATED, rig.scenario))


# --- What drivers list ----------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["cuda", "acl", "hip", "cnrt"])
def test_the_driver_lists_who_holds_memory_of_which_card(runtime: str, rig: Rig) -> None:
    vendor = VENDORS[runtime]
    first_card, second_card = CARDS[vendor][1]
    way = f"{runtime}_ctypes"
    with (
        detector_of(vendor, rig) as detector,
        rig.run(way, **NO_PRELOAD) as first,
        rig.run(way, **NO_PRELOAD) as second,
    ):
        assert detector.processes() == []
        first.begin(0).ask(f"alloc {ON_CARD - ACL_PADDING_BYTES}")
        second.begin(1).ask(f"alloc {2 * ON_CARD - ACL_PADDING_BYTES}")
        listed = {(one.device_id, one.pid): one.used_bytes or 0 for one in detector.processes()}
        assert listed.keys() == {
            (first_card, first.process.pid),
            (second_card, second.process.pid),
        }
        assert [round(used / ON_CARD, 3) for used in listed.values()] == [1, 2]
        first.kill()
        assert [one.pid for one in detector.processes()] == [second.process.pid]
        second.ask("free 0")
        assert detector.processes() == []


def test_moore_threads_lists_nobody(rig: Rig) -> None:
    with detector_of(Vendor.MTHREADS, rig) as detector, rig.run("musa_ctypes", **NO_PRELOAD) as one:
        one.begin(0).ask(f"alloc {ON_CARD}")
        assert detector.processes() == []


def test_without_rocm_smi_the_kernel_lists_who_holds_memory(
    node_of: MakeNode, tmp_path: Path
) -> None:
    file = node_of("hygon-0")
    sysfs = tree_of(file.path)
    [third] = sysfs.glob("class/kfd/kfd/topology/nodes/3/gpu_id")
    for pid, name, text in (
        (100, f"vram_{third.read_text().strip()}", f"{ON_CARD}\n"),
        (100, "vram_1", "0\n"),
        (101, "vram_77777", "5\n"),
        (102, "vram_1", "all of it\n"),
    ):
        path = sysfs / "class/kfd/kfd/proc" / str(pid) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    nothing = environment(tmp_path, file.path)
    with DetectorProcess(Vendor.HYGON, nothing, sysfs=sysfs) as detector:
        card = detector.scan()[2].device_id
        assert detector.processes() == [DeviceProcess(device_id=card, pid=100, used_bytes=ON_CARD)]


@pytest.mark.parametrize("vendor", [Vendor.NVIDIA, Vendor.HUAWEI, Vendor.HYGON, Vendor.CAMBRICON])
def test_a_driver_that_is_gone_is_no_empty_list(vendor: Vendor, rig: Rig) -> None:
    file = ScenarioFile(rig.scenario)
    with detector_of(vendor, rig) as detector:
        file.update(lambda scenario: msgspec.structs.replace(scenario, drivers_down=vendor))
        with pytest.raises(AssertionError, match="LibraryBrokenError"):
            detector.processes()


def test_more_processes_than_expected_are_all_listed(rig: Rig) -> None:
    with detector_of(Vendor.CAMBRICON, rig) as detector, contextlib.ExitStack() as programs:
        pids = set()
        for _ in range(18):
            program = programs.enter_context(rig.run("cnrt_ctypes", **NO_PRELOAD))
            program.begin(0).ask(f"alloc {MIB}")
            pids.add(program.process.pid)
        assert {one.pid for one in detector.processes()} == pids


# --- Who has no quota -----------------------------------------------------------------------------


class Watch:
    """A quota server, and an eye on the cards; the time between two looks is 1."""

    def __init__(self, rig: Rig, detector: DetectorProcess) -> None:
        self.proc = rig.directory / "proc"
        self.proc.mkdir()
        self.facts: list[Quota] = []
        self.reported: list[Quota] = []
        self.server = QuotaServer(
            rig.directory / "quota.sock", self.reported.append, proc=self.proc, fact_interval_s=0.01
        )
        self.enforcement = Enforcement(grace_s=GRACE_LOOKS, interval_s=GRACE_LOOKS)
        self._detector = detector
        self._looks = 0

    def put_into_pod(self, program: Program) -> None:
        """Let /proc say that a program is in the Pod."""
        directory = self.proc / str(program.process.pid)
        directory.mkdir()
        (directory / "cgroup").write_text(f"0::/kubepods/burstable/pod{POD_UID}/0123abcd\n")

    async def look(self, times: int = 1) -> None:
        """Ask the driver, and decide."""
        for _ in range(times):
            listed = await asyncio.to_thread(self._detector.processes)
            self._looks += 1
            self.enforcement.note(
                Vendor.NVIDIA,
                look_up(listed, proc=self.proc),
                connected=self.server.pids,
                now_s=self._looks,
            )
            self.facts += self.enforcement.due(now_s=self._looks, at_ns=self._looks)


@pytest.fixture
async def watch(rig: Rig) -> AsyncIterator[Watch]:
    with detector_of(Vendor.NVIDIA, rig) as detector:
        watch = Watch(rig, detector)
        watch.server.start()
        rig.settings = {**SETTINGS, "HCS_AGENT_SOCKET": str(rig.directory / "quota.sock")}
        yield watch
        watch.server.stop()


async def begin(program: Program) -> None:
    """Let a program take memory, without stopping the server, which runs in this thread."""
    await asyncio.to_thread(program.begin)
    await asyncio.to_thread(program.ask, f"alloc {ON_CARD}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(NO_PRELOAD, id="no preload"),
        pytest.param({"HCS_VRAM_QUOTA": "", "HCS_AGENT_SOCKET": ""}, id="no variables"),
    ],
)
async def test_a_program_without_the_interceptor_is_found_out_until_it_ends(
    rig: Rig, watch: Watch, without: dict[str, str]
) -> None:
    with rig.run("cuda_ctypes", **without) as program:
        watch.put_into_pod(program)
        await begin(program)
        await watch.look(GRACE_LOOKS)
        assert watch.facts == []
        await watch.look(3 * GRACE_LOOKS)
        (fact,) = watch.facts
        assert (fact.pod_uid, fact.device_id, fact.container) == (PodUid(POD_UID), GPUS[0], "")
        assert (fact.used_bytes, fact.processes, fact.enforced) == (ON_CARD, 1, False)
        await asyncio.to_thread(program.kill)
    await watch.look(3)
    last = watch.facts[1:]
    assert [(fact.processes, fact.used_bytes, fact.enforced) for fact in last] == [(0, 0, False)]


async def test_a_program_under_the_interceptor_is_never_reported(rig: Rig, watch: Watch) -> None:
    with rig.run("cuda_ctypes") as program:
        watch.put_into_pod(program)
        await begin(program)
        await until(lambda: program.process.pid in watch.server.pids)
        await until(lambda: any(fact.used_bytes == ON_CARD for fact in watch.reported))
        await watch.look(3 * GRACE_LOOKS)
        assert (watch.facts, watch.enforcement.strangers()) == ([], {})
        await asyncio.to_thread(program.kill)
    await until(lambda: not watch.server.pids)
    await watch.look(3 * GRACE_LOOKS)
    assert watch.facts == []


async def test_a_program_outside_of_pods_is_counted_and_not_reported(
    rig: Rig, watch: Watch
) -> None:
    with rig.run("cuda_ctypes", **NO_PRELOAD) as program:
        await begin(program)
        await watch.look()
        assert watch.enforcement.strangers() == {DeviceId(GPUS[0]): Strangers(unseen=1)}
        (watch.proc / str(program.process.pid)).mkdir()
        await watch.look(3 * GRACE_LOOKS)
        counted = Strangers(processes=1, used_bytes=ON_CARD)
        assert watch.enforcement.strangers() == {DeviceId(GPUS[0]): counted}
    assert watch.facts == []
