"""How Cambricon's detector spends the time between two looks."""

import ctypes
import time

from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.cambricon import CambriconDetector


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
