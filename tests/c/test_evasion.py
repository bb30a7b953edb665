"""A program that shakes the interceptor off is found out: on a card, and silent.

So is one that keeps the interceptor, and has a quota of its own beside its container's.

Programs, the driver's list of who is on its cards, and the agent's socket are real; the test takes
the part of the agent's loop. A driver that lists nobody (Moore Threads') leaves it in the dark.
"""

import asyncio
import json
import os
import shutil
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hcs_agents.enforcement import Enforcement, look_up
from hcs_agents.quota import QuotaServer
from hcs_bus.events import Quota
from hcs_bus.names import Vendor
from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CARDS,
    CUDA_OUT_OF_MEMORY,
    MIB,
    PROGRAMS,
    RUNTIMES,
    SIMULATED,
    VENDORS,
    Program,
    Rig,
    compile_c,
    compile_commands,
    library_without,
    link,
)
from tests.support.simulated import DetectorProcess, environment

LEDGERS = (Path("/dev/shm"), Path("/tmp"))  # noqa: S108 # where the library keeps them
QUOTA_BYTES = 64 * MIB
TAKEN_BYTES = 32 * MIB
ASKED_BYTES = TAKEN_BYTES - ACL_PADDING_BYTES  # one runtime adds so much
GRACE_LOOKS = 3
NOBODY = 65534
PATIENCE_S = 20.0
VARIABLES = ("HCS_VRAM_QUOTA", "HCS_DEVICES", "HCS_POD_UID", "HCS_CONTAINER", "HCS_AGENT_SOCKET")
LISTED = [runtime for runtime, vendor in VENDORS.items() if vendor is not Vendor.MTHREADS]


class Agent:
    """A quota socket and an eye on one vendor's cards; the time between two looks is 1."""

    def __init__(self, rig: Rig, vendor: Vendor, detector: DetectorProcess) -> None:
        self.proc = rig.directory / "proc"
        self.proc.mkdir()
        self.pod_uid = str(uuid.uuid4())  # also in the name of a ledger that all tests could see
        self.facts: list[Quota] = []
        self.told: dict[str, Quota] = {}  # by container: what its processes say, the last fact
        self.server = QuotaServer(
            rig.directory / "quota.sock", self._note, fact_interval_s=0.01, proc=self.proc
        )
        self._enforcement = Enforcement(grace_s=GRACE_LOOKS)
        self._vendor = vendor
        self._detector = detector
        self._looks = 0

    def _note(self, fact: Quota) -> None:
        self.told[fact.container] = fact

    def ledger(self) -> Path:
        """Return where the interceptor keeps a container's ledger by itself."""
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        return LEDGERS[0] / f"hcs-{self.pod_uid}-trainer-{namespace}.ledger"

    def put_into_pod(self, pid: int) -> None:
        """Let /proc say that a process is in the Pod."""
        directory = self.proc / str(pid)
        directory.mkdir()
        (directory / "cgroup").write_text(f"0::/kubepods/burstable/pod{self.pod_uid}/0123abcd\n")

    async def look(self) -> None:
        """Ask the driver, and decide."""
        listed = await asyncio.to_thread(self._detector.processes)
        self._looks += 1
        seen = look_up(listed, proc=self.proc)
        self._enforcement.note(self._vendor, seen, connected=self.server.pids, now_s=self._looks)
        self.facts += self._enforcement.due(now_s=self._looks, at_ns=self._looks)

    async def looks_until_it_tells(self) -> None:
        """Do so until there is a first fact."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.facts:
                await self.look()


@asynccontextmanager
async def agent_of(rig: Rig, runtime: str) -> AsyncIterator[Agent]:
    """Run an agent, and give the rig's programs what the webhook gives a container."""
    vendor = VENDORS[runtime]
    with DetectorProcess(vendor, environment(SIMULATED, rig.scenario)) as detector:
        agent = Agent(rig, vendor, detector)
        agent.server.start()
        rig.settings = {
            "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
            "HCS_DEVICES": CARDS[vendor][1][0],
            "HCS_POD_UID": agent.pod_uid,
            "HCS_CONTAINER": "trainer",
            "HCS_AGENT_SOCKET": str(rig.directory / "quota.sock"),
        }
        try:
            yield agent
        finally:
            agent.server.stop()
            for directory in LEDGERS:
                for left in directory.glob(f"hcs-{agent.pod_uid}-*"):
                    left.rmdir() if left.is_dir() else left.unlink()


