"""A worker's loop: what it says and when, and how it ends."""

import time
from collections.abc import Callable

import msgspec
import pytest

from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryBrokenError,
    LibraryMissingError,
    Reading,
)
from hcs_agents.watcher import DetectorWatcher, next_multiple
from hcs_agents.worker_frames import (
    Doing,
    Faults,
    Frame,
    Mistake,
    OnCards,
    Operation,
    Order,
    Sampled,
    Scan,
)
from hcs_bus.events import DetectorState, FaultState
from hcs_bus.names import DeviceId
from tests.support.detectors import ScriptedDetector, fingerprint_of, reading_of

ACTIVE = ActiveFault(device_id=DeviceId("card-0"), code="79")
SIGNAL = FaultSignal(device_id=DeviceId("card-0"), code="48", state=FaultState.RAISED)


class ClockedDetector(ScriptedDetector):
    """Waits in a time of its own, and hands over between two waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.waits = 0
        self.between: Callable[[int], None] = lambda _number: None

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Let the time pass at once."""
        self.waits += 1
        self.between(self.waits)
        if not self.signals.empty():
            return [self.signals.get()]
        self.now_s += timeout_s
        return []


def watch(
    detector: ClockedDetector, *, waits: int, scan_s: float = 2.0, sample_s: float = 10.0
) -> list[Frame]:
    """Run a watcher for some waits and return what it said."""
    said: list[Frame] = []
    watcher = DetectorWatcher(
        detector,
        Order(scan_interval_s=scan_s, sample_interval_s=sample_s, active=(ACTIVE,)),
        send=said.append,
        stopped=lambda: detector.waits >= waits,
        monotonic_s=lambda: detector.now_s,
    )
    watcher.run()
    return said


def doings(said: list[Frame]) -> list[Operation]:
    """Return the operations that were begun."""
    return [frame.operation for frame in said if isinstance(frame, Doing)]


def only(said: list[Frame], kind: type[Frame]) -> list[Frame]:
    """Return the frames of a kind."""
    return [frame for frame in said if isinstance(frame, kind)]


def test_each_call_is_told_before_it_is_made() -> None:
    detector = ClockedDetector()
    said: list[Operation] = []
    detector.between = lambda _number: said.append(Operation.WAIT)
    frames = watch(detector, waits=1)
    assert doings(frames) == [
        "open",
        "scan",
        "sample",
        "list processes",
        "wait for faults",
        "close",
    ]
    assert isinstance(frames[0], Doing), "a hanging open is not blamed on the start"
    assert (detector.opened, detector.closed) == (1, 1)
    assert detector.active == (ACTIVE,)


def test_a_scan_is_told_at_first_and_when_it_has_changed() -> None:
    detector = ClockedDetector()
    detector.cards = (fingerprint_of(0),)

    def plug_in(number: int) -> None:
        if number == 40:
            detector.cards = (fingerprint_of(0), fingerprint_of(1))

    detector.between = plug_in
    said = watch(detector, waits=80)
    scans = [len(scan.devices) for scan in said if isinstance(scan, Scan)]
    assert scans == [1, 2]
    assert doings(said).count(Operation.SCAN) > 10, "it looked many times"


def test_after_a_fault_the_cards_are_looked_at_again_without_delay() -> None:
    detector = ClockedDetector()
    detector.signals.put(SIGNAL)
    said = watch(detector, waits=2, scan_s=3600)
    assert doings(said).count(Operation.SCAN) == 2
    (faults,) = only(said, Faults)
    assert isinstance(faults, Faults)
    assert faults.signals == (SIGNAL,)


def test_samples_are_taken_at_multiples_of_the_interval() -> None:
    detector = ClockedDetector()
    detector.now_s = 103.0
    detector.readings = (reading_of(0),)
    at_s: list[float] = []
    sample = detector.sample

    def noting() -> tuple[Reading, ...]:
        at_s.append(detector.now_s)
        return sample()

    detector.sample = noting  # type: ignore[method-assign]  # what a spy does
    said = watch(detector, waits=60)
    assert at_s == [103.0, 110.0, 120.0, 130.0]
    sampled = only(said, Sampled)[0]
    assert isinstance(sampled, Sampled)
    assert [msgspec.msgpack.decode(raw, type=Reading) for raw in sampled.readings] == [
        reading_of(0)
    ]


