"""Programs under the interceptor on simulated cards: build them, run them, look at the evidence."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hcs_agents.simulation.scenario import Scenario, SimDevice, encode
from hcs_bus.names import NodeName, Vendor

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = CHECKOUT / "c" / "interceptor"
PROGRAMS = CHECKOUT / "tests" / "c" / "programs"
BUILD = CHECKOUT / "c" / "build"
SIMULATED = BUILD / "sim"
INTERCEPTOR = BUILD / "interceptor" / "libhcs_interceptor.so"
LIBRARIES = ("libcuda.so.1", "libcudart.so.12", "libascendcl.so")

MIB = 1024 * 1024
CARD_BYTES = 1024 * MIB
CUDA_GRANULARITY_BYTES = 512
ACL_PADDING_BYTES = 32
CUDA_OUT_OF_MEMORY = 2
ACL_OUT_OF_MEMORY = 207001

DEVICES_MAX = 64  # HCS_SIM_DEVICES_MAX
GPUS = tuple(f"GPU-5ec0ffee-0000-4000-8000-00000000000{number}" for number in range(2))
NPUS = ("2102314NMV0000000001", "2102314NMV0000000002")
POD_UID = "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"

COMPILE = ("cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def make(*targets: str) -> None:
    """Build targets of `c/Makefile`, given relative to `c`."""
    _run("make", "--silent", "-C", str(CHECKOUT / "c"), *targets)


def build_libraries() -> None:
    """Build the interceptor and the simulated runtimes."""
    make(
        str(INTERCEPTOR.relative_to(CHECKOUT / "c")),
        *(str((SIMULATED / name).relative_to(CHECKOUT / "c")) for name in LIBRARIES),
    )


def compile_c(output: Path, *arguments: str) -> Path:
    """Compile a C program; `arguments` are sources and options."""
    _run(*COMPILE, "-o", str(output), *arguments, "-ldl", "-pthread")
    return output


def link(name: str) -> str:
    """Return the option that links with a simulated library."""
    return str(SIMULATED / name)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def node(node_name: str = "sim") -> Scenario:
    """Return a node with two cards of each vendor, all of `CARD_BYTES`."""
    nvidia = (SimDevice(vendor=Vendor.NVIDIA, model="NVIDIA A100", id=id_, pci=f"0000:0{n}:00.0",
                        vram_bytes=CARD_BYTES) for n, id_ in enumerate(GPUS))  # fmt: skip
    huawei = (SimDevice(vendor=Vendor.HUAWEI, model="910B3", id=id_, pci=f"0000:1{n}:00.0",
                        vram_bytes=CARD_BYTES) for n, id_ in enumerate(NPUS))  # fmt: skip
    return Scenario(node=NodeName(node_name), devices=(*nvidia, *huawei))


class Program:
    """A running `commands` program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, command: str) -> list[int]:
        """Send a command and return the numbers of the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"{command}: the program ended with {self.process.wait()}"
        return [int(number) for number in answer.split()]

    def begin(self, device: int = 0) -> "Program":
        """Initialise the runtime and choose a card."""
        assert self.ask("begin") == [0]
        assert self.ask(f"device {device}") == [0]
        return self

    def kill(self) -> None:
        """End it with SIGKILL and wait for it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> int:
        """Let it end by itself; return the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=30)


@dataclass
class Rig:
    """One node's scenario and one container's ledger, in a directory."""

    directory: Path
    programs: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scenario.write_text(encode(node()))

    @property
    def scenario(self) -> Path:
        """The simulated node."""
        return self.directory / "sim.ini"

    @property
    def card_memory(self) -> Path:
        """The simulated cards' own books."""
        return self.directory / "sim.ini.memory"

    @property
    def ledger(self) -> Path:
        """The container's ledger."""
        return self.directory / "ledger"

    def environment(self, **settings: str) -> dict[str, str]:
        """Return a container's environment: simulated cards, the interceptor, `settings`."""
        return {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(SIMULATED),
            "LD_PRELOAD": str(INTERCEPTOR),
            "HCS_SIM_SCENARIO": str(self.scenario),
            "HCS_LEDGER": str(self.ledger),
            **self.settings,
            **settings,
        }

    @contextmanager
    def run(self, name: str, **settings: str) -> Iterator[Program]:
        """Run `commands` in one of its forms, such as "cuda_linked" or "acl_ctypes"."""
        runtime, _, way = name.partition("_")
        script = [sys.executable, "-I", str(PROGRAMS / "commands.py"), runtime]
        command = script if way == "ctypes" else [str(self.programs / name)]
        with (
            (self.directory / "stderr").open("a") as stderr,
            subprocess.Popen(
                command,
                env=self.environment(**settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            try:
                yield Program(process)
            finally:
                process.kill()

    def stderr(self) -> str:
        """Return what all programs said on stderr."""
        return (self.directory / "stderr").read_text()

    def peak_bytes(self, card: int = 0) -> int:
        """Return the most that the simulated card ever had allocated, by the card's own books."""
        raw = self.card_memory.read_bytes()
        peaks = struct.unpack_from(f"={DEVICES_MAX}Q", raw, 8)
        return int(peaks[card])

    def account(self) -> dict[str, int]:
        """Return the ledger's numbers for the first card."""
        done = subprocess.run(
            [str(self.programs / "ledger_dump"), str(self.ledger)],
            capture_output=True,
            check=True,
        )
        numbers: dict[str, int] = json.loads(done.stdout)
        return numbers
