"""What a process's contexts take of a card is charged, as far as the driver's list tells it.

Programs, their runtimes, the driver's list and the agent's socket are real; the test takes the part
of the agent's loop, but for one that runs the agent itself. Moore Threads' library lists nobody.
"""

import asyncio
import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.quota import QuotaServer, wire
from hcs_agents.quota.server import bytes_by_card
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, Vendor
from tests.support.agent_process import AgentStarter, free_port
from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CARD_BYTES,
    CARDS,
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    POD_UID,
    SIMULATED,
    VENDORS,
    Program,
    Rig,
    first_card,
)
from tests.support.simulated import DetectorProcess, environment

CONTEXT_BYTES = 24 * MIB
QUOTA_BYTES = 128 * MIB
BLOCK_BYTES = 2 * MIB  # a multiple of what every runtime rounds up to
PATIENCE_S = 20.0
LISTED = [runtime for runtime, vendor in VENDORS.items() if vendor is not Vendor.MTHREADS]
SEEDS = (1, 2, 3)


@pytest.fixture
def rig(programs: Path, tmp_path: Path) -> Rig:
    """Give one container on a node whose cards' contexts take something."""
    return Rig(directory=tmp_path, programs=programs, context_bytes=CONTEXT_BYTES)


class Node:
    """A quota socket, and a driver that can be asked."""

    def __init__(self, rig: Rig, vendor: Vendor, detector: DetectorProcess) -> None:
        self.facts: list[Quota] = []
        self._path = rig.directory / "quota.sock"
        self._cards = {DeviceId(id_): CARD_BYTES for id_ in CARDS[vendor][1]}
        self._detector = detector
        self.restart()

    def restart(self) -> None:
        """Begin with a new server."""
        self.server = QuotaServer(self._path, self.facts.append, fact_interval_s=0.01)
        self.server.start()

    async def look(self) -> tuple[int, list[DeviceProcess]]:
        """Ask the driver; return when, and what it said."""
        looked_at_ns = time.monotonic_ns()
        return looked_at_ns, await asyncio.to_thread(self._detector.processes)

    def tell(self, looked_at_ns: int, listed: list[DeviceProcess]) -> None:
        """Tell everybody what the driver said."""
        self.server.tell_driver(bytes_by_card(listed, self._cards), looked_at_ns=looked_at_ns)

    async def look_until(self, condition: Callable[[Quota], bool]) -> None:
        """Look and tell until what a program reports is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.facts and condition(self.facts[-1])):
                self.tell(*await self.look())
                await asyncio.sleep(0.01)

    async def until(self, condition: Callable[[Quota], bool]) -> None:
        """Wait until what a program reports is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.facts and condition(self.facts[-1])):
                await asyncio.sleep(0.01)


def settings_of(vendor: Vendor, agent_socket: Path) -> dict[str, str]:
    """Return what the webhook gives a container."""
    return {
        "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
        "HCS_DEVICES": CARDS[vendor][1][0],
        "HCS_POD_UID": POD_UID,
        "HCS_CONTAINER": "trainer",
        "HCS_AGENT_SOCKET": str(agent_socket),
    }


@contextlib.asynccontextmanager
async def node_of(rig: Rig, runtime: str) -> AsyncIterator[Node]:
    """Run an agent's socket, which the rig's programs know."""
    vendor = VENDORS[runtime]
    rig.settings = settings_of(vendor, rig.directory / "quota.sock")
    with DetectorProcess(vendor, environment(SIMULATED, rig.scenario)) as detector:
        node = Node(rig, vendor, detector)
        try:
            yield node
        finally:
            node.server.stop()


async def ask(program: Program, command: str) -> list[int]:
    """Ask without stopping the server, which runs in this thread."""
    return await asyncio.to_thread(program.ask, command)


async def free_bytes(program: Program) -> int:
    """Return what a program is shown as free."""
    result, free, _ = await ask(program, "info")
    assert result == 0
    return free


async def allocate(program: Program, runtime: str, taken_bytes: int) -> int:
    """Let a program take exactly so much, which is a multiple of every granularity."""
    padding = ACL_PADDING_BYTES if runtime == "acl" else 0
    result, _ = await ask(program, f"alloc {taken_bytes - padding}")
    return result


