"""Who is at the other end of a local socket: the kernel's word, not the peer's.

The kernel notes the peer's pid when it connects, translated into our pid namespace. A process in a
container knows itself by another number, the last of `NSpid` in its status. A message that claims
neither is forged.
"""

import socket
import struct
from pathlib import Path

CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid
PROC = Path("/proc")


def peer_pid(connection: socket.socket) -> int:
    """Return the pid of the process that connected, as we see it; 0 if it is out of our sight."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid: int = CREDENTIALS.unpack(raw)[0]
    return pid


def claims_own_pid(*, kernel_pid: int, claimed_pid: int, proc: Path = PROC) -> bool | None:
    """Tell whether a process calls itself by its own pid; `None` when it cannot be known any more.

    That is so when the process has ended since, or lives outside of our pid namespace.
    """
    if claimed_pid == kernel_pid:
        return True
    try:
        status = (proc / str(kernel_pid) / "status").read_text()
    except OSError:
        return None
    names = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")]
    return bool(names) and names[0][-1] == str(claimed_pid)
