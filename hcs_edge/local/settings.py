"""What every part of a local cluster is started with."""

import string
from dataclasses import dataclass
from pathlib import Path

from hcs_edge.local import ports
from hcs_edge.local.files import checkout
from hcs_edge.local.home import Home
from hcs_edge.local.pki import Pki


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One cluster: where it lives, what it listens on, whom it trusts."""

    home: Home
    ports: dict[str, int]
    passwords: dict[str, str]
    pki: Pki
    nodes: tuple[str, ...]

    def address(self, program: str) -> str:
        """Return `127.0.0.1:<port>` of a program."""
        return f"{ports.LOOPBACK}:{self.ports[program]}"


def template(name: str, **values: object) -> str:
    """Return a file below `deploy/local` with its `$placeholders` filled in."""
    text = (checkout() / "deploy" / "local" / name).read_text()
    return string.Template(text).substitute(values)


def read(name: str) -> Path:
    """Return the path of a file below `deploy/local`."""
    return checkout() / "deploy" / "local" / name
