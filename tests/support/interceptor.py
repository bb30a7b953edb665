"""Programs under the interceptor on simulated cards: build them, run them, look at the evidence."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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
RUNTIMES = {
    "cuda": "libcuda.so.1",
    "cudart": "libcudart.so.12",
    "acl": "libascendcl.so",
    "rt": "libruntime.so",
    "hip": "libamdhip64.so",
    "cnrt": "libcnrt.so",
    "cndrv": "libcndrv.so",
    "musart": "libmusart.so",
    "musa": "libmusa.so",
}
"""The library that a program of each runtime is linked with."""

MIB = 1024 * 1024
CARD_BYTES = 1024 * MIB
CUDA_GRANULARITY_BYTES = 512
HIP_GRANULARITY_BYTES = 4096
ACL_PADDING_BYTES = 32
ACL_PAGE_BYTES = 4096
SMALLEST_BLOCK_BYTES = {
    "cuda": CUDA_GRANULARITY_BYTES,
    "cudart": CUDA_GRANULARITY_BYTES,
    "acl": ACL_PAGE_BYTES,
    "rt": ACL_PAGE_BYTES,
    "hip": HIP_GRANULARITY_BYTES,
    "cnrt": 1,
    "cndrv": 1,
    "musart": CUDA_GRANULARITY_BYTES,
    "musa": CUDA_GRANULARITY_BYTES,
}
"""What a block of one byte takes."""

CUDA_OUT_OF_MEMORY = 2
ACL_OUT_OF_MEMORY = 207001
CAMBRICON_OUT_OF_MEMORY = 100100
OUT_OF_MEMORY = {
    "acl": ACL_OUT_OF_MEMORY,
    "rt": ACL_OUT_OF_MEMORY,
    "cnrt": CAMBRICON_OUT_OF_MEMORY,
    "cndrv": CAMBRICON_OUT_OF_MEMORY,
}
"""The runtimes' own codes; all others have CUDA's."""

DEVICES_MAX = 64  # HCS_SIM_DEVICES_MAX
SIM_PROCESSES_MAX = 256
SIM_PROCESSES_AT = 8 + 8 * (3 * DEVICES_MAX + 1)  # hcs_sim_card_memory.processes
PID_SHIFT = 40  # of process.h's word
GPUS = tuple(f"GPU-5ec0ffee-0000-4000-8000-00000000000{number}" for number in range(2))
NPUS = ("2102314NMV0000000001", "2102314NMV0000000002")
CARDS = {
    Vendor.NVIDIA: ("NVIDIA A100", GPUS),
    Vendor.HUAWEI: ("910B3", NPUS),
    Vendor.HYGON: ("K100_AI", ("1000000000000001", "1000000000000002")),
    Vendor.CAMBRICON: ("MLU370-X8", ("MLU-1", "MLU-2")),
    Vendor.MTHREADS: ("MTT S4000", ("MT-1", "MT-2")),
}
VENDORS = {
    "cuda": Vendor.NVIDIA,
    "cudart": Vendor.NVIDIA,
    "acl": Vendor.HUAWEI,
    "rt": Vendor.HUAWEI,
    "hip": Vendor.HYGON,
    "cnrt": Vendor.CAMBRICON,
    "cndrv": Vendor.CAMBRICON,
    "musart": Vendor.MTHREADS,
    "musa": Vendor.MTHREADS,
}
POD_UID = "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"

COMPILE = ("cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SANITIZE_THREADS = ("-fsanitize=thread",)


def make(*targets: str) -> None:
    """Build targets of `c/Makefile`, given relative to `c`."""
    _run("make", "--silent", "-C", str(CHECKOUT / "c"), *targets)


def build_libraries() -> None:
    """Build the interceptor and the simulated runtimes."""
    make(str(INTERCEPTOR.relative_to(CHECKOUT / "c")), "runtimes", "management")


def compile_c(output: Path, *arguments: str) -> Path:
    """Compile a C program; `arguments` are sources and options."""
    beside = f"-Wl,-rpath-link,{SIMULATED}"  # what a simulated library needs itself
    _run(*COMPILE, "-o", str(output), *arguments, beside, "-ldl", "-pthread")
    return output


def link(name: str) -> str:
    """Return the option that links with a simulated library."""
    return str(SIMULATED / name)


def library_without(directory: Path, library: str, function: str) -> str:
    """Put a simulated library without one of its functions there; return where to look for all."""
    exported = (SIMULATED / library).read_bytes()
    name, another = (f"\0{letter}{function[1:]}\0".encode() for letter in (function[0], "_"))
    assert name in exported  # another name may end as this one does, and share its letters
    (directory / library).write_bytes(exported.replace(name, another))
    return f"{directory}:{SIMULATED}"


def compile_commands(
    output: Path,
    runtime: str,
    *arguments: str,
    program: tuple[str, str] = ("commands.c", "runtime"),
) -> Path:
    """Compile a program that takes commands, for one runtime."""
    source, prefix = program
    header = f'-DRUNTIME="{prefix}_{runtime}.h"'
    return compile_c(output, str(PROGRAMS / source), header, *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def node(
    node_name: str = "sim", *, card_bytes: int = CARD_BYTES, context_bytes: int = 0
) -> Scenario:
    """Return a node with two cards of each vendor, all of `card_bytes`."""
    devices = (
        SimDevice(vendor=vendor, model=model, id=id_, pci=f"0000:{bus:x}{n}:00.0",
                  vram_bytes=card_bytes, context_bytes=context_bytes)
        for bus, (vendor, (model, ids)) in enumerate(CARDS.items())
        for n, id_ in enumerate(ids)
    )  # fmt: skip
    return Scenario(node=NodeName(node_name), devices=tuple(devices))


def first_card(runtime: str) -> int:
    """Return the number, over the whole node, of the first card that a runtime sees."""
    return 2 * list(CARDS).index(VENDORS[runtime])


class Program:
    """A running `commands` program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, command: str) -> list[int]:
        """Send a command and return the numbers of the answer."""
        self.send(command)
        return self.answer()

    def send(self, command: str) -> None:
        """Send a command whose answer takes its time."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> list[int]:
        """Return the numbers of the next answer."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        assert answer, f"the program ended with {self.process.wait()}"
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
    card_bytes: int = CARD_BYTES
    context_bytes: int = 0

    def __post_init__(self) -> None:
        made = node(card_bytes=self.card_bytes, context_bytes=self.context_bytes)
        self.scenario.write_text(encode(made))

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
    def run(self, name: str, *, behind: Sequence[str] = (), **settings: str) -> Iterator[Program]:
        """Run `commands` in one of its forms, such as "cuda_linked" or "acl_ctypes".

        `behind` is a command that executes the one which is put at its end.
        """
        runtime, _, way = name.partition("_")
        script = [sys.executable, "-I", str(PROGRAMS / "commands.py"), runtime]
        command = script if way == "ctypes" else [str(self.programs / name)]
        with (
            (self.directory / "stderr").open("a") as stderr,
            subprocess.Popen(
                [*behind, *command],
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

    def held_bytes(self, card: int = 0) -> dict[int, int]:
        """Return who holds how much of the simulated card now, by the card's own books.

        A killed process is in them until somebody needs what it held.
        """
        raw = self.card_memory.read_bytes() if self.card_memory.exists() else b""
        entry = struct.Struct(f"={1 + DEVICES_MAX}Q")
        end = SIM_PROCESSES_AT + SIM_PROCESSES_MAX * entry.size
        entries = entry.iter_unpack(raw[SIM_PROCESSES_AT:end])
        return {process >> PID_SHIFT: held[card] for process, *held in entries if process}

    def busy_ns(self, card: int = 0) -> int:
        """Return how long the simulated card has worked up to now, by the card's own books."""
        raw = self.card_memory.read_bytes()
        busy, until = (
            struct.unpack_from("=Q", raw, 8 + 8 * (DEVICES_MAX * column + card))[0]
            for column in (1, 2)
        )
        return int(busy - max(0, until - time.monotonic_ns()))

    def account(self) -> dict[str, int]:
        """Return the ledger's numbers for the first card."""
        done = subprocess.run(
            [str(self.programs / "ledger_dump"), str(self.ledger)],
            capture_output=True,
            check=True,
        )
        numbers: dict[str, int] = json.loads(done.stdout)
        return numbers
