"""A sampled detector whose calls into its library are counted, for NVIDIA and Huawei.

`python -m tests.support.counted VENDOR` is its process: as `tests.support.sampling`, with one more
command, `calls`.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pynvml

from hcs_agents.detectors.huawei_abi import Dcmi
from hcs_agents.detectors.port import Detector
from hcs_bus.names import Vendor
from tests.support import sampling, simulated
from tests.support.sampling import SamplingProcess
from tests.support.simulated import CHECKOUT, LIBRARIES

BLOCKED_S = 0.1  # a call that is not blocked has come back by then
OF_THREADS = "dcmi_get_fault_event"  # which wait for events beside the sampling


def without(libraries: Path, target: Path, vendor: Vendor, *functions: str) -> Path:
    """Make a variant of a library where some functions have other names; return its directory."""
    content = (libraries / LIBRARIES[vendor]).read_bytes()
    for function in functions:
        name, other = f"\0{function}\0".encode(), f"\0{function[:-1]}_\0".encode()
        assert name in content, f"there is no {function} to leave out"
        content = content.replace(name, other)
    (target / LIBRARIES[vendor]).write_bytes(content)
    return target


class CountedProcess(SamplingProcess):
    """See the module's docstring."""

    def __init__(self, vendor: Vendor, env: Mapping[str, str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.counted", vendor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(env),
            cwd=CHECKOUT,
        )
        self._unread = []
        self.opened = self._answer()

    def calls(self) -> Counter[str]:
        """Return how often each function was called or looked for since this was last asked."""
        return Counter(self._ask("calls"))

    def open(self) -> None:
        """Open a detector that is closed."""
        self._ask("open")

    def is_blocked(self) -> bool:
        """Say whether the answer to what was begun does not come."""
        return not self.has_answered(BLOCKED_S)

    def finish(self) -> Any:
        """Return the answer to what was begun, as it is."""
        assert self.has_answered(sampling.ANSWER_S), "the call never returned"
        return self._answer()["ok"]


def _main() -> None:
    calls: list[str] = []
    look_up, call, answer = pynvml._nvmlGetFunctionPointer, Dcmi.call, simulated._answer

    def counted_look_up(name: str) -> object:
        calls.append(name)
        return look_up(name)

    def counted_call(dcmi: Dcmi, name: str, *arguments: object) -> int:
        if name != OF_THREADS:
            calls.append(name)
        return call(dcmi, name, *arguments)

    def answer_more(detector: Detector, command: str) -> object:
        if command.strip() != "calls":
            return answer(detector, command)
        counted = list(calls)
        calls.clear()
        return counted

    mock.patch.object(pynvml, "_nvmlGetFunctionPointer", counted_look_up).start()
    mock.patch.object(Dcmi, "call", counted_call).start()
    mock.patch.object(simulated, "_answer", answer_more).start()
    sampling._main()


if __name__ == "__main__":
    _main()
