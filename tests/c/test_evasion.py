"""A program that shakes the interceptor off is found out: on a card, and silent.

Programs, the driver's list of who is on its cards, and the agent's socket are real; the test takes
the part of the agent's loop. A driver that lists nobody (Moore Threads') leaves it in the dark.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hcs_agents.enforcement import Enforcement, look_up
from hcs_agents.quota import QuotaServer
from hcs_bus.events import Quota
from hcs_bus.names import PodUid, Vendor
from tests.support.interceptor import CARDS, MIB, POD_UID, SIMULATED, VENDORS, Program, Rig
from tests.support.simulated import DetectorProcess, environment

QUOTA_BYTES = 64 * MIB
TAKEN_BYTES = 32 * MIB
GRACE_LOOKS = 3
PATIENCE_S = 20.0
VARIABLES = ("HCS_VRAM_QUOTA", "HCS_DEVICES", "HCS_POD_UID", "HCS_CONTAINER", "HCS_AGENT_SOCKET")
LISTED = [runtime for runtime, vendor in VENDORS.items() if vendor is not Vendor.MTHREADS]


class Agent:
    """A quota socket and an eye on one vendor's cards; the time between two looks is 1."""

    def __init__(self, rig: Rig, vendor: Vendor, detector: DetectorProcess) -> None:
        self.proc = rig.directory / "proc"
        self.proc.mkdir()
        self.facts: list[Quota] = []
        self.server = QuotaServer(rig.directory / "quota.sock", lambda _: None, proc=self.proc)
        self._enforcement = Enforcement(grace_s=GRACE_LOOKS)
        self._vendor = vendor
        self._detector = detector
        self._looks = 0

    def put_into_pod(self, program: Program) -> None:
        """Let /proc say that a program is in the Pod."""
        directory = self.proc / str(program.process.pid)
        directory.mkdir()
        (directory / "cgroup").write_text(f"0::/kubepods/burstable/pod{POD_UID}/0123abcd\n")

    async def look(self) -> None:
        """Ask the driver, and decide."""
        listed = await asyncio.to_thread(self._detector.processes)
        self._looks += 1
        seen = look_up(listed, proc=self.proc)
        self._enforcement.note(self._vendor, seen, connected=self.server.pids, now_s=self._looks)
        self.facts += self._enforcement.due(now_s=self._looks, at_ns=self._looks)


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
            "HCS_POD_UID": POD_UID,
            "HCS_CONTAINER": "trainer",
            "HCS_AGENT_SOCKET": str(rig.directory / "quota.sock"),
        }
        try:
            yield agent
        finally:
            agent.server.stop()


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


async def check_that_it_is_found_out(rig: Rig, runtime: str, evasion: Evasion) -> None:
    """Run an honest program and one that evades in the same Pod: of that one is told."""
    form = f"{runtime}_linked"
    async with agent_of(rig, runtime) as agent:
        given = rig.settings
        with rig.run(form) as honest:
            rig.settings = {name: given[name] for name in given if name not in evasion.unset}
            with rig.run(form, **evasion.given) as evader:
                agent.put_into_pod(honest)
                agent.put_into_pod(evader)
                assert await take(honest, MIB) == 0
                assert await take(evader, TAKEN_BYTES) == 0
                await until(lambda: honest.process.pid in agent.server.pids)
                async with asyncio.timeout(PATIENCE_S):
                    while not agent.facts:
                        await agent.look()
                (told,) = agent.facts
                assert (told.pod_uid, told.device_id) == (PodUid(POD_UID), given["HCS_DEVICES"])
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
