"""Calls by name, and what of their answers can be true."""

import ctypes
from typing import Any

import pytest

from hcs_agents.detectors.calls import Calls, celsius, cpu_list, percent, positive
from hcs_agents.detectors.port import LibraryBrokenError

NOT_SUPPORTED = 99


class CountingLibrary(ctypes.CDLL):
    """The C library; it notes each name that is looked for."""

    def __init__(self) -> None:
        super().__init__(None)
        self.__dict__["looked_for"] = []

    def __getattr__(self, name: str) -> Any:
        self.__dict__["looked_for"].append(name)
        return super().__getattr__(name)


def test_a_function_that_is_not_there_is_looked_for_once() -> None:
    library = CountingLibrary()
    call = Calls(library, not_supported=NOT_SUPPORTED, broken=())
    assert [call("no_such_function", 1), call("no_such_function", 2)] == [NOT_SUPPORTED] * 2
    assert library.looked_for == ["no_such_function"]


def test_a_function_is_called_each_time_and_its_status_returned() -> None:
    library = CountingLibrary()
    call = Calls(library, not_supported=NOT_SUPPORTED, broken=())
    assert [call("abs", -3), call("abs", 4)] == [3, 4]
    assert library.looked_for == ["abs"]


def test_a_status_that_speaks_of_the_driver_breaks_the_library() -> None:
    call = Calls(CountingLibrary(), not_supported=NOT_SUPPORTED, broken=(7,))
    with pytest.raises(LibraryBrokenError, match="abs: 7"):
        call("abs", -7)


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([], ""),
        ([0], "0"),
        ([5], "5"),
        ([0, 1, 3], "0-1,3"),
        ([*range(32), *range(64, 96)], "0-31,64-95"),
        (range(0, 512, 2), ""),  # more text than an event takes
    ],
)
def test_cpus_are_listed_as_linux_does(cpus: list[int], expected: str) -> None:
    assert cpu_list(sum(1 << cpu for cpu in cpus)) == expected


def test_what_cannot_be_true_is_not_told() -> None:
    assert [percent(value) for value in (-1, 0, 100, 101, 65_535, None)] == [
        *(None, 0, 100),
        *(None, None, None),
    ]
    assert [celsius(value) for value in (-274, -5, 90, 65_535, None)] == [None, -5, 90, None, None]
    assert [positive(value) for value in (-1, 0, 1, 2**32 - 1, None)] == [None, None, 1, None, None]
