"""`hcs agent` as a process on a real bus, for tests."""

import asyncio
import contextlib
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from hcs_agents.counters import Growth
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.envelope import Envelope, decode_envelope, decode_fact
from hcs_bus.events import (
    DetectorState,
    DeviceSample,
    Fact,
    Fault,
    Fingerprint,
    Link,
    Samples,
)
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, StreamSeq, Vendor
from hcs_bus.port import Follower
from hcs_bus.subjects import FACTS_STREAM
from tests.support.simulated import CHECKOUT, environment

START = StreamSeq(0)
COMMAND = "from hcs_edge.cli.main import main; main()"
PATIENCE_S = 30.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AgentProcess:
    """A running `hcs agent`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def get(self, path: str) -> str:
        """Return a page of its web server."""
        return await asyncio.to_thread(self._get, path)

    async def until_ready(self) -> None:
        """Wait for `/readyz`."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    await self.get("/readyz")
                    return
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Tell it to end, and wait until it has: everything that it had to say is on the bus."""
        self.process.send_signal(signal.SIGTERM)
        await self.process.communicate()
        assert self.process.returncode == 0

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


class AgentStarter:
    """Starts agents on one bus, with the same spool each time."""

    def __init__(self, libraries: Path, nats_url: str, directory: Path) -> None:
        self._libraries = libraries
        self._nats_url = nats_url
        self._directory = directory

    @contextlib.asynccontextmanager
    async def __call__(self, file: ScenarioFile, *options: str) -> AsyncIterator[AgentProcess]:
        """Run an agent on a simulated node for the length of the block."""
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "agent", "--node", "mixed-0"),
            *("--spool", str(self._directory / "spool")),
            *("--socket", str(self._directory / "q.sock")),
            *("--listen", f"127.0.0.1:{port}", "--heartbeat-interval-s", "0.2", *options),
            cwd=CHECKOUT,
            env=environment(self._libraries, file.path) | {"HCS_NATS_URL": self._nats_url},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield AgentProcess(process, port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def read_until(
    bus: JetStreamBus, wanted: Callable[[Fact], bool], after: StreamSeq = START
) -> tuple[list[tuple[Envelope, Fact]], StreamSeq]:
    """Return what is on the bus behind `after`, up to the first wanted fact, and its position."""
    follower = await bus.follow(FACTS_STREAM, after=after)
    seen: list[tuple[Envelope, Fact]] = []
    async with asyncio.timeout(30):
        while not seen or not wanted(seen[-1][1]):
            for record in await follower.fetch(limit=1, timeout_s=1):
                after = record.seq
                envelope = decode_envelope(record.payload)
                seen.append((envelope, decode_fact(envelope)))
    await follower.close()
    return seen, after


class Listener:
    """All that agents have put on an empty bus so far, and what it comes to; tasks may share it."""

    def __init__(self, bus: JetStreamBus, follower: Follower) -> None:
        self._bus = bus
        self._follower = follower
        self._seq = START
        self._turn = asyncio.Lock()
        self.facts: list[Fact] = []
        self.faults: list[Fault] = []
        self.fingerprint: Fingerprint | None = None  # the newest
        self.samples: dict[DeviceId, DeviceSample] = {}  # the newest, without what has grown
        self.samples_told: Counter[DeviceId] = Counter()
        self.grown: dict[DeviceId, Growth] = {}  # all of it

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Listen until something is so."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not is_so():
                    async with self._turn:
                        if not is_so():  # nor has it become so while another task listened
                            await self._listen()
        except TimeoutError:
            told = [(f.device_id, f.code, str(f.state)) for f in self.faults]
            raise AssertionError(f"never: {what}; faults: {told}") from None

    async def to_the_end(self) -> None:
        """Listen until everything was heard that is on the bus now."""
        end = (await self._bus.stream_state(FACTS_STREAM)).last_seq
        await self.until(lambda: self._seq >= end, f"position {end}")

    def devices(self) -> dict[DeviceId, tuple[Link, ...]]:
        """Return the cards of the newest fingerprint and what they are linked with."""
        found = () if self.fingerprint is None else self.fingerprint.devices
        return {device.device_id: device.links for device in found}

    def states(self) -> dict[Vendor, DetectorState]:
        """Return how the vendors' libraries are, by the newest fingerprint."""
        found = () if self.fingerprint is None else self.fingerprint.detectors
        return {report.vendor: report.state for report in found}

    async def _listen(self) -> None:
        for record in await self._follower.fetch(limit=100, timeout_s=1):
            self._seq = record.seq
            fact = decode_fact(decode_envelope(record.payload))
            self.facts.append(fact)
            match fact:
                case Fault():
                    self.faults.append(fact)
                case Fingerprint():
                    self.fingerprint = fact
                case Samples():
                    for sample in fact.devices:
                        self._note(sample)

    def _note(self, sample: DeviceSample) -> None:
        card = sample.device_id
        growth = Growth(**{name: getattr(sample, name) for name in Growth.__struct_fields__})
        nothing = msgspec.structs.asdict(Growth())
        self.grown[card] = self.grown.get(card, Growth()) + growth
        self.samples[card] = msgspec.structs.replace(sample, **nothing)
        self.samples_told[card] += 1


@contextlib.asynccontextmanager
async def listening(bus: JetStreamBus) -> AsyncIterator[Listener]:
    """Listen for the length of the block."""
    follower = await bus.follow(FACTS_STREAM, after=START)
    try:
        yield Listener(bus, follower)
    finally:
        await follower.close()
