"""Calls by name into a library whose functions answer with a status, and what numbers may say.

An installed library may be older than we are: a function that it lacks answers as one that it does
not support, and is looked for once. A library may also find its driver gone: it says so in answer
to whatever it is asked, and that is told of the library, not of the card that was asked about.
"""

import ctypes
import re
from collections.abc import Collection
from typing import Any

from hcs_agents.detectors.port import LibraryBrokenError

PERCENT_MAX = 100
CELSIUS_MIN, CELSIUS_MAX = -273, 1000
INT32_MAX = 2**31 - 1
CARDS_MAX = 1024  # of one node and vendor
TEXT_MAX = 253  # characters that an event's text may have


class Calls:
    """The functions of one loaded library."""

    def __init__(
        self, library: ctypes.CDLL, *, not_supported: int, broken: Collection[int]
    ) -> None:
        """Take the status of a function that is not there, and those that say the driver is not."""
        self._library = library
        self._not_supported = not_supported
        self._broken = frozenset(broken)
        self._functions: dict[str, Any] = {}

    def __call__(self, name: str, *arguments: object) -> int:
        """Call a function and return its status.

        Raises:
            LibraryBrokenError: the driver is not there any more.
        """
        function = self.find(name)
        result = self._not_supported if function is None else int(function(*arguments))
        if result in self._broken:
            raise LibraryBrokenError(f"{name}: {result}")
        return result

    def find(self, name: str) -> Any:  # noqa: ANN401  # ctypes' own type for it is private
        """Return a function; `None` when the library lacks it, which is remembered."""
        if name not in self._functions:
            self._functions[name] = getattr(self._library, name, None)
        return self._functions[name]


def numbered(count: int) -> range:
    """Return the numbers of the cards that a driver says there are, unless that cannot be."""
    return range(count if 0 <= count <= CARDS_MAX else 0)


def percent(value: float | None) -> float | None:
    """Return a share of the time; `None` when it cannot be one."""
    return value if value is not None and 0 <= value <= PERCENT_MAX else None


def celsius(value: float | None) -> float | None:
    """Return a temperature; `None` when it cannot be one."""
    return value if value is not None and CELSIUS_MIN <= value <= CELSIUS_MAX else None


def positive(value: int | None) -> int | None:
    """Return what a working card cannot have none of: a clock, lanes; `None` for 0 and nonsense."""
    return value if value is not None and 0 < value <= INT32_MAX else None


def cpu_list(mask: int) -> str:
    """Return a mask of CPUs as Linux lists them, "0-31,64-95"; empty when that is too long."""
    spans = [run.span() for run in re.finditer("1+", f"{mask:b}"[::-1])]
    text = ",".join(str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in spans)
    return text if len(text) <= TEXT_MAX else ""
