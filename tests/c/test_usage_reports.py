"""What a program uses arrives at the agent, live, through restarts and at its end."""

import asyncio
import itertools
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hcs_agents.quota import QuotaServer, wire
from hcs_bus.events import Quota
from hcs_bus.names import Vendor
from tests.support.interceptor import (
    CARDS,
    CUDA_OUT_OF_MEMORY,
    GPUS,
    MIB,
    POD_UID,
    SIMULATED,
    VENDORS,
    Program,
    Rig,
    compile_c,
    library_without,
)
from tests.support.launch_kinds import GRAPHS, KINDS

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
        self.server = QuotaServer(
            self.path, self.facts.append, fact_interval_s=0.01, launches_fact_interval_s=0.01
        )
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


BEGINS = """
import ctypes, os, sys
cuda = ctypes.CDLL("libcuda.so.1"); cuda.cuInit(0); context = ctypes.c_void_p()
cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0); cuda.cuCtxSetCurrent(context)
assert cuda.cuDeviceTotalMem_v2(ctypes.byref(ctypes.c_size_t()), 0) == 0
input()
"""
EXECUTES = """
os.execve(sys.executable, ["next", "-I", "-c", "input()"], {**os.environ, "LD_PRELOAD": ""})
"""
GOES_BLIND = """
assert cuda.cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(4096)) == 0
input()
"""


@pytest.mark.parametrize(
    ("then", "lacks"),
    [
        pytest.param(EXECUTES, "", id="executes a program without the interceptor"),
        pytest.param(GOES_BLIND, "cuCtxGetCurrent", id="takes memory of a card it cannot know"),
    ],
)
async def test_who_is_enforced_no_more_is_connected_no_more(
    rig: Rig, agent: Agent, then: str, lacks: str
) -> None:
    drivers = library_without(rig.directory, "libcuda.so.1", lacks) if lacks else str(SIMULATED)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", BEGINS + then, stdin=subprocess.PIPE,
        env=rig.environment(LD_LIBRARY_PATH=drivers),
    )  # fmt: skip
    assert process.stdin is not None
    await agent.hears(lambda fact: fact.processes == 1)
    assert set(agent.server.pids) == {process.pid}
    process.stdin.write(b"\n")
    await agent.hears(lambda fact: fact.processes == 0)
    assert agent.server.pids == {}
    assert process.returncode is None
    process.stdin.write(b"\n")
    assert await process.wait() == 0
    assert agent.server.counters.connections_total == 1


CLOSES_OURS = """
import ctypes, os, socket, time
cuda = ctypes.CDLL("libcuda.so.1"); cuda.cuInit(0); context = ctypes.c_void_p()
cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0); cuda.cuCtxSetCurrent(context)
block = ctypes.c_uint64(); cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(512))
FIRST, LAST, AGENT = 3, 200, os.path.dirname(os.environ["HCS_AGENT_SOCKET"])
def leads_to_the_agent(descriptor):
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:
        return False  # it is no socket
    try:
        # The agent gives its socket the path that we know after it has bound it to another.
        return os.path.dirname(end.getpeername()) == AGENT
    except OSError:
        return False  # it leads nowhere
    finally:
        end.detach()
def connected():
    deadline = time.monotonic() + 10
    while not (found := [one for one in range(FIRST, LAST) if leads_to_the_agent(one)]):
        assert time.monotonic() < deadline, "it does not connect"
        time.sleep(0.01)
    return found[0]
descriptor, mine = connected(), socket.socketpair()
os.dup2(mine[0].fileno(), descriptor)  # closes it and takes its number, with nothing in between
cuda.cuMemFree_v2(block)
connected()  # anew: what it has to say of the change it has said
assert os.path.sameopenfile(mine[0].fileno(), descriptor)
for end in mine:
    end.setblocking(False)
    try:
        raise SystemExit(f"received {end.recv(100)!r}")
    except BlockingIOError:
        pass
"""


async def test_a_programs_socket_stays_its_own_when_it_took_the_number_of_ours(
    rig: Rig, agent: Agent
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", CLOSES_OURS, env=rig.environment()
    )
    assert await process.wait() == 0
    await agent.hears(lambda fact: fact.processes == 0)
    assert agent.server.counters.connections_total >= 2  # it came back on a socket of its own


@pytest.mark.parametrize("share", ["", "50"])
@pytest.mark.parametrize("runtime", KINDS)
async def test_the_agent_hears_how_much_is_launched(
    rig: Rig, agent: Agent, runtime: str, share: str
) -> None:
    settings = {"HCS_COMPUTE_SHARE": share, "HCS_DEVICES": CARDS[VENDORS[runtime]][1][0]}
    with rig.run(f"{runtime}_launches", **settings) as program:
        await asyncio.to_thread(program.begin)
        for kind in KINDS[runtime]:
            await ask(program, f"kind {kind}")
            assert await ask(program, "launch 1 3") == [0]
        launches = 3 * len(KINDS[runtime])
        await agent.hears(lambda fact: fact.launches == launches)
        assert await ask(program, "capture 1 5") == [0]  # and one of another thread
        launches += 5 + 1
        for kind in GRAPHS[runtime]:
            await ask(program, f"kind {kind}")
            assert await ask(program, "launch 1 2") == [0]
        launches += 2 * len(GRAPHS[runtime])
        fact = await agent.hears(lambda fact: fact.launches == launches)
        assert (fact.used_bytes, fact.processes) == (0, 1)
        await asyncio.to_thread(program.close)
    await agent.hears(lambda fact: fact.processes == 0 and fact.launches == launches)