async def take(program: Program, size_bytes: int) -> int:
    """Let a program allocate, without stopping the server, which runs in this thread."""
    await asyncio.to_thread(program.begin)
    result, _ = await asyncio.to_thread(program.ask, f"alloc {size_bytes}")
    return result


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Evasion:
    """What a program changes of the environment that it was given."""

    unset: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)


NO_PRELOAD = Evasion(given={"LD_PRELOAD": ""})
NO_VARIABLES = Evasion(unset=VARIABLES)


async def check_that_it_is_found_out(
    rig: Rig, runtime: str, evasion: Evasion, *, way: str = "linked"
) -> None:
    """Run an honest program and one that evades in the same Pod: of that one is told."""
    async with agent_of(rig, runtime) as agent:
        given = rig.settings
        with rig.run(f"{runtime}_linked") as honest:
            rig.settings = {name: given[name] for name in given if name not in evasion.unset}
            with rig.run(f"{runtime}_{way}", **evasion.given) as evader:
                agent.put_into_pod(honest.process.pid)
                agent.put_into_pod(evader.process.pid)
                assert await take(honest, MIB) == 0
                assert await take(evader, ASKED_BYTES) == 0
                await until(lambda: honest.process.pid in agent.server.pids)
                await agent.looks_until_it_tells()
                (told,) = agent.facts
                assert (told.pod_uid, told.device_id) == (agent.pod_uid, given["HCS_DEVICES"])
                assert (told.enforced, told.processes) == (False, 1)
                assert round(told.used_bytes / TAKEN_BYTES, 2) == 1  # some drivers' unit is larger
                await asyncio.to_thread(evader.kill)
                await agent.look()
                ended = agent.facts[-1]
                assert (ended.enforced, ended.processes, ended.used_bytes) == (False, 0, 0)


@pytest.mark.parametrize(
    "evasion",
    [
        pytest.param(NO_PRELOAD, id="no preload"),
        pytest.param(NO_VARIABLES, id="no variables"),
        *(pytest.param(Evasion(unset=(name,)), id=f"no {name}") for name in VARIABLES),
        pytest.param(Evasion(given={"HCS_VRAM_QUOTA": "16Gi"}), id="a quota that is no number"),
        pytest.param(Evasion(given={"HCS_LEDGER": "/nowhere/ledger"}), id="no place for a ledger"),
    ],
)
async def test_whatever_a_program_takes_out_of_its_environment_it_is_found_out(
    rig: Rig, evasion: Evasion
) -> None:
    await check_that_it_is_found_out(rig, "cuda", evasion)


@pytest.mark.parametrize("evasion", [NO_PRELOAD, NO_VARIABLES], ids=["no preload", "no variables"])
@pytest.mark.parametrize("runtime", LISTED)
async def test_a_program_of_any_runtime_without_the_interceptor_is_found_out(
    rig: Rig, runtime: str, evasion: Evasion
) -> None:
    await check_that_it_is_found_out(rig, runtime, evasion)


@pytest.mark.parametrize("runtime", LISTED)
async def test_a_program_that_uses_a_card_beside_the_one_it_has_a_quota_of_is_found_out(
    rig: Rig, runtime: str
) -> None:
    own, another = CARDS[VENDORS[runtime]][1]
    async with agent_of(rig, runtime) as agent:
        with rig.run(f"{runtime}_linked") as program:
            agent.put_into_pod(program.process.pid)
            assert await take(program, MIB) == 0
            await until(lambda: agent.server.pids == {program.process.pid: {own}})
            assert await asyncio.to_thread(program.ask, "device 1") == [0]
            assert (await asyncio.to_thread(program.ask, f"alloc {ASKED_BYTES}"))[0] == 0
            await agent.looks_until_it_tells()
            (told,) = agent.facts
            assert (told.device_id, told.enforced, told.processes) == (another, False, 1)
            assert round(told.used_bytes / TAKEN_BYTES, 2) == 1  # some drivers' unit is larger
            assert agent.told["trainer"].enforced


