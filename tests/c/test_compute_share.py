"""A share of a card's time: measured, over all processes, and nothing else changed by it.

The simulated card counts by itself how long it worked, so every bound here is its time against the
clock's: what the interceptor measured is not asked.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from hcs_agents.simulation.operations import set_speed
from hcs_agents.simulation.scenario import ScenarioFile
from tests.support.interceptor import CARDS, GPUS, MIB, VENDORS, Program, Rig, first_card
from tests.support.launch_kinds import GRAPHS, KINDS

CREDIT_NS = 200_000_000  # what was not used may be caught up: HCS_LEDGER_CREDIT_NS
SLICE_NS = 20_000_000  # what a process launches without waiting for the end of it
SHARE = 30


@dataclass
class Use:
    """What a card did in some time."""

    busy_ns: int = 0
    elapsed_ns: int = 0

    def at_most(self, percent: int, *, processes: int = 1, kernel_ns: int = 0) -> bool:
        """Return whether that is a share of it, with what share.h says may be beyond it."""
        share_ns = (self.elapsed_ns + CREDIT_NS) * percent / 100
        return self.busy_ns <= share_ns + processes * (SLICE_NS + 2 * kernel_ns)

    @property
    def share(self) -> float:
        """The part of the time that the card worked."""
        return self.busy_ns / self.elapsed_ns


@contextmanager
def measured(rig: Rig, card: int = 0) -> Iterator[Use]:
    """Look at the card before and after."""
    use = Use()
    started_ns, busy_ns = time.monotonic_ns(), rig.busy_ns(card)
    yield use
    use.busy_ns = rig.busy_ns(card) - busy_ns
    use.elapsed_ns = time.monotonic_ns() - started_ns


def begin(program: Program, kind: str = "kernel") -> Program:
    """Begin, and launch a first kernel, which makes the card's books."""
    program.begin()
    assert program.ask("kind kernel") == [0]
    assert program.ask("launch 1 1") == [0]
    assert program.ask(f"kind {kind}") == [0]
    return program


@pytest.mark.parametrize(
    ("runtime", "kind"), [(runtime, kind) for runtime, kinds in KINDS.items() for kind in kinds]
)
def test_a_busy_program_gets_its_share_however_it_launches(
    rig: Rig, runtime: str, kind: str
) -> None:
    card = first_card(runtime)
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program, kind)
        with measured(rig, card) as use:
            result, launches = program.ask("run 1000 800")
    assert (result, launches > 10) == (0, True)
    assert use.at_most(SHARE)
    assert use.share > SHARE / 100 / 2


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        *(
            (f"cuda_launches_{way}", kind)
            for way in ("dlsym", "lookup")
            for kind in ("kernel_ptsz", "configured", "graph", "graph_ptsz")
        ),
        *(("musa_launches_lookup", kind) for kind in ("kernel_ptsz", "configured", "graph_ptsz")),
        *((f"{runtime}_launches_dlsym", "in_stream") for runtime in KINDS if runtime != "cuda"),
    ],
)
def test_a_launch_counts_however_the_program_found_the_function(
    rig: Rig, way: str, kind: str
) -> None:
    with rig.run(way, HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program)
        assert program.ask("capture 100 10") == [0]
        assert program.ask(f"kind {kind}") == [0]
        with measured(rig, first_card(way.partition("_")[0])) as use:
            assert program.ask("run 1000 1000")[0] == 0
    assert use.at_most(SHARE)


@pytest.mark.parametrize(
    ("runtime", "kind"), [(runtime, kind) for runtime, kinds in GRAPHS.items() for kind in kinds]
)
def test_a_graph_counts_for_all_its_kernels_and_its_capture_is_left_alone(
    rig: Rig, runtime: str, kind: str
) -> None:
    card = first_card(runtime)
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program)
        assert program.ask("capture 250 20") == [0]  # launches nothing, though another thread does
        assert program.ask(f"kind {kind}") == [0]
        with measured(rig, card) as use:
            result, launches = program.ask("run 0 1500")
    assert result == 0
    assert use.busy_ns >= launches * 20 * 250_000 * 9 // 10
    assert use.at_most(SHARE, kernel_ns=20 * 250_000)
    assert use.share > SHARE / 100 / 2


