"""`hcs watch|inventory|parked|psql|dsn`: what people and scripts read. Nothing is changed here."""

import asyncio
import datetime
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hcs_bus import jetstream
from hcs_bus.envelope import Envelope, decode_envelope
from hcs_bus.errors import BusError, PoisonEventError
from hcs_bus.names import StreamSeq
from hcs_bus.port import Record
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.store.port import StoreError
from hcs_control.store.readmodel import InventoryRow, PastInventoryRow
from hcs_control.store.readmodel import inventory as read_inventory
from hcs_control.store.readmodel import inventory_at as read_inventory_at
from hcs_control.store.readmodel import parked as read_parked
from hcs_edge.cli.options import LOCAL_DATABASE_URL, LOCAL_NATS_URL
from hcs_edge.cli.runtime import EXIT_FAILED, configure_logging
from hcs_edge.local import connection, postgres
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.home import Home

T = TypeVar("T")

OUTPUT = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
KINDS_SHOWN = ("fault", "allocation", "isolate", "release")  # the others are many and dull
KINDS = ("fingerprint", "heartbeat", "quota", "tick", *KINDS_SHOWN)
DECISION_KINDS = ("isolate", "release")
TIME_FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]
FETCH_RECORDS_MAX = 100
FETCH_TIMEOUT_S = 1.0


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        sys.exit(0)
    except (LocalClusterError, BusError, StoreError) as error:
        click.echo(f"hcs: {error}", err=True)
        sys.exit(EXIT_FAILED)


def _connection() -> connection.Connection:
    try:
        return connection.load(Home.from_environment())
    except LocalClusterError as error:
        click.echo(f"hcs: {error}", err=True)
        sys.exit(EXIT_FAILED)


@click.command()
def dsn() -> None:
    """Print the read-only address of the projection's database.

    Example: psql "$(hcs dsn)" -c 'SELECT * FROM free_capacity'
    """
    click.echo(_connection().database_url)


@click.command()
@LOCAL_DATABASE_URL
@click.option(
    "--at", type=click.DateTime(TIME_FORMATS), help="As it was at this time, UTC. [default: now]"
)
@OUTPUT
def inventory(database_url: str | None, at: datetime.datetime | None, output: str) -> None:
    """Show every card: what it is, what is free of it, and its health.

    Example: hcs inventory --output json | jq '.[] | {device_id, health}'

    Example: hcs inventory --at 2026-11-22T18:00:00
    """
    url = database_url or _connection().database_url
    table: Table
    rows: Sequence[InventoryRow | PastInventoryRow]
    if at is None:
        rows = present = _run(read_inventory(url))
        table = _inventory_table(present)
    else:
        rows = past = _run(read_inventory_at(url, at.replace(tzinfo=datetime.UTC)))
        table = _past_table(past)
    if output == "json":
        click.echo(msgspec.json.encode(rows))
    else:
        Console().print(table)


def _past_table(rows: list[PastInventoryRow]) -> Table:
    table = Table("NODE", "#", "VENDOR", "MODEL", "VRAM GIVEN OUT", "HEALTH")
    for row in rows:
        vram = f"{row.vram_allocated_bytes / 1024**3:.0f}/{row.vram_bytes / 1024**3:.0f} GiB"
        cells = (row.node_name, str(row.device_index), row.vendor, row.model)
        table.add_row(*cells, vram, row.health)
    return table


def _inventory_table(rows: list[InventoryRow]) -> Table:
    table = Table("NODE", "#", "VENDOR", "MODEL", "VRAM FREE", "TFLOPS FREE", "PODS", "HEALTH")
    for row in rows:
        vram = f"{row.vram_free_bytes / 1024**3:.0f}/{row.vram_bytes / 1024**3:.0f} GiB"
        tflops = f"{row.fp16_free_tflops:.0f}/{row.fp16_tflops:.0f}"
        health = f"{row.health} ({row.isolation_code})" if row.isolation_code else row.health
        cells = (row.node_name, str(row.device_index), row.vendor, row.model, vram, tflops)
        table.add_row(*cells, str(row.pods), health)
    return table