def without(rig: Rig, runtime: str, function: str) -> Evasion:
    """Let a program find a library of the runtime that has no such function."""
    path = library_without(rig.directory, RUNTIMES[runtime], function)
    return Evasion(given={"LD_LIBRARY_PATH": path, "HCS_DEBUG": "1"})


@pytest.mark.parametrize(
    ("runtime", "function"),
    [
        ("cuda", "cuCtxGetCurrent"),
        ("cuda", "cuCtxGetDevice"),
        ("acl", "aclrtGetDevice"),
        ("rt", "rtGetDevice"),
        ("hip", "hipGetDevice"),
        ("cnrt", "cnrtGetDevice"),
        ("cndrv", "cnCtxGetDevice"),
    ],
)
async def test_a_program_whose_runtime_cannot_say_which_card_it_uses_is_found_out(
    rig: Rig, runtime: str, function: str
) -> None:
    older = without(rig, runtime, function)
    await check_that_it_is_found_out(rig, runtime, older, way="ctypes")
    assert [json.loads(line)["event"] for line in rig.stderr().splitlines()] == ["no_enforcement"]


MEASURING = {
    "cuda": ("cuEventCreate", "cuEventRecord", "cuEventQuery", "cuEventElapsedTime"),
    "acl": ("rtEventCreateWithFlag", "rtEventRecord", "rtEventQueryStatus", "rtEventElapsedTime"),
    "hip": ("hipEventCreateWithFlags", "hipEventRecord", "hipEventQuery", "hipEventElapsedTime"),
    "cnrt": (
        "cnCreateNotifier",
        "cnPlaceNotifier",
        "cnQueryNotifier",
        "cnNotifierElapsedTime",
    ),
    "musart": (
        "musaEventCreateWithFlags",
        "musaEventRecord",
        "musaEventQuery",
        "musaEventElapsedTime",
    ),
    "musa": ("muEventCreate", "muEventRecord", "muEventQuery", "muEventElapsedTime"),
}
"""What the time of launches is measured with."""
MEASURING_LIBRARIES = {"acl": "libruntime.so", "cnrt": "libcndrv.so"}  # else the runtime's own


@pytest.mark.parametrize(
    ("runtime", "function"),
    [(runtime, name) for runtime in MEASURING for name in MEASURING[runtime]],
)
async def test_a_program_whose_runtime_cannot_measure_its_launches_runs_and_is_told_of(
    rig: Rig, runtime: str, function: str
) -> None:
    library = MEASURING_LIBRARIES.get(runtime, RUNTIMES[runtime])
    older = library_without(rig.directory, library, function)
    async with agent_of(rig, runtime) as agent:
        rig.settings |= {"LD_LIBRARY_PATH": older, "HCS_COMPUTE_SHARE": "1", "HCS_DEBUG": "1"}
        with rig.run(f"{runtime}_launches") as program:
            await asyncio.to_thread(program.begin)
            assert await asyncio.to_thread(program.ask, "launch 1 40") == [0]
            await until(lambda: "trainer" in agent.told and not agent.told["trainer"].enforced)
            told = agent.told["trainer"]
            assert (told.processes, told.quota_bytes) == (1, QUOTA_BYTES)  # of that it is held to
            assert program.process.pid in agent.server.pids
            await asyncio.to_thread(program.kill)
            await until(lambda: agent.told["trainer"].enforced)
    assert [json.loads(line)["event"] for line in rig.stderr().splitlines()] == ["no_compute_share"]


async def test_a_program_that_only_launches_on_a_card_it_cannot_name_is_enforced_no_more(
    rig: Rig,
) -> None:
    older = without(rig, "cuda", "cuCtxGetCurrent")
    async with agent_of(rig, "cuda") as agent:
        with rig.run("cuda_launches", HCS_COMPUTE_SHARE="1", **older.given) as program:
            await asyncio.to_thread(program.begin)
            assert await asyncio.to_thread(program.ask, "launch 1 40") == [0]
            await until(lambda: program.process.pid not in agent.server.pids)
            assert await asyncio.to_thread(program.close) == 0
    assert [json.loads(line)["event"] for line in rig.stderr().splitlines()] == ["no_enforcement"]


