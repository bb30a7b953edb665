"""How soon what a killed process held is free again, and whether the books are right afterwards.

A thousand kills at random moments of programs that allocate and free without a pause, half of them
in each of two containers. In one an agent listens, and the survivors only hold what they hold: the
agent sees the socket close, and asks one of them. In the other there is no agent, and the survivors
find the dead when they are refused. The clock runs from the kill until the victim's slot is empty.
What is in the ledger at the end and nobody holds is the drift.

    make bench BENCH=kill
"""

import asyncio
import json
import mmap
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from hcs_agents.quota import QuotaServer
from tests.support.interceptor import (
    GPUS,
    MIB,
    POD_UID,
    PROGRAMS,
    Rig,
    build_libraries,
    compile_c,
    compile_commands,
    link,
)

KILLS = 500  # in each container
VICTIMS = 2  # at work at the same time
SURVIVORS = 2
POLL_S = 0.0002
LOOKS = 1_000  # at the account, after the last kill
PATIENCE_S = 10.0
SEED = 20
QUOTA_BYTES = 64 * MIB
OWNERS_AT = 64  # hcs_ledger.owners
SLOTS_MAX = 1024
PID_SHIFT = 40  # of process.h's word


@dataclass
class Container:
    """Programs under one ledger."""

    rig: Rig
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def start(self) -> subprocess.Popen[bytes]:
        """Start a program that allocates and frees without a pause."""
        process = subprocess.Popen(
            [str(self.rig.programs / "race"), "1", "1000000000", str(QUOTA_BYTES // 64)],
            env=self.rig.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        return process

    def slots_of(self, ledger: mmap.mmap, pid: int) -> list[int]:
        """Return the words of a process that are in the ledger."""
        owners = struct.unpack_from(f"={SLOTS_MAX}Q", ledger, OWNERS_AT)
        return [owner for owner in owners if owner >> PID_SHIFT == pid]

    def kill_one(self, ledger: mmap.mmap, victim: subprocess.Popen[bytes]) -> float:
        """Kill a program at a random moment; return the milliseconds until its slot was empty."""
        _wait_until(lambda: bool(self.slots_of(ledger, victim.pid)))
        time.sleep(self.chance.uniform(0, 0.01))
        killed_s = time.perf_counter()
        victim.kill()
        _wait_until(lambda: not self.slots_of(ledger, victim.pid))
        took_ms = (time.perf_counter() - killed_s) * 1000
        victim.wait()
        return took_ms

    def kill_many(self) -> list[float]:
        """Kill programs one after the other; return the milliseconds of each."""
        with ExitStack() as stack:
            victims = [self.start() for _ in range(VICTIMS)]
            _wait_until(self.rig.ledger.exists)
            _wait_until(lambda: self.rig.ledger.stat().st_size > 0)
            file = stack.enter_context(self.rig.ledger.open("rb"))
            ledger = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            took_ms = []
            for number in range(KILLS):
                took_ms.append(self.kill_one(ledger, victims[number % VICTIMS]))
                victims[number % VICTIMS] = self.start()
            took_ms.extend(self.kill_one(ledger, victim) for victim in victims)
        return took_ms


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(POLL_S)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """Run an agent's quota server in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> QuotaServer:
        server = QuotaServer(path, lambda _: None)
        server.start()
        return server

    async def end(server: QuotaServer) -> None:
        server.stop()

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def with_an_agent(rig: Rig) -> tuple[list[float], int]:
    """Return the milliseconds, and the drift."""
    with listening(Path(rig.settings["HCS_AGENT_SOCKET"])), ExitStack() as stack:
        for _ in range(SURVIVORS):
            survivor = stack.enter_context(rig.run("cuda_linked"))
            assert survivor.begin().ask(f"alloc {MIB}")[0] == 0
        took_ms = Container(rig).kill_many()
        return took_ms, drift(rig, SURVIVORS * MIB)


def without_an_agent(rig: Rig) -> tuple[list[float], int]:
    """Return the milliseconds, and the drift."""
    container = Container(rig)
    survivors = [container.start() for _ in range(SURVIVORS)]
    took_ms = container.kill_many()
    for survivor in survivors:
        survivor.kill()
        survivor.wait()
    with rig.run("cuda_linked") as last:
        assert last.begin().ask(f"alloc {MIB}")[0] == 0
        for _ in range(LOOKS):  # whoever looks finds the dead, at most ten times a second
            last.ask("info")
            time.sleep(POLL_S)
        return took_ms, drift(rig, MIB)


def drift(rig: Rig, held_bytes: int) -> int:
    """Return the bytes in the ledger that nobody holds."""
    account = rig.account()
    return abs(account["used"] - held_bytes) + account["pending"]


def main() -> None:
    """Print one JSON line for each container."""
    build_libraries()
    for way in (with_an_agent, without_an_agent):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            rig = Rig(directory=path, programs=path)
            rig.settings = {
                "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
                "HCS_DEVICES": GPUS[0],
                "HCS_POD_UID": POD_UID,
                "HCS_CONTAINER": "trainer",
            }
            if way is with_an_agent:
                rig.settings["HCS_AGENT_SOCKET"] = str(path / "quota.sock")
            compile_c(path / "race", str(PROGRAMS / "race.c"), link("libcuda.so.1"))
            compile_c(path / "ledger_dump", str(PROGRAMS / "ledger_dump.c"))
            compile_commands(path / "cuda_linked", "cuda", link("libcuda.so.1"))
            took_ms, drifted_bytes = way(rig)
        percentiles = statistics.quantiles(took_ms, n=100)
        line = {
            "bench": "kill",
            "agent": way is with_an_agent,
            "kills": len(took_ms),
            "reclaim_p50_ms": round(percentiles[49], 2),
            "reclaim_p99_ms": round(percentiles[98], 2),
            "reclaim_max_ms": round(max(took_ms), 2),
            "drift": drifted_bytes,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
