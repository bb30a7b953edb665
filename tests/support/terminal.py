"""A command whose stderr is a terminal, for what only people shall see."""

import contextlib
import os
import pty
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RUN_TIMEOUT_S = 60
READ_BYTES = 4_096


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str  # into a pipe
    screen: str  # all that was ever written to the terminal, what was erased again too


def on_terminal(arguments: Sequence[str], env: Mapping[str, str]) -> Ended:
    """Run a command to its end."""
    ours, theirs = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how the last writer's end shows
            while chunk := os.read(ours, READ_BYTES):
                written.append(chunk)

    with subprocess.Popen(
        arguments,
        env={**env, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        try:
            stdout, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        finally:
            process.kill()
            reader.join()
            os.close(ours)
    return Ended(process.returncode, stdout, b"".join(written).decode())
