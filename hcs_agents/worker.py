"""The agent's hold on one vendor's worker: it listens, notices silence, and starts the next one.

A worker says before each call what it calls, and is never silent for longer than a call takes. One
that stays silent is killed: the call hangs in a driver. Time is counted in looks, so that an agent
that was itself stopped for a while does not blame its workers. A worker that even the kernel cannot
end is left alone, and no other started beside it, until it is gone.

A library that is absent costs one short-lived process a minute, for a driver may be installed.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable

import msgspec

from hcs_agents.watcher import WAIT_S
from hcs_agents.worker_frames import (
    Doing,
    Faults,
    Frame,
    FrameError,
    FrameReader,
    Mistake,
    OnCards,
    Operation,
    Order,
    Sampled,
    Scan,
    decode_frame,
    encode_frame,
)
from hcs_agents.worker_nursery import WorkerStarter
from hcs_bus.events import DetectorState
from hcs_bus.names import Vendor

LOOKS = 5  # in one call's time: so often is looked whether a worker has said something
OPEN_PATIENCE = 6  # calls' time that opening may take: some drivers set every card up then
REOPEN_S = 10.0  # between tries to open a library that says that it does not work
ABSENT_RETRY_S = 60.0  # between looks for a library that was not installed
BACKOFF_S_INITIAL = 1.0  # after a worker that hung or crashed; doubles while that goes on
BACKOFF_S_MAX = 60.0
GONE_LOOK_S = 0.05  # between looks whether a worker has ended, and then
STUCK_LOOK_S = 1.0  # once it is slow
STUCK_AFTER_LOOKS = 40  # what the kernel can end has ended by then
ROUND_WAITS = 2  # the second time that a worker waits, each kind of call has returned once


class FailureKind(enum.StrEnum):
    """How a worker failed."""

    HANG = "hang"  # a call did not return
    CRASH = "crash"  # the process ended on its own, or said what cannot be understood
    STUCK = "stuck"  # the kernel cannot end it: it is inside a driver


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's worker failed; what it had said of the cards is the last that is known."""

    vendor: Vendor
    kind: FailureKind
    detail: str


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has made every kind of call once, and each has returned."""

    vendor: Vendor


Observation = Scan | Faults | Sampled | OnCards | Mistake | Failure | Recovery


class WorkerKeeper:
    """Keeps one vendor watched, for as long as `run` runs."""

    def __init__(
        self,
        vendor: Vendor,
        starter: WorkerStarter,
        sink: Callable[[Observation], None],
        *,
        order: Callable[[], Order],
        call_timeout_s: float,
    ) -> None:
        self._vendor = vendor
        self._starter = starter
        self._sink = sink
        self._order = order
        self._call_timeout_s = call_timeout_s
        self._failures = 0  # in a row

    async def run(self) -> None:
        """Start a worker, attend to it, bury it, again and again.

        Raises:
            NurseryError: there can be no more workers.
        """
        while True:
            pause_s = await self._attend_one()
            await asyncio.sleep(pause_s)

    async def _attend_one(self) -> float:
        """See one worker through its life; return the seconds until the next may start."""
        worker = await self._starter.start(self._vendor)
        loop = asyncio.get_running_loop()
        transport, channel = await loop.create_unix_connection(
            lambda: _Channel(self._vendor, self._heed), sock=worker.channel
        )
        with contextlib.closing(transport):
            transport.write(encode_frame(self._order()))
            hung = await self._listen(channel)
        if hung or channel.error:
            await self._starter.kill(worker.pid)
        if hung:
            detail = f"no return from {channel.operation} in {self._patience_s(channel):g} s"
            self._fail(FailureKind.HANG, detail)
        status = await self._bury(worker.pid, channel.operation)
        if hung:
            return self._backoff_s()
        if channel.last_word is not None:
            return ABSENT_RETRY_S if channel.last_word is DetectorState.ABSENT else REOPEN_S
        self._fail(FailureKind.CRASH, channel.error or _how_it_ended(status))
        return self._backoff_s()

    async def _listen(self, channel: "_Channel") -> bool:
        """Wait until the channel ends; true when the worker fell silent instead."""
        look_s = self._call_timeout_s / LOOKS
        silent = 0
        while silent * look_s < self._patience_s(channel):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await channel.ended.wait()
                    return False
            silent = 0 if channel.was_heard() else silent + 1
        return True

    def _patience_s(self, channel: "_Channel") -> float:
        match channel.operation:
            case Operation.START | Operation.OPEN:
                return OPEN_PATIENCE * self._call_timeout_s
            case Operation.WAIT:  # this one takes its time on purpose
                return self._call_timeout_s + WAIT_S
        return self._call_timeout_s

    def _heed(self, observation: Observation) -> None:
        if isinstance(observation, Recovery):
            self._failures = 0
        self._sink(observation)

    async def _bury(self, pid: int, operation: Operation) -> int:
        """Wait until a worker is gone, however long that takes; return its status."""
        looks = 0
        while (status := await self._starter.status(pid)) is None:
            looks += 1
            if looks == STUCK_AFTER_LOOKS:
                detail = f"its process cannot be ended: the kernel is busy with {operation}"
                self._sink(Failure(vendor=self._vendor, kind=FailureKind.STUCK, detail=detail))
            await asyncio.sleep(GONE_LOOK_S if looks < STUCK_AFTER_LOOKS else STUCK_LOOK_S)
        return status

    def _fail(self, kind: FailureKind, detail: str) -> None:
        self._failures += 1
        if self._failures > 1:
            detail = f"{detail}, {self._failures} times in a row"
        self._sink(Failure(vendor=self._vendor, kind=kind, detail=detail))

    def _backoff_s(self) -> float:
        return float(min(BACKOFF_S_INITIAL * 2 ** (self._failures - 1), BACKOFF_S_MAX))


class _Channel(asyncio.Protocol):
    """What one worker has said so far."""

    def __init__(self, vendor: Vendor, sink: Callable[[Observation], None]) -> None:
        self.ended = asyncio.Event()
        self.operation = Operation.START
        self.last_word: DetectorState | None = None  # why it ends, if it has said so
        self.error = ""  # what it said that cannot be understood
        self._vendor = vendor
        self._sink = sink
        self._heard = False
        self._waits = 0
        self._frames = FrameReader()
        self._transport: asyncio.BaseTransport | None = None

    def was_heard(self) -> bool:
        """Say whether anything came since the last call."""
        heard, self._heard = self._heard, False
        return heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to hang up."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in frames; hang up on nonsense, which ends the worker."""
        self._heard = True
        try:
            for payload in self._frames.feed(data):
                self._take(decode_frame(payload))
        except FrameError as error:
            self.error = f"the worker sent what is no frame: {error}"
            if self._transport is not None:
                self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end."""
        self.ended.set()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Doing(operation=operation):
                self.operation = operation
                self._waits += operation is Operation.WAIT
                if operation is Operation.WAIT and self._waits == ROUND_WAITS:
                    self._sink(Recovery(vendor=self._vendor))
            case Scan(report=report):
                if report.state is not DetectorState.OK:
                    self.last_word = report.state
                self._sink(frame)
            case _:
                self._sink(frame)


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"worker ended by signal {-status}"
    return f"worker ended with status {status}"
