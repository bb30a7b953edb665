"""`hcs sim`: make something happen to a simulated card."""

import re
import time

import click
import msgspec
from rich.table import Table

from hcs_agents.simulation import operations
from hcs_bus.names import Vendor
from hcs_control.quantity import parse_positive_integer
from hcs_edge.cli.options import OUTPUT
from hcs_edge.cli.runtime import EXIT_CONFIG, failure
from hcs_edge.cli.simulated import (
    DriverOutcome,
    LinkOutcome,
    Target,
    card_outcome,
    change_card,
    find,
    find_node,
    read,
    state_words,
    update,
)
from hcs_edge.cli.tables import show as show_table

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
COUNT_MAX = 1_000_000_000  # at a time; the counters hold more
CELSIUS = click.IntRange(0, 1_000)
COUNT = click.IntRange(0, COUNT_MAX)
PERCENT = click.IntRange(0, 100)


class SizeType(click.ParamType[int]):
    """A size in bytes, with a suffix or without."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a size."""
        if isinstance(value, int) or value == "0":
            return int(value)
        try:
            return parse_positive_integer(value.removesuffix("B"))
        except ValueError:
            self.fail(f"{value!r} is no size: use a number such as 12GiB or 512MiB", param, ctx)


DEVICE = click.argument("device", metavar="DEVICE")


@click.group()
def sim() -> None:
    """Make something happen to a simulated card.

    DEVICE is a device id, or NODE/INDEX such as a100-0/3; INDEX counts all cards of the node,
    of whatever vendor. What happened lasts until another command ends it.

    Example: hcs sim fault a100-0/3 && hcs watch
    """


@sim.command()
@click.argument("node")
@OUTPUT
def show(*, node: str, output: str) -> None:
    """Show what a node's cards are like; in JSON, the whole scenario.

    Example: hcs sim show a100-0
    """
    scenario = read(find_node(node))
    if output == "json":
        click.echo(msgspec.json.encode(scenario))
        return
    table = Table("#", "VENDOR", "MODEL", "DEVICE", "STATE")
    for number, device in enumerate(scenario.devices):
        state = state_words(card_outcome(scenario, number))
        table.add_row(str(number), device.vendor, device.model, device.id, state)
    show_table(table)
    for link in scenario.links:
        if not link.up:
            click.echo(f"down: the {link.type} link between {link.a} and {link.b}")
    for vendor in operations.drivers_down(scenario):
        click.echo(f"down: the driver of {vendor}")


@sim.command()
@DEVICE
@click.option("--code", help="The vendor's own code. [default: a fatal one, such as Xid 79]")
@OUTPUT
def fault(*, device: str, code: str | None, output: str) -> None:
    """Let a card report a fault.

    Example: hcs sim fault a100-0/3 --code 48
    """
    target = find(device)
    wanted = check_code(target, code) or DEFAULT_CODES[target.device.vendor]
    now_ns = time.time_ns()
    change_card(
        target, output, lambda s: operations.raise_fault(s, target.number, wanted, at_ns=now_ns)
    )


@sim.command()
@DEVICE
@click.option("--code", help="Which fault to end. [default: all of the card's]")
@OUTPUT
def clear(*, device: str, code: str | None, output: str) -> None:
    """End a card's faults.

    Example: hcs sim clear a100-0/3
    """
    target = find(device)
    wanted = check_code(target, code)
    now_ns = time.time_ns()
    change_card(
        target, output, lambda s: operations.clear_faults(s, target.number, wanted, at_ns=now_ns)
    )


@sim.command()
@DEVICE
@OUTPUT
def pull(*, device: str, output: str) -> None:
    """Take a card off the bus.

    Example: hcs sim pull ascend-0/1
    """
    target = find(device)
    change_card(target, output, lambda s: operations.pull(s, target.number))


@sim.command()
@DEVICE
@OUTPUT
def plug(*, device: str, output: str) -> None:
    """Put a card back on the bus.

    Example: hcs sim plug ascend-0/1
    """
    target = find(device)
    change_card(target, output, lambda s: operations.plug(s, target.number))


@sim.command()
@DEVICE
@click.argument("celsius", type=CELSIUS)
@click.option("--memory", type=CELSIUS, help="Of its memory. [default: as it is]")
@OUTPUT
def temperature(*, device: str, celsius: int, memory: int | None, output: str) -> None:
    """Let a card be so hot, in degrees Celsius.

    Example: hcs sim temperature a100-0/3 97
    """
    target = find(device)
    change_card(
        target, output, lambda s: operations.set_temperature(s, target.number, celsius, memory)
    )


@sim.command()
@DEVICE
@click.option("--corrected", type=COUNT, default=0, help="Errors that the card mended.")
@click.option("--uncorrected", type=COUNT, default=0, help="Errors that it could not mend.")
@OUTPUT
def ecc(*, device: str, corrected: int, uncorrected: int, output: str) -> None:
    """Let a card count memory errors, on top of those it has counted.

    Example: hcs sim ecc a100-0/3 --corrected 12
    """
    if not corrected and not uncorrected:
        raise click.UsageError("nothing to count: give --corrected or --uncorrected")
    target = find(device)
    change_card(
        target,
        output,
        lambda s: operations.count_ecc_errors(
            s, target.number, corrected=corrected, uncorrected=uncorrected
        ),
    )


