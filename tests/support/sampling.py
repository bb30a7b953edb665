"""Sampling simulated cards: a detector in a process of its own, and libraries that lack functions.

`python -m tests.support.sampling VENDOR [SYSFS]` is the child: as `tests.support.simulated`, with
one more command, `sample`.
"""

import itertools
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from hcs_agents.detectors.port import DetectorError, Reading
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.names import Vendor
from tests.support import simulated
from tests.support.simulated import CHECKOUT, LIBRARIES, DetectorProcess

ANSWER_S = 20.0  # far more than any call takes that does not hang

SOURCES = {
    Vendor.HYGON: "rocm_smi*.c",
    Vendor.CAMBRICON: "cndev*.c",
    Vendor.MTHREADS: "mtml*.c",
}
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
    """A detector in a child process that can also be asked for samples, and for errors."""

    def __init__(
        self, vendor: Vendor, env: Mapping[str, str], *, sysfs: Path | None = None
    ) -> None:
        roots = [] if sysfs is None else [str(sysfs)]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.sampling", vendor, *roots],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(env),
            cwd=CHECKOUT,
        )
        self._unread = []
        self.opened = self._answer()

    def sample(self) -> list[Reading]:
        """Return what the cards do."""
        return msgspec.convert(self._ask("sample"), list[Reading])

    def begin(self, command: str) -> None:
        """Give a command without waiting for its answer."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{command}\n")
        self._child.stdin.flush()

    def has_answered(self, timeout_s: float) -> bool:
        """Wait for the answer to a command, for `timeout_s` at most."""
        assert self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], timeout_s)[0])

    def end(self) -> list[Reading]:
        """Return the answer to `begin("sample")`, which has to come now."""
        assert self.has_answered(ANSWER_S), "the call never returned"
        return msgspec.convert(self._answer()["ok"], list[Reading])

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


def build_without(vendor: Vendor, directory: Path, *functions: str) -> Path:
    """Build a vendor's library without some of its functions; return the directory it is in."""
    sources = sorted((CHECKOUT / "c/sim").glob(SOURCES[vendor]))
    scenario = [CHECKOUT / "c/sim" / name for name in ("scenario.c", "scenario_parse.c")]
    renamed = [f"-D{function}=removed_{function}" for function in functions]
    library = directory / LIBRARIES[vendor]
    command = ["cc", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", *renamed]
    subprocess.run([*command, "-o", library, *sources, *scenario], check=True)
    return directory


def _main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    detector = simulated._detector(Vendor(sys.argv[1]), *map(Path, sys.argv[2:]))
    for line in itertools.chain(["open"], sys.stdin):
        try:
            sampling = line.strip() == "sample"
            result = detector.sample() if sampling else simulated._answer(detector, line)
            answer: object = {"ok": result}
        except DetectorError as error:
            answer = {"error": type(error).__name__, "detail": str(error)}
        print(msgspec.json.encode(answer).decode(), flush=True)
    detector.close()


if __name__ == "__main__":
    _main()
