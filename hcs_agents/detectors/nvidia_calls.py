"""NVML calls as the detector's modules make them, and what a refusal means.

Three words say that the session is over: whatever was being read ends, and the library is broken.
Any other word concerns the card that was asked about, and never its neighbours. That a card has
fallen off the bus ends what was being read of it; otherwise a refusal concerns the one value.
"""

import contextlib
import ctypes
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias, TypeVar

import pynvml

from hcs_agents.detectors.port import LibraryBrokenError

UNSUPPORTED = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
SESSION_OVER = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
ENDS_READING = (pynvml.NVML_ERROR_GPU_IS_LOST, *SESSION_OVER)
PASSING = (
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_IRQ_ISSUE,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_OPERATING_SYSTEM,
    pynvml.NVML_ERROR_IN_USE,
    pynvml.NVML_ERROR_MEMORY,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES,
    pynvml.NVML_ERROR_NOT_READY,
    pynvml.NVML_ERROR_UNKNOWN,
)
"""The card may answer another time; whoever asks only once must not take these for the answer."""
FIELD_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
}
"""Which member of a field value's union the driver has written; the others may hold anything."""

Handle: TypeAlias = ctypes.c_void_p
Value = TypeVar("Value")


@contextlib.contextmanager
def wrap_exceptions(what: str) -> Iterator[None]:
    """Let what NVML refuses look as the port says."""
    try:
        yield
    except (pynvml.NVMLError, UnicodeDecodeError) as error:
        raise LibraryBrokenError(f"NVML {what}: {error}") from error


@contextlib.contextmanager
def unless_refused() -> Iterator[None]:
    """Leave the block when a card does not answer; the detector's checks tell about it."""
    try:
        yield
    except UnicodeDecodeError:  # a text that is none
        return
    except pynvml.NVMLError as error:
        if error.value in SESSION_OVER:
            raise


def told(default: Value, function: Callable[..., Value], *arguments: object) -> Value:
    """Return what NVML answers, or `default` when it does not tell this."""
    return Inquiry().told(default, function, *arguments)


def field_value(field: "pynvml.c_nvmlFieldValue_t") -> int | None:
    """Return one result of `nvmlDeviceGetFieldValues`; `None` when it is not told."""
    if field.nvmlReturn in ENDS_READING:
        raise pynvml.NVMLError(field.nvmlReturn)
    member = FIELD_MEMBERS.get(field.valueType)
    if field.nvmlReturn != pynvml.NVML_SUCCESS or member is None:
        return None
    return int(getattr(field.value, member))


class Inquiry:
    """Questions that are asked once: it knows whether an answer was only put off."""

    def __init__(self) -> None:
        self.is_complete = True

    def told(self, default: Value, function: Callable[..., Value], *arguments: object) -> Value:
        """Return what NVML answers, or `default`."""
        try:
            return function(*arguments)
        except UnicodeDecodeError:  # a text that is none
            return default
        except pynvml.NVMLError as error:
            if error.value in ENDS_READING:
                raise
            self.is_complete &= error.value not in PASSING
            return default


class Questions:
    """Questions to one card that come again and again: what it cannot tell is not asked twice."""

    def __init__(self, handle: Handle, refused: set[Hashable]) -> None:
        self._handle = handle
        self._refused = refused  # kept by the caller

    def ask(self, function: Callable[..., Value], *arguments: int) -> Value | None:
        """Return NVML's answer, or `None`."""
        question = (function.__name__, *arguments)
        if question in self._refused:
            return None
        try:
            return function(self._handle, *arguments)
        except pynvml.NVMLError as error:
            if error.value in ENDS_READING:
                raise
            if error.value in UNSUPPORTED:
                self._refused.add(question)
            return None

    def ask_first(
        self, functions: tuple[Callable[..., Value], ...], *arguments: int
    ) -> Value | None:
        """Return the answer of the first of several names of one question that the driver knows."""
        for function in functions:
            answer = self.ask(function, *arguments)
            if answer is not None:
                return answer
        return None

    def fields(self, ids: tuple[int, ...]) -> dict[int, int]:
        """Return the field values that are told, in one call."""
        wanted = [number for number in ids if number not in self._refused]
        if not wanted:
            return {}
        fields = self.ask(_field_values, *wanted) or ()
        values = {}
        for number, field in zip(wanted, fields, strict=False):
            value = field_value(field)
            if value is not None:
                values[number] = value
            elif field.nvmlReturn in (*UNSUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                self._refused.add(number)  # an old driver calls a newer field invalid
        return values


def _field_values(handle: Handle, *ids: int) -> "Sequence[pynvml.c_nvmlFieldValue_t]":
    fields: Sequence[pynvml.c_nvmlFieldValue_t] = pynvml.nvmlDeviceGetFieldValues(handle, list(ids))
    return fields
