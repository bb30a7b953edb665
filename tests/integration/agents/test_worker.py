"""Real worker processes: what happens to them, and that none outlives its agent.

The detector here does what files in a folder say, because a worker is another process.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from hcs_agents import worker
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryMissingError,
    Reading,
)
from hcs_agents.worker import Failure, FailureKind, Observation, Recovery, WorkerKeeper
from hcs_agents.worker_frames import Faults, Mistake, Order, Sampled, Scan
from hcs_agents.worker_nursery import Nursery, NurseryError
from hcs_bus.events import DetectorState, DeviceFingerprint, FaultState
from hcs_bus.names import DeviceId, Vendor
from tests.support.detectors import fingerprint_of, reading_of
from tests.support.simulated import CHECKOUT

WAIT_S = 20.0
CALL_TIMEOUT_S = 0.5
CODE = "79"


class FolderDetector:
    """Hangs, crashes or is absent when the folder has a file of that name."""

    vendor = Vendor.NVIDIA

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signals: list[FaultSignal] = []

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Say which process this is, and repeat what it was given."""
        if self._is("absent"):
            raise LibraryMissingError("no libfolder.so")
        with (self._folder / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        self._signals = [
            FaultSignal(device_id=fault.device_id, code=fault.code, state=FaultState.CLEARED)
            for fault in active
        ]

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Return one card."""
        self._misbehave("scan")
        return (fingerprint_of(0),)

    def sample(self) -> tuple[Reading, ...]:
        """Return its reading."""
        self._misbehave("sample")
        return (reading_of(0),)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Return nothing."""
        return ()

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Return what `open` was given."""
        signals, self._signals = self._signals, []
        if not signals:
            ctypes.CDLL(None).usleep(int(timeout_s * 1_000_000))
        return signals

    def close(self) -> None:
        """Leave a trace."""
        (self._folder / "closed").touch()

    def _is(self, name: str) -> bool:
        return (self._folder / name).exists()

    def _misbehave(self, call: str) -> None:
        if self._is(f"hang-{call}"):
            ctypes.CDLL(None).pause()  # in C, as in a driver: no Python signal handler runs
        if self._is(f"crash-{call}"):
            ctypes.string_at(0)
        if self._is(f"mistake-{call}"):
            raise ZeroDivisionError


async def until(wanted: Callable[[], bool]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(WAIT_S):
        while not wanted():
            await asyncio.sleep(0.01)


def opened_by(folder: Path) -> list[int]:
    """Return the workers that opened a folder's detector, the last one last."""
    file = folder / "pids"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


class Kept:
    """A nursery, a keeper at work, and what it has seen."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.seen: list[Observation] = []

    def pids(self) -> list[int]:
        """Return the workers that opened, the last one last."""
        return opened_by(self.folder)

    async def until_seen(self, kind: type[Observation]) -> Observation:
        """Wait for an observation and return it; forget what came before."""
        await until(lambda: any(isinstance(one, kind) for one in self.seen))
        place = next(n for n, one in enumerate(self.seen) if isinstance(one, kind))
        one, self.seen[: place + 1] = self.seen[place], []
        return one


def is_alive(pid: int) -> bool:
    """Say whether a process runs: one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


ORDER = Order(
    scan_interval_s=0.05,
    sample_interval_s=0.05,
    active=(ActiveFault(device_id=DeviceId("card-0"), code=CODE),),
)


@contextlib.asynccontextmanager
async def keeping(folder: Path) -> AsyncIterator[Kept]:
    """Run a keeper for the length of the block."""
    kept = Kept(folder, Nursery.fork([FolderDetector(folder)]))
    keeper = WorkerKeeper(
        Vendor.NVIDIA,
        kept.nursery,
        kept.seen.append,
        order=lambda: ORDER,
        call_timeout_s=CALL_TIMEOUT_S,
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield kept
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, NurseryError):
            await task
        await kept.nursery.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between workers."""
    for name in ("REOPEN_S", "ABSENT_RETRY_S", "BACKOFF_S_INITIAL", "BACKOFF_S_MAX"):
        monkeypatch.setattr(worker, name, 0.05)


async def test_a_worker_passes_on_what_its_detector_sees(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        scan = await kept.until_seen(Scan)
        assert isinstance(scan, Scan)
        assert scan.devices == (fingerprint_of(0),)
        assert isinstance(await kept.until_seen(Sampled), Sampled)
        faults = await kept.until_seen(Faults)
        assert isinstance(faults, Faults)
        assert [signal.code for signal in faults.signals] == [CODE], "it knew what was in force"
        await kept.until_seen(Recovery)


@pytest.mark.parametrize("call", ["scan", "sample"])
async def test_a_hanging_call_is_ended_and_the_next_worker_goes_on(
    tmp_path: Path, call: str
) -> None:
    async with keeping(tmp_path) as kept:
        await kept.until_seen(Recovery)
        (hanging,) = kept.pids()
        (tmp_path / f"hang-{call}").touch()
        failure = await kept.until_seen(Failure)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.vendor) == (FailureKind.HANG, Vendor.NVIDIA)
        assert failure.detail == f"no return from {call} in 0.5 s"
        await until(lambda: not is_alive(hanging))
        (tmp_path / f"hang-{call}").unlink()
        await kept.until_seen(Recovery)
        assert kept.pids()[-1] != hanging


async def test_a_call_that_hangs_again_is_no_recovery(tmp_path: Path) -> None:
    (tmp_path / "hang-sample").touch()
    async with keeping(tmp_path) as kept:
        for _ in range(2):
            await kept.until_seen(Failure)
        assert not any(isinstance(one, Recovery) for one in kept.seen)


async def test_a_crash_in_a_library_ends_only_its_worker(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        await kept.until_seen(Recovery)
        (tmp_path / "crash-sample").touch()
        failure = await kept.until_seen(Failure)
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.CRASH
        assert failure.detail == f"worker ended by signal {signal.SIGSEGV.value}"
        (tmp_path / "crash-sample").unlink()
        await kept.until_seen(Recovery)


async def test_a_mistake_of_ours_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "mistake-scan").touch()
    async with keeping(tmp_path) as kept:
        mistake = await kept.until_seen(Mistake)
    assert isinstance(mistake, Mistake)
    assert mistake.detail == "ZeroDivisionError()"


async def test_an_absent_library_costs_no_process_and_is_found_later(tmp_path: Path) -> None:
    (tmp_path / "absent").touch()
    async with keeping(tmp_path) as kept:
        for _ in range(2):
            scan = await kept.until_seen(Scan)
            assert isinstance(scan, Scan)
            assert scan.report.state is DetectorState.ABSENT
        (tmp_path / "absent").unlink()
        await kept.until_seen(Recovery)
        assert len(kept.pids()) == 1


async def test_at_the_end_libraries_are_closed_and_no_process_is_left(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        await kept.until_seen(Recovery)
        (pid,) = kept.pids()
        assert is_alive(pid)
    assert not is_alive(pid)
    assert (tmp_path / "closed").exists()


async def test_the_end_does_not_wait_for_a_call_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "hang-scan").touch()
    async with keeping(tmp_path) as kept:
        await until(lambda: len(kept.pids()) > 0)
        pid = kept.pids()[-1]
    await until(lambda: not is_alive(pid))


async def test_a_nursery_that_is_gone_is_an_error_and_takes_its_workers_along(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as kept:
        await kept.until_seen(Recovery)
        (pid,) = kept.pids()
        os.kill(kept.nursery._pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid))
        with pytest.raises(NurseryError):
            await kept.nursery.start(Vendor.NVIDIA)


async def test_a_worker_inherits_no_open_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with keeping(tmp_path) as kept:
        await kept.until_seen(Recovery)
        (pid,) = kept.pids()
        targets = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
        assert str(Path(f"/proc/self/fd/{writing}").readlink()) not in targets
        assert len([target for target in targets if target.startswith("socket:")]) == 1
    os.close(reading)
    os.close(writing)


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.integration.agents.test_worker import *

async def main():
    async with keeping(Path(sys.argv[1])):
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("hanging", [False, True])
async def test_workers_end_with_an_agent_that_is_killed(tmp_path: Path, hanging: bool) -> None:
    if hanging:
        (tmp_path / "hang-scan").touch()
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, str(tmp_path), cwd=CHECKOUT
    )
    await until(lambda: len(opened_by(tmp_path)) > 0)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    agent.kill()
    await agent.wait()
    family = [opened_by(tmp_path)[-1], *map(int, children)]
    assert len(family) == 2
    await until(lambda: not any(map(is_alive, family)))
