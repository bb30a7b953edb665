"""Random `kill -9`s over everything that HCS consists of, under load, and what is left of it.

Writers (`spool_writer`), a real agent on a simulated node, two projectors that fence each other,
nats-server and PostgreSQL are killed and started again. Then the writers bring their spools to the
bus, the projectors fold all of it, and the books are audited (`audit`).

The agent's cards fail in two ways: with a code that their driver lists for as long as it is in
force, and with Xids, which NVIDIA's driver gives once to whoever listens, here each with a number
of its own. One that the agent has stored, as it says in its log, and one that came to an agent
which listened and was not the next to be killed, must be on the bus, and once. Any other may be
known to nobody: it came while no agent listened, or to one that was killed before it stored it.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from hcs_agents.simulation import operations
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import NodeName
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.store import postgres
from hcs_edge.local import process
from hcs_edge.local.errors import LocalClusterError
from tests.support.audit import Audit, Pushed, audit, spool_of
from tests.support.backend import Backend
from tests.support.simulated import CHECKOUT, build_libraries, environment

AGENT_NODE = NodeName("mixed-0")
AGENT_CARDS = (2, 3)  # Huawei's, that fail now and then
AGENT_CODE = "80E18402"  # the driver keeps a list of these, so one in force survives the agent
XID_CARD = 0  # NVIDIA's
XID_FIRST = 10_000  # beyond those that mean something: the driver only tells that they happened
WRITER_NODES = tuple(NodeName(f"writer-{number}") for number in range(3))
EVENTS_PER_S = 100.0  # of each writer
PROJECTORS = 2
SERVERS = ("nats", "postgres")
VICTIMS = ("writer", "agent", "projector", *SERVERS)
PAUSE_S_MAX = 0.8  # between two kills
HEAD_START_S_MAX = 0.4  # of an Xid before a kill: an agent may just have stored it, or not
DOWN_S_MAX = 0.4  # between a kill and the start of the next one
DEADLINE_S = 60.0
POLL_S = 0.05
HCS = (sys.executable, "-c", "from hcs_edge.cli.main import main; main()")


class Program:
    """A program of ours: killed, started again with the same words, ended."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path) -> None:
        self._argv = argv
        self._env = env
        self._log = log
        self._log_from = 0  # where its words since the last start begin
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its words go to a file."""
        with self._log.open("ab") as log:
            self._log_from = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an agent has workers, which are to die with it
            )

    def kill(self) -> None:
        """`kill -9` it with its children."""
        assert self._process is not None and self._process.poll() is None, self._last_words()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Tell it to end, and wait until it has."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            code = self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            code = None
        assert code == 0, f"{self._argv[-1]} ended with {code}: {self._last_words()}"

    def words(self, *, since_start: bool) -> list[dict[str, Any]]:
        """Return what it has logged, but for words in the middle of which it was killed."""
        words: list[dict[str, Any]] = []
        with self._log.open("rb") as log:
            log.seek(self._log_from if since_start else 0)
            for line in log:
                with contextlib.suppress(json.JSONDecodeError):
                    words.append(json.loads(line))
        return words

    def abandon(self) -> None:
        """Kill it whatever its state."""
        with contextlib.suppress(AssertionError):
            self.kill()

    def _last_words(self) -> str:
        return process.last_lines(self._log)


class Crashes:
    """Everything that runs; see the module's docstring. `run` may be called once."""

    def __init__(
        self, backend: Backend, database_url: str, root: Path, choose: random.Random
    ) -> None:
        self._backend = backend
        self._database_url = database_url
        self._root = root
        self._choose = choose
        self._kills: Counter[str] = Counter()
        self._pushed: list[str] = []  # Xids
        self._due: set[str] = set()  # those that must be told
        self._scenario = ScenarioFile(root / f"{AGENT_NODE}.ini")
        self._scenario.write(next(one for one in default_fleet() if one.node == AGENT_NODE))
        self._writers = {node: self._writer(node) for node in WRITER_NODES}
        self._agent = self._new_agent()
        self._projectors = [self._projector(number) for number in range(PROJECTORS)]

    async def run(self, kills: int) -> Audit:
        """Kill, drain, audit."""
        programs = [*self._writers.values(), self._agent, *self._projectors]
        try:
            for program in programs:
                program.start()
            await self._until(self._counts_errors, "the first errors are counted")
            for _ in range(kills):
                await asyncio.sleep(self._choose.uniform(0.1, PAUSE_S_MAX))
                self._change_a_fault()
                heard = self._push_an_xid()
                await asyncio.sleep(self._choose.uniform(0.0, HEAD_START_S_MAX))
                victim = await self._kill_one()
                if heard is not None and victim != "agent":
                    await self._is_stored(heard)
            await self._drain()
            return await self._audit()
        finally:
            for program in programs:
                program.abandon()

    # --- Who runs ---------------------------------------------------------------------------------

    def _writer(self, node: NodeName) -> Program:
        argv = [sys.executable, "-m", "tests.support.spool_writer", node]
        argv += [str(self._root / node), str(EVENTS_PER_S)]
        env = os.environ | {"HCS_NATS_URL": self._backend.nats_url}
        return Program(argv, env, self._root / f"{node}.log")

    def _new_agent(self) -> Program:
        argv = [*HCS, "agent", "--node", AGENT_NODE, "--spool", str(self._root / AGENT_NODE)]
        argv += ["--socket", str(self._root / "q.sock"), "--listen", f"127.0.0.1:{_free_port()}"]
        argv += ["--heartbeat-interval-s", "0.1", "--sample-interval-s", "0.2"]
        env = environment(build_libraries(), self._scenario.path)
        env["HCS_NATS_URL"] = self._backend.nats_url
        return Program(argv, env, self._root / f"{AGENT_NODE}.log")

    def _projector(self, number: int) -> Program:
        env = os.environ | {
            "HCS_NATS_URL": self._backend.nats_url,
            "HCS_DATABASE_URL": self._database_url,
        }
        argv = [*HCS, "projector", "--listen", f"127.0.0.1:{_free_port()}"]
        return Program(argv, env, self._root / f"projector-{number}.log")

    # --- Kills ------------------------------------------------------------------------------------

    def _change_a_fault(self) -> None:
        """Let a card of the agent's node fail, or get well."""
        number, at_ns = self._choose.choice(AGENT_CARDS), time.time_ns()
        active = operations.active_codes(self._scenario.read(), number)
        change = operations.clear_faults if active else operations.raise_fault
        self._scenario.update(partial(change, number=number, code=AGENT_CODE, at_ns=at_ns))

    def _push_an_xid(self) -> str | None:
        """Let the driver tell of an Xid; return it if the agent listens."""
        words = self._agent.words(since_start=True)
        listens = any(word["event"] == "fingerprint" for word in words)
        code = str(XID_FIRST + len(self._pushed))
        self._pushed.append(code)
        raise_it = partial(operations.raise_fault, number=XID_CARD, code=code)
        self._scenario.update(partial(raise_it, at_ns=time.time_ns()))
        return code if listens else None

    async def _is_stored(self, code: str) -> None:
        """Wait until the agent says that it has stored an Xid; one that never does has lost it."""
        self._due.add(code)

        async def stored() -> bool:
            return code in self._stored()

        with contextlib.suppress(AssertionError):  # the audit counts it
            await self._until(stored, f"the agent stores Xid {code}")

    def _stored(self) -> set[str]:
        """Return the codes of the faults that the agent says it has stored."""
        words = self._agent.words(since_start=False)
        return {word["code"] for word in words if word["event"] == "fault"}

    async def _kill_one(self) -> str:
        """Kill somebody, start it again, and return what it was."""
        kind = self._choose.choice(VICTIMS)
        self._kills[kind] += 1
        down_s = self._choose.uniform(0.0, DOWN_S_MAX)
        if kind in SERVERS:
            self._backend.kill(kind)
            await asyncio.sleep(down_s)
            await self._revive(kind)
            return kind
        programs = {
            "writer": list(self._writers.values()),
            "agent": [self._agent],
            "projector": self._projectors,
        }
        program = self._choose.choice(programs[kind])
        program.kill()
        await asyncio.sleep(down_s)
        program.start()
        return kind

    async def _revive(self, name: str) -> None:
        """Start a server until it stays: PostgreSQL refuses while an old process of it is left."""
        answers = self._database_answers if name == "postgres" else self._bus_answers

        async def revived() -> bool:
            if await answers():
                return True
            with contextlib.suppress(LocalClusterError):  # it runs, and is about to answer
                self._backend.restart(name)
            return False

        await self._until(revived, f"{name} answers again")

    async def _database_answers(self) -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self._scalar("SELECT 1")
            return True
        return False

    async def _bus_answers(self) -> bool:
        with contextlib.suppress(OSError):
            port = self._backend.ports["nats"]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    # --- The end ----------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Let everything that was appended be folded, and every decision be published."""
        for writer in self._writers.values():
            writer.end()
        since_ns = time.time_ns()

        async def lives() -> bool:
            newest = f"SELECT heartbeat_at_ns FROM node WHERE node_name = '{AGENT_NODE}'"
            return await self._scalar(newest) > since_ns

        await self._until(lives, "the agent, which may have been started just now, says so")
        await self._until(self._faults_are_known, "the agent's node is as its scenario says")
        self._agent.end()
        while spool_of(self._root / AGENT_NODE).waiting:  # its end is not for ever
            self._agent.start()
            await self._until(self._agent_spool_is_empty, "the agent's spool is empty")
            self._agent.end()
        bus = await self._backend.connect_bus()
        end = (await bus.stream_state(FACTS_STREAM)).last_seq
        await bus.close()

        async def folded() -> bool:
            position = await self._scalar("SELECT stream_seq FROM projection_position")
            waiting = "SELECT count(*) FROM decision_outbox WHERE published_seq IS NULL"
            return position >= end and await self._scalar(waiting) == 0

        await self._until(folded, f"everything up to {end} is folded and published")
        for projector in self._projectors:
            projector.end()

    async def _audit(self) -> Audit:
        bus: JetStreamBus = await self._backend.connect_bus()
        store = postgres.connect(self._database_url)
        try:
            spools = {node: spool_of(self._root / node) for node in (*WRITER_NODES, AGENT_NODE)}
            pushed = Pushed(codes=self._pushed, due=self._due | self._stored())
            return await audit(bus, store, spools, pushed, kills=dict(self._kills))
        finally:
            await store.close()
            await bus.close()

    async def _counts_errors(self) -> bool:
        counting = "SELECT count(DISTINCT split_part(device_id, '-', 2)) FROM device_counter"
        known = await self._scalar(f"SELECT count(*) FROM device WHERE node_name = '{AGENT_NODE}'")
        return await self._scalar(counting) == len(WRITER_NODES) and known > 0

    async def _agent_spool_is_empty(self) -> bool:
        return not spool_of(self._root / AGENT_NODE).waiting

    async def _faults_are_known(self) -> bool:
        scenario = self._scenario.read()
        numbers = range(len(scenario.devices))
        failed = sum(AGENT_CODE in operations.active_codes(scenario, n) for n in numbers)
        open_ = (
            f"SELECT count(*) FROM fault_episode WHERE node_name = '{AGENT_NODE}' "
            f"AND code = '{AGENT_CODE}' AND ended_seq IS NULL"
        )
        return await self._scalar(open_) == failed

    async def _scalar(self, query: str) -> int:
        connection = await asyncpg.connect(self._database_url.replace("+asyncpg", ""))
        try:
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    async def _until(self, is_so: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not await is_so():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
