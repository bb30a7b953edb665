"""How Cambricon's detector spends the time between two looks."""

import ctypes
import time
from typing import Any

import pytest

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.cambricon import CambriconDetector
from hcs_agents.detectors.cambricon_scan import Place
from hcs_agents.detectors.cards import Found
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_bus.names import DeviceId


class OneXid:
    """A library whose event handle has one Xid, and then does not block when asked to."""

    version = 6

    def __init__(self) -> None:
        self.answers = [abi.OK]

    def call(self, name: str, *_: object) -> int:
        """Answer the wait for events."""
        assert name == "cndevEventWait"
        return self.answers.pop() if self.answers else abi.TIMEOUT


def test_an_event_ends_the_pause_and_nothing_else_does() -> None:
    detector = CambriconDetector()
    detector._cndev = OneXid()  # type: ignore[assignment]  # a stand-in for the library
    detector._events = ctypes.c_void_p(1)
    began_s = time.monotonic()
    assert detector._pause(600)
    assert time.monotonic() - began_s < 300
    began_s = time.monotonic()
    assert not detector._pause(0.1)
    assert time.monotonic() - began_s >= 0.1


class OneXidAndNoMore:
    """A library that hands out an Xid, and then finds its driver gone, whatever it is asked."""

    version = 6

    def __init__(self) -> None:
        self.calls: list[str] = []

    def call(self, name: str, *arguments: Any) -> int:
        """Answer the first call."""
        self.calls.append(name)
        if len(self.calls) > 1:
            raise LibraryBrokenError(name)
        data = arguments[1]._obj
        data.event_type, data.event_data, data.device = abi.EVENT_XID, 17, 0
        return abi.OK

    def ask(self, name: str, *_: object) -> int:
        """Answer any other call."""
        return self.call(name)


@pytest.mark.parametrize("waiting", [False, True])
def test_an_xid_is_told_before_anything_else_is_asked(*, waiting: bool) -> None:
    library = OneXidAndNoMore()
    detector = CambriconDetector()
    detector._cndev = library  # type: ignore[assignment]  # a stand-in for the library
    detector._events = ctypes.c_void_p(1)
    detector._cards.note(Found(cards={DeviceId("MLU-1"): Place(index=0, handle=0)}))
    if waiting:
        assert detector._pause(600)
    (signal,) = detector.wait_faults(600)
    assert (signal.device_id, signal.code, signal.lasting) == ("MLU-1", "17", False)
    assert set(library.calls) == {"cndevEventWait"}  # the next call may never come back
    with pytest.raises(LibraryBrokenError):
        detector.wait_faults(600)
