"""`hcs up|down|status|env`: a whole cluster on this machine, with simulated cards."""

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_edge.cli.options import OUTPUT
from hcs_edge.cli.runtime import EXIT_FAILED, EXIT_TERMINATED, errors_end_the_command, failure
from hcs_edge.cli.tables import show
from hcs_edge.local import cluster, connection, postgres
from hcs_edge.local.cluster import Cluster
from hcs_edge.local.home import Home
from hcs_edge.local.launcher import Progress
from hcs_edge.local.ports import DEFAULT_PORT_BASE, PORT_BASE_MAX, PORT_BASE_MIN
from hcs_edge.local.process import ProcessRecord
from hcs_edge.local.programs import program
from hcs_edge.local.services import SimulatedNode


class ProgressLines(Progress, Protocol):
    """Progress with a last line."""

    def close(self) -> None:
        """Nothing more will come."""


class PlainLines:
    """One line per finished step, for logs and pipes."""

    def __init__(self, *, err: bool) -> None:
        self._err = err

    def started(self, what: str) -> None:
        """Say nothing yet."""

    def finished(self, what: str, duration_s: float) -> None:
        """Say what is done."""
        click.echo(f"{what}: {duration_s:.1f} s", err=self._err)

    def close(self) -> None:
        """Nothing is open."""


class TerminalLines:
    """The same lines in colour, below them what is being waited for."""

    def __init__(self, *, err: bool) -> None:
        self._console = Console(stderr=err)
        self._status = self._console.status("")

    def started(self, what: str) -> None:
        """Show what is being waited for."""
        self._status.update(f"{what} ...")
        self._status.start()

    def finished(self, what: str, duration_s: float) -> None:
        """Say what is done."""
        self._console.print(f"[green]✓[/] {what} [dim]{duration_s:.1f} s[/]", highlight=False)

    def close(self) -> None:
        """Take the waiting line away."""
        self._status.stop()


@click.command()
@click.option(
    "--port-base",
    type=click.IntRange(PORT_BASE_MIN, PORT_BASE_MAX),
    default=DEFAULT_PORT_BASE,
    show_default=True,
    help="First of the block of ports to listen on, all on 127.0.0.1.",
)
@OUTPUT
def up(*, port_base: int, output: str) -> None:
    """Start a cluster on this machine: NATS, PostgreSQL, Kubernetes, HCS, simulated nodes.

    It lives in $HCS_HOME and keeps its data over `hcs down`.

    Example: hcs up && eval "$(hcs env)" && kubectl get nodes
    """
    # A terminated start cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(EXIT_TERMINATED))
    home = Home.from_environment()
    began_s = time.monotonic()
    with _progress(output) as progress, _interruption_ends_the_command():
        made = cluster.up(
            Cluster(home=home, fleet=simulated_fleet(), port_base=port_base), progress
        )
    if output == "json":  # no address: those hold passwords, and `hcs env` leads to them
        shown = {"home": str(home.root), "ports": made.ports, "nodes": made.nodes}
        click.echo(msgspec.json.encode(shown))
    else:
        click.echo(f"The cluster is up in {home.root} ({time.monotonic() - began_s:.1f} s).")


@click.command()
@click.option("--purge", is_flag=True, help="Also remove the cluster's data from $HCS_HOME.")
@OUTPUT
def down(*, purge: bool, output: str) -> None:
    """Stop the cluster in $HCS_HOME. Its data stays, unless --purge is given.

    Stopping what does not run is no error.

    Example: hcs down --purge
    """
    home = Home.from_environment()
    with _progress(output) as progress, _interruption_ends_the_command():
        stopped = cluster.down(home, progress, purge=purge)
    if output == "json":
        click.echo(msgspec.json.encode({"home": str(home.root), "stopped": stopped}))
    else:
        click.echo(f"Stopped {stopped} processes." if stopped else f"Nothing runs in {home.root}.")


@click.command()
@OUTPUT
def status(output: str) -> None:
    """Show the cluster's processes. Exit code 1 when one of them does not run.

    Example: hcs status --output json | jq '.processes[] | {name, state, log}'
    """
    home = Home.from_environment()
    records = cluster.status(home)
    is_up = home.connection.exists() and all(record.is_running for record in records)
    rows = [_row(record) for record in records]
    if output == "json":
        click.echo(msgspec.json.encode({"home": str(home.root), "up": is_up, "processes": rows}))
    elif rows:
        show(_table(rows))
    else:
        click.echo(f"No cluster runs in {home.root}: `hcs up` starts one.")
    sys.exit(0 if is_up else EXIT_FAILED)


@click.command()
@OUTPUT
def env(output: str) -> None:
    """Print shell commands that make `kubectl` and `hcs` talk to this cluster.

    In JSON, PATH is what is to be put before the one there is.

    Example: eval "$(hcs env)"
    """
    home = Home.from_environment()
    with errors_end_the_command():
        known = connection.load(home)
        # Beside `hcs`, also `kubectl` and `psql`: nobody should have to install them to look.
        tools = (Path(sys.executable).parent, program("kubectl").parent, postgres.programs())
        directories = ":".join(str(directory) for directory in tools)
    variables = {"HCS_HOME": str(home.root), "KUBECONFIG": known.kubeconfig, "PATH": directories}
    if output == "json":
        click.echo(msgspec.json.encode(variables))
        return
    for name, value in variables.items():
        behind = ':"$PATH"' if name == "PATH" else ""
        click.echo(f"export {name}={shlex.quote(value)}{behind}")


def simulated_fleet() -> list[SimulatedNode]:
    """Return the nodes that `hcs up` simulates."""
    return [
        SimulatedNode(scenario.node, partial(_write_scenario, scenario), tree_of)
        for scenario in default_fleet()
    ]


def _write_scenario(scenario: Scenario, path: Path) -> None:
    ScenarioFile(path).write(scenario)


def _row(record: ProcessRecord) -> dict[str, Any]:
    return {
        "name": record.spec.name,
        "pid": record.identity.pid if record.identity else None,
        "state": "running" if record.is_running else "ended",
        "port": record.spec.port,
        "log": record.spec.log,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("NAME", "PID", "STATE", "PORT")
    for row in rows:
        cells = (str(row[key] or "-") for key in ("name", "pid", "state", "port"))
        table.add_row(*cells, style=None if row["state"] == "running" else "red")
    return table


@contextmanager
def _progress(output: str) -> Iterator[ProgressLines]:
    # For people it goes where the outcome goes; a program reads that alone.
    err = output == "json"
    stream = sys.stderr if err else sys.stdout
    lines: ProgressLines = TerminalLines(err=err) if stream.isatty() else PlainLines(err=err)
    try:
        yield lines
    finally:
        lines.close()


@contextmanager
def _interruption_ends_the_command() -> Iterator[None]:
    try:
        with errors_end_the_command():
            yield
    except KeyboardInterrupt:
        raise failure("interrupted; what had been started is stopped again") from None
