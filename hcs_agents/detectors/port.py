"""What the agent needs of a vendor's management library.

A detector belongs to one thread, which opens it, waits for faults, scans now and then, and closes
it. It never guesses: a function that the installed driver lacks makes a field unknown, a library
that is not there is the normal state of most nodes.

Faults are states where the vendor knows their end, and occurrences where it does not. A detector
remembers the ones in force, so it can tell of their end; `open` is given those that an earlier run
of the agent had told of.
"""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from hcs_bus.events import DeviceFingerprint, DeviceSample, FaultState
from hcs_bus.names import DeviceId, Severity, Vendor


class DetectorError(Exception):
    """A management library could not be used."""


class LibraryMissingError(DetectorError):
    """The vendor's library is not installed on this node."""


class LibraryBrokenError(DetectorError):
    """The library is there and refuses to work; trying again later may help."""


class ActiveFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault whose beginning was told and whose end was not."""

    device_id: DeviceId
    code: str


class FaultSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A fault begins or ends."""

    device_id: DeviceId
    code: str
    state: FaultState
    lasting: bool = True  # false: an occurrence, its end will not be told
    severity: Severity | None = None  # what the driver says, for codes not in the catalogue
    detail: str = ""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver counts since it was loaded or the card was reset; `None`: it does not count."""

    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    pcie_replays: int | None = None
    link_errors: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one card says of itself at a moment. The sample's own counters are left at 0."""

    sample: DeviceSample
    counters: Counters = Counters()


class DeviceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the driver sees on a card."""

    device_id: DeviceId
    pid: int  # as the driver gives it: the node's own number, not a container's
    used_bytes: int | None = None  # of the card's memory; `None`: the driver does not say


class Detector(Protocol):
    """The port; see the module's docstring."""

    @property
    def vendor(self) -> Vendor:
        """Whose cards these are."""

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load and initialise the library.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Return the cards that answer, by their index.

        Raises:
            LibraryBrokenError: the library works no more; close, open again later.
        """

    def sample(self) -> tuple[Reading, ...]:
        """Return what the cards that answer do now, by their index; it calls as little as it can.

        Raises:
            LibraryBrokenError: the library works no more; close, open again later.
        """

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Return who is on the cards; nothing where the vendor's library lists no processes.

        Raises:
            LibraryBrokenError: the library works no more; close, open again later.
        """

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Block until something happens to a card, or for `timeout_s`; then return `[]`.

        What it has heard it returns before it asks a card anything that may hang or fail: a driver
        does not repeat itself. It may be called once more after another call has failed.

        Raises:
            LibraryBrokenError: the library works no more; close, open again later.
        """

    def close(self) -> None:
        """Give everything back; allowed in any state."""


def load_library(names: Sequence[str]) -> ctypes.CDLL:
    """Load the first of `names` that is installed.

    Raises:
        LibraryMissingError: none is.
        LibraryBrokenError: one is and cannot be loaded.
    """
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            # The dynamic linker says the same of a dependency, but then with its name in front.
            if not str(error).startswith(f"{name}: cannot open shared object file: No such file"):
                raise LibraryBrokenError(str(error)) from error
    raise LibraryMissingError(f"no {names[0]}")
