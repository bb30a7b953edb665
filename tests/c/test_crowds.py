"""Sixteen programs that know nothing of HCS contend for one quota, and some of them are killed.

The evidence is the simulated card's own: it keeps the most that it ever had allocated, counted
under a lock with each allocation, so that no moment escapes it; and who holds how much now.

The same contention on an interceptor that is built to ask in the wrong order ends above the quota:
what is shown here depends on the reservation coming before the allocation.
"""

import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hcs_agents.simulation.scenario import encode
from tests.support.interceptor import (
    CARD_BYTES,
    CHECKOUT,
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    RUNTIMES,
    SMALLEST_BLOCK_BYTES,
    Program,
    Rig,
    first_card,
    node,
)

PROGRAMS = 16
KILLS = 8
QUOTA_BLOCKS = 256  # of the runtime's smallest
BLOCKS_AT_ONCE_MAX = 16
REFUSALS = 200  # so often there was too little for somebody
ALLOCATION_US = 500  # what the simulated driver takes for one
PATIENCE_S = 60.0
SEED = 16
PLAIN = ""  # what a runtime's program allocates if it is told nothing
BLOCK_BYTES = {
    ("cuda", "async"): 32 * MIB,  # what a pool grows by
    ("hip", "async"): 2 * MIB,
    ("cuda", "physical"): 2 * MIB,
    ("hip", "physical"): 2 * MIB,
}
FORMS = [
    *(
        pytest.param(f"{runtime}_{way}", PLAIN, id=f"{runtime}-{way}")
        for runtime in RUNTIMES
        for way in ("linked", "ctypes")
    ),
    *(
        pytest.param(f"{runtime}_linked", kind, id=f"{runtime}-linked-{kind}")
        for runtime, kind in BLOCK_BYTES
    ),
]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@dataclass
class Crowd:
    """The programs of one container, each a C program or a Python one, all at work at once."""

    rig: Rig
    form: str
    stack: ExitStack
    kind: str = PLAIN
    programs: list[Program] = field(default_factory=list)

    @property
    def runtime(self) -> str:
        """What all of them use."""
        return self.form.partition("_")[0]

    @property
    def block_bytes(self) -> int:
        """The unit of what they get."""
        smallest = SMALLEST_BLOCK_BYTES[self.runtime]
        return BLOCK_BYTES.get((self.runtime, self.kind), smallest)

    @property
    def fill(self) -> str:
        """The command to take all that is left: a plain block of one byte takes a whole unit."""
        return f"fill {1 if self.kind == PLAIN else self.block_bytes}"

    @property
    def quota_bytes(self) -> int:
        """What they have together."""
        return QUOTA_BLOCKS * self.block_bytes

    @property
    def full(self) -> int:
        """The runtime's own code for a refusal."""
        return OUT_OF_MEMORY.get(self.runtime, CUDA_OUT_OF_MEMORY)

    def start(self) -> Program:
        """Let one more use the card, and hold nothing yet."""
        program = self.stack.enter_context(
            self.rig.run(
                self.form,
                HCS_VRAM_QUOTA=str(self.quota_bytes),
                HCS_SIM_ALLOC_DELAY_US=str(ALLOCATION_US),
                HCS_DEBUG="1",
            )
        )
        self.programs.append(program.begin())
        if self.kind != PLAIN:
            assert program.ask(f"kind {self.kind}") == [0]
        return program

    def set_to_work(self, program: Program) -> None:
        """Let it allocate and free at random."""
        program.send(f"churn {BLOCKS_AT_ONCE_MAX * self.block_bytes}")

    def held_bytes(self) -> dict[int, int]:
        """Return what each living program holds, by the card's own books."""
        held = self.rig.held_bytes(first_card(self.runtime))
        return {one.process.pid: held.get(one.process.pid, 0) for one in self.programs}

    def kill_one(self, choice: random.Random) -> None:
        """Kill one that holds memory, in the midst of its work."""
        victim = choice.choice(self.programs)
        wait_until(lambda: self.held_bytes()[victim.process.pid] > 0)
        victim.kill()
        self.programs.remove(victim)

    def wait_until_each_had_some(self) -> None:
        """Wait until nobody can say that the others left nothing."""
        waiting = {program.process.pid for program in self.programs}

        def all_had_some() -> bool:
            waiting.difference_update(pid for pid, held in self.held_bytes().items() if held)
            return not waiting

        wait_until(all_had_some)

    def contend(self, *, kills: int = 0) -> None:
        """Let all of them at the quota and kill so many, until there often was too little."""
        choice = random.Random(SEED)
        while len(self.programs) < PROGRAMS:
            self.start()
        for program in self.programs:
            self.set_to_work(program)
        wait_until(lambda: any(self.held_bytes().values()))
        for _ in range(kills):
            self.kill_one(choice)
            self.set_to_work(self.start())
        self.wait_until_each_had_some()
        refusals = self.rig.account()["refusals"]
        wait_until(lambda: self.rig.account()["refusals"] >= refusals + REFUSALS)
        for program in self.programs:
            program.send("stop")
        for program in self.programs:
            granted, _ = program.answer()
            assert granted > 0
            assert program.answer() == [0]
        assert self.rig.stderr() == ""  # each of them was enforced

    def drop(self, program: Program) -> None:
        """Let it free all; what is a pool's is given back when the program waits for the card."""
        assert program.ask("drop") == [0]
        if self.kind == "async":
            assert program.ask("extra synchronize") == [0]

    def peak_bytes(self) -> int:
        """Return the most that there ever was, by the card's own books."""
        return self.rig.peak_bytes(first_card(self.runtime))


