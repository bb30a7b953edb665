"""Tables, quantities and progress for people, the same in every command."""

import os

from rich.console import Console
from rich.progress import Progress
from rich.status import Status
from rich.table import Table

BYTES_PER_GIB = 1024**3
PIPED_COLUMNS = 400  # a file has no edge: a table takes what it needs, and no cell is broken


def console() -> Console:
    """Return where tables go: as wide as the terminal, or as the table where there is none."""
    found = Console()
    if found.is_terminal or os.environ.get("COLUMNS"):
        return found
    return Console(width=PIPED_COLUMNS)


def show(table: Table) -> None:
    """Print a table."""
    console().print(table)


def gib(size_bytes: int) -> str:
    """Return a size in GiB with no more digits than it needs."""
    return f"{size_bytes / BYTES_PER_GIB:.1f}".removesuffix(".0")


def progress_bar() -> Progress:
    """Return bars on a terminal's stderr, gone when they are done; elsewhere nothing is shown."""
    err = Console(stderr=True)
    return Progress(console=err, transient=True, disable=not err.is_terminal)


def waiting(what: str) -> Status:
    """Return what shows on a terminal's stderr that a command waits; elsewhere it shows nothing."""
    return Console(stderr=True).status(what)
