"""`hcs sim`: what it changes, what it prints, and what it refuses."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hcs_agents.simulation import operations
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
        "unusual": {},
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


@pytest.mark.parametrize(
    ("words", "unusual"),
    [
        ("temperature a100-0/3 97", {"temperature_c": 97}),
        (
            "temperature a100-0/3 97 --memory 105",
            {"temperature_c": 97, "memory_temperature_c": 105},
        ),
        ("ecc a100-0/3 --corrected 12", {"ecc_corrected": 12}),
        ("ecc a100-0/3 --uncorrected 1", {"ecc_uncorrected": 1}),
        ("pcie a100-0/3 --generation 1", {"pcie_generation": 1}),
        ("pcie a100-0/3 --width 4 --replays 9", {"pcie_width": 4, "pcie_replays": 9}),
        (
            "slow a100-0/3 40 --reason power",
            {"core_clock_mhz": 560, "throttle": "power", "speed_percent": 40},
        ),
        (
            "busy a100-0/3 50 --vram 12GiB",
            {
                "power_mw": 180_000,
                "utilization_percent": 50,
                "memory_utilization_percent": 50,
                "memory_used_bytes": 12 << 30,
            },
        ),
        ("hang a100-0/3", {"hangs": 1}),
    ],
)
def test_what_happened_to_a_card_is_written_and_printed(
    words: str, unusual: dict[str, int | str], fleet: Path
) -> None:
    result = hcs_sim(*words.split(), "--output", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["unusual"] == unusual
    cards = read(fleet, "a100-0").devices
    assert {name: getattr(cards[3], name) for name in unusual} == unusual
    assert [operations.unusual(card) for card in cards[:3]] == [{}, {}, {}]


def test_for_people_what_is_unusual_stands_behind_presence_and_faults(fleet: Path) -> None:
    hcs_sim("fault", "a100-0/3", "--code", "48")
    shown = hcs_sim("temperature", "a100-0/3", "97").stdout
    device_id = read(fleet, "a100-0").devices[3].id
    assert shown == f"a100-0/3 {device_id}: present, faults: 48, temperature_c 97\n"


@pytest.mark.parametrize(
    ("words", "back"),
    [
        ("pcie a100-0/0 --generation 1 --width 4", "pcie a100-0/0 --reset"),
        ("slow a100-0/0 40", "slow a100-0/0 100"),
        ("busy a100-0/0 95 --vram 512MiB", "busy a100-0/0 0 --vram 0"),
        ("hang a100-0/0", "unhang a100-0/0"),
        ("link a100-0/0 a100-0/1 down", "link a100-0/1 a100-0/0 up"),
        ("driver nvidia a100-0 down", "driver nvidia a100-0 up"),
    ],
)
def test_what_happened_can_be_taken_back(words: str, back: str, fleet: Path) -> None:
    before = read(fleet, "a100-0")
    assert hcs_sim(*words.split()).exit_code == 0
    changed = read(fleet, "a100-0")
    assert msgspec.structs.replace(changed, generation=before.generation) != before
    assert hcs_sim(*back.split()).exit_code == 0
    after = read(fleet, "a100-0")
    assert msgspec.structs.replace(after, generation=before.generation) == before


def test_a_link_goes_down_and_both_ends_count_its_errors(fleet: Path) -> None:
    ends = ("a100-0/1", read(fleet, "a100-0").devices[0].id)
    result = hcs_sim("link", *ends, "down", "--errors", "5", "--output", "json")
    assert json.loads(result.stdout) == {
        "node": "a100-0",
        "a": 0,
        "b": 1,
        "type": "nvswitch",
        "up": False,
    }
    scenario = read(fleet, "a100-0")
    assert [(one.a, one.b) for one in scenario.links if not one.up] == [(0, 1)]
    assert [card.link_errors for card in scenario.devices] == [5, 5, 0, 0, 0, 0, 0, 0]


def test_a_driver_of_one_vendor_goes_down_on_a_node_of_two(fleet: Path) -> None:
    hcs_sim("driver", "nvidia", "mixed-0", "down")
    result = hcs_sim("driver", "huawei", "mixed-0", "down", "--output", "json")
    assert json.loads(result.stdout) == {"node": "mixed-0", "down": ["nvidia", "huawei"]}
    hcs_sim("driver", "nvidia", "mixed-0", "up")
    assert read(fleet, "mixed-0").drivers_down == "huawei"


def test_show_tells_of_a_whole_node(fleet: Path) -> None:
    for words in ("slow mixed-0/1 40", "pull mixed-0/3", "link mixed-0/0 mixed-0/1 down"):
        hcs_sim(*words.split())
    hcs_sim("driver", "huawei", "mixed-0", "down")
    shown = hcs_sim("show", "mixed-0").stdout
    assert "speed_percent 40" in shown and "pulled" in shown
    assert "down: the nvlink link between 0 and 1" in shown
    assert "down: the driver of huawei" in shown
    told = json.loads(hcs_sim("show", "mixed-0", "--output", "json").stdout)
    assert msgspec.convert(told, Scenario) == read(fleet, "mixed-0")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("link a100-0/0 ascend-0/1 down", "are on two nodes"),
        ("link mixed-0/0 mixed-0/2 down", "no link between cards 0 and 2 of mixed-0"),
        ("pcie a100-0/0 --generation 5", "card and slot can do 4 x16 at most"),
        ("pcie a100-0/0", "give --reset, or what to change"),
        ("pcie a100-0/0 --reset --width 4", "give --reset, or what to change"),
        ("ecc a100-0/0", "nothing to count"),
        ("busy a100-0/0 10 --vram 81GiB", "the card has 85899345920"),
        ("busy a100-0/0 10 --vram much", "'much' is no size"),
        ("slow a100-0/0 0", "0 is not in the range"),
        ("driver hygon a100-0 down", "a100-0 has no card of hygon"),
        ("driver nvidia nowhere down", "no simulated node 'nowhere'; there are a100-0"),
        ("show nowhere", "no simulated node 'nowhere'"),
    ],
)
def test_what_cannot_be_is_wrong_use_and_changes_nothing(
    words: str, complaint: str, fleet: Path
) -> None:
    before = {path.name: path.read_bytes() for path in fleet.glob("*.ini")}
    result = hcs_sim(*words.split())
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert {path.name: path.read_bytes() for path in fleet.glob("*.ini")} == before


@pytest.mark.parametrize("command", sorted(sim.commands))
def test_every_command_shows_an_example_and_speaks_json(command: str) -> None:
    shown = hcs_sim(command, "--help").stdout
    assert f"Example: hcs sim {command}" in shown
    assert "--output [text|json]" in shown
