"""`hcs sim`: make something happen to a simulated card."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import msgspec

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioError, ScenarioFile, SimDevice
from hcs_bus.names import Vendor
from hcs_edge.cli.runtime import EXIT_CONFIG, EXIT_FAILED
from hcs_edge.local.home import Home

DEFAULT_CODES = {
    Vendor.NVIDIA: "79",
    Vendor.HUAWEI: "80E18402",
    Vendor.HYGON: "UMC_UE",
    Vendor.CAMBRICON: "CNDEV_FR_DBE_VIOLATION",
    Vendor.MTHREADS: "ECC_UNCORRECTED",
}
CODE_PATTERNS = {
    Vendor.NVIDIA: r"[1-9][0-9]{0,4}",
    Vendor.HUAWEI: r"[0-9A-F]{8}",
    Vendor.HYGON: r"[A-Z][A-Z0-9_]{0,20}_UE",
    Vendor.CAMBRICON: r"CNDEV_FR_[A-Z0-9_]{1,38}|[1-9][0-9]{0,9}",
    Vendor.MTHREADS: r"ECC_(UN)?CORRECTED",
}
CODE_WORDS = {
    Vendor.NVIDIA: "an Xid, such as 79",
    Vendor.HUAWEI: "8 hexadecimal digits, such as 80E18402",
    Vendor.HYGON: "a RAS block with _UE, such as UMC_UE",
    Vendor.CAMBRICON: "a health error, such as CNDEV_FR_DBE_VIOLATION, or the number of an Xid",
    Vendor.MTHREADS: "ECC_CORRECTED or ECC_UNCORRECTED",
}

DEVICE = click.argument("device", metavar="DEVICE")
OUTPUT = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A card, and the file that says what it is like."""

    file: ScenarioFile
    node: str
    number: int
    device: SimDevice


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command prints."""

    node: str
    index: int
    device_id: str
    vendor: Vendor
    present: bool
    faults: tuple[str, ...]  # in force now


@click.group()
def sim() -> None:
    """Make something happen to a simulated card.

    DEVICE is a device id, or NODE/INDEX such as a100-0/3; INDEX counts all cards of the node,
    of whatever vendor.

    Example: hcs sim fault a100-0/3 && hcs watch
    """


@sim.command()
@DEVICE
@click.option("--code", help="The vendor's own code. [default: a fatal one, such as Xid 79]")
@OUTPUT
def fault(device: str, code: str | None, output: str) -> None:
    """Let a card report a fault.

    Example: hcs sim fault a100-0/3 --code 48
    """
    target = find(device)
    wanted = check_code(target, code) or DEFAULT_CODES[target.device.vendor]
    now_ns = time.time_ns()
    apply(target, output, lambda s: operations.raise_fault(s, target.number, wanted, at_ns=now_ns))


@sim.command()
@DEVICE
@click.option("--code", help="Which fault to end. [default: all of the card's]")
@OUTPUT
def clear(device: str, code: str | None, output: str) -> None:
    """End a card's faults.

    Example: hcs sim clear a100-0/3
    """
    target = find(device)
    wanted = check_code(target, code)
    now_ns = time.time_ns()
    apply(target, output, lambda s: operations.clear_faults(s, target.number, wanted, at_ns=now_ns))


@sim.command()
@DEVICE
@OUTPUT
def pull(device: str, output: str) -> None:
    """Take a card off the bus.

    Example: hcs sim pull ascend-0/1
    """
    target = find(device)
    apply(target, output, lambda s: operations.pull(s, target.number))


@sim.command()
@DEVICE
@OUTPUT
def plug(device: str, output: str) -> None:
    """Put a card back on the bus.

    Example: hcs sim plug ascend-0/1
    """
    target = find(device)
    apply(target, output, lambda s: operations.plug(s, target.number))


def find(name: str) -> Target:
    """Return the card that `name` means; end with exit code 2 when there is none."""
    directory = Home.from_environment().scenarios
    targets = [target for path in sorted(directory.glob("*.ini")) for target in load(path.name)]
    if not targets:
        raise failure(f"no simulated cards in {directory}; `hcs up` makes some", EXIT_CONFIG)
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


def load(file_name: str) -> list[Target]:
    """Return the cards of one scenario file."""
    file = ScenarioFile(Home.from_environment().scenarios / file_name)
    try:
        scenario = file.read()
    except ScenarioError as error:
        raise failure(str(error), EXIT_FAILED) from error
    return [
        Target(file=file, node=scenario.node, number=number, device=device)
        for number, device in enumerate(scenario.devices)
    ]


def check_code(target: Target, code: str | None) -> str | None:
    """Return the code as the vendor writes it; end with exit code 2 when it is none."""
    if code is None:
        return None
    vendor, written = target.device.vendor, code.upper().removeprefix("0X")
    if re.fullmatch(CODE_PATTERNS[vendor], written) is None:
        raise failure(f"--code {code!r}: a code of {vendor} is {CODE_WORDS[vendor]}", EXIT_CONFIG)
    return written


def apply(target: Target, output: str, change: Callable[[Scenario], Scenario]) -> None:
    """Change the scenario and print what the card is like now."""
    try:
        scenario = target.file.update(change)
    except (ScenarioError, operations.FaultNotActiveError) as error:
        raise failure(str(error), EXIT_FAILED) from error
    device = scenario.devices[target.number]
    outcome = Outcome(
        node=scenario.node,
        index=target.number,
        device_id=device.id,
        vendor=device.vendor,
        present=bool(device.present),
        faults=operations.active_codes(scenario, target.number),
    )
    if output == "json":
        click.echo(msgspec.json.encode(outcome).decode())
        return
    state = "present" if outcome.present else "pulled"
    faults = ", ".join(outcome.faults) or "none"
    click.echo(f"{outcome.node}/{outcome.index} {outcome.device_id}: {state}, faults: {faults}")


def failure(message: str, code: int) -> SystemExit:
    """Say what is wrong; return what ends the command."""
    click.echo(f"hcs: {message}", err=True)
    return SystemExit(code)
