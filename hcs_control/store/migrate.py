"""Brings a database to the schema of this release (`migrations/`, alembic)."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from hcs_control.store.port import SchemaUnknownError
from hcs_control.store.postgres import wrap_exceptions

MIGRATIONS_PATH = Path(__file__).resolve().parents[2] / "migrations"


def migrate(database_url: str) -> str:
    """Apply every migration that is not applied yet, and return the revision that is reached.

    It is safe to run from several places at once.

    Raises:
        SchemaUnknownError: the database is of a revision that this release does not have.
        StoreUnavailableError: no such database, or no right to change it.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_PATH))
    config.attributes["database_url"] = database_url
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None  # this release has migrations
    try:
        with wrap_exceptions():
            command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaUnknownError(
            f"the database is of another release ({error}): run `hcs migrate` of that or a newer "
            "release, or give an empty database, which the projector fills from the log"
        ) from error
    return head
