"""The cluster's passwords: random, made once per `HCS_HOME`, kept because PostgreSQL keeps them."""

import secrets
from collections.abc import Sequence

import msgspec

from hcs_edge.local.files import write_private
from hcs_edge.local.home import Home

PASSWORD_BYTES = 24


def ensure(home: Home, users: Sequence[str]) -> dict[str, str]:
    """Return a password for each user; the ones made earlier stay."""
    path = home.passwords
    known: dict[str, str] = {}
    if path.exists():
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    missing = [user for user in users if user not in known]
    if missing:
        # Letters, digits, "-" and "_" only: they stand in URLs and configuration files as they are.
        known |= {user: secrets.token_urlsafe(PASSWORD_BYTES) for user in missing}
        write_private(path, msgspec.json.encode(known))
    return known
