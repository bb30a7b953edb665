"""`hcs snapshot`: the projection in a file, and back."""

from pathlib import Path

import click
import msgspec

from hcs_control.snapshot import Header, header_of, load
from hcs_control.snapshot import save as save_contents
from hcs_control.store import postgres
from hcs_control.store.port import Contents
from hcs_edge.cli.options import (
    DATABASE_URL,
    EXISTING_FILE,
    LOCAL_DATABASE_URL,
    OUTPUT,
    reader_database,
)
from hcs_edge.cli.runtime import errors_end_the_command, run_command
from hcs_edge.cli.tables import progress_bar, waiting


@click.group()
def snapshot() -> None:
    """Keep the projection in a file, and go on from it when the tables are lost.

    The log keeps its newest facts only: lost tables cannot be folded from its start. A snapshot
    whose next fact the log still has, restored into an empty database, lets the projector go on.

    Example: hcs snapshot save hcs.snapshot && hcs replay --verify --snapshot hcs.snapshot
    """


@snapshot.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@LOCAL_DATABASE_URL
@OUTPUT
def save(*, file: Path, database_url: str | None, output: str) -> None:
    """Write the whole projection, as of one position, to a file; what is there is replaced.

    Reads only, beside a working projector.

    Example: hcs snapshot save /var/backups/hcs.snapshot
    """
    contents = run_command("snapshot", _contents(reader_database(database_url)))
    with errors_end_the_command(), progress_bar() as bar:
        task = bar.add_task("writing", total=header_of(contents).items)
        header = save_contents(
            file, contents, progress=lambda done: bar.update(task, completed=done)
        )
    _print(header, output, f"saved to {file}")


@snapshot.command()
@click.argument("file", type=EXISTING_FILE)
@DATABASE_URL
@OUTPUT
def restore(*, file: Path, database_url: str, output: str) -> None:
    """Fill an empty database, as `hcs migrate` makes one, from a file: all of it or nothing.

    A projector started on it afterwards goes on behind the file's position.

    Example: HCS_DATABASE_URL=postgresql://hcs@db/hcs hcs snapshot restore hcs.snapshot
    """
    with errors_end_the_command():
        contents = read_file(file)
    run_command("snapshot", _restore(database_url, contents))
    _print(header_of(contents), output, f"restored from {file}")


def read_file(file: Path) -> Contents:
    """Read a snapshot, showing how far it is.

    Raises:
        SnapshotError: it is none, or not a whole one.
    """
    with progress_bar() as bar:
        task = bar.add_task(f"reading {file.name}", total=None)
        return load(file, progress=lambda done: bar.update(task, completed=done))


async def _contents(database_url: str) -> Contents:
    store = postgres.connect(database_url)
    try:
        with waiting("reading the tables"):
            return await store.contents()
    finally:
        await store.close()


async def _restore(database_url: str, contents: Contents) -> None:
    store = postgres.connect(database_url)
    try:
        with progress_bar() as bar:
            task = bar.add_task("restoring", total=header_of(contents).items)
            await store.restore(contents, progress=lambda done: bar.update(task, completed=done))
    finally:
        await store.close()


def _print(header: Header, output: str, done: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(header))
        return
    rows = sum(header.rows.values())
    click.echo(
        f"{rows} rows, {header.decisions} decisions and {header.parked} parked events as of "
        f"{header.position}: {done}"
    )