async def test_a_runtime_without_a_function_that_can_be_done_without_is_no_evasion(
    rig: Rig,
) -> None:
    older = without(rig, "cuda", "cuDeviceGetUuid")
    async with agent_of(rig, "cuda") as agent:
        with rig.run("cuda_ctypes", **older.given) as program:
            assert await take(program, QUOTA_BYTES) == 0
            assert await asyncio.to_thread(program.ask, "alloc 1") == [CUDA_OUT_OF_MEMORY, 1]
            await until(lambda: "trainer" in agent.told and agent.told["trainer"].refusals == 1)
            assert program.process.pid in agent.server.pids
    assert rig.stderr() == ""


async def test_a_static_program_is_found_out(rig: Rig) -> None:
    program = rig.directory / "static"
    compile_c(program, "-static", str(PROGRAMS / "static_program.c"))
    async with agent_of(rig, "cuda") as agent:
        process = await asyncio.create_subprocess_exec(
            program, str(TAKEN_BYTES), env=rig.environment(), stdin=PIPE, stdout=PIPE
        )
        agent.put_into_pod(process.pid)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"0\n"
        await agent.looks_until_it_tells()
        (told,) = agent.facts
        assert (told.enforced, told.processes, told.pod_uid) == (False, 1, agent.pod_uid)
        assert round(told.used_bytes / TAKEN_BYTES, 2) == 1
        process.kill()
        await process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a program another group's rights")
@pytest.mark.parametrize("runtime", LISTED)
async def test_a_program_with_more_rights_than_its_caller_is_found_out(
    rig: Rig, runtime: str
) -> None:
    # For such a one the loader preloads nothing, and looks for libraries only where itself says.
    honest, secure = (rig.directory / f"{runtime}_{way}" for way in ("linked", "secure"))
    honest.symlink_to(rig.programs / honest.name)
    beside = f"-Wl,--disable-new-dtags,-rpath,{SIMULATED}"
    compile_commands(secure, runtime, link(RUNTIMES[runtime]), beside)
    os.chown(secure, -1, NOBODY)
    secure.chmod(0o2755)
    rig.programs = rig.directory
    await check_that_it_is_found_out(rig, runtime, Evasion(), way="secure")


def removed(ledger: Path) -> None:
    """Let nobody find it any more."""
    ledger.unlink()


def kept(ledger: Path) -> None:
    """Leave it where it is."""
    assert ledger.exists()


@pytest.mark.parametrize(
    ("given", "happens"),
    [
        pytest.param({"HCS_LEDGER": "{}/mine"}, kept, id="another ledger"),
        pytest.param({"HCS_CONTAINER": "other"}, kept, id="another container's name"),
        pytest.param({}, removed, id="no ledger any more"),
    ],
)
async def test_a_second_quota_beside_the_containers_is_told_of_as_long_as_it_is_used(
    rig: Rig, given: dict[str, str], happens: Callable[[Path], None]
) -> None:
    given = {name: value.format(rig.directory) for name, value in given.items()}
    async with agent_of(rig, "cuda") as agent:
        rig.settings["HCS_LEDGER"] = ""
        with rig.run("cuda_linked") as honest:
            assert await take(honest, QUOTA_BYTES) == 0
            await until(lambda: "trainer" in agent.told)
            assert agent.told["trainer"].enforced
            happens(agent.ledger())
            with rig.run("cuda_linked", **given) as evader:
                assert await take(evader, QUOTA_BYTES) == 0
                await until(
                    lambda: sum(of.used_bytes for of in agent.told.values()) == 2 * QUOTA_BYTES
                )
                await until(lambda: not any(of.enforced for of in agent.told.values()))
                assert sum(of.processes for of in agent.told.values()) == 2
                await asyncio.to_thread(evader.kill)
                await until(lambda: all(of.enforced for of in agent.told.values()))
                told = agent.told["trainer"]
                assert (told.processes, told.used_bytes) == (1, QUOTA_BYTES)


