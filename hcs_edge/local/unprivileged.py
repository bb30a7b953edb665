"""Whom the bus and the database run as when root starts the cluster: `nobody`, never root.

Both take bytes from the network and write to directories of their own, and PostgreSQL refuses to
run as root at all. So when we are root, `setpriv` makes them `nobody`, and their directories belong
to that account. Where a directory above them or above the programs lets nobody in (root's own cache
does not), they get one capability, CAP_DAC_READ_SEARCH, which lets them pass and read but not
write, and the secure bit that makes access(2), which PostgreSQL asks before it starts its own
programs, tell the truth about it. The other ways are worse: opening root's directories to
everybody, or adding a system account.

The other processes run as whoever started the cluster: the agents read devices, and the rest read
keys and kubeconfigs that only their owner may read, and answer only to who holds such a key.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hcs_edge.local.errors import LocalClusterError

ACCOUNT_NAME = "nobody"


@dataclass(frozen=True)
class Account:
    """Whom a server runs as."""

    user_id: int
    group_id: int


def account() -> Account | None:
    """Return the account of the servers; `None`, when we are not root, means our own."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(ACCOUNT_NAME)
    return Account(entry.pw_uid, entry.pw_gid)


def wrapper(owner: Account | None, directories: Sequence[Path]) -> list[str]:
    """Return the words before a command that make it run as the account.

    Raises:
        LocalClusterError: it could not enter one of the directories, or there is no `setpriv`.
    """
    if owner is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalClusterError(
            "NATS and PostgreSQL do not run as root here, and there is no `setpriv` (util-linux) "
            "to change that"
        )
    plain = [
        setpriv,
        f"--reuid={owner.user_id}",
        f"--regid={owner.group_id}",
        "--clear-groups",
    ]
    capable = [*plain, "--securebits=+no_setuid_fixup"]
    capable += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    for words in (plain, capable):
        if all(_may_pass(words, directory) for directory in directories):
            return [*words, "--"]
    listed = ", ".join(str(directory) for directory in directories)
    raise LocalClusterError(
        f"a server started by root runs as {ACCOUNT_NAME!r}, and that account may not enter one "
        f"of {listed}: choose an HCS_HOME (and a place for the checkout) that others may pass, "
        "such as below /var/lib"
    )


def give(directory: Path, owner: Account | None) -> None:
    """Make a directory of root's the account's, with all that an earlier version left in it.

    The directory itself comes last: until then it is root's, so nobody else can put a link in the
    way of this walk, and a walk that is interrupted is done again.
    """
    if owner is None or directory.stat().st_uid != os.geteuid():
        return
    for parent, names, files in os.walk(directory, topdown=False):
        for name in (*files, *names):
            _own(Path(parent) / name, owner)
    _own(directory, owner)


def _own(path: Path, owner: Account) -> None:
    os.chown(path, owner.user_id, owner.group_id, follow_symlinks=False)


def _may_pass(words: Sequence[str], directory: Path) -> bool:
    command = [*words, "--", "test", "-x", str(directory / ".")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