@sim.command()
@click.argument("a", metavar="DEVICE")
@click.argument("b", metavar="DEVICE")
@click.argument("state", type=click.Choice(["up", "down"]))
@click.option("--errors", type=COUNT, default=0, help="Errors that both cards count on it.")
@OUTPUT
def link(*, a: str, b: str, state: str, errors: int, output: str) -> None:
    """Let the fabric between two cards of a node fail, or work again.

    Example: hcs sim link a100-0/0 a100-0/1 down
    """
    one, other = find(a), find(b)
    if one.node != other.node:
        raise failure(f"{a!r} and {b!r} are on two nodes: no fabric is between them", EXIT_CONFIG)
    scenario = update(
        one.file,
        lambda s: operations.set_link(s, one.number, other.number, up=state == "up", errors=errors),
    )
    ends = sorted((one.number, other.number))
    [changed] = [found for found in scenario.links if [found.a, found.b] == ends]
    outcome = LinkOutcome(
        node=scenario.node, a=changed.a, b=changed.b, type=changed.type, up=bool(changed.up)
    )
    if output == "json":
        click.echo(msgspec.json.encode(outcome))
    else:
        click.echo(f"{outcome.node}: {outcome.type} between {outcome.a} and {outcome.b} is {state}")


@sim.command()
@DEVICE
@click.option("--generation", type=click.IntRange(1, 7), help="PCIe generation of the moment.")
@click.option("--width", type=click.Choice(["1", "2", "4", "8", "16"]), help="Lanes in use.")
@click.option("--replays", type=COUNT, default=0, help="Replays to count.")
@click.option("--reset", is_flag=True, help="Back to the best that card and slot can do.")
@OUTPUT
def pcie(
    *,
    device: str,
    generation: int | None,
    width: str | None,
    replays: int,
    reset: bool,
    output: str,
) -> None:
    """Let a card's PCIe link be slower or narrower than it could be.

    Example: hcs sim pcie a100-0/3 --generation 1 --width 4 && hcs sim pcie a100-0/3 --reset
    """
    asked = generation is not None or width is not None or replays > 0
    if reset == asked:
        raise click.UsageError("give --reset, or what to change: --generation, --width, --replays")
    target = find(device)
    lanes = None if width is None else int(width)
    change_card(
        target,
        output,
        lambda s: (
            operations.reset_pcie(s, target.number)
            if reset
            else operations.set_pcie(
                s, target.number, generation=generation, width=lanes, replays=replays
            )
        ),
    )


@sim.command()
@DEVICE
@click.argument("percent", type=click.IntRange(1, 100))
@click.option(
    "--reason",
    type=click.Choice(["thermal", "power", "hardware", "other"]),
    default="thermal",
    show_default=True,
    help="Why, as its library tells.",
)
@OUTPUT
def slow(*, device: str, percent: int, reason: str, output: str) -> None:
    """Let a card compute so much of what its model can; 100 ends it.

    Example: hcs sim slow a100-0/3 40 --reason power
    """
    target = find(device)
    change_card(
        target,
        output,
        lambda s: operations.set_speed(s, target.number, percent, reason=reason),
    )


@sim.command()
@DEVICE
@click.argument("percent", type=PERCENT)
@click.option("--vram", type=SizeType(), help="Memory in use, such as 12GiB. [default: as it is]")
@OUTPUT
def busy(*, device: str, percent: int, vram: int | None, output: str) -> None:
    """Let a card look as if it computed for so much of the time.

    Example: hcs sim busy a100-0/3 95 --vram 12GiB
    """
    target = find(device)
    change_card(
        target,
        output,
        lambda s: operations.set_load(s, target.number, percent, vram_bytes=vram),
    )


@sim.command()
@DEVICE
@OUTPUT
def hang(*, device: str, output: str) -> None:
    """Let calls into the vendor's library about a card not return.

    Example: hcs sim hang a100-0/3
    """
    target = find(device)
    change_card(target, output, lambda s: operations.set_hanging(s, target.number, hangs=True))


@sim.command()
@DEVICE
@OUTPUT
def unhang(*, device: str, output: str) -> None:
    """Let such calls return again, those too that wait.

    Example: hcs sim unhang a100-0/3
    """
    target = find(device)
    change_card(target, output, lambda s: operations.set_hanging(s, target.number, hangs=False))


@sim.command()
@click.argument("vendor", type=click.Choice([vendor.value for vendor in Vendor]))
@click.argument("node")
@click.argument("state", type=click.Choice(["down", "up"]))
@OUTPUT
def driver(*, vendor: str, node: str, state: str, output: str) -> None:
    """Unload a vendor's driver on a node, as a restart of it does, or load it again.

    Example: hcs sim driver nvidia a100-0 down
    """
    scenario = update(
        find_node(node),
        lambda s: operations.set_driver(s, Vendor(vendor), down=state == "down"),
    )
    outcome = DriverOutcome(node=scenario.node, down=operations.drivers_down(scenario))
    if output == "json":
        click.echo(msgspec.json.encode(outcome))
    else:
        click.echo(f"{outcome.node}: drivers down: {', '.join(outcome.down) or 'none'}")


def check_code(target: Target, code: str | None) -> str | None:
    """Return the code as the vendor writes it; end with exit code 2 when it is none."""
    if code is None:
        return None
    vendor, written = target.device.vendor, code.upper().removeprefix("0X")
    if re.fullmatch(CODE_PATTERNS[vendor], written) is None:
        raise failure(f"--code {code!r}: a code of {vendor} is {CODE_WORDS[vendor]}", EXIT_CONFIG)
    return written
