"""The scenario file: its INI form, what it refuses, and two writers."""

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_agents.simulation import operations
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import (
    EVENTS_KEPT_MAX,
    Scenario,
    ScenarioError,
    ScenarioFile,
    decode,
    encode,
)
from hcs_bus.events import FaultState
from hcs_bus.names import NodeName
from tests.support.scenarios import scenarios

FLEET = {scenario.node: scenario for scenario in default_fleet()}
A100 = FLEET[NodeName("a100-0")]
MIXED = FLEET[NodeName("mixed-0")]


@given(scenarios())
def test_what_is_written_is_what_is_read(scenario: Scenario) -> None:
    assert decode(encode(scenario)) == scenario


@given(st.text())
def test_any_text_is_a_scenario_or_a_clear_error(text: str) -> None:
    try:
        decode(text)
    except ScenarioError as error:
        assert str(error).startswith("malformed scenario")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("vram_bytes = 85899345920", "vram_bytes = -1", "vram_bytes"),
        ("vram_bytes = 85899345920", "vram_bytes = lots", "vram_bytes"),
        ("vendor = nvidia", "vendor = acme", "vendor"),
        ("present = 1", "present = 2", "present"),
        ("[device.7]", "[device.9]", "device.9"),
        ("[link.0.1]", "[link.0.99]", "b`"),
        ("[link.0.1]", "[link.1.0]", "link"),
        ("[node]", "[nodes]", "nodes"),
    ],
)
def test_a_wrong_value_is_refused_by_name(before: str, after: str, named: str) -> None:
    text = encode(A100)
    assert before in text
    with pytest.raises(ScenarioError, match=named):
        decode(text.replace(before, after, 1))


def test_a_write_raises_the_generation_and_leaves_only_the_files(tmp_path: Path) -> None:
    file = ScenarioFile(tmp_path / "a100-0.ini")
    assert file.write(A100).generation == 1
    assert file.write(A100).generation == 2
    assert file.read() == msgspec.structs.replace(A100, generation=2)
    tree = {"a100-0.sysfs", ".a100-0.sysfs.2"}  # what the kernel shows of it, and where that is
    assert {path.name for path in tmp_path.iterdir()} == {"a100-0.ini", ".a100-0.ini.lock", *tree}


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no-such"):
        ScenarioFile(tmp_path / "no-such.ini").read()


def test_changes_of_two_writers_at_the_same_time_both_count(tmp_path: Path) -> None:
    file = ScenarioFile(tmp_path / "mixed-0.ini")
    file.write(MIXED)

    def write_many(number: int) -> None:
        for _ in range(20):
            file.update(lambda s: operations.raise_fault(s, number, "31", at_ns=1))

    writers = [threading.Thread(target=write_many, args=(number,)) for number in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    scenario = file.read()
    assert scenario.generation == 41
    assert [event.number for event in scenario.events] == list(range(1, 41))


def test_old_events_are_forgotten_and_numbers_go_on(tmp_path: Path) -> None:
    file = ScenarioFile(tmp_path / "mixed-0.ini")
    scenario = MIXED
    for at_ns in range(EVENTS_KEPT_MAX + 5):
        scenario = operations.raise_fault(scenario, 0, "31", at_ns=at_ns)
    written = file.write(scenario)
    assert len(written.events) == EVENTS_KEPT_MAX
    assert written.events[-1].number == EVENTS_KEPT_MAX + 5
    assert file.read() == written


def test_a_fatal_xid_asks_for_recovery_until_it_is_cleared() -> None:
    reset = operations.raise_fault(A100, 3, "48", at_ns=1)
    assert reset.devices[3].recovery_action == 1
    reboot = operations.raise_fault(reset, 3, "79", at_ns=2)
    assert reboot.devices[3].recovery_action == 2
    one_left = operations.clear_faults(reboot, 3, "79", at_ns=3)
    assert one_left.devices[3].recovery_action == 1
    healthy = operations.clear_faults(one_left, 3, None, at_ns=4)
    assert healthy.devices[3].recovery_action == 0
    states = [event.state for event in healthy.events]
    assert states == [FaultState.RAISED] * 2 + [FaultState.CLEARED] * 2
    assert healthy.faults == ()


def test_an_application_xid_leaves_no_trace() -> None:
    scenario = operations.raise_fault(A100, 0, "13", at_ns=1)
    assert (scenario.faults, scenario.devices[0].recovery_action) == ((), 0)
    assert [event.code for event in scenario.events] == ["13"]


def test_a_dcmi_fault_is_in_force_until_it_is_cleared() -> None:
    scenario = operations.raise_fault(MIXED, 2, "80E18402", at_ns=1)
    again = operations.raise_fault(scenario, 2, "80E18402", at_ns=2)
    assert operations.active_codes(again, 2) == ("80E18402",)
    assert operations.active_codes(again, 3) == ()
    with pytest.raises(operations.FaultNotActiveError, match="80E18402"):
        operations.clear_faults(again, 2, "80E01801", at_ns=3)
    assert operations.active_codes(operations.clear_faults(again, 2, None, at_ns=3), 2) == ()


def test_a_pulled_card_can_be_plugged_again() -> None:
    pulled = operations.pull(A100, 1)
    assert [device.present for device in pulled.devices] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert operations.plug(pulled, 1) == A100


def test_a_fault_raised_again_counts_up_until_the_card_is_reset() -> None:
    scenario = FLEET[NodeName("hygon-0")]
    for at_ns in range(3):
        scenario = operations.raise_fault(scenario, 2, "UMC_UE", at_ns=at_ns)
    assert [(fault.code, fault.count) for fault in scenario.faults] == [("UMC_UE", 3)]
    reset = operations.clear_faults(scenario, 2, None, at_ns=4)
    again = operations.raise_fault(reset, 2, "UMC_UE", at_ns=5)
    assert [fault.count for fault in again.faults] == [1]


def test_the_fleet_has_its_nodes_with_unlike_cards() -> None:
    assert list(FLEET) == [
        "a100-0",
        "a800-0",
        "ascend-0",
        "mixed-0",
        "hygon-0",
        "cambricon-0",
        "mthreads-0",
    ]
    ids = [device.id for scenario in FLEET.values() for device in scenario.devices]
    assert len(set(ids)) == len(ids) == 52
    assert {len(scenario.links) for scenario in FLEET.values()} == {28, 2, 8, 4, 12}
    assert default_fleet() == default_fleet()