@pytest.mark.parametrize("blocks", [50, 1_000, 60_000])
def test_short_and_long_kernels_get_the_same_share(rig: Rig, blocks: int) -> None:
    with rig.run("cuda_launches", HCS_COMPUTE_SHARE="20") as program:
        begin(program)
        with measured(rig) as use:
            assert program.ask(f"run {blocks} 2000")[0] == 0
    assert use.at_most(20, kernel_ns=blocks * 1000)


def test_a_slower_card_gives_the_same_share_of_its_time(rig: Rig) -> None:
    slow = partial(set_speed, number=0, percent=20, reason="power")
    ScenarioFile(rig.scenario).update(slow)
    with rig.run("cuda_launches", HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program)
        with measured(rig) as use:
            _, launches = program.ask("run 1000 1000")
    assert use.busy_ns > launches * 4_000_000
    assert use.at_most(SHARE, kernel_ns=5_000_000)


def test_all_processes_of_a_container_share_one_account(rig: Rig) -> None:
    with ExitStack() as stack:
        programs = [
            begin(stack.enter_context(rig.run(f"cuda_launches{way}", HCS_COMPUTE_SHARE=str(SHARE))))
            for way in ("", "_dlsym")
        ]
        with measured(rig) as use:
            for program in programs:
                program.send("run 1000 2000")
            answers = [program.answer() for program in programs]
    assert all(result == 0 and launches > 10 for result, launches in answers)
    assert use.at_most(SHARE, processes=2)
    assert use.share > SHARE / 100 / 2  # what both waited for at once counts once


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        *((runtime, "in_stream") for runtime in KINDS),
        *((runtime, "kernel_ptsz") for runtime in ("cuda", "musart", "musa")),
        ("cndrv", "in_own"),
    ],
)
def test_threads_and_streams_of_a_process_share_one_account(
    rig: Rig, runtime: str, kind: str
) -> None:
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program, kind)
        with measured(rig, first_card(runtime)) as use:
            result, launches = program.ask("spread 2000 1500")
    assert result == 0  # each stream was destroyed with work in it, and none was touched again
    assert launches > 64  # more streams than are kept track of at once
    assert use.at_most(SHARE, kernel_ns=2_000_000)


@pytest.mark.parametrize("runtime", KINDS)
def test_idle_time_between_kernels_is_not_counted(rig: Rig, runtime: str) -> None:
    # 10 % of the time at most, of which 20 % are allowed: nothing is held up. Were the time from
    # launch to launch counted, a few launches a second would be left.
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE="20") as program:
        begin(program)
        with measured(rig, first_card(runtime)) as use:
            result, launches = program.ask("rare 1000 1500")
    assert result == 0
    assert launches > 0.5 * use.elapsed_ns / 11_000_000


@pytest.mark.parametrize(
    ("runtime", "share"),
    [*((runtime, "") for runtime in KINDS), ("cuda", "100"), ("cuda", "100,100")],
)
def test_without_a_share_nothing_is_held_up(rig: Rig, runtime: str, share: str) -> None:
    _, ids = CARDS[VENDORS[runtime]]
    settings = {"HCS_COMPUTE_SHARE": share, "HCS_DEVICES": ",".join(ids)}
    with rig.run(f"{runtime}_launches", **settings) as program:
        begin(program)
        with measured(rig, first_card(runtime)) as use:
            assert program.ask("launch 1000 1000") == [0]
            assert program.ask("finish 0") == [0]
    assert use.busy_ns >= 999_000_000
    assert use.share > 0.5
    assert not rig.ledger.exists()


