"""`hcs isolate|release`: a person decides about cards."""

import click
import msgspec

from hcs_bus.events import Operator, OperatorVerb
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_control.store.readmodel import CardRow, cards
from hcs_edge.cli.options import (
    LOCAL_DATABASE_URL,
    LOCAL_NATS_URL,
    OUTPUT,
    operator_bus,
    reader_database,
)
from hcs_edge.cli.runtime import EXIT_CONFIG, failure, run_command
from hcs_edge.cli.word import WAIT, WHO, WHY, now_ns, say

TARGET = click.argument("target", metavar="DEVICE|NODE")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command prints: what was said, and how the cards are after it."""

    position: StreamSeq  # of the word, in HCS_FACTS
    verb: OperatorVerb
    node: NodeName
    device_id: DeviceId | None  # none: the whole node
    cards: list[CardRow]


@click.command()
@TARGET
@WHY
@WHO
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@WAIT
@OUTPUT
def isolate(
    *,
    target: str,
    why: str,
    who: str,
    nats_url: str | None,
    database_url: str | None,
    wait_s: float,
    output: str,
) -> None:
    """Give a card, or all cards of a node, no new work until a person releases them.

    DEVICE is a device id, or NODE/INDEX as `hcs inventory` shows them.

    Example: hcs isolate a100-0/3 --why "a fan is replaced"
    """
    urls = operator_bus(nats_url), reader_database(database_url)
    outcome = run_command("isolate", _decide(OperatorVerb.ISOLATE, target, who, why, urls, wait_s))
    _print(outcome, output)


@click.command()
@TARGET
@WHY
@WHO
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@WAIT
@OUTPUT
def release(
    *,
    target: str,
    why: str,
    who: str,
    nats_url: str | None,
    database_url: str | None,
    wait_s: float,
    output: str,
) -> None:
    """End the isolation of a card, or of all cards of a node, whatever isolated them.

    A fault that still holds isolates again when it is next raised. DEVICE is a device id, or
    NODE/INDEX as `hcs inventory` shows them.

    Example: hcs release a100-0/3 --why "the fan is new"
    """
    urls = operator_bus(nats_url), reader_database(database_url)
    outcome = run_command("release", _decide(OperatorVerb.RELEASE, target, who, why, urls, wait_s))
    _print(outcome, output)


async def _decide(
    verb: OperatorVerb, target: str, who: str, why: str, urls: tuple[str, str], wait_s: float
) -> Outcome:
    nats_url, database_url = urls
    chosen = choose(await cards(database_url), target)
    node = NodeName(chosen[0].node_name)
    device_id = None if target == node else DeviceId(chosen[0].device_id)
    fact = Operator(at_ns=now_ns(), verb=verb, node=node, device_id=device_id, who=who, why=why)
    position = await say(
        fact, node=node, nats_url=nats_url, database_url=database_url, wait_s=wait_s
    )
    wanted = {card.device_id for card in chosen}
    after = [card for card in await cards(database_url) if card.device_id in wanted]
    return Outcome(position=position, verb=verb, node=node, device_id=device_id, cards=after)


def choose(known: list[CardRow], target: str) -> list[CardRow]:
    """Return the cards that `target` means; end with exit code 2 when it means none, or several."""
    of_node = [card for card in known if card.node_name == target]
    if of_node:
        return of_node
    found = [
        card
        for card in known
        if target in (card.device_id, f"{card.node_name}/{card.device_index}")
    ]
    if len(found) == 1:
        return found
    if found:  # each vendor's library counts its own cards
        named = ", ".join(f"{card.device_id} ({card.vendor})" for card in found)
        raise failure(f"{target!r} is more than one card: {named}; use the id", EXIT_CONFIG)
    nodes = ", ".join(sorted({card.node_name for card in known})) or "none"
    raise failure(
        f"no card or node {target!r}; nodes are {nodes}; `hcs inventory` shows the cards",
        EXIT_CONFIG,
    )


def _print(outcome: Outcome, output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(outcome))
        return
    for card in outcome.cards:
        codes = f" ({', '.join(card.active_codes)})" if card.active_codes else ""
        evidence = f": {card.evidence}" if card.evidence else ""
        click.echo(
            f"{card.node_name}/{card.device_index} {card.device_id}: {card.health}{codes}{evidence}"
        )
