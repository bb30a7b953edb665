"""Where workers come from: a process forked from the agent before it has threads, loops or sockets.

A vendor call that hangs can only be ended with its process, so each detector runs in one. The
nursery is a fork of the agent with everything imported and nothing opened: a worker forked from it
starts in milliseconds, shares the agent's memory, and inherits no thread or lock in a strange
state. The agent asks it over a socket to fork, to kill and to tell how a worker ended; both ends
of a request are a few bytes. A worker has a channel of its own to the agent.

Nothing outlives the agent, however it ends. A worker ends when its channel does, and is killed by
the kernel when the nursery is gone; the nursery ends when the agent's end of its socket is closed.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, Self

import msgspec

from hcs_agents.detectors.port import Detector
from hcs_agents.watcher import DetectorWatcher
from hcs_agents.worker_frames import (
    LENGTH_BYTES,
    ORDER_DECODER,
    Frame,
    encode_frame,
)
from hcs_bus.names import Vendor

ANSWER_TIMEOUT_S = 10.0  # a fork takes milliseconds; a nursery that is stopped takes for ever
MESSAGE_BYTES_MAX = 4096
LINGER_S = 2.0  # at the end: several times what a worker takes to notice, close and go
LINGER_LOOK_S = 0.02
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


class NurseryError(Exception):
    """There is no nursery any more, and so no way to watch cards."""


class StartedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that waits for its order on the other end of `channel`."""

    pid: int
    channel: socket.socket


class WorkerStarter(Protocol):
    """What the agent needs of a nursery."""

    @property
    def vendors(self) -> tuple[Vendor, ...]:
        """Whose detectors it has."""

    async def start(self, vendor: Vendor) -> StartedWorker:
        """Start a worker."""

    async def kill(self, pid: int) -> None:
        """Ask the kernel to end a worker at once; allowed when it has ended."""

    async def status(self, pid: int) -> int | None:
        """Return how a worker ended, a signal as its number below zero; `None`: it has not."""

    async def close(self) -> None:
        """End everything."""


class _Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    vendor: Vendor