def test_each_card_has_its_own_share(rig: Rig) -> None:
    settings = {"HCS_COMPUTE_SHARE": "100,10", "HCS_DEVICES": ",".join(GPUS)}
    with rig.run("cuda_launches", **settings) as program:
        begin(program)
        with measured(rig) as first:
            assert program.ask("launch 1000 1000") == [0]
            assert program.ask("finish 0") == [0]
        assert program.ask("device 1") == [0]
        with measured(rig, 1) as second:
            assert program.ask("run 1000 1000")[0] == 0
    assert first.share > 0.5
    assert second.at_most(10)


def test_a_process_killed_in_its_slice_holds_up_nobody(rig: Rig) -> None:
    settings = {"HCS_COMPUTE_SHARE": str(SHARE)}
    with rig.run("cuda_launches", **settings) as survivor:
        begin(survivor)
        for _ in range(5):
            with rig.run("cuda_launches", **settings) as victim:
                begin(victim).send("run 1000 60000")
                before = rig.busy_ns()
                while rig.busy_ns() < before + SLICE_NS:
                    time.sleep(0.005)
                victim.kill()
        with measured(rig) as use:
            result, launches = survivor.ask("run 1000 1500")
    assert (result, launches > 10) == (0, True)
    assert use.at_most(SHARE)


def test_signals_arrive_and_do_not_shorten_a_wait(rig: Rig) -> None:
    with rig.run("cuda_launches", HCS_COMPUTE_SHARE="10") as program:
        begin(program)
        with measured(rig) as use:
            result, alarms = program.ask("alarms 1000 1000")
    assert result == 0
    assert alarms > 20
    assert use.at_most(10)


@pytest.mark.parametrize("runtime", KINDS)
def test_a_refused_launch_is_told_and_counts_for_nothing(rig: Rig, runtime: str) -> None:
    codes = []
    for share in ("", str(SHARE)):
        with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=share) as program:
            begin(program)
            with measured(rig, first_card(runtime)) as use:
                codes.append([program.ask("launch 0 1") for _ in range(20)])
                assert program.ask("finish 0") == [0]
            assert use.busy_ns == 0
            assert program.ask("launch 1 10") == [0]
    assert codes[0] == codes[1]
    assert [0] not in codes[0]


@pytest.mark.parametrize("runtime", KINDS)
def test_a_reset_context_begins_anew(rig: Rig, runtime: str) -> None:
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=str(SHARE)) as program:
        begin(program)
        for _ in range(5):
            assert program.ask("run 1000 50")[0] == 0
            assert program.ask("reset") == [0]
        with measured(rig, first_card(runtime)) as use:
            assert program.ask("run 1000 500")[0] == 0
        assert program.ask("errno 10") == [77]
    assert use.at_most(SHARE)


LAST_ERROR = """
import ctypes
hip = ctypes.CDLL("libamdhip64.so")
def launch(blocks):
    sizes = [ctypes.c_uint(blocks)] + [ctypes.c_uint(1)] * 5 + [ctypes.c_uint(0)]
    return hip.hipModuleLaunchKernel(None, *sizes, None, None, None)
assert hip.hipInit(0) == hip.hipSetDevice(0) == launch(1) == 0
refused = launch(0)
assert refused == hip.hipPeekAtLastError() == hip.hipGetLastError() != 0
assert launch(1) == hip.hipGetLastError() == 0
block = ctypes.c_void_p()
assert hip.hipMallocAsync(ctypes.byref(block), ctypes.c_size_t(2**31), None) == 2
assert hip.hipGetLastError() == 2
"""