@contextmanager
def crowd_of(rig: Rig, form: str, kind: str = PLAIN) -> Iterator[Crowd]:
    """Give a container in which nothing runs yet; at the end nothing runs any more."""
    with ExitStack() as stack:
        crowd = Crowd(rig, form, stack, kind)
        rig.scenario.write_text(encode(node(card_bytes=max(CARD_BYTES, 2 * crowd.quota_bytes))))
        yield crowd


def check_that_nothing_is_lost(crowd: Crowd) -> None:
    """All the quota can be had: beside what the others hold, and by one alone."""
    one = crowd.programs[0]
    # What the others left, and what the dead had, is this one's to take.
    assert one.ask(crowd.fill)[0] == crowd.full
    left_bytes = crowd.quota_bytes - sum(crowd.held_bytes().values())
    assert 0 <= left_bytes < crowd.block_bytes
    assert crowd.rig.account()["used"] == crowd.quota_bytes - left_bytes
    for program in crowd.programs:
        crowd.drop(program)
    assert set(crowd.held_bytes().values()) == {0}
    assert one.ask(crowd.fill) == [crowd.full, QUOTA_BLOCKS]
    assert crowd.held_bytes()[one.process.pid] == crowd.quota_bytes
    assert crowd.rig.account()["pending"] == 0
    crowd.drop(one)


@pytest.mark.parametrize(("form", "kind"), FORMS)
def test_sixteen_at_a_time_reach_the_quota_and_never_exceed_it(
    rig: Rig, form: str, kind: str
) -> None:
    with crowd_of(rig, form, kind) as crowd:
        crowd.contend()
        check_that_nothing_is_lost(crowd)
        assert crowd.peak_bytes() == crowd.quota_bytes
        crowd.contend(kills=KILLS)
        assert len(crowd.programs) == PROGRAMS
        check_that_nothing_is_lost(crowd)
        assert crowd.peak_bytes() == crowd.quota_bytes


# --- And when the reservation does not come first -------------------------------------------------

RIGHT = """
        hcs_charge charge = RESERVATION;
        int result = OUT_OF_MEMORY;
        if (charge != HCS_REFUSED) {
            result = real ARGUMENTS;
            hcs_settle(charge, result == 0 ? (KEY) : 0);
        }
"""
"""What `HCS_ALLOCATION` of `hooks.h` does."""

AFTERWARDS = """
        int result = real ARGUMENTS;
        hcs_charge charge = result == 0 ? RESERVATION : HCS_UNENFORCED;
        if (charge == HCS_REFUSED) {
            cuMemFree_v2(KEY);
            result = OUT_OF_MEMORY;
        } else {
            hcs_settle(charge, result == 0 ? (KEY) : 0);
        }
"""
LOOK_BEFORE = """
        hcs_charge look = RESERVATION;
        if (look == HCS_REFUSED) {
            hcs_leave();
            return OUT_OF_MEMORY;
        }
        hcs_settle(look, 0);
"""
UNDO = "HCS_HOOK int cuMemFree_v2(uint64_t block);\n"


def interceptor_that_does(instead: str, directory: Path) -> Path:
    """Build the interceptor with something else in the place of `RIGHT`; return the library."""
    copy = directory / "c"
    shutil.copytree(CHECKOUT / "c", copy, ignore=shutil.ignore_patterns("build"))
    hooks = copy / "interceptor" / "hooks.h"
    # Each line of a macro ends with a backslash, in whatever column.
    lines = (re.escape(line.strip()) for line in RIGHT.strip().splitlines())
    macro = instead.strip().replace("\n", "\\\n") + "\\\n"
    text, found = re.subn(
        r"\s*\\\n\s*".join(lines) + r"\s*\\\n", lambda _: macro, hooks.read_text()
    )
    assert found == 1
    end = text.rindex("#endif")
    hooks.write_text(text[:end] + UNDO + text[end:])
    library = "build/interceptor/libhcs_interceptor.so"
    subprocess.run(["make", "--silent", "-C", str(copy), "CFLAGS=-O1", library], check=True)
    return copy / library


@pytest.mark.parametrize(
    ("order", "most_alone"),
    [
        pytest.param(RIGHT, 16, id="before"),
        pytest.param(AFTERWARDS, 17, id="afterwards"),
        # Nobody is found out alone who looks before he allocates: only others come in between.
        pytest.param(LOOK_BEFORE + AFTERWARDS, 16, id="afterwards, but with a look before"),
    ],
)
def test_only_a_reservation_before_the_allocation_keeps_the_quota(
    rig: Rig, order: str, most_alone: int
) -> None:
    library = interceptor_that_does(order, rig.directory)
    rig.settings["LD_PRELOAD"] = str(library)
    quota_bytes = 16 * MIB
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(quota_bytes)) as program:
        assert program.begin().ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 16]
    assert rig.peak_bytes() == most_alone * MIB
    rig.card_memory.unlink()
    with crowd_of(rig, "cuda_linked") as crowd:
        crowd.contend()
        exceeds = crowd.peak_bytes() > crowd.quota_bytes
    assert exceeds == (order is not RIGHT)