class _Kill(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pid: int


class _Status(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pid: int


_Request = _Start | _Kill | _Status
_REQUEST_DECODER = msgspec.msgpack.Decoder(_Request)
_ANSWER_DECODER = msgspec.msgpack.Decoder(int | None)

# --- The agent's side -----------------------------------------------------------------------------


class Nursery:
    """The agent's end of it."""

    def __init__(self, control: socket.socket, pid: int, vendors: tuple[Vendor, ...]) -> None:
        self.vendors = vendors
        self._control = control
        self._pid = pid
        self._asking = asyncio.Lock()

    @classmethod
    def fork(cls, detectors: Sequence[Detector]) -> Self:
        """Make a nursery. The caller has one thread and nothing open that workers must not have."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # else the first collection of each child would copy every page
        pid = os.fork()
        if pid == 0:
            _run_and_exit(lambda: _serve(theirs, detectors))
        gc.unfreeze()
        theirs.close()
        control.setblocking(False)
        return cls(control, pid, tuple(detector.vendor for detector in detectors))

    async def start(self, vendor: Vendor) -> StartedWorker:
        """Fork a worker; see the protocol."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with contextlib.ExitStack() as unless_started:
            unless_started.enter_context(ours)
            with theirs:
                pid = await self._ask(_Start(vendor=vendor), fds=[theirs.fileno()])
            if pid is None:
                raise AssertionError("a worker without a process")
            unless_started.pop_all()
        return StartedWorker(pid=pid, channel=ours)

    async def kill(self, pid: int) -> None:
        """Kill a worker; see the protocol."""
        await self._ask(_Kill(pid=pid))

    async def status(self, pid: int) -> int | None:
        """Look whether a worker has ended; see the protocol."""
        return await self._ask(_Status(pid=pid))

    async def close(self) -> None:
        """End the nursery, and with it every worker."""
        self._control.close()
        await asyncio.to_thread(os.waitpid, self._pid, 0)

    async def _ask(self, request: _Request, fds: Sequence[int] = ()) -> int | None:
        payload = msgspec.msgpack.encode(request)
        async with self._asking:
            try:
                socket.send_fds(self._control, [payload], fds)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    loop = asyncio.get_running_loop()
                    answer = await loop.sock_recv(self._control, MESSAGE_BYTES_MAX)
            except (OSError, TimeoutError) as error:  # a TimeoutError is an OSError, but say so
                raise NurseryError(f"the nursery does not answer: {error!r}") from error
        if not answer:
            raise NurseryError("the nursery has ended")
        status: int | None = _ANSWER_DECODER.decode(answer)
        return status


# --- The nursery's side ---------------------------------------------------------------------------


def _serve(control: socket.socket, detectors: Sequence[Detector]) -> None:
    """Answer requests, one at a time, until the agent is gone."""
    _name_process("hcs-nursery")
    _close_all_but(control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the agent ends us
    by_vendor = {detector.vendor: detector for detector in detectors}
    children: set[int] = set()
    with contextlib.suppress(ConnectionError):  # the agent went before it read an answer
        while True:
            payload, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
            if not payload:
                break
            answer: int | None = None
            match _REQUEST_DECODER.decode(payload):
                case _Start(vendor=vendor):
                    answer = _fork_worker(control, socket.socket(fileno=fds[0]), by_vendor[vendor])
                    children.add(answer)
                case _Kill(pid=pid) if pid in children:
                    os.kill(pid, signal.SIGKILL)
                case _Status(pid=pid):
                    answer = _status(pid)
                    if answer is not None:
                        children.discard(pid)
            control.sendall(msgspec.msgpack.encode(answer))
    _linger(children)


def _fork_worker(control: socket.socket, channel: socket.socket, detector: Detector) -> int:
    nursery_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        _run_and_exit(lambda: _work(channel, detector, nursery_pid=nursery_pid))
    channel.close()
    return pid


def _status(pid: int) -> int | None:
    waited, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if waited else None


def _linger(children: set[int]) -> None:
    """Let workers close their libraries: some hold locks that a killed process leaves behind."""
    until_s = time.monotonic() + LINGER_S
    while children and time.monotonic() < until_s:
        children = {pid for pid in children if _status(pid) is None}
        time.sleep(LINGER_LOOK_S if children else 0)


# --- The worker's side ----------------------------------------------------------------------------


def _work(channel: socket.socket, detector: Detector, *, nursery_pid: int) -> None:
    _name_process(f"hcs-{detector.vendor}")
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != nursery_pid:  # it ended before the kernel was told
        return
    work(channel, detector)


def work(channel: socket.socket, detector: Detector) -> None:
    """Read the order, then watch until the agent hangs up."""

    def send(frame: Frame) -> None:
        channel.sendall(encode_frame(frame))

    def stopped() -> bool:
        return bool(select.select([channel], [], [], 0)[0])  # nothing but the end comes after it

    with contextlib.suppress(ConnectionError), channel:
        length = int.from_bytes(_receive(channel, LENGTH_BYTES), "big")
        order = ORDER_DECODER.decode(_receive(channel, length))
        DetectorWatcher(detector, order, send=send, stopped=stopped).run()


def _receive(channel: socket.socket, size: int) -> bytes:
    data = channel.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ConnectionError("the agent has hung up")
    return data


def _name_process(name: str) -> None:
    _prctl(PR_SET_NAME, ctypes.create_string_buffer(name.encode()))


def _prctl(option: int, argument: "int | ctypes.Array[ctypes.c_char]") -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _close_all_but(kept: socket.socket) -> None:
    """Close what the agent's caller had open, for a worker must not keep it open."""
    os.closerange(3, kept.fileno())
    os.closerange(kept.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    # The caller's own may have been on one of those, e.g. when a test captures what is printed.
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _run_and_exit(main: Callable[[], None]) -> NoReturn:
    """Run the child's part of a fork; what the parent had on its stack must not go on here."""
    status = 1
    try:
        main()
        status = 0
    except BaseException:  # noqa: BLE001  # whatever it is, this process ends with it
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
