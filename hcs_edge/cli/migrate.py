"""`hcs migrate`: the database's schema."""

import click
import msgspec

from hcs_control.store.migrate import migrate as migrate_database
from hcs_edge.cli.options import DATABASE_URL, OUTPUT
from hcs_edge.cli.runtime import errors_end_the_command
from hcs_edge.cli.tables import waiting


@click.command()
@DATABASE_URL
@OUTPUT
def migrate(*, database_url: str, output: str) -> None:
    """Bring the database to this release's schema.

    Example: HCS_DATABASE_URL=postgresql://hcs@db/hcs hcs migrate
    """
    with errors_end_the_command(), waiting("migrating"):
        revision = migrate_database(database_url)
    done = {"revision": revision}
    click.echo(msgspec.json.encode(done) if output == "json" else f"The schema is {revision}.")
