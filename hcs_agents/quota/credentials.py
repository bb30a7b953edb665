"""Who is at the other end of a local socket: the kernel's word, not the peer's.

The kernel notes the peer's pid when it connects, translated into our pid namespace. A process in a
container knows itself by another number, the last of `NSpid` in its status. A message that claims
neither is forged.

Which Pod a process belongs to stands in the path of its control group, which the kubelet chose and
an unprivileged container cannot change:
https://kubernetes.io/docs/concepts/architecture/cgroups/
"""

import re
import socket
import struct
from pathlib import Path

from hcs_bus.names import PodUid

CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid
PROC = Path("/proc")

# By the cgroupfs driver "/kubepods/burstable/pod6f0f4f5e-35a7-.../...", by systemd's
# "/...-pod6f0f4f5e_35a7_....slice/..."; a static Pod has a hash of 32 digits. The outermost counts:
# what is within a Pod's own group, a privileged container may have named.
POD_IN_CGROUP = re.compile(
    r"[/-]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)",
    re.MULTILINE,
)


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


def pod_of(pid: int, *, proc: Path = PROC) -> PodUid | None:
    """Return the Pod that a process belongs to; `None` outside of Pods, or when it has ended."""
    try:
        found = POD_IN_CGROUP.search((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None
    return PodUid(found[1].replace("_", "-")) if found else None
