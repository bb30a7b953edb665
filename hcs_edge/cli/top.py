"""`hcs top`: what each container uses of its cards."""

import asyncio
import sys

import click
import msgspec
from rich.live import Live
from rich.table import Table

from hcs_control.store.readmodel import UsageRow, usage
from hcs_edge.cli.options import LOCAL_DATABASE_URL, OUTPUT, reader_database
from hcs_edge.cli.runtime import run_command, run_live
from hcs_edge.cli.tables import console, gib, show


@click.command()
@LOCAL_DATABASE_URL
@click.option(
    "--watch", is_flag=True, help="Go on: in place on a terminal, one after another else."
)
@click.option(
    "--interval-s",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks with --watch.",
)
@OUTPUT
def top(*, database_url: str | None, watch: bool, interval_s: float, output: str) -> None:
    """Show what each container uses of its cards, beside its quota. In JSON, one list a line.

    Example: hcs top --watch
    """
    url = reader_database(database_url)
    if watch:
        run_live("top", _watch(url, interval_s, as_json=output == "json"))
    else:
        _print(run_command("top", usage(url)), as_json=output == "json")


async def _watch(url: str, interval_s: float, *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        while True:
            _print(await usage(url), as_json=as_json)
            sys.stdout.flush()
            await asyncio.sleep(interval_s)
    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_table(await usage(url)), refresh=True)
            await asyncio.sleep(interval_s)


def _print(rows: list[UsageRow], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(rows))
    else:
        show(_table(rows))


def _table(rows: list[UsageRow]) -> Table:
    table = Table("NODE", "#", "MODEL", "NAMESPACE", "POD", "CONTAINER")
    for heading in ("USED GiB", "QUOTA", "PEAK", "REFUSED", "LAUNCHES"):
        table.add_column(heading, justify="right")
    for row in rows:
        index = "-" if row.device_index is None else str(row.device_index)
        # Without a grant the Pod's name is not known any more, and its UID tells which it was.
        container = row.container if row.enforced else f"{row.container} [red]not enforced[/]"
        owner = (row.namespace or "-", row.pod_name or row.pod_uid, container.lstrip())
        sizes = (gib(row.used_bytes), gib(row.quota_bytes), gib(row.peak_bytes))
        refused = f"[red]{row.refusals}[/]" if row.refusals else "0"
        table.add_row(
            row.node_name, index, row.model or "-", *owner, *sizes, refused, str(row.launches)
        )
    return table
