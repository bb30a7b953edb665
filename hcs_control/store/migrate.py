"""Brings a database to the schema of this release (`migrations/`, alembic)."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from hcs_control.store.postgres import wrap_exceptions

MIGRATIONS_PATH = Path(__file__).resolve().parents[2] / "migrations"


def migrate(database_url: str) -> None:
    """Apply every migration that is not applied yet; safe to run from several places at once.

    Raises:
        StoreUnavailableError: no such database, or no right to change it.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_PATH))
    config.attributes["database_url"] = database_url
    with wrap_exceptions():
        command.upgrade(config, "head")
