"""The agent with a bus in memory: which facts it tells, in which order, and what it remembers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents import agent as agent_module
from hcs_agents.agent import Agent, AgentError, AgentSettings
from hcs_agents.detectors.port import FaultSignal, LibraryMissingError
from hcs_agents.fault_memory import FaultMemory, RememberedFault
from hcs_bus.envelope import decode_envelope, decode_fact
from hcs_bus.errors import TransientError
from hcs_bus.events import (
    DetectorState,
    Fact,
    Fault,
    FaultState,
    Fingerprint,
    Heartbeat,
)
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, Severity, StreamSeq, Vendor
from hcs_bus.subjects import FACTS_STREAM
from tests.support.detectors import ScriptedDetector, ThreadWorkers, fingerprint_of

CARD = DeviceId("card-0")
XID = FaultSignal(device_id=CARD, code="79", state=FaultState.RAISED)
CLEARED = msgspec.structs.replace(XID, state=FaultState.CLEARED)


class Running:
    """An agent at work, its bus, and what arrives there."""

    def __init__(self, one: Agent, bus: MemoryBus) -> None:
        self.agent = one
        self.bus = bus
        self.ids: list[str] = []
        self._after = StreamSeq(0)

    async def facts_until(self, wanted: Callable[[Fact], bool]) -> list[Fact]:
        """Return what arrives, up to and with the first wanted fact."""
        follower = await self.bus.follow(FACTS_STREAM, after=self._after)
        seen: list[Fact] = []
        async with asyncio.timeout(20):
            while not seen or not wanted(seen[-1]):
                for record in await follower.fetch(limit=1, timeout_s=1):
                    self._after = record.seq
                    envelope = decode_envelope(record.payload)
                    self.ids.append(envelope.id)
                    seen.append(decode_fact(envelope))
        return seen

    async def next(self, kind: type[Fact]) -> Fact:
        """Return the next fact of a kind."""
        return (await self.facts_until(lambda fact: isinstance(fact, kind)))[-1]


@pytest.fixture
def scripted() -> ScriptedDetector:
    """Return an NVIDIA detector with one card."""
    detector = ScriptedDetector()
    detector.cards = (fingerprint_of(0),)
    return detector


@pytest.fixture
def bus() -> MemoryBus:
    """Return an empty bus."""
    return MemoryBus()


@contextlib.asynccontextmanager
async def running(
    directory: Path, bus: MemoryBus, *detectors: ScriptedDetector, **changed: float
) -> AsyncIterator[Running]:
    """Run an agent for the length of the block."""

    async def connect() -> MemoryBus:
        return bus

    settings = AgentSettings(
        node=NodeName("node-1"),
        version="1.2.3",
        spool=directory / "spool",
        socket=directory / "quota.sock",
        scan_interval_s=0.02,
        heartbeat_interval_s=changed.get("heartbeat_interval_s", 3600.0),
        fingerprint_interval_s=changed.get("fingerprint_interval_s", 3600.0),
    )
    one = Agent(settings, ThreadWorkers(detectors), connect=connect)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(one.run())
        try:
            yield Running(one, bus)
        finally:
            task.cancel()


async def test_the_fingerprint_comes_at_the_start_and_on_a_change_only(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    async with running(tmp_path, bus, scripted) as at_work:
        first = await at_work.next(Fingerprint)
        assert isinstance(first, Fingerprint)
        assert (first.agent_version, first.devices) == ("1.2.3", scripted.cards)
        await asyncio.sleep(0.2)  # ten scans that change nothing
        scripted.cards = (fingerprint_of(0), fingerprint_of(1))
        second = await at_work.next(Fingerprint)
        assert isinstance(second, Fingerprint)
        assert len(second.devices) == 2
        assert at_work.agent.ready


async def test_an_unchanged_fingerprint_is_repeated_when_it_is_old(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    async with running(tmp_path, bus, scripted, fingerprint_interval_s=0.1) as at_work:
        for _ in range(3):
            await at_work.next(Fingerprint)


async def test_the_first_fingerprint_waits_for_all_detectors(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    other = ScriptedDetector(Vendor.HUAWEI)
    other.open_error = LibraryMissingError("no libdcmi.so")
    async with running(tmp_path, bus, scripted, other) as at_work:
        first = await at_work.next(Fingerprint)
    assert isinstance(first, Fingerprint)
    states = {report.vendor: report.state for report in first.detectors}
    assert states == {Vendor.NVIDIA: DetectorState.OK, Vendor.HUAWEI: DetectorState.ABSENT}


async def test_a_library_that_hangs_is_not_waited_for_for_ever(
    scripted: ScriptedDetector,
    bus: MemoryBus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "FIRST_SCAN_S", 0.2)
    hanging = ScriptedDetector(Vendor.HUAWEI)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: object = ()) -> None:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()

    monkeypatch.setattr(hanging, "open", hang)
    async with running(tmp_path, bus, scripted, hanging) as at_work:
        first = await at_work.next(Fingerprint)
        released.set()
    assert isinstance(first, Fingerprint)
    assert [report.state for report in first.detectors] == [DetectorState.OK, DetectorState.BROKEN]
    assert first.devices == scripted.cards


async def test_an_agent_without_any_card_lives_and_says_so(bus: MemoryBus, tmp_path: Path) -> None:
    nothing = ScriptedDetector()
    nothing.open_error = LibraryMissingError("no libnvidia-ml.so.1")
    async with running(tmp_path, bus, nothing, heartbeat_interval_s=0.05) as at_work:
        first = await at_work.next(Fingerprint)
        assert isinstance(first, Fingerprint)
        assert first.devices == ()
        for _ in range(3):
            await at_work.next(Heartbeat)


async def test_a_fault_is_told_with_its_name_and_severity(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    scripted.signals.put(XID)
    async with running(tmp_path, bus, scripted) as at_work:
        seen = await at_work.facts_until(lambda fact: isinstance(fact, Fault))
        kinds = [type(fact) for fact in seen if not isinstance(fact, Heartbeat)]
        assert kinds == [Fingerprint, Fault], "a fault speaks of a card that is known"
        fault = seen[-1]
    assert isinstance(fault, Fault)
    assert (fault.device_id, fault.code, fault.state) == (CARD, "79", FaultState.RAISED)
    assert (fault.name, fault.severity) == ("GPU has fallen off the bus", Severity.FATAL)


async def test_what_the_driver_says_rates_an_unknown_code_only(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    async with running(tmp_path, bus, scripted) as at_work:
        for code, expected in (("9999", Severity.FATAL), ("31", Severity.WARNING)):
            scripted.signals.put(
                FaultSignal(
                    device_id=CARD,
                    code=code,
                    state=FaultState.RAISED,
                    severity=Severity.FATAL,
                    lasting=False,
                )
            )
            fault = await at_work.next(Fault)
            assert isinstance(fault, Fault)
            assert fault.severity is expected


async def test_a_restarted_agent_repeats_faults_in_force_and_tells_of_their_end(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    scripted.signals.put(XID)
    async with running(tmp_path, bus, scripted) as at_work:
        await at_work.next(Fault)
    again = ScriptedDetector()
    again.cards = scripted.cards
    async with running(tmp_path, MemoryBus(), again) as at_work:
        repeated = await at_work.next(Fault)
        assert isinstance(repeated, Fault)
        assert (repeated.code, repeated.state) == ("79", FaultState.RAISED)
        assert [fault.code for fault in again.active] == ["79"]
        again.signals.put(CLEARED)
        ended = await at_work.next(Fault)
        assert isinstance(ended, Fault)
        assert ended.state is FaultState.CLEARED
    last = ScriptedDetector()
    async with running(tmp_path, MemoryBus(), last) as at_work:
        await at_work.next(Fingerprint)
    assert last.active == ()


async def test_a_hang_told_by_an_earlier_agent_is_this_ones_to_end_not_the_detectors(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    hang = RememberedFault(vendor=Vendor.NVIDIA, device_id=CARD, code="hang")
    FaultMemory(tmp_path / "spool").add(hang)
    async with running(tmp_path, bus, scripted) as at_work:
        states = [await at_work.next(Fault), await at_work.next(Fault)]
    told = [(fault.code, fault.state) for fault in states if isinstance(fault, Fault)]
    assert told == [("hang", FaultState.RAISED), ("hang", FaultState.CLEARED)]
    assert scripted.active == ()
    assert list(FaultMemory(tmp_path / "spool")) == []


async def test_an_occurrence_is_not_remembered(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    scripted.signals.put(msgspec.structs.replace(XID, code="31", lasting=False))
    async with running(tmp_path, bus, scripted) as at_work:
        await at_work.next(Fault)
    again = ScriptedDetector()
    async with running(tmp_path, MemoryBus(), again) as at_work:
        await at_work.next(Fingerprint)
    assert again.active == ()


async def test_ids_go_on_after_a_restart_and_never_repeat(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    ids: list[str] = []
    for _ in range(2):
        async with running(tmp_path, bus, scripted, heartbeat_interval_s=0.02) as at_work:
            for _ in range(3):
                await at_work.next(Heartbeat)
            ids += at_work.ids
        bus = MemoryBus()
    assert len(set(ids)) == len(ids)
    assert {one.rsplit("/", 1)[0] for one in ids} == {ids[0].rsplit("/", 1)[0]}


async def test_facts_wait_for_a_bus_that_is_not_there_yet(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "CONNECT_RETRY_S", 0.05)
    tries = 0

    async def connect() -> MemoryBus:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise TransientError("no server")
        return bus

    settings = AgentSettings(
        node=NodeName("node-1"),
        version="1",
        spool=tmp_path / "spool",
        socket=tmp_path / "quota.sock",
        scan_interval_s=0.02,
    )
    one = Agent(settings, ThreadWorkers([scripted]), connect=connect)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(one.run())
        await Running(one, bus).next(Fingerprint)
        task.cancel()
    assert tries == 4


async def test_a_mistake_in_a_detector_ends_the_agent(
    scripted: ScriptedDetector, bus: MemoryBus, tmp_path: Path
) -> None:
    scripted.scan_error = ZeroDivisionError()
    with pytest.raises(ExceptionGroup) as raised:
        async with running(tmp_path, bus, scripted):
            await asyncio.sleep(20)
    assert raised.value.subgroup(AgentError) is not None
