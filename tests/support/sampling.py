"""Sampling simulated cards: calls into libraries that are counted, that hang, that are missing.

`python -m tests.support.sampling VENDOR [SYSFS]` is the child: as `tests.support.simulated`, with
one more command, `calls`.
"""

import select
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pynvml

from hcs_agents.detectors.calls import Calls
from hcs_agents.detectors.huawei_abi import Dcmi
from hcs_agents.detectors.port import Detector, Reading
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.names import Vendor
from tests.support import simulated
from tests.support.simulated import LIBRARIES, DetectorProcess

ANSWER_S = 20.0  # far more than any call takes that does not hang
BLOCKED_S = 0.1  # a call that is not blocked has come back by then
OF_THREADS = "dcmi_get_fault_event"  # which wait for events beside the sampling

WORKING: dict[str, int | str] = {
    "memory_used_bytes": 3 * 1024**3,
    "utilization_percent": 87,
    "memory_utilization_percent": 41,
    "power_mw": 312_500,
    "temperature_c": 71,
    "memory_temperature_c": 83,
    "core_clock_mhz": 1_234,
    "memory_clock_mhz": 1_593,
    "throttle": "thermal",
    "ecc_corrected": 5,
    "ecc_uncorrected": 2,
    "pcie_replays": 9,
    "link_errors": 4,
    "pcie_generation": 3,
    "pcie_width": 8,
}
"""Everything that changes while a card works, each with a value of its own."""


class SamplingProcess(DetectorProcess):
    """A detector in a child process whose calls may hang, fail, and are counted."""

    module = "tests.support.sampling"

    def calls(self) -> Counter[str]:
        """Return how often each function was called or looked for since this was last asked."""
        return Counter(self._ask("calls"))

    def open(self) -> None:
        """Open a detector that is closed."""
        self._ask("open")

    def begin(self, command: str) -> None:
        """Give a command without waiting for its answer."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{command}\n")
        self._child.stdin.flush()

    def has_answered(self, timeout_s: float) -> bool:
        """Wait for the answer to a command, for `timeout_s` at most."""
        assert self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], timeout_s)[0])

    def is_blocked(self) -> bool:
        """Say whether the answer to what was begun does not come."""
        return not self.has_answered(BLOCKED_S)

    def finish(self) -> Any:
        """Return the answer to what was begun, which has to come now, as it is."""
        assert self.has_answered(ANSWER_S), "the call never returned"
        return self._answer()["ok"]

    def end(self) -> list[Reading]:
        """Return the answer to `begin("sample")`, which has to come now."""
        return msgspec.convert(self.finish(), list[Reading])

    def error_of(self, command: str) -> str:
        """Return the name of the error that a command ends in."""
        self.begin(command)
        return str(self._answer()["error"])


def put(file: ScenarioFile, number: int, **fields: int | str) -> None:
    """Change what a card is like."""

    def change(scenario: Scenario) -> Scenario:
        device = msgspec.structs.replace(scenario.devices[number], **fields)
        before, after = scenario.devices[:number], scenario.devices[number + 1 :]
        return msgspec.structs.replace(scenario, devices=(*before, device, *after))

    file.update(change)


def drivers_down(file: ScenarioFile, vendors: str) -> None:
    """Unload these vendors' drivers and load the others."""
    file.update(lambda scenario: msgspec.structs.replace(scenario, drivers_down=vendors))


def without(libraries: Path, target: Path, vendor: Vendor, *functions: str) -> Path:
    """Make a variant of a library where some functions have other names; return its directory."""
    content = (libraries / LIBRARIES[vendor]).read_bytes()
    for function in functions:
        name, other = f"\0{function}\0".encode(), f"\0{function[:-1]}_\0".encode()
        assert name in content, f"there is no {function} to leave out"
        content = content.replace(name, other)
    (target / LIBRARIES[vendor]).write_bytes(content)
    return target


def _main() -> None:
    calls: list[str] = []
    look_up, answer = pynvml._nvmlGetFunctionPointer, simulated._answer
    call_dcmi, call_any = Dcmi.call, Calls.__call__

    def counted_look_up(name: str) -> object:
        calls.append(name)
        return look_up(name)

    def counted_dcmi(dcmi: Dcmi, name: str, *arguments: object) -> int:
        if name != OF_THREADS:
            calls.append(name)
        return call_dcmi(dcmi, name, *arguments)

    def counted_any(library: Calls, name: str, *arguments: object) -> int:
        calls.append(name)
        return call_any(library, name, *arguments)

    def answer_more(detector: Detector, command: str) -> object:
        if command.strip() != "calls":
            return answer(detector, command)
        counted = list(calls)
        calls.clear()
        return counted

    mock.patch.object(pynvml, "_nvmlGetFunctionPointer", counted_look_up).start()
    mock.patch.object(Dcmi, "call", counted_dcmi).start()
    mock.patch.object(Calls, "__call__", counted_any).start()
    mock.patch.object(simulated, "_answer", answer_more).start()
    simulated._main()


if __name__ == "__main__":
    _main()
