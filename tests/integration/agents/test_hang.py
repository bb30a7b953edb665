"""A vendor's call that hangs, from the library to the bus: bounded, told as a fault, and over."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import DetectorState, Fact, Fault, FaultState, Fingerprint
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import Vendor
from tests.support.agent_process import AgentStarter, read_until
from tests.support.backend import Backend

MakeNode = Callable[[str], ScenarioFile]
QUICK = ("--call-timeout-s", "0.5", "--sample-interval-s", "0.2")
CARDS = [  # of every-0: two of each vendor
    (Vendor.NVIDIA, 0),
    (Vendor.HUAWEI, 2),
    (Vendor.HYGON, 4),
    (Vendor.CAMBRICON, 6),
    (Vendor.MTHREADS, 8),
]


@pytest.fixture
def start(libraries: Path, backend: Backend, tmp_path: Path) -> AgentStarter:
    """Return what starts an agent on a node, with the same spool each time."""
    return AgentStarter(libraries, backend.nats_url, tmp_path)


def hang(file: ScenarioFile, number: int, *, hangs: bool) -> None:
    """Let calls about a card hang, or return again."""

    def change(scenario: Scenario) -> Scenario:
        devices = list(scenario.devices)
        devices[number] = msgspec.structs.replace(devices[number], hangs=int(hangs))
        return msgspec.structs.replace(scenario, devices=tuple(devices))

    file.update(change)


def is_hang(state: FaultState) -> Callable[[Fact], bool]:
    """Return what recognises such a fault."""
    return lambda fact: isinstance(fact, Fault) and (fact.code, fact.state) == ("hang", state)


def is_report(vendor: Vendor, state: DetectorState) -> Callable[[Fact], bool]:
    """Return what recognises a fingerprint in which a vendor's library is in a state."""

    def matches(fact: Fact) -> bool:
        return isinstance(fact, Fingerprint) and any(
            (report.vendor, report.state) == (vendor, state) for report in fact.detectors
        )

    return matches


@pytest.mark.parametrize(("vendor", "number"), CARDS)
async def test_a_hang_is_told_of_each_card_of_its_vendor_and_ends(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode, vendor: Vendor, number: int
) -> None:
    file = node_of("every-0")
    cards = [device.id for device in file.read().devices]
    theirs = {device.id for device in file.read().devices if device.vendor is vendor}
    async with start(file, *QUICK) as agent:
        await agent.until_ready()
        hang(file, number, hangs=True)
        seen, after = await read_until(bus, is_report(vendor, DetectorState.BROKEN))
        broken = seen[-1][1]
        assert isinstance(broken, Fingerprint)
        assert {device.device_id for device in broken.devices} == set(cards), "none has gone"
        (report,) = [one for one in broken.detectors if one.vendor is vendor]
        assert report.detail.startswith("no return from ")
        hanging: set[str] = set()
        while hanging != theirs:
            seen, after = await read_until(bus, is_hang(FaultState.RAISED), after)
            fault = seen[-1][1]
            assert isinstance(fault, Fault)
            assert fault.vendor is vendor
            hanging.add(fault.device_id)
        assert f'kind="hang",vendor="{vendor}"' in await agent.get("/metrics")
        hang(file, number, hangs=False)
        while hanging:
            seen, after = await read_until(bus, is_hang(FaultState.CLEARED), after)
            fault = seen[-1][1]
            assert isinstance(fault, Fault)
            hanging.remove(fault.device_id)


async def test_an_xid_that_comes_with_a_hang_is_told_beside_it(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    card = file.read().devices[0].id
    async with start(file, *QUICK) as agent:
        await agent.until_ready()
        file.update(
            lambda s: operations.set_hanging(
                operations.raise_fault(s, 0, "31", at_ns=1), 0, hangs=True
            )
        )
        seen, _ = await read_until(bus, is_hang(FaultState.RAISED))
    faults = [(one.device_id, one.code) for _, one in seen if isinstance(one, Fault)]
    assert (card, "31") in faults


async def test_an_agent_killed_during_a_hang_tells_of_its_end(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    async with start(file, *QUICK) as agent:
        await agent.until_ready()
        hang(file, 0, hangs=True)
        _, after = await read_until(bus, is_hang(FaultState.RAISED))
        _, after = await read_until(bus, is_hang(FaultState.RAISED), after)
        agent.process.kill()
        await agent.process.wait()
    hang(file, 0, hangs=False)
    async with start(file, *QUICK):
        cleared: set[str] = set()
        while len(cleared) < 2:
            seen, after = await read_until(bus, is_hang(FaultState.CLEARED), after)
            fault = seen[-1][1]
            assert isinstance(fault, Fault)
            cleared.add(fault.device_id)
    assert cleared == {device.id for device in file.read().devices[:2]}