@pytest.mark.parametrize("preload", [{}, {"LD_PRELOAD": ""}])
def test_the_last_error_is_the_programs_own(rig: Rig, preload: dict[str, str]) -> None:
    settings = {"HCS_COMPUTE_SHARE": str(SHARE), "HCS_VRAM_QUOTA": str(4096 * MIB)}
    done = subprocess.run(
        [sys.executable, "-I", "-c", LAST_ERROR],
        env=rig.environment(**settings, **preload),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("share", ["", str(SHARE)])
@pytest.mark.parametrize("runtime", KINDS)
def test_a_stream_ends_with_its_context(rig: Rig, runtime: str, share: str) -> None:
    with rig.run(f"{runtime}_launches", HCS_COMPUTE_SHARE=share) as program:
        begin(program, "in_stream")
        assert program.ask("launch 1 1") == [0]
        assert program.ask("reset") == [0]
        assert program.ask("launch 1 1") != [0]
        assert program.ask("device 0") == [0]  # which makes a new one
        assert program.ask("launch 1 1") == [0]


CONTEXTS = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
def made(function, *arguments):
    handle = ctypes.c_void_p()
    assert function(ctypes.byref(handle), *arguments) == 0
    return handle
def launch(stream):
    sizes = [ctypes.c_uint(1)] * 6 + [ctypes.c_uint(0)]
    return cuda.cuLaunchKernel(None, *sizes, stream, None, None)
assert cuda.cuInit(0) == 0
contexts, streams, events = [], [], []
for _ in range(2):
    contexts.append(made(cuda.cuCtxCreate_v2, 0, 0))
    streams.append(made(cuda.cuStreamCreate, 0))
    events.append(made(cuda.cuEventCreate, 0))
    assert launch(streams[-1]) == 0
assert cuda.cuCtxDestroy_v2(contexts[1]) == 0 and cuda.cuCtxSetCurrent(contexts[0]) == 0
assert [cuda.cuStreamSynchronize(stream) for stream in streams] == [0, 400]
assert [cuda.cuEventQuery(event) for event in events] == [0, 400]
assert [launch(stream) for stream in streams] == [0, 400]
"""


@pytest.mark.parametrize("share", ["", str(SHARE)])
def test_a_context_takes_its_own_streams_and_events_with_it(rig: Rig, share: str) -> None:
    environment = rig.environment(HCS_COMPUTE_SHARE=share)
    subprocess.run([sys.executable, "-I", "-c", CONTEXTS], env=environment, check=True)


def test_memory_is_not_limited_by_a_share_alone(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_COMPUTE_SHARE="1") as program:
        free, total = program.begin().ask("info")[1:]
        assert program.ask(f"alloc {64 * MIB}")[0] == 0
        assert program.ask("info") == [0, free - 64 * MIB, total]


@pytest.mark.parametrize(
    ("quota", "devices", "share", "expected"),
    [
        ("-", "-", "-", "off"),
        ("7", "a", "", "off"),
        ("7", "a", "100", "off"),
        ("7", "a,b", "30", "30,30"),
        ("-", "a,b", "30", "30,30"),
        ("-", "a,b", "30,100", "30,100"),
        ("7,8", "-", "30,40", "30,40"),
        ("7", "a,b", "30,40,50", "malformed"),
        ("-", "a,", "30", "malformed"),
        ("-", "-", ",".join(["7"] * 17), "malformed"),
        *(
            ("7", "a,b", share, "malformed")
            for share in ("0", "101", "-1", "30%", "3.5", " 30", "30,", "30,x", "1e1", str(2**64))
        ),
    ],
)
def test_a_share_is_a_percentage_or_one_for_each_card(
    programs: Path, quota: str, devices: str, share: str, expected: str
) -> None:
    done = subprocess.run(
        [str(programs / "parse_share"), quota, devices, share],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_a_malformed_share_limits_nothing_and_is_said_to_who_asks(rig: Rig) -> None:
    for settings in ({}, {"HCS_DEBUG": "1"}):
        with rig.run("cuda_launches", HCS_COMPUTE_SHARE="30%", **settings) as program:
            begin(program)
            assert rig.stderr() == "" or settings
            with measured(rig) as use:
                assert program.ask("launch 1000 500") == [0]
                assert program.ask("finish 0") == [0]
            assert use.share > 0.5
    lines = [json.loads(line) for line in rig.stderr().splitlines()]
    assert [line["event"] for line in lines] == ["no_compute_share"]


def test_the_account_of_busy_time_is_a_union_with_debts_and_bounded_credit(programs: Path) -> None:
    done = subprocess.run(
        [str(programs / "work_check")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
