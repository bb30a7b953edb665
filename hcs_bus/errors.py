"""Errors named by what the caller does next. A docstring is the default message."""


class BusError(Exception):
    """Something about the bus went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class TransientError(BusError):
    """The bus did not answer; the same call may succeed later."""


class ConflictError(BusError):
    """Somebody else appended first: catch up, decide again."""


class PoisonEventError(BusError):
    """The message can never be understood: park it, count it, go on."""


class UnknownKindError(BusError):
    """A kind from a newer version: skip it, count it, go on."""


class LogGapError(BusError):
    """Messages are missing from the log: the projection can no longer be trusted."""


class SpoolFullError(BusError):
    """The spool has no room: it holds nothing that may be dropped, or its disk is full."""


class ConfigError(BusError):
    """The configuration names something that does not exist or is not allowed."""
