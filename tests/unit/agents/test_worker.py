"""The agent's hold on a worker: silence, nonsense, crashes, and those that will not end.

The workers here are a socket that a test speaks into.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from hcs_agents import worker
from hcs_agents.detectors.port import ActiveFault
from hcs_agents.worker import Failure, FailureKind, Observation, Recovery, WorkerKeeper
from hcs_agents.worker_frames import (
    FRAME_BYTES_MAX,
    LENGTH_BYTES,
    ORDER_DECODER,
    Doing,
    Frame,
    FrameError,
    FrameReader,
    Operation,
    Order,
    Scan,
    decode_frame,
    encode_frame,
)
from hcs_agents.worker_nursery import StartedWorker
from hcs_bus.events import DetectorReport, DetectorState
from hcs_bus.names import DeviceId, Vendor
from tests.support.detectors import fingerprint_of

VENDOR = Vendor.NVIDIA
ORDER = Order(
    scan_interval_s=2,
    sample_interval_s=10,
    active=(ActiveFault(device_id=DeviceId("card-0"), code="79"),),
)
CALL_TIMEOUT_S = 0.1
WAIT_S = 10.0


def scan(state: DetectorState) -> Scan:
    """Return a worker's word on its library."""
    return Scan(report=DetectorReport(vendor=VENDOR, state=state), devices=(fingerprint_of(0),))


class SpokenWorkers:
    """Workers that say what a test says; see `WorkerStarter`."""

    vendors = (VENDOR,)

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []  # the workers'
        self.killed: list[int] = []
        self.statuses: dict[int, int | None] = {}

    async def start(self, vendor: Vendor) -> StartedWorker:
        """Make a socket pair."""
        del vendor
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.ends.append(theirs)
        return StartedWorker(pid=len(self.ends), channel=ours)

    async def kill(self, pid: int) -> None:
        """Note it; a status follows unless the test has set one."""
        self.killed.append(pid)
        self.statuses.setdefault(pid, -9)

    async def status(self, pid: int) -> int | None:
        """Return what the test has set."""
        return self.statuses.get(pid)

    async def close(self) -> None:
        """Close the sockets."""
        for end in self.ends:
            end.close()


class Kept:
    """A keeper at work."""

    def __init__(self, workers: SpokenWorkers) -> None:
        self.workers = workers
        self.seen: list[Observation] = []

    def say(self, *frames: Frame) -> None:
        """Speak as the worker that was started last."""
        self.workers.ends[-1].sendall(b"".join(map(encode_frame, frames)))

    def end(self, status: int) -> None:
        """End that worker."""
        self.workers.statuses[len(self.workers.ends)] = status
        self.workers.ends[-1].close()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(WAIT_S):
            while not wanted():
                await asyncio.sleep(0.005)

    async def until_started(self, count: int) -> None:
        """Wait until so many workers were started."""
        await self.until(lambda: len(self.workers.ends) >= count)

    def failures(self) -> list[Failure]:
        """Return the failures that were told."""
        return [one for one in self.seen if isinstance(one, Failure)]


