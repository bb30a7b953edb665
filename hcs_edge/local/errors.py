"""Errors of the local cluster. The message says what to do about it."""


class LocalClusterError(Exception):
    """The local cluster could not do what was asked."""


class ProgramFailedError(LocalClusterError):
    """A program ended or did not become ready in time; the message holds its last words."""
