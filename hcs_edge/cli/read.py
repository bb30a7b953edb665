"""`hcs inventory|parked|psql|dsn`: what people and scripts read. Nothing is changed here."""

import datetime
import os
from collections.abc import Sequence

import click
import msgspec
from rich.table import Table

from hcs_bus.names import NANOSECONDS_PER_SECOND
from hcs_control.store.readmodel import InventoryRow, PastInventoryRow
from hcs_control.store.readmodel import inventory as read_inventory
from hcs_control.store.readmodel import inventory_at as read_inventory_at
from hcs_control.store.readmodel import parked as read_parked
from hcs_edge.cli.options import (
    LOCAL_DATABASE_URL,
    OUTPUT,
    MomentType,
    local_connection,
    reader_database,
    without_password,
)
from hcs_edge.cli.runtime import errors_end_the_command, run_command
from hcs_edge.cli.tables import gib, show
from hcs_edge.local import postgres


@click.command()
@OUTPUT
def dsn(output: str) -> None:
    """Print the read-only address of the projection's database.

    Example: psql "$(hcs dsn)" -c 'SELECT * FROM free_capacity'
    """
    url = local_connection().database_url
    click.echo(msgspec.json.encode({"database_url": url}) if output == "json" else url)


@click.command()
@LOCAL_DATABASE_URL
@click.option(
    "--at", type=MomentType(), help="As it was at this time, or so long ago. [default: now]"
)
@OUTPUT
def inventory(*, database_url: str | None, at: int | None, output: str) -> None:
    """Show every card: what it is, what is free of it, how it is, and its health.

    Example: hcs inventory --output json | jq '.[] | {device_id, health}'

    Example: hcs inventory --at 2026-11-22T18:00:00
    """
    url = reader_database(database_url)
    table: Table
    rows: Sequence[InventoryRow | PastInventoryRow]
    if at is None:
        rows = present = run_command("inventory", read_inventory(url))
        table = _inventory_table(present)
    else:
        moment = datetime.datetime.fromtimestamp(at / NANOSECONDS_PER_SECOND, tz=datetime.UTC)
        rows = past = run_command("inventory", read_inventory_at(url, moment))
        table = _past_table(past)
    if output == "json":
        click.echo(msgspec.json.encode(rows))
    else:
        show(table)


def _past_table(rows: list[PastInventoryRow]) -> Table:
    table = Table("NODE", "#", "VENDOR", "MODEL", "VRAM GIVEN OUT", "HEALTH")
    for row in rows:
        vram = f"{gib(row.vram_allocated_bytes)}/{gib(row.vram_bytes)} GiB"
        cells = (row.node_name, str(row.device_index), row.vendor, row.model)
        table.add_row(*cells, vram, row.health)
    return table


def _inventory_table(rows: list[InventoryRow]) -> Table:
    table = Table("NODE", "#", "VENDOR", "MODEL", "GiB FREE", "TFLOPS FREE")
    for heading in ("BUSY", "°C", "PODS"):
        table.add_column(heading, justify="right")
    table.add_column("HEALTH")
    for row in rows:
        vram = f"{gib(row.vram_free_bytes)}/{gib(row.vram_bytes)}"
        tflops = f"{row.fp16_free_tflops:.0f}/{row.fp16_tflops:.0f}"
        health = f"{row.health} ({row.isolation_code})" if row.isolation_code else row.health
        cells = (row.node_name, str(row.device_index), row.vendor, row.model, vram, tflops)
        busy, celsius = _number(row.utilization_percent, " %"), _number(row.temperature_celsius)
        table.add_row(*cells, busy, celsius, str(row.pods), health)
    return table


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.0f}{unit}"


@click.command()
@LOCAL_DATABASE_URL
@OUTPUT
def parked(*, database_url: str | None, output: str) -> None:
    """Show messages that could not be folded, with the reason of each.

    They hold nothing up; the sender's log tells how they came about. In JSON, `payload` is base64.

    Example: hcs parked --output json | jq -r '.[] | .payload' | base64 -d
    """
    rows = run_command("parked", read_parked(reader_database(database_url)))
    if output == "json":
        click.echo(msgspec.json.encode(rows))
        return
    table = Table("POSITION", "SUBJECT", "REASON", "BYTES")
    for row in rows:
        table.add_row(str(row.stream_seq), row.subject, row.reason, str(len(row.payload)))
    show(table)


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Exit codes: 1 no cluster is up, else psql's own; more in `hcs --help`.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open a read-only SQL prompt on the local cluster's projection; arguments are psql's.

    Example: hcs psql -c 'SELECT * FROM free_capacity'
    """
    url, password = without_password(local_connection().database_url)
    with errors_end_the_command():
        program = str(postgres.programs() / "psql")
    # Arguments are for everybody on the machine to see, the environment is not.
    environment = os.environ if password is None else os.environ | {"PGPASSWORD": password}
    os.execve(program, [program, url, *arguments], environment)
