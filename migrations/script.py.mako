"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add; a later migration removes, when no release that needs the old form is left."""
    ${upgrades if upgrades else "op.execute('')"}
