"""Faults from the scenario through the vendor's own interface to the detectors, and their end."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hcs_agents.detectors.nvidia import REOPEN_S_INITIAL
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.simulated import DetectorProcess, environment

MakeNode = Callable[[str], ScenarioFile]

CARDS = [  # of every-0
    (Vendor.NVIDIA, 1, "79"),
    (Vendor.HUAWEI, 3, "80E18402"),
    (Vendor.HYGON, 5, "UMC_UE"),
    (Vendor.CAMBRICON, 7, "CNDEV_FR_DBE_VIOLATION"),
    (Vendor.MTHREADS, 9, "ECC_UNCORRECTED"),
]


@pytest.fixture
def node(node_of: MakeNode) -> ScenarioFile:
    """Return the node with all vendors."""
    return node_of("every-0")


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_fault_arrives_at_the_right_card_and_its_end_too(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    card = node.read().devices[number].id
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        raised = detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
        assert (raised.device_id, raised.code) == (card, code)
        assert raised.lasting
        assert detector.wait(0.05) == []  # told once
        node.update(lambda s: operations.clear_faults(s, number, None, at_ns=2))
        cleared = detector.wait_until(lambda signal: signal.state is FaultState.CLEARED)
        assert (cleared.device_id, cleared.code) == (card, code)


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_waiting_ends_as_soon_as_something_happens(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        # The test's own time limit ends this if the wait has to run out.
        assert [signal.code for signal in detector.wait(timeout_s=600)] == [code]


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_pulled_card_is_lost_and_gone_until_it_is_back(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    del code
    card = node.read().devices[number].id
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        assert card in {device.device_id for device in detector.scan()}
        node.update(lambda s: operations.pull(s, number))
        raised = detector.wait_until(lambda signal: signal.code == "lost")
        assert (raised.device_id, raised.state) == (card, FaultState.RAISED)
        assert [device.device_id for device in detector.scan()] == [
            other.id
            for position, other in enumerate(node.read().devices)
            if other.vendor is vendor and position != number
        ]
        node.update(lambda s: operations.plug(s, number))
        detector.later(REOPEN_S_INITIAL)  # NVML sees it again after a new init
        back = detector.wait_until(lambda signal: signal.code == "lost")
        assert (back.device_id, back.state) == (card, FaultState.CLEARED)
        assert card in {device.device_id for device in detector.scan()}


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS[1:])
@pytest.mark.parametrize("pulled", [False, True])
def test_a_card_in_whose_place_another_comes_is_lost_and_not_asked_for_any_more(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile, *, pulled: bool
) -> None:
    old = node.read().devices[number].id
    new = old[:-3] + ("ABC" if vendor is Vendor.HUAWEI else "abc")

    def replace(scenario: Scenario) -> Scenario:
        other = msgspec.structs.replace(scenario.devices[number], id=new)
        devices = (*scenario.devices[:number], other, *scenario.devices[number + 1 :])
        return operations.plug(msgspec.structs.replace(scenario, devices=devices), number)

    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        ids = [device.device_id for device in detector.scan()]
        if pulled:
            node.update(lambda s: operations.pull(s, number))
            assert detector.wait_until(lambda _: True).code == "lost"
        node.update(replace)
        assert [device.device_id for device in detector.scan()] == [ids[0], new]
        if not pulled:
            lost = detector.wait_until(lambda _: True)
            assert (lost.device_id, lost.code) == (old, "lost")
            assert lost.state is FaultState.RAISED
        assert detector.wait(1.2) == []  # nothing ends
        assert [reading.sample.device_id for reading in detector.sample()] == [ids[0], new]
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        raised = detector.wait_until(lambda _: True)
        assert (raised.device_id, raised.code) == (new, code)


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_lost_neighbour_does_not_hide_a_fault(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    neighbour = number - 1
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.pull(s, neighbour))
        detector.wait_until(lambda signal: signal.code == "lost")
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        assert detector.wait_until(lambda signal: signal.code == code).state is FaultState.RAISED


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_lost_card_does_not_keep_the_detector_spinning(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    del code
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.pull(s, number))
        detector.wait_until(lambda signal: signal.code == "lost")
        began_s = time.monotonic()
        assert [detector.wait(0.3) for _ in range(4)] == [[]] * 4
        # The first may still end early, on what made the card known as lost.
        assert time.monotonic() - began_s > 0.8


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_card_that_is_away_does_not_end_its_other_faults(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        detector.wait_until(lambda signal: signal.code == code)
        node.update(lambda s: operations.pull(s, number))
        detector.wait_until(lambda signal: signal.code == "lost")
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3
        node.update(lambda s: operations.plug(s, number))
        detector.later(REOPEN_S_INITIAL)  # NVML sees it again after a new init
        assert detector.wait_until(lambda _: True).code == "lost"
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3


def test_an_xid_does_not_end_before_the_driver_has_set_its_recovery_action(
    libraries: Path, node: ScenarioFile
) -> None:
    def with_action(scenario: Scenario, action: int) -> Scenario:
        first = msgspec.structs.replace(scenario.devices[0], recovery_action=action)
        return msgspec.structs.replace(scenario, devices=(first, *scenario.devices[1:]))

    with DetectorProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        node.update(lambda s: with_action(operations.raise_fault(s, 0, "48", at_ns=1), 0))
        assert [signal.state for signal in detector.wait(timeout_s=60)] == [FaultState.RAISED]
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3
        node.update(lambda s: with_action(s, 1))
        assert [detector.wait(0.1) for _ in range(3)] == [[]] * 3
        node.update(lambda s: with_action(s, 0))
        ended = detector.wait_until(lambda _: True)
        assert (ended.code, ended.state) == ("48", FaultState.CLEARED)


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_fault_and_a_pull_in_one_moment_are_both_told(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    # NVML hands out its events first; the others say nothing of a card that is away.
    told = [code, "lost"] if vendor is Vendor.NVIDIA else ["lost", code]

    def both(scenario: Scenario) -> Scenario:
        return operations.pull(operations.raise_fault(scenario, number, code, at_ns=1), number)

    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(both)
        assert detector.wait_until(lambda signal: signal.code in told).state is FaultState.RAISED
        node.update(lambda s: operations.plug(s, number))
        detector.later(REOPEN_S_INITIAL)  # NVML sees it again after a new init
        assert detector.wait_until(lambda s: s.code == told[-1]).state is FaultState.RAISED


@pytest.mark.parametrize(("vendor", "number", "code"), CARDS)
def test_a_detector_opened_again_still_tells_of_the_end(
    vendor: Vendor, number: int, code: str, libraries: Path, node: ScenarioFile
) -> None:
    with DetectorProcess(vendor, environment(libraries, node.path)) as detector:
        node.update(lambda s: operations.raise_fault(s, number, code, at_ns=1))
        detector.wait_until(lambda signal: signal.state is FaultState.RAISED)
        detector.reopen()
        node.update(lambda s: operations.clear_faults(s, number, None, at_ns=2))
        assert detector.wait_until(lambda s: s.state is FaultState.CLEARED).code == code


def test_an_application_xid_is_an_occurrence(libraries: Path, node: ScenarioFile) -> None:
    with DetectorProcess(Vendor.NVIDIA, environment(libraries, node.path)) as detector:
        for at_ns in (1, 2):
            node.update(partial(operations.raise_fault, number=0, code="31", at_ns=at_ns))
            (signal,) = detector.wait(timeout_s=60)
            assert (signal.code, signal.state) == ("31", FaultState.RAISED)
            assert not signal.lasting
            assert detector.wait(0.1) == []
