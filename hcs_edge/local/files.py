"""Files that only their owner may read, and that are whole or absent."""

import os
from pathlib import Path

import hcs_edge
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.unprivileged import Account

PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


def write_private(path: Path, content: bytes, *, owner: Account | None = None) -> None:
    """Write a file that never exists half written or readable by others; `None` is ourselves."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # left by a writer that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if owner is not None:
            os.fchown(descriptor, owner.user_id, owner.group_id)
    temporary.replace(path)


def checkout() -> Path:
    """Return the checkout this package runs from.

    Raises:
        LocalClusterError: the package was installed without its checkout.
    """
    root = Path(hcs_edge.__file__).resolve().parents[1]
    if not (root / "deploy" / "local" / "go").is_dir():
        raise LocalClusterError(
            f"a local cluster needs the checkout (deploy/local, c); there is none at {root}: "
            "clone the repository and run `make up` there"
        )
    return root
