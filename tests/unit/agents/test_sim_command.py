"""`hcs sim`: what it changes, what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_edge.cli.sim import sim


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the default fleet into an `HCS_HOME` of the test's own."""
    monkeypatch.setenv("HCS_HOME", str(tmp_path))
    scenarios = tmp_path / "scenarios"
    scenarios.mkdir()
    for scenario in default_fleet():
        ScenarioFile(scenarios / f"{scenario.node}.ini").write(scenario)
    return scenarios


def hcs_sim(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(sim, arguments)


def read(fleet: Path, node: str) -> Scenario:
    """Return a node as it is now."""
    return ScenarioFile(fleet / f"{node}.ini").read()


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("a100-0/3", "79"),
        ("ascend-0/3", "80E18402"),
        ("hygon-0/3", "UMC_UE"),
        ("cambricon-0/3", "CNDEV_FR_DBE_VIOLATION"),
        ("mthreads-0/3", "ECC_UNCORRECTED"),
    ],
)
def test_a_fault_has_the_vendors_usual_code(card: str, code: str, fleet: Path) -> None:
    result = hcs_sim("fault", card, "--output", "json")
    assert result.exit_code == 0
    scenario = read(fleet, card.split("/", maxsplit=1)[0])
    assert json.loads(result.stdout) == {
        "node": scenario.node,
        "index": 3,
        "device_id": scenario.devices[3].id,
        "vendor": scenario.devices[3].vendor,
        "present": True,
        "faults": [code],
    }
    assert [event.code for event in scenario.events] == [code]


def test_a_card_can_be_named_by_its_id(fleet: Path) -> None:
    device = read(fleet, "mixed-0").devices[2]
    assert hcs_sim("pull", device.id).exit_code == 0
    assert [card.present for card in read(fleet, "mixed-0").devices] == [1, 1, 0, 1]
    assert "present" in hcs_sim("plug", device.id).stdout
    assert [card.present for card in read(fleet, "mixed-0").devices] == [1, 1, 1, 1]


def test_clear_ends_all_faults_or_the_named_one(fleet: Path) -> None:
    for code in ("48", "79", "119"):
        hcs_sim("fault", "a100-0/0", "--code", code)
    assert hcs_sim("clear", "a100-0/0", "--code", "79").exit_code == 0
    assert [fault.code for fault in read(fleet, "a100-0").faults] == ["48", "119"]
    assert hcs_sim("clear", "a100-0/0").exit_code == 0
    assert read(fleet, "a100-0").faults == ()


def test_a_code_may_be_written_as_people_write_it(fleet: Path) -> None:
    assert hcs_sim("fault", "ascend-0/0", "--code", "0x80e01801").exit_code == 0
    assert [fault.code for fault in read(fleet, "ascend-0").faults] == ["80E01801"]


def test_an_unknown_card_is_refused_with_what_there_is() -> None:
    result = hcs_sim("fault", "a100-0/8")
    assert result.exit_code == 2
    assert "a100-0/0..7" in result.stderr
    assert "mixed-0/0..3" in result.stderr


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("a100-0/0", "80E18402"),
        ("ascend-0/0", "79"),
        ("hygon-0/0", "79"),
        ("cambricon-0/0", "UMC_UE"),
        ("mthreads-0/0", "UMC_UE"),
    ],
)
def test_a_code_of_the_other_vendor_is_refused(card: str, code: str) -> None:
    result = hcs_sim("fault", card, "--code", code)
    assert result.exit_code == 2
    assert "--code" in result.stderr


def test_clearing_what_is_not_in_force_fails_and_says_what_is() -> None:
    hcs_sim("fault", "a100-0/0", "--code", "48")
    result = hcs_sim("clear", "a100-0/0", "--code", "79")
    assert result.exit_code == 1
    assert "in force: 48" in result.stderr


def test_without_simulated_cards_the_way_to_get_some_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCS_HOME", str(tmp_path / "elsewhere"))
    result = hcs_sim("fault", "a100-0/0")
    assert result.exit_code == 2
    assert "hcs up" in result.stderr


@pytest.mark.parametrize("command", ["fault", "clear", "pull", "plug"])
def test_every_command_shows_an_example(command: str) -> None:
    assert f"Example: hcs sim {command}" in hcs_sim(command, "--help").stdout