@pytest.fixture
async def kept(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """Run a keeper that is in a hurry, with its first worker started."""
    for name in ("REOPEN_S", "ABSENT_RETRY_S", "BACKOFF_S_INITIAL", "BACKOFF_S_MAX"):
        monkeypatch.setattr(worker, name, 0.01)
    for name in ("GONE_LOOK_S", "STUCK_LOOK_S"):
        monkeypatch.setattr(worker, name, 0.001)
    one = Kept(SpokenWorkers())
    keeper = WorkerKeeper(
        VENDOR,
        one.workers,
        one.seen.append,
        order=lambda: ORDER,
        call_timeout_s=CALL_TIMEOUT_S,
    )
    task = asyncio.create_task(keeper.run())
    await one.until_started(1)
    yield one
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await one.workers.close()


async def test_a_worker_gets_its_order_with_the_faults_in_force(kept: Kept) -> None:
    end = kept.workers.ends[0]
    length = await asyncio.to_thread(end.recv, LENGTH_BYTES)
    payload = await asyncio.to_thread(end.recv, int.from_bytes(length, "big"))
    assert ORDER_DECODER.decode(payload) == ORDER


async def test_a_silent_worker_is_killed_and_what_it_did_is_named(kept: Kept) -> None:
    kept.say(Doing(operation=Operation.OPEN), Doing(operation=Operation.SAMPLE))
    await kept.until_started(2)
    assert kept.workers.killed == [1]
    (failure,) = kept.failures()
    assert (failure.kind, failure.detail) == (FailureKind.HANG, "no return from sample in 0.1 s")


async def test_opening_may_take_several_times_as_long(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    was_heard = worker._Channel.was_heard

    def counting(channel: worker._Channel) -> bool:
        nonlocal looks
        looks += 1
        return was_heard(channel)

    monkeypatch.setattr(worker._Channel, "was_heard", counting)
    kept.say(Doing(operation=Operation.OPEN))
    await kept.until_started(2)
    assert looks >= worker.OPEN_PATIENCE * worker.LOOKS
    assert kept.failures()[0].detail == "no return from open in 0.6 s"


async def test_an_agent_that_was_stopped_does_not_blame_its_worker(kept: Kept) -> None:
    kept.say(Doing(operation=Operation.WAIT))
    for _ in range(worker.LOOKS):
        await asyncio.sleep(0.005)
        time.sleep(CALL_TIMEOUT_S)  # noqa: ASYNC251  # the loop is what is stopped
        kept.say(Doing(operation=Operation.WAIT))
    assert kept.failures() == []
    assert len(kept.workers.ends) == 1


async def test_a_crash_is_told_with_its_signal_and_how_often(kept: Kept) -> None:
    for count in (1, 2, 3):
        await kept.until_started(count)
        kept.end(-11)
    await kept.until_started(4)
    details = [failure.detail for failure in kept.failures()]
    assert details == [
        "worker ended by signal 11",
        "worker ended by signal 11, 2 times in a row",
        "worker ended by signal 11, 3 times in a row",
    ]
    assert {failure.kind for failure in kept.failures()} == {FailureKind.CRASH}


async def test_pauses_double_until_a_whole_round_has_succeeded(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noting(delay: float) -> None:
        if delay >= 1:
            pauses.append(delay)
        await sleep(min(delay, 0.005))

    monkeypatch.setattr(worker, "BACKOFF_S_INITIAL", 1.0)
    monkeypatch.setattr(worker, "BACKOFF_S_MAX", 5.0)
    monkeypatch.setattr(asyncio, "sleep", noting)
    for count in range(1, 6):
        await kept.until_started(count)
        if count == 5:
            kept.say(Doing(operation=Operation.WAIT), Doing(operation=Operation.WAIT))
            await kept.until(lambda: Recovery(vendor=VENDOR) in kept.seen)
        kept.end(1)
    await kept.until_started(6)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 1.0]


async def test_one_wait_is_no_round(kept: Kept) -> None:
    kept.say(Doing(operation=Operation.WAIT), scan(DetectorState.OK))
    await kept.until(lambda: len(kept.seen) == 1)
    assert kept.seen == [scan(DetectorState.OK)]


@pytest.mark.parametrize("state", [DetectorState.ABSENT, DetectorState.BROKEN])
async def test_a_library_that_says_no_is_no_failure(kept: Kept, state: DetectorState) -> None:
    kept.say(scan(state))
    kept.end(0)
    await kept.until_started(2)
    assert kept.seen == [scan(state)]
    assert kept.workers.killed == []


@pytest.mark.parametrize(
    "nonsense",
    [
        (FRAME_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "big"),
        (1).to_bytes(LENGTH_BYTES, "big") + b"\xc1",
        (3).to_bytes(LENGTH_BYTES, "big") + b"\x81\xa1t",
    ],
)
async def test_nonsense_ends_its_worker(kept: Kept, nonsense: bytes) -> None:
    kept.workers.ends[0].sendall(nonsense)
    await kept.until_started(2)
    (failure,) = kept.failures()
    assert failure.kind is FailureKind.CRASH
    assert failure.detail.startswith("the worker sent what is no frame: ")
    assert kept.workers.killed == [1]


async def test_no_worker_is_started_beside_one_that_cannot_be_ended(kept: Kept) -> None:
    kept.workers.statuses[1] = None  # inside the kernel
    kept.say(Doing(operation=Operation.SCAN))
    await kept.until(lambda: len(kept.failures()) == 2)
    assert [failure.kind for failure in kept.failures()] == [FailureKind.HANG, FailureKind.STUCK]
    await asyncio.sleep(0.1)  # a hundred looks
    assert len(kept.workers.ends) == 1
    assert len(kept.failures()) == 2, "it is said once"
    kept.workers.statuses[1] = -9
    await kept.until_started(2)


def test_frames_arrive_whole_however_the_stream_is_cut() -> None:
    sent: list[Frame] = [scan(DetectorState.OK), Doing(operation=Operation.WAIT)] * 3
    stream = b"".join(map(encode_frame, sent))
    for size in (1, 3, 4, 5, len(stream)):
        reader = FrameReader()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        got = [decode_frame(payload) for piece in pieces for payload in reader.feed(piece)]
        assert got == sent


def test_a_frame_of_an_unknown_kind_is_refused() -> None:
    (payload,) = FrameReader().feed(encode_frame(ORDER))
    with pytest.raises(FrameError):
        decode_frame(payload)