LAUNCHES = """
import ctypes, os
def launch(function):
    sizes = [ctypes.c_uint(1)] * 6 + [ctypes.c_uint(0)]
    return function(None, *sizes, None, None, None)
"""

FORKS = """
hip = ctypes.CDLL("libamdhip64.so"); assert hip.hipInit(0) == 0 and hip.hipSetDevice(0) == 0
assert [launch(hip.hipModuleLaunchKernel) for _ in range(3)] == [0] * 3
child = os.fork()
if child == 0:
    assert hip.hipMalloc(ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(4096)) == 0
    assert [launch(hip.hipModuleLaunchKernel) for _ in range(40)] == [0] * 40
    raise SystemExit
assert os.waitpid(child, 0)[1] == 0
"""

IS_REFUSED = """
cuda = ctypes.CDLL("libcuda.so.1"); context = ctypes.c_void_p(); assert cuda.cuInit(0) == 0
assert launch(cuda.cuLaunchKernel) != 0  # there is no context
cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0); cuda.cuCtxSetCurrent(context)
assert launch(cuda.cuLaunchKernel) == 0
"""


@pytest.mark.parametrize(
    ("script", "vendor", "launches"),
    [
        pytest.param(FORKS, Vendor.HYGON, 43, id="a forked child counts its own"),
        pytest.param(IS_REFUSED, Vendor.NVIDIA, 1, id="what was refused was not launched"),
    ],
)
async def test_every_launch_counts_once(
    rig: Rig, agent: Agent, script: str, vendor: Vendor, launches: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-c",
        LAUNCHES + script,
        env=rig.environment(HCS_DEVICES=CARDS[vendor][1][0]),
    )
    assert await process.wait() == 0
    fact = await agent.hears(lambda fact: fact.processes == 0)
    assert fact.launches == launches


CALLS_ITSELF = """
int hipLaunchKernel(void *function) { return function != 0; }
int hipModuleLaunchKernel(void *function) { return hipLaunchKernel(function); }
"""
"""A runtime that launches by calling another of its functions, as any program would."""

LAUNCHES_BOTH_WAYS = """
import ctypes
hip = ctypes.CDLL("libamdhip64.so")
assert [hip.hipLaunchKernel(None) for _ in range(3)] == [0] * 3
assert [hip.hipModuleLaunchKernel(None) for _ in range(40)] == [0] * 40
assert hip.hipModuleLaunchKernel(1) == 1
"""


async def test_a_launch_inside_of_another_one_is_not_counted(rig: Rig, agent: Agent) -> None:
    source = rig.directory / "hip.c"
    source.write_text(CALLS_ITSELF)
    library = rig.directory / "libamdhip64.so"
    compile_c(library, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", str(source))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-c",
        LAUNCHES_BOTH_WAYS,
        env=rig.environment(LD_LIBRARY_PATH=str(rig.directory)),
    )
    assert await process.wait() == 0
    fact = await agent.hears(lambda fact: fact.processes == 0)
    assert fact.launches == 43


def paced(programs: Path, *story: str | int) -> dict[str, list[int]]:
    """Return the ticks in which a process tried to connect, and told its usage."""
    done = subprocess.run(
        [str(programs / "report_pace"), *map(str, story)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[int]] = defaultdict(list)
    for line in done.stdout.splitlines():
        what, tick = line.split()
        found[what].append(int(tick))
    return found


def gaps(ticks: list[int]) -> list[int]:
    """Return what lies between each two."""
    return [later - sooner for sooner, later in itertools.pairwise(ticks)]


def test_an_agent_that_hangs_up_is_left_alone_ever_longer(programs: Path) -> None:
    waits = gaps(paced(programs, "hang_up", 2000)["connect"])
    assert waits[:8] == [11, 21, 41, 81, 81, 81, 81, 81]


def test_an_agent_that_is_not_there_is_looked_for_every_second(programs: Path) -> None:
    assert set(gaps(paced(programs, "refuse", 200)["connect"])) == {10}
    found = paced(programs, "hang_up", 100, "refuse", 200, "hang_up", 60)["connect"]
    assert gaps(found)[-4:] == [10, 10, 11, 21]  # whoever hung up is gone: patience begins anew


def test_a_connection_that_lasted_is_forgiven_its_end(programs: Path) -> None:
    after_a_while = paced(programs, "hang_up", 200, "serve", 400, "hang_up", 40)["connect"]
    assert gaps(after_a_while)[-1] <= 21
    after_a_moment = paced(programs, "hang_up", 200, "serve", 90, "hang_up", 200)["connect"]
    assert max(gaps(after_a_moment)) > 81


def test_launches_alone_are_told_once_a_second(programs: Path) -> None:
    told = paced(programs, "launch", 100, "serve", 100, "launch", 5)["usage"]
    assert gaps(told)[:9] == [10] * 9
    assert len(told) <= 12  # nobody repeats what was told


async def test_a_program_is_not_in_a_hurry_to_be_hung_up_on(rig: Rig) -> None:
    path = rig.directory / "quota.sock"
    settings = {**SETTINGS, "HCS_AGENT_SOCKET": str(path)}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        rig.run("cuda_linked", **settings) as program,
    ):
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PATIENCE_S)
        await asyncio.to_thread(program.begin)
        await ask(program, f"alloc {MIB}")
        moments = []
        for _ in range(3):
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                assert isinstance(wire.decode(connection.recv(4096)), wire.Hello)
            moments.append(time.monotonic())
            assert (await ask(program, f"alloc {MIB}"))[0] == 0  # the program goes on meanwhile
        assert moments[2] - moments[0] > 2
