"""A program keeps what is its own: umask, signals, directory, environment; at work and in children.

The kernel is asked, from outside: what a program would call to look might change it. Only the
environment is a program's alone until it executes another; so the last that each does is that.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.interceptor import CARDS, MIB, POD_UID, RUNTIMES, VENDORS, Program, Rig
from tests.support.launch_kinds import KINDS

UMASK = 0o027  # nobody's default
SIGNALS = ("SigBlk", "SigIgn", "SigCgt")
C_LIBRARYS_SIGNALS = 0b11 << 31  # 32 and 33: it catches them itself, from the first thread on
ALL_SIGNALS = (1 << 64) - 1
NEVER_BLOCKED = 1 << signal.SIGKILL - 1 | 1 << signal.SIGSTOP - 1
PATIENCE_S = 20.0


class Agent:
    """Listens where an agent would, and counts who says hello."""

    def __init__(self, path: Path) -> None:
        self._said = threading.Semaphore(0)
        self._connections: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._connections.append(connection)
                self._said.release()

    def wait_for_a_process(self) -> None:
        """Wait until one more reports."""
        assert self._said.acquire(timeout=PATIENCE_S)

    def close(self) -> None:
        """Hang up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in (self._socket, *self._connections):
            one.close()


@contextmanager
def listening(rig: Rig, runtime: str) -> Iterator[Agent]:
    """Give an agent, and the rig's programs all that the interceptor has something to do for."""
    agent = Agent(rig.directory / "quota.sock")
    rig.settings = {
        "HCS_VRAM_QUOTA": str(64 * MIB),
        "HCS_COMPUTE_SHARE": "50",
        "HCS_DEVICES": CARDS[VENDORS[runtime]][1][0],
        "HCS_POD_UID": POD_UID,
        "HCS_CONTAINER": "trainer",
        "HCS_AGENT_SOCKET": str(rig.directory / "quota.sock"),
    }
    try:
        yield agent
    finally:
        agent.close()


def kept(pid: int) -> dict[str, int | Path]:
    """Return what the kernel says of a process and its first thread."""
    text = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in text.splitlines())
    signals = {name: int(lines[name], 16) & ~C_LIBRARYS_SIGNALS for name in SIGNALS}
    cwd = Path(f"/proc/{pid}/cwd").readlink()
    return {"umask": int(lines["Umask"], 8), "cwd": cwd, **signals}


def reporters_mask(pid: int) -> int:
    """Return the signals that the thread of ours blocks: they are all meant for others."""
    (thread,) = (
        of
        for of in Path(f"/proc/{pid}/task").iterdir()
        if (of / "comm").read_text() == "hcs-report\n"
    )
    (line,) = (of for of in (thread / "status").read_text().splitlines() if "SigBlk" in of)
    return int(line.split()[1], 16)


def environment(pid: int) -> bytes:
    """Return the environment that a process was executed with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def child_of(pid: int) -> int:
    """Return a process's only child."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def allocate(program: Program) -> None:
    """Let it allocate, be refused and free."""
    program.begin()
    assert program.ask(f"alloc {MIB}") == [0, 0]
    assert program.ask(f"alloc {65 * MIB}")[0] != 0
    assert program.ask("free 0") == [0]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Give all programs an umask that an interceptor would not happen to set."""
    before = os.umask(UMASK)
    yield
    os.umask(before)


@pytest.mark.parametrize("who", ["program", "forked_child"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_who_allocates_keeps_what_is_its_own(rig: Rig, runtime: str, who: str) -> None:
    with listening(rig, runtime) as agent, rig.run(f"{runtime}_linked") as program:
        pid = parent = program.process.pid
        assert program.ask("stop") == [0]  # it runs
        before, given = kept(parent), environment(parent)
        if who == "forked_child":
            assert program.ask("fork") == [0]
            pid = child_of(parent)
        allocate(program)
        agent.wait_for_a_process()
        assert kept(parent) == kept(pid) == before
        assert ~reporters_mask(pid) & ALL_SIGNALS == C_LIBRARYS_SIGNALS | NEVER_BLOCKED
        assert program.ask("exec") == [0]
        assert program.ask("stop") == [0]
        assert (kept(pid), environment(pid)) == (before, given)


@pytest.mark.parametrize("runtime", KINDS)
def test_who_launches_keeps_what_is_its_own(rig: Rig, runtime: str) -> None:
    with listening(rig, runtime) as agent, rig.run(f"{runtime}_launches") as program:
        pid = program.process.pid
        assert program.ask("kind kernel") == [0]
        before = kept(pid)
        program.begin()
        assert program.ask("launch 1000 50") == [0]  # more than its share: some of them wait
        assert program.ask("finish") == [0]
        agent.wait_for_a_process()
        assert kept(pid) == before