def test_a_multiple_is_always_ahead() -> None:
    assert [next_multiple(now_s, 10.0) for now_s in (0.0, 9.9, 10.0)] == [10.0, 10.0, 20.0]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (LibraryMissingError("no libx.so"), DetectorState.ABSENT),
        (LibraryBrokenError("dcmi_init: -8005"), DetectorState.BROKEN),
    ],
)
def test_a_library_that_does_not_open_is_the_last_word(
    error: Exception, state: DetectorState
) -> None:
    detector = ClockedDetector()
    detector.open_error = error
    (scan,) = only(watch(detector, waits=1), Scan)
    assert isinstance(scan, Scan)
    assert (scan.report.state, scan.report.detail) == (state, str(error))
    assert detector.closed == 1


def test_a_library_that_breaks_later_is_the_last_word_too() -> None:
    detector = ClockedDetector()

    def break_it(_number: int) -> None:
        detector.scan_error = LibraryBrokenError("gone")

    detector.between = break_it
    scans = only(watch(detector, waits=100), Scan)
    states = [scan.report.state for scan in scans if isinstance(scan, Scan)]
    assert states == [DetectorState.OK, DetectorState.BROKEN]
    assert detector.closed == 1


def test_what_a_detector_has_heard_is_told_although_its_library_breaks() -> None:
    detector = ClockedDetector()

    def break_it(number: int) -> None:
        if number == 1:
            detector.scan_error = LibraryBrokenError("gone")
            detector.now_s += 3600  # the next scan is due
        else:
            detector.signals.put(SIGNAL)

    detector.between = break_it
    said = watch(detector, waits=100)
    (faults,) = only(said, Faults)
    assert isinstance(faults, Faults)
    assert faults.signals == (SIGNAL,)
    last_word = only(said, Scan)[-1]
    assert said.index(last_word) < said.index(faults), "it is said even if this hangs"
    assert doings(said)[-2:] == [Operation.WAIT, Operation.CLOSE]


def test_a_library_that_does_not_open_is_not_waited_for() -> None:
    detector = ClockedDetector()
    detector.open_error = LibraryBrokenError("nvmlInit: 9")
    assert Operation.WAIT not in doings(watch(detector, waits=1))


def test_a_mistake_of_ours_is_passed_on_not_swallowed() -> None:
    detector = ClockedDetector()
    detector.scan_error = ZeroDivisionError("mine")
    (mistake,) = only(watch(detector, waits=1), Mistake)
    assert isinstance(mistake, Mistake)
    assert mistake.detail == "ZeroDivisionError('mine')"


def test_an_agent_that_is_gone_ends_the_watch_and_closes_the_library() -> None:
    detector = ClockedDetector()

    def send(_frame: Frame) -> None:
        raise BrokenPipeError

    watcher = DetectorWatcher(
        detector,
        Order(scan_interval_s=1, sample_interval_s=1),
        send=send,
        stopped=lambda: False,
    )
    with pytest.raises(BrokenPipeError):
        watcher.run()
    assert detector.closed == 1


def test_processes_are_listed_with_each_sample_and_nobody_is_told_of_once() -> None:
    detector = ClockedDetector()
    process = DeviceProcess(device_id=DeviceId("card-0"), pid=7, used_bytes=5)

    def come_and_go(number: int) -> None:
        detector.on_cards = (process,) if 50 < number < 100 else ()

    detector.between = come_and_go
    said = watch(detector, waits=200)
    lists = [frame.processes for frame in said if isinstance(frame, OnCards)]
    assert len(lists) < doings(said).count(Operation.PROCESSES)
    assert (lists[0], lists[-1]) == ((), ()), "a worker before this one may have told of somebody"
    assert set(lists[1:-1]) == {(process,)}


class AskedDetector(ClockedDetector):
    """It notes when it was asked who is on its cards."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_ns: list[int] = []

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Return one."""
        self.asked_ns.append(time.monotonic_ns())
        return (DeviceProcess(device_id=DeviceId("card-0"), pid=7, used_bytes=5),)


def test_a_list_says_when_it_was_not_yet_asked_for() -> None:
    detector = AskedDetector()
    said = watch(detector, waits=100)
    looked_ns = [frame.looked_at_ns for frame in said if isinstance(frame, OnCards)]
    assert len(looked_ns) > 1
    moments = [ns for pair in zip(looked_ns, detector.asked_ns, strict=True) for ns in pair]
    assert moments == sorted(moments)  # each before its own question, and after the one before