async def test_a_copy_of_the_ledger_is_a_second_quota_and_told_of_as_such(rig: Rig) -> None:
    copy = rig.directory / "copy"
    async with agent_of(rig, "cuda") as agent:
        with rig.run("cuda_linked") as honest:
            assert await take(honest, MIB) == 0
            await until(lambda: "trainer" in agent.told)
            shutil.copy(rig.ledger, copy)
            with rig.run("cuda_linked", HCS_LEDGER=str(copy)) as evader:
                assert await take(evader, QUOTA_BYTES - MIB) == 0
                rest = f"alloc {QUOTA_BYTES - MIB}"
                assert (await asyncio.to_thread(honest.ask, rest))[0] == 0
                await until(lambda: agent.told["trainer"].used_bytes == 2 * QUOTA_BYTES)
                told = agent.told["trainer"]
                assert (told.enforced, told.processes) == (False, 2)
                await asyncio.to_thread(evader.kill)
                await until(lambda: agent.told["trainer"].enforced)


async def test_the_ledger_by_another_name_is_the_same_one(rig: Rig) -> None:
    another = rig.directory / "another"
    async with agent_of(rig, "cuda") as agent:
        with rig.run("cuda_linked") as first:
            assert await take(first, TAKEN_BYTES) == 0
            another.hardlink_to(rig.ledger)
            with rig.run("cuda_linked", HCS_LEDGER=str(another)) as second:
                assert await take(second, QUOTA_BYTES) == CUDA_OUT_OF_MEMORY
                await until(lambda: agent.told["trainer"].refusals == 1)
                await until(lambda: agent.told["trainer"].processes == 2)
                assert agent.told["trainer"].enforced


async def test_a_container_that_begins_anew_has_one_quota(rig: Rig) -> None:
    async with agent_of(rig, "cuda") as agent:
        facts: list[bool] = []
        for ledger in ("before", "after"):
            rig.settings["HCS_LEDGER"] = str(rig.directory / ledger)
            with rig.run("cuda_linked") as program:
                assert await take(program, TAKEN_BYTES) == 0
                await until(lambda: "trainer" in agent.told and agent.told["trainer"].processes > 0)
                await until(lambda: agent.told["trainer"].used_bytes == TAKEN_BYTES)
                facts.append(agent.told["trainer"].enforced)
                await asyncio.to_thread(program.kill)
        assert facts == [True, True]


def taken_by_another_user(ledger: Path) -> None:
    """Let it be one that this user's processes find and may not use."""
    if os.geteuid() == 0:
        os.chown(ledger, NOBODY, NOBODY)
    else:
        ledger.chmod(0)


def taken_by_a_directory(ledger: Path) -> None:
    """Let something else stand in its place."""
    ledger.unlink()
    ledger.mkdir()


def spoilt(ledger: Path) -> None:
    """Let it be no ledger any more, for those who come."""
    ledger.unlink()
    ledger.write_bytes(bytes(1000))


@pytest.mark.parametrize("happens", [taken_by_another_user, taken_by_a_directory, spoilt])
async def test_a_ledger_that_is_there_and_of_no_use_is_not_replaced_by_a_second_one(
    rig: Rig, happens: Callable[[Path], None]
) -> None:
    async with agent_of(rig, "cuda") as agent:
        rig.settings["HCS_LEDGER"] = ""
        with rig.run("cuda_linked") as first:
            agent.put_into_pod(first.process.pid)
            assert await take(first, TAKEN_BYTES) == 0
            await until(lambda: first.process.pid in agent.server.pids)
            happens(agent.ledger())
            with rig.run("cuda_linked", HCS_DEBUG="1") as second:
                agent.put_into_pod(second.process.pid)
                assert await take(second, TAKEN_BYTES) == 0
                await agent.looks_until_it_tells()
                (told,) = agent.facts
                assert (told.enforced, told.processes, told.pod_uid) == (False, 1, agent.pod_uid)
                assert second.process.pid not in agent.server.pids
                assert not (LEDGERS[1] / agent.ledger().name).exists()
        said = [json.loads(line)["event"] for line in rig.stderr().splitlines()]
        assert said == ["no_enforcement"]