@click.command()
@LOCAL_DATABASE_URL
@OUTPUT
def parked(database_url: str | None, output: str) -> None:
    """Show messages that could not be folded, with the reason of each.

    They hold nothing up; the sender's log tells how they came about. In JSON, `payload` is base64.

    Example: hcs parked --output json | jq -r '.[] | .payload' | base64 -d
    """
    rows = _run(read_parked(database_url or _connection().database_url))
    if output == "json":
        click.echo(msgspec.json.encode(rows))
        return
    table = Table("POSITION", "SUBJECT", "REASON", "BYTES")
    for row in rows:
        table.add_row(str(row.stream_seq), row.subject, row.reason, str(len(row.payload)))
    Console().print(table)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open a read-only SQL prompt on the local cluster's projection; arguments are psql's.

    Example: hcs psql -c 'SELECT * FROM free_capacity'
    """
    program = str(postgres.programs() / "psql")
    os.execv(program, [program, _connection().database_url, *arguments])


@click.command()
@LOCAL_NATS_URL
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    default=KINDS_SHOWN,
    show_default=True,
    help="May be given more than once.",
)
@click.option("--node", default="*", help="Only this node.")
@click.option(
    "--all", "from_start", is_flag=True, help="Begin with the oldest event, not with now."
)
@OUTPUT
def watch(
    nats_url: str | None,
    kinds: tuple[str, ...],
    node: str,
    from_start: bool,
    output: str,
) -> None:
    """Show events as they happen; with `--output json`, one CloudEvent a line.

    Example: hcs watch --kind fault --kind isolate --output json
    """
    configure_logging("watch")
    url = nats_url or _connection().nats_url
    _run(
        _watch(url, kinds, node.replace(".", "_"), from_start=from_start, as_json=output == "json")
    )


async def _watch(
    url: str, kinds: tuple[str, ...], node_token: str, *, from_start: bool, as_json: bool
) -> None:
    bus = await jetstream.connect(url, name="watch")
    facts = [kind for kind in kinds if kind not in DECISION_KINDS]
    decisions = [kind for kind in kinds if kind in DECISION_KINDS]
    subjects = {
        FACTS_STREAM: [f"hcs.fact.{kind}.{node_token}" for kind in facts if kind != "fault"]
        + [f"hcs.fact.fault.{node_token}.*" for kind in facts if kind == "fault"],
        DECISIONS_STREAM: [f"hcs.decision.{kind}.{node_token}" for kind in decisions],
    }
    async with asyncio.TaskGroup() as tasks:
        for stream, wanted in subjects.items():
            if wanted:
                tasks.create_task(
                    _follow(bus, stream, wanted, from_start=from_start, as_json=as_json)
                )


async def _follow(
    bus: jetstream.JetStreamBus,
    stream: str,
    subjects: list[str],
    *,
    from_start: bool,
    as_json: bool,
) -> None:
    after = StreamSeq(0) if from_start else (await bus.stream_state(stream)).last_seq
    follower = await bus.follow(stream, after=after, subjects=subjects)
    while True:
        for record in await follower.fetch(limit=FETCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S):
            # Flushed line by line: another program may be reading.
            click.echo(record.payload if as_json else _line(record))
            sys.stdout.flush()


def _line(record: Record) -> str:
    try:
        envelope = decode_envelope(record.payload)
    except PoisonEventError as error:
        return f"{record.seq:>8}  {record.subject}  unreadable: {error}"
    kind = envelope.type.removeprefix("io.hcs.").removesuffix(".v1")
    return f"{envelope.time[:23]}Z  {envelope.hcsnode:<12} {kind:<18} {_summary(envelope)}"


def _summary(envelope: Envelope) -> str:
    data = msgspec.json.decode(envelope.data)
    names = ("device_id", "pod_name", "state", "code", "name", "severity", "rule", "evidence")
    return "  ".join(str(data[name]) for name in (*names, "reason") if data.get(name))
