"""Which simulated card or node a `hcs sim` command means, and how it is shown."""

from collections.abc import Callable
from dataclasses import dataclass

import click
import msgspec

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioError, ScenarioFile, SimDevice
from hcs_bus.names import LinkType, Vendor
from hcs_edge.cli.runtime import EXIT_CONFIG, failure
from hcs_edge.local.home import Home

Change = Callable[[Scenario], Scenario]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A card, and the file that says what it is like."""

    file: ScenarioFile
    node: str
    number: int
    device: SimDevice


class CardOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a card is after a command."""

    node: str
    index: int
    device_id: str
    vendor: Vendor
    present: bool
    faults: tuple[str, ...]  # in force now
    unusual: dict[str, int | str]  # what is not as on an idle card without trouble


class LinkOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a link is after a command."""

    node: str
    a: int
    b: int
    type: LinkType
    up: bool


class DriverOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whose drivers are loaded after a command."""

    node: str
    down: tuple[Vendor, ...]


def find(name: str) -> Target:
    """Return the card that `name` means; end with exit code 2 when there is none."""
    targets = [target for file in _files() for target in _cards(file)]
    for target in targets:
        if name in (target.device.id, f"{target.node}/{target.number}"):
            return target
    counts: dict[str, int] = {}
    for target in targets:
        counts[target.node] = counts.get(target.node, 0) + 1
    known = ", ".join(f"{node}/0..{count - 1}" for node, count in counts.items())
    raise failure(
        f"no simulated card {name!r}; there are {known}, and their device ids", EXIT_CONFIG
    )


def find_node(name: str) -> ScenarioFile:
    """Return the file of a node; end with exit code 2 when there is none."""
    files = {str(read(file).node): file for file in _files()}
    file = files.get(name)
    if file is None:
        raise failure(f"no simulated node {name!r}; there are {', '.join(files)}", EXIT_CONFIG)
    return file


def _files() -> list[ScenarioFile]:
    directory = Home.from_environment().scenarios
    files = [ScenarioFile(path) for path in sorted(directory.glob("*.ini"))]
    if not files:
        raise failure(f"no simulated cards in {directory}; `hcs up` makes some", EXIT_CONFIG)
    return files


def read(file: ScenarioFile) -> Scenario:
    """Return what a file says; end the command when it cannot be read."""
    try:
        return file.read()
    except ScenarioError as error:
        raise failure(str(error)) from error


def _cards(file: ScenarioFile) -> list[Target]:
    scenario = read(file)
    return [
        Target(file=file, node=scenario.node, number=number, device=device)
        for number, device in enumerate(scenario.devices)
    ]


def update(file: ScenarioFile, change: Change) -> Scenario:
    """Change a scenario and return it; end the command when that cannot be."""
    try:
        return file.update(change)
    except operations.ImpossibleError as error:
        raise failure(str(error), EXIT_CONFIG) from error
    except (ScenarioError, operations.FaultNotActiveError) as error:
        raise failure(str(error)) from error


def change_card(target: Target, output: str, change: Change) -> None:
    """Change the scenario and print what the card is like now."""
    outcome = card_outcome(update(target.file, change), target.number)
    if output == "json":
        click.echo(msgspec.json.encode(outcome))
    else:
        click.echo(f"{outcome.node}/{outcome.index} {outcome.device_id}: {state_words(outcome)}")


def card_outcome(scenario: Scenario, number: int) -> CardOutcome:
    """Return how a card is."""
    device = scenario.devices[number]
    return CardOutcome(
        node=scenario.node,
        index=number,
        device_id=device.id,
        vendor=device.vendor,
        present=bool(device.present),
        faults=operations.active_codes(scenario, number),
        unusual=operations.unusual(device),
    )


def state_words(outcome: CardOutcome) -> str:
    """Return how a card is, in words."""
    state = "present" if outcome.present else "pulled"
    words = [state, f"faults: {', '.join(outcome.faults) or 'none'}"]
    return ", ".join([*words, *(f"{name} {value}" for name, value in outcome.unusual.items())])