@pytest.mark.parametrize("runtime", LISTED)
async def test_the_quota_less_the_overhead_is_there_and_no_byte_more(
    rig: Rig, runtime: str
) -> None:
    async with node_of(rig, runtime) as node:
        with rig.run(f"{runtime}_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await free_bytes(program) == QUOTA_BYTES  # before anybody knows
            assert await allocate(program, runtime, BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            assert rig.held_bytes(first_card(runtime)) == {
                program.process.pid: BLOCK_BYTES + CONTEXT_BYTES
            }
            left_bytes = QUOTA_BYTES - CONTEXT_BYTES - BLOCK_BYTES
            assert await free_bytes(program) == left_bytes
            assert await allocate(program, runtime, left_bytes) == 0
            assert await free_bytes(program) == 0
            refused = OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY)
            assert (await ask(program, "alloc 1"))[0] == refused
            for _ in range(5):  # a word more changes nothing
                node.tell(*await node.look())
            assert (await ask(program, "free 0")) == [0]
            await node.until(lambda fact: fact.used_bytes == QUOTA_BYTES - BLOCK_BYTES)
            assert await free_bytes(program) == BLOCK_BYTES
            assert rig.account()["peak"] == QUOTA_BYTES


async def test_what_is_used_above_the_quota_is_shown_as_no_room(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "cuda", QUOTA_BYTES) == 0
            above_bytes = QUOTA_BYTES + CONTEXT_BYTES
            await node.look_until(lambda fact: fact.used_bytes == above_bytes)
            assert node.facts[-1].peak_bytes == above_bytes
            assert await ask(program, "info") == [0, 0, QUOTA_BYTES]
            assert (await ask(program, "alloc 1"))[0] == CUDA_OUT_OF_MEMORY
            assert await ask(program, "drop") == [0]
            assert await free_bytes(program) == QUOTA_BYTES - CONTEXT_BYTES


async def test_a_kill_gives_the_overhead_back(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as victim, rig.run("cuda_linked") as survivor:
            for program in (victim, survivor):
                await asyncio.to_thread(program.begin)
                assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == 2 * (BLOCK_BYTES + CONTEXT_BYTES))
            await asyncio.to_thread(victim.kill)
            await node.until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            assert await free_bytes(survivor) == QUOTA_BYTES - CONTEXT_BYTES - BLOCK_BYTES


@pytest.mark.parametrize("runtime", LISTED)
async def test_who_allocates_and_frees_meanwhile_is_never_charged_more(
    rig: Rig, runtime: str
) -> None:
    async with node_of(rig, runtime) as node:
        with rig.run(f"{runtime}_linked") as program:
            await asyncio.to_thread(program.begin)
            for _ in range(5):
                await asyncio.to_thread(program.send, f"churn {16 * MIB}")
                for _ in range(20):
                    node.tell(*await node.look())
                await asyncio.to_thread(program.send, "stop")
                await asyncio.to_thread(program.answer)
                await asyncio.to_thread(program.answer)
                assert await ask(program, "drop") == [0]
                assert QUOTA_BYTES - CONTEXT_BYTES <= await free_bytes(program) <= QUOTA_BYTES
            await node.look_until(lambda fact: fact.used_bytes == CONTEXT_BYTES)


async def test_a_late_word_about_what_was_freed_since_is_understood(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "cuda", 64 * MIB) == 0
            await node.until(lambda fact: fact.used_bytes == 64 * MIB)
            late = await node.look()
            assert await ask(program, "drop") == [0]
            node.tell(*late)
            await node.until(lambda fact: fact.used_bytes == CONTEXT_BYTES)
            node.tell(*late)  # once more: it is older than what was heard last
            node.tell(*await node.look())
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            await node.until(lambda fact: fact.used_bytes == CONTEXT_BYTES + BLOCK_BYTES)
            assert rig.account()["peak"] == 64 * MIB


@pytest.mark.parametrize(
    ("runtime", "end"),
    [("cuda", "reset_primary"), ("hip", "reset"), ("acl", "reset"), ("cnrt", "reset")],
)
async def test_with_its_context_the_overhead_ends(rig: Rig, runtime: str, end: str) -> None:
    async with node_of(rig, runtime) as node:
        with rig.run(f"{runtime}_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, runtime, BLOCK_BYTES) == 0
            before = await node.look()
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            still = await node.look()
            assert await ask(program, f"extra {end}") == [0]
            await node.until(lambda fact: fact.used_bytes == 0)
            for word in (before, still, await node.look()):
                node.tell(*word)
            assert await ask(program, "device 0") == [0]
            assert await free_bytes(program) == QUOTA_BYTES
            await node.look_until(lambda fact: fact.used_bytes == CONTEXT_BYTES)


@pytest.mark.parametrize(
    ("runtime", "imports"),
    [
        ("cuda", "host_and_imported"),
        ("cuda", "import_first_form"),
        ("cuda", "import_handle"),
        ("cuda", "import_pool"),
        ("cuda", "import_external"),
        *((runtime, "import") for runtime in ("hip", "acl", "rt", "cnrt", "cndrv")),
    ],
)
async def test_what_the_driver_says_of_who_imported_is_not_believed(
    rig: Rig, runtime: str, imports: str
) -> None:
    async with node_of(rig, runtime) as node:
        with rig.run(f"{runtime}_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, runtime, BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            assert await ask(program, f"extra {imports}") == [0]
            looked_at_ns, listed = await node.look()
            more = [msgspec.structs.replace(one, used_bytes=CARD_BYTES // 2) for one in listed]
            node.tell(looked_at_ns, more)
            assert await allocate(program, runtime, BLOCK_BYTES) == 0
            await node.until(lambda fact: fact.used_bytes == 2 * BLOCK_BYTES + CONTEXT_BYTES)


async def test_a_context_that_ends_unnoticed_is_forgotten_with_the_next_word(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            await free_bytes(program)  # nothing was allocated in it
            await node.look_until(lambda fact: fact.used_bytes == CONTEXT_BYTES)
            assert await ask(program, "extra reset_primary") == [0]
            assert rig.held_bytes() == {program.process.pid: 0}
            await node.look_until(lambda fact: fact.used_bytes == 0)


async def test_a_program_that_is_executed_begins_without_overhead(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            of_before = await node.look()
            assert await ask(program, "exec") == [0]
            await asyncio.to_thread(program.begin)
            assert await free_bytes(program) == QUOTA_BYTES
            await node.until(lambda fact: fact.used_bytes == 0 and fact.processes == 1)
            node.tell(*of_before)  # the pid is the same
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            await node.until(lambda fact: fact.used_bytes == BLOCK_BYTES)
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)


async def test_a_forked_child_begins_without_overhead(rig: Rig) -> None:
    async with node_of(rig, "acl") as node:
        with rig.run("acl_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "acl", BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            assert await ask(program, "fork") == [0]
            assert await allocate(program, "acl", BLOCK_BYTES) == 0
            await node.until(
                lambda fact: (
                    (fact.processes, fact.used_bytes) == (2, 2 * BLOCK_BYTES + CONTEXT_BYTES)
                )
            )
            node.tell(time.monotonic_ns(), [])  # what the parent had, the child gives nothing back
            await node.until(lambda fact: fact.used_bytes == 2 * BLOCK_BYTES)
            assert rig.account()["used"] == 2 * BLOCK_BYTES


async def test_a_restarted_agent_tells_it_again(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            await node.look_until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            node.server.stop()
            node.facts.clear()
            assert await free_bytes(program) == QUOTA_BYTES - BLOCK_BYTES - CONTEXT_BYTES
            node.restart()
            await node.until(lambda fact: fact.used_bytes == BLOCK_BYTES + CONTEXT_BYTES)
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            for _ in range(5):
                node.tell(*await node.look())
            await node.until(lambda fact: fact.used_bytes == 2 * BLOCK_BYTES + CONTEXT_BYTES)


@contextlib.contextmanager
def rogue(rig: Rig) -> Iterator[tuple[Program, socket.socket, wire.Hello]]:
    """Run a program whose agent is the test, and say what it said hello with."""
    path = rig.directory / "quota.sock"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        rig.run("cuda_linked", **settings_of(Vendor.NVIDIA, path)) as program,
    ):
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PATIENCE_S)
        program.begin()
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            hello = wire.decode(connection.recv(4096))
            assert isinstance(hello, wire.Hello)
            yield program, connection, hello


def told_used_bytes(connection: socket.socket) -> int:
    """Return what a program reports next."""
    message = wire.decode(connection.recv(4096))
    assert isinstance(message, wire.Usage)
    return message.devices[0].used_bytes


def test_what_cannot_be_is_not_heard(rig: Rig) -> None:
    right_bytes = BLOCK_BYTES + CONTEXT_BYTES
    with rogue(rig) as (program, connection, hello):

        def word(
            *used_bytes: int | None,
            epoch_ns: int = hello.epoch_ns,
            looked_at_ns: int | None = None,
        ) -> bytes:
            return wire.driver_packet(
                epoch_ns=epoch_ns,
                looked_at_ns=time.monotonic_ns() if looked_at_ns is None else looked_at_ns,
                used_bytes=used_bytes or (right_bytes,),
            )

        def said_to_be(version: int) -> bytes:
            packet = word()
            return packet[:4] + struct.pack("=H", version) + packet[6:]

        for packet in (
            word(epoch_ns=hello.epoch_ns + 1),
            word(looked_at_ns=time.monotonic_ns() + 3600 * 10**9),
            word(looked_at_ns=0),
            word(2**46 + 1),
            word(None),
            word(right_bytes, right_bytes),
            said_to_be(wire.VERSION + 1),
            word()[:-8],
            word() + bytes(8),
        ):
            connection.send(packet)
        # What comes before a report was read before it.
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        while (used_bytes := told_used_bytes(connection)) < 2 * BLOCK_BYTES:
            pass
        assert used_bytes == 2 * BLOCK_BYTES
        right_bytes += BLOCK_BYTES
        connection.send(word())
        while told_used_bytes(connection) != 2 * BLOCK_BYTES + CONTEXT_BYTES:
            pass


async def test_the_agent_looks_and_tells_by_itself(rig: Rig) -> None:
    start = AgentStarter(SIMULATED, f"nats://127.0.0.1:{free_port()}", rig.directory)
    rig.settings = settings_of(Vendor.NVIDIA, rig.directory / "q.sock")
    async with (
        start(ScenarioFile(rig.scenario), "--sample-interval-s", "0.1"),
        asyncio.timeout(PATIENCE_S),
    ):
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            while await free_bytes(program) != QUOTA_BYTES - BLOCK_BYTES - CONTEXT_BYTES:
                await asyncio.sleep(0.01)


async def test_each_card_has_its_own(rig: Rig) -> None:
    async with node_of(rig, "cuda") as node:
        first, second = CARDS[Vendor.NVIDIA][1]
        rig.settings |= {
            "HCS_DEVICES": f"{second},{first}",
            "HCS_VRAM_QUOTA": f"{QUOTA_BYTES},{2 * QUOTA_BYTES}",
        }
        with rig.run("cuda_linked") as program:
            await asyncio.to_thread(program.begin)  # on the driver's first, the container's second
            assert await allocate(program, "cuda", BLOCK_BYTES) == 0
            taken_bytes = BLOCK_BYTES + CONTEXT_BYTES
            await node.look_until(
                lambda fact: (fact.device_id, fact.used_bytes) == (first, taken_bytes)
            )
            assert (rig.account()["used"], rig.account()["second"]) == (0, taken_bytes)
            assert await ask(program, "info") == [0, 2 * QUOTA_BYTES - taken_bytes, 2 * QUOTA_BYTES]


@pytest.mark.parametrize("seed", SEEDS)
def test_in_no_order_of_steps_is_more_charged_than_there_was(programs: Path, seed: int) -> None:
    heard, exact, most_bytes = _check(programs / "overhead_check", "story", seed, 200_000)
    assert heard > 10_000
    assert exact > 0.5 * heard
    assert most_bytes == 3_000_000  # three contexts, all of them


@pytest.mark.parametrize("program", ["overhead_check", "overhead_check_threads"])
def test_no_thread_that_allocates_meanwhile_is_taken_for_overhead(
    programs: Path, program: str
) -> None:
    heard, _, most_bytes = _check(programs / program, "race", 8, 2_000)
    assert heard >= 2_000
    assert most_bytes == 1_000_000  # in the end all of it


def _check(program: Path, *arguments: str | int) -> tuple[int, ...]:
    done = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(map(int, done.stdout.split()))
