"""Simulated nodes for tests: the libraries, and a detector in a process of its own.

The dynamic linker reads `LD_LIBRARY_PATH` when a process starts, so whatever loads a simulated
library is a child process. `python -m tests.support.simulated VENDOR [SYSFS]` is that child: one
command per line on its standard input (`scan`, `sample`, `processes`, `wait SECONDS`, `reopen`,
`later SECONDS`), one JSON line in answer.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from hcs_agents.detectors.cambricon import CambriconDetector
from hcs_agents.detectors.huawei import HuaweiDetector
from hcs_agents.detectors.hygon import HygonDetector
from hcs_agents.detectors.mthreads import MooreThreadsDetector
from hcs_agents.detectors.nvidia import NvidiaDetector
from hcs_agents.detectors.port import (
    Detector,
    DetectorError,
    DeviceProcess,
    FaultSignal,
    Reading,
)
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import Scenario, SimLink
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import LinkType, NodeName, Vendor

CHECKOUT = Path(__file__).parents[2]
WAITS_MAX = 40  # of half a second each: far more than any fault takes
END_S = 30.0  # what a detector takes to close at most

LIBRARIES = {
    Vendor.NVIDIA: "libnvidia-ml.so.1",
    Vendor.HUAWEI: "libdcmi.so",
    Vendor.HYGON: "librocm_smi64.so.2",
    Vendor.CAMBRICON: "libcndev.so",
    Vendor.MTHREADS: "libmtml.so.2",
}
FABRICS = {
    Vendor.NVIDIA: LinkType.NVLINK,
    Vendor.HUAWEI: LinkType.HCCS,
    Vendor.HYGON: LinkType.XGMI,
    Vendor.CAMBRICON: LinkType.MLU_LINK,
    Vendor.MTHREADS: LinkType.MTLINK,
}
UNIFORM_NODES = {
    Vendor.NVIDIA: "a100-0",
    Vendor.HUAWEI: "ascend-0",
    Vendor.HYGON: "hygon-0",
    Vendor.CAMBRICON: "cambricon-0",
    Vendor.MTHREADS: "mthreads-0",
}


def every_vendor() -> Scenario:
    """Return a node with two linked cards of every vendor, in the order of the vendors."""
    fleet = {str(scenario.node): scenario for scenario in default_fleet()}
    nodes = [fleet[UNIFORM_NODES[vendor]] for vendor in Vendor]
    devices = tuple(
        msgspec.structs.replace(device, pci=f"0000:{16 * place + number:02x}:00.0")
        for place, node in enumerate(nodes, start=1)
        for number, device in enumerate(node.devices[:2])
    )
    links = tuple(
        SimLink(a=2 * place, b=2 * place + 1, type=FABRICS[vendor], lanes=1)
        for place, vendor in enumerate(Vendor)
    )
    drivers = {
        name: getattr(node, name)
        for node in nodes
        for name in Scenario.__struct_fields__
        if name.endswith("_driver") and getattr(node, name)
    }
    return Scenario(node=NodeName("every-0"), devices=devices, links=links, **drivers)


def fabric_of(devices: Iterable[DeviceFingerprint]) -> list[tuple[Link, ...]]:
    """Return the links of each card that a fabric gives it: all but those over PCIe."""
    return [
        tuple(link for link in device.links if link.type is not LinkType.PCIE) for device in devices
    ]


def build_libraries() -> Path:
    """Build the simulated management libraries and return their directory."""
    subprocess.run(["make", "-s", "-C", str(CHECKOUT / "c"), "management"], check=True)
    return CHECKOUT / "c" / "build" / "sim"


def environment(libraries: Path, scenario: Path | None) -> dict[str, str]:
    """Return the environment of a process that shall see the simulated hardware."""
    simulated = {"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(CHECKOUT)}
    if scenario is not None:
        simulated["HCS_SIM_SCENARIO"] = str(scenario)
    return {**os.environ, **simulated}


class DetectorProcess:
    """A detector in a child process; calls raise what the child answers as an error."""

    module = "tests.support.simulated"

    def __init__(
        self, vendor: Vendor, env: Mapping[str, str], *, sysfs: Path | None = None
    ) -> None:
        roots = [] if sysfs is None else [str(sysfs)]
        self._child = subprocess.Popen(
            [sys.executable, "-m", self.module, vendor, *roots],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(env),
            cwd=CHECKOUT,
        )
        self._unread: list[FaultSignal] = []
        self.opened = self._answer()  # {"error": …} when it could not be opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            if failure is None:
                self._child.stdin.close()
                code = self._child.wait(timeout=END_S)
                assert code == 0, "a detector process must never crash"
        finally:  # a test that fails says why, also when its detector hangs
            self._child.kill()
            self._child.wait()
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
            self._child.stdout.close()

    @property
    def ended(self) -> bool:
        """Say whether the process is gone."""
        return self._child.poll() is not None

    def scan(self) -> list[DeviceFingerprint]:
        """Return the fingerprint."""
        return msgspec.convert(self._ask("scan"), list[DeviceFingerprint])

    def sample(self) -> list[Reading]:
        """Return what the cards do."""
        return msgspec.convert(self._ask("sample"), list[Reading])

    def processes(self) -> list[DeviceProcess]:
        """Return who is on the cards."""
        return msgspec.convert(self._ask("processes"), list[DeviceProcess])

    def wait(self, timeout_s: float = 0.5) -> list[FaultSignal]:
        """Call `wait_faults` once."""
        return msgspec.convert(self._ask(f"wait {timeout_s}"), list[FaultSignal])

    def wait_until(self, wanted: Callable[[FaultSignal], bool]) -> FaultSignal:
        """Call `wait_faults` until a wanted signal comes; what comes behind it is kept."""
        passed: list[FaultSignal] = []
        for _ in range(WAITS_MAX):
            while self._unread:
                signal = self._unread.pop(0)
                if wanted(signal):
                    return signal
                passed.append(signal)
            self._unread += self.wait()
        raise AssertionError(f"it never came; seen: {passed}")

    def reopen(self) -> None:
        """Close and open, as after a failure."""
        self._ask("reopen")

    def later(self, seconds: float) -> None:
        """Let time pass at once, for the detectors that measure it."""
        self._ask(f"later {seconds}")

    def _ask(self, command: str) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{command}\n")
        self._child.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer
        return answer["ok"]

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer


class Clock:
    """The time, which can be put forward."""

    ahead_s = 0.0

    def __call__(self) -> float:
        """Return it."""
        return time.monotonic() + self.ahead_s


CLOCK = Clock()


def _answer(detector: Detector, command: str) -> object:
    match command.split():
        case ["open"]:
            detector.open()
            return None
        case ["scan"]:
            return detector.fingerprint()
        case ["sample"]:
            return detector.sample()
        case ["processes"]:
            return detector.processes()
        case ["wait", timeout_s]:
            return detector.wait_faults(float(timeout_s))
        case ["reopen"]:
            detector.close()
            detector.open()
            return None
        case ["later", seconds]:
            CLOCK.ahead_s += float(seconds)
            return None
    raise AssertionError(f"no command {command!r}")


def _detector(vendor: Vendor, *roots: Path) -> Detector:
    match vendor:
        case Vendor.NVIDIA:
            return NvidiaDetector(*roots, monotonic_s=CLOCK)
        case Vendor.HUAWEI:
            return HuaweiDetector(*roots)
        case Vendor.HYGON:
            return HygonDetector(*roots)
        case Vendor.CAMBRICON:
            return CambriconDetector(*roots)
        case Vendor.MTHREADS:
            return MooreThreadsDetector(*roots)


def _main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    detector = _detector(Vendor(sys.argv[1]), *map(Path, sys.argv[2:]))
    for command in itertools.chain(["open"], sys.stdin):
        try:
            answer: object = {"ok": _answer(detector, command)}
        except DetectorError as error:
            answer = {"error": type(error).__name__, "detail": str(error)}
        print(msgspec.json.encode(answer).decode(), flush=True)
    detector.close()


if __name__ == "__main__":
    _main()
