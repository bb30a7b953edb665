"""What the agent makes of faults that come together, again, too often, or on a full disk."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from hcs_agents.agent import Agent, AgentSettings
from hcs_agents.detectors.port import FaultSignal
from hcs_agents.fault_memory import FaultMemory, RememberedFault
from hcs_agents.worker import Failure, FailureKind, Observation, Recovery
from hcs_agents.worker_frames import Faults, Scan
from hcs_bus.envelope import decode_envelope, decode_fact
from hcs_bus.events import DetectorReport, DetectorState, Fact, Fault, FaultState, Fingerprint
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq, Vendor
from hcs_bus.subjects import FACTS_STREAM
from tests.support.detectors import ScriptedDetector, ThreadWorkers, fingerprint_of

VENDOR = Vendor.NVIDIA
CARDS = (fingerprint_of(0), fingerprint_of(1))
XID = FaultSignal(device_id=DeviceId("card-0"), code="79", state=FaultState.RAISED)
OCCURRENCE = msgspec.structs.replace(XID, code="94", lasting=False)
HANG = Failure(vendor=VENDOR, kind=FailureKind.HANG, detail="no return from scan in 10 s")
RECOVERY = Recovery(vendor=VENDOR)
OK = Scan(report=DetectorReport(vendor=VENDOR, state=DetectorState.OK), devices=CARDS)
BROKEN = Scan(report=DetectorReport(vendor=VENDOR, state=DetectorState.BROKEN, detail="999"))


def told(*signals: FaultSignal) -> Faults:
    """Return what a worker says."""
    return Faults(vendor=VENDOR, signals=signals)


class Hearing:
    """An agent without workers; what they would say is said by the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bus = MemoryBus()

        async def connect() -> MemoryBus:
            return self.bus

        settings = AgentSettings(
            node=NodeName("node-1"),
            version="1",
            spool=directory / "spool",
            socket=directory / "quota.sock",
        )
        self.agent = Agent(settings, ThreadWorkers([ScriptedDetector()]), connect=connect)
        self._after = StreamSeq(0)

    def hear(self, *observations: Observation) -> None:
        """Let it hear all of this before it can tell any of it."""
        for observation in observations:
            self.agent._observe(observation)
        self.agent._drain()

    async def end(self) -> None:
        """End as an agent that is told to."""
        self.agent._bus = self.bus
        await self.agent._end()

    async def facts(self) -> list[Fact]:
        """Return what came to the bus since this was last asked."""
        while len(self.agent._spool):
            assert await self.agent._publisher.flush_once(self.bus)
        return await self.at_the_bus()

    async def at_the_bus(self) -> list[Fact]:
        """Return what came to the bus, and send nothing."""
        follower = await self.bus.follow(FACTS_STREAM, after=self._after)
        seen = []
        while records := await follower.fetch(limit=100, timeout_s=0.01):
            self._after = records[-1].seq
            seen += [decode_fact(decode_envelope(record.payload)) for record in records]
        return seen

    async def faults(self) -> list[tuple[str, str, FaultState]]:
        """Return the faults among the facts."""
        facts = await self.facts()
        return [(one.device_id, one.code, one.state) for one in facts if isinstance(one, Fault)]


@pytest.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Hearing]:
    """Return an agent that has told its first fingerprint."""
    hearing = Hearing(tmp_path)
    hearing.hear(OK)
    assert [type(fact) for fact in await hearing.facts()] == [Fingerprint]
    yield hearing
    with contextlib.suppress(Exception):  # a test may have ended it
        hearing.agent._spool.close()


def of_both(state: FaultState) -> list[tuple[str, str, FaultState]]:
    return [("card-0", "hang", state), ("card-1", "hang", state)]


async def test_a_hang_that_goes_on_is_told_once(at_work: Hearing) -> None:
    at_work.hear(HANG)
    assert await at_work.faults() == of_both(FaultState.RAISED)
    at_work.hear(HANG)
    at_work.hear(HANG, HANG)
    assert await at_work.faults() == []
    at_work.hear(RECOVERY, RECOVERY)
    assert await at_work.faults() == of_both(FaultState.CLEARED)


async def test_a_hang_and_its_end_in_one_moment_are_both_told(at_work: Hearing) -> None:
    at_work.hear(HANG, HANG, RECOVERY)
    assert await at_work.faults() == of_both(FaultState.RAISED) + of_both(FaultState.CLEARED)
    at_work.hear(HANG, RECOVERY, HANG)
    assert (await at_work.faults())[-2:] == of_both(FaultState.RAISED)


async def test_a_hang_behind_a_broken_library_is_told_of_the_cards_it_had(
    at_work: Hearing,
) -> None:
    at_work.hear(BROKEN)
    at_work.hear(HANG)
    assert await at_work.faults() == of_both(FaultState.RAISED)


async def test_a_storm_of_one_occurrence_is_two_facts_that_say_how_many(
    at_work: Hearing,
) -> None:
    for _ in range(10):
        at_work.hear(told(*[OCCURRENCE] * 1_000))
    at_work.hear(told(XID))
    assert len(await at_work.faults()) == 2  # the first one, and another code
    await at_work.end()
    (rest,) = [one for one in await at_work.at_the_bus() if isinstance(one, Fault)]
    assert (rest.code, rest.detail) == ("94", "9999 times in 1 s")


async def test_what_was_heard_and_not_yet_told_is_told_at_the_end(at_work: Hearing) -> None:
    at_work.agent._observe(told(XID))
    await at_work.end()
    assert [one.code for one in await at_work.at_the_bus() if isinstance(one, Fault)] == ["79"]


async def test_a_fault_is_remembered_before_it_is_told_and_forgotten_after(
    at_work: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[list[RememberedFault]] = []
    publish = at_work.agent.publish

    def noting(fact: Fact) -> None:
        remembered.append(list(FaultMemory(at_work.directory / "spool")))
        publish(fact)

    monkeypatch.setattr(at_work.agent, "publish", noting)
    at_work.hear(told(XID))
    at_work.hear(told(msgspec.structs.replace(XID, state=FaultState.CLEARED)))
    xid = RememberedFault(vendor=VENDOR, device_id=XID.device_id, code="79")
    assert remembered == [[xid], [xid]], "after a crash it is one too many, never one too few"
    assert list(FaultMemory(at_work.directory / "spool")) == []


async def test_a_fault_is_told_although_it_cannot_be_remembered(
    at_work: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FaultMemory, "_save", full)
    at_work.hear(told(XID))
    at_work.hear(told(msgspec.structs.replace(XID, state=FaultState.CLEARED)))
    assert [state for _, _, state in await at_work.faults()] == [
        FaultState.RAISED,
        FaultState.CLEARED,
    ]
