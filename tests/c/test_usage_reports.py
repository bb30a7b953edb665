"""What a program uses arrives at the agent, live, through restarts and at its end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hcs_agents.quota import QuotaServer
from hcs_bus.events import Quota
from tests.support.interceptor import CUDA_OUT_OF_MEMORY, GPUS, MIB, POD_UID, Program, Rig

QUOTA_BYTES = 64 * MIB
PATIENCE_S = 10.0
SETTINGS = {
    "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
    "HCS_DEVICES": GPUS[0],
    "HCS_POD_UID": POD_UID,
    "HCS_CONTAINER": "trainer",
}


class Agent:
    """A server that can be restarted, and the facts it published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: list[Quota] = []
        self.restart()

    def restart(self) -> None:
        """Begin with a new server."""
        self.server = QuotaServer(self.path, self.facts.append, fact_interval_s=0.01)
        self.server.start()

    async def hears(self, condition: Callable[[Quota], bool]) -> Quota:
        """Wait until the last fact is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.facts and condition(self.facts[-1])):
                await asyncio.sleep(0.01)
        return self.facts[-1]


@pytest.fixture
async def agent(rig: Rig) -> AsyncIterator[Agent]:
    agent = Agent(rig.directory / "quota.sock")
    rig.settings = {**SETTINGS, "HCS_AGENT_SOCKET": str(agent.path)}
    yield agent
    agent.server.stop()


async def ask(program: Program, command: str) -> list[int]:
    """Ask without stopping the agent, which runs in this thread."""
    return await asyncio.to_thread(program.ask, command)


async def test_the_agent_hears_what_is_used(rig: Rig, agent: Agent) -> None:
    with rig.run("cuda_linked") as program:
        await asyncio.to_thread(program.begin)
        await ask(program, f"alloc {48 * MIB}")
        fact = await agent.hears(lambda fact: fact.used_bytes == 48 * MIB)
        assert (fact.pod_uid, fact.container, fact.device_id) == (POD_UID, "trainer", GPUS[0])
        assert (fact.quota_bytes, fact.processes, fact.refusals) == (QUOTA_BYTES, 1, 0)
        assert (await ask(program, f"alloc {48 * MIB}"))[0] == CUDA_OUT_OF_MEMORY
        await agent.hears(lambda fact: fact.refusals == 1)
        await ask(program, "free 0")
        await agent.hears(lambda fact: fact.used_bytes == 0 and fact.processes == 1)
    fact = await agent.hears(lambda fact: fact.processes == 0)
    assert (fact.used_bytes, fact.peak_bytes) == (0, 48 * MIB)
    assert agent.server.counters.malformed_total == 0


async def test_a_program_that_lives_for_a_moment_is_heard(rig: Rig, agent: Agent) -> None:
    with rig.run("acl_linked", HCS_DEVICES="2102314NMV0000000001") as program:
        await asyncio.to_thread(program.begin)
        await ask(program, "fill 1000000")
        assert await asyncio.to_thread(program.close) == 0
    fact = await agent.hears(lambda fact: fact.processes == 0 and fact.refusals == 1)
    assert fact.peak_bytes > QUOTA_BYTES - 1_100_000


async def test_a_killed_neighbours_charge_is_reclaimed_without_anybody_asking(
    rig: Rig, agent: Agent
) -> None:
    with rig.run("cuda_linked") as victim, rig.run("cuda_linked") as survivor:
        for program, size in ((victim, 32 * MIB), (survivor, MIB)):
            await asyncio.to_thread(program.begin)
            await ask(program, f"alloc {size}")
        await agent.hears(lambda fact: fact.used_bytes == 33 * MIB and fact.processes == 2)
        await asyncio.to_thread(victim.kill)
        await agent.hears(lambda fact: fact.used_bytes == MIB and fact.processes == 1)


async def test_a_restarted_agent_hears_it_again(rig: Rig, agent: Agent) -> None:
    with rig.run("cuda_linked") as program:
        await asyncio.to_thread(program.begin)
        await ask(program, f"alloc {MIB}")
        await agent.hears(lambda fact: fact.used_bytes == MIB)
        agent.server.stop()
        agent.facts.clear()
        assert (await ask(program, f"alloc {MIB}"))[0] == 0  # nobody listens: no matter
        agent.restart()
        await agent.hears(lambda fact: fact.used_bytes == 2 * MIB)


async def test_a_program_that_starts_before_the_agent_is_heard(rig: Rig, agent: Agent) -> None:
    agent.server.stop()
    with rig.run("cuda_linked") as program:
        await asyncio.to_thread(program.begin)
        await ask(program, f"alloc {MIB}")
        agent.restart()
        await agent.hears(lambda fact: fact.used_bytes == MIB)


async def test_a_forked_child_reports_by_itself(rig: Rig, agent: Agent) -> None:
    with rig.run("acl_linked", HCS_DEVICES="2102314NMV0000000001") as program:
        await asyncio.to_thread(program.begin)
        await ask(program, f"alloc {MIB - 32}")
        await agent.hears(lambda fact: fact.processes == 1)
        await ask(program, "fork")
        await ask(program, f"alloc {MIB - 32}")
        await agent.hears(lambda fact: fact.processes == 2 and fact.used_bytes == 2 * MIB)
    await agent.hears(lambda fact: fact.processes == 0)


CLOSES_EVERYTHING = """
import ctypes, os, socket, time
cuda = ctypes.CDLL("libcuda.so.1"); cuda.cuInit(0); context = ctypes.c_void_p()
cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0); cuda.cuCtxSetCurrent(context)
block = ctypes.c_uint64(); cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(512))
time.sleep(0.5)  # the connection stands
os.closerange(3, 100)
mine = [end for _ in range(20) for end in socket.socketpair()]
cuda.cuMemFree_v2(block)
time.sleep(0.5)  # the change would have been said
for end in mine:
    end.setblocking(False)
    try:
        raise SystemExit(f"received {end.recv(100)!r}")
    except BlockingIOError:
        pass
"""


async def test_the_programs_own_sockets_stay_its_own_when_it_closed_ours(
    rig: Rig, agent: Agent
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", CLOSES_EVERYTHING, env=rig.environment()
    )
    assert await process.wait() == 0
    await agent.hears(lambda fact: fact.processes == 0)
    assert agent.server.counters.connections_total >= 2  # it came back on a socket of its own
