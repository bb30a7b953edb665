"""One quota over all processes and threads of a container, whatever happens to them."""

import os
import random
import stat
import subprocess
import uuid
from itertools import product
from pathlib import Path

import pytest

from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CUDA_OUT_OF_MEMORY,
    MIB,
    PROGRAMS,
    SOURCES,
    Rig,
    compile_c,
)

QUOTA_BYTES = 64 * MIB
STARTS = 64
ELSEWHERE = Path("/tmp")  # noqa: S108 # where ledgers are for which /dev/shm has no room


@pytest.mark.parametrize(("processes", "threads"), [(4, 1), (2, 4)])
def test_a_race_reaches_the_quota_and_never_exceeds_it(
    rig: Rig, processes: int, threads: int
) -> None:
    racers = [
        subprocess.Popen(
            [str(rig.programs / "race"), str(threads), "300", str(QUOTA_BYTES // 8)],
            env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), HCS_DEBUG="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=120) for racer in racers]
    got = [int(stdout) for stdout, _ in said]
    assert [racer.returncode for racer in racers] == [0] * processes
    assert [stderr for _, stderr in said] == [b""] * processes  # each of them was enforced
    assert sum(got) > 0
    assert rig.peak_bytes() == QUOTA_BYTES
    assert rig.account()["used"] == rig.account()["pending"] == 0


def test_the_reservation_comes_before_the_allocation(rig: Rig) -> None:
    # Every thread wants the whole quota from a driver that takes 20 ms: whoever reserved only
    # afterwards would find the card with several quotas allocated at once.
    settings = {"HCS_VRAM_QUOTA": str(QUOTA_BYTES), "HCS_SIM_ALLOC_DELAY_US": "20000"}
    done = subprocess.run(
        [str(rig.programs / "race"), "8", "5", str(QUOTA_BYTES)],
        env=rig.environment(**settings),
        input=b"\n",
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) >= 5
    assert rig.peak_bytes() == QUOTA_BYTES


def test_a_killed_process_gives_its_charge_back(rig: Rig) -> None:
    with (
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as victim,
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as survivor,
    ):
        victim.begin().ask(f"alloc {48 * MIB}")
        survivor.begin()
        assert survivor.ask(f"alloc {48 * MIB}")[0] == CUDA_OUT_OF_MEMORY
        victim.kill()
        assert survivor.ask(f"alloc {48 * MIB}")[0] == 0
        assert rig.account()["used"] == 48 * MIB


def test_a_killed_process_that_nobody_waited_for_gives_its_charge_back(rig: Rig) -> None:
    with (
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as victim,
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as survivor,
    ):
        victim.begin().ask(f"alloc {48 * MIB}")
        survivor.begin()
        victim.process.kill()
        while _state(victim.process.pid) != "Z":
            pass
        assert survivor.ask(f"alloc {48 * MIB}")[0] == 0


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_an_ended_process_gives_its_charge_back(rig: Rig) -> None:
    for _ in range(3):
        with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
            assert program.begin().ask(f"alloc {QUOTA_BYTES}")[0] == 0
            assert program.close() == 0


def test_a_forked_child_has_its_own_charge(rig: Rig) -> None:
    with (
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as parent,
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as other,
    ):
        parent.ask("fork")  # before the runtime is up, as data loaders do; the child goes on
        parent.begin()
        assert parent.ask(f"alloc {48 * MIB}")[0] == 0
        other.begin()
        assert other.ask(f"alloc {48 * MIB}")[0] == CUDA_OUT_OF_MEMORY
        assert rig.account()["slots"] == 2
        assert parent.close() == 0
        assert other.ask(f"alloc {48 * MIB}")[0] == 0


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        *product(("acl", "rt"), ("classic", "mapped", "pool")),
        *product(("hip",), ("classic", "mapped", "async", "graph_node")),
        *product(("cndrv",), ("classic", "async", "made_pool")),
    ],
)
def test_a_fork_after_allocating_leaves_the_charge_with_the_parent(
    rig: Rig, runtime: str, kind: str
) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as parent:
        parent.begin().ask(f"kind {kind}")
        assert parent.ask(f"alloc {2 * MIB - ACL_PADDING_BYTES}")[0] == 0
        parents = rig.account()["used"]
        assert parents > 0
        parent.ask("fork")
        parent.ask("kind classic")
        assert parent.ask(f"alloc {4 * MIB - ACL_PADDING_BYTES}")[0] == 0
        both = rig.account()["used"]
        assert (both > parents, rig.account()["slots"]) == (True, 2)
        # The child frees what it never had: the runtime may do so, the books do not change.
        parent.ask(f"kind {kind}")
        parent.ask("free 0")
        assert rig.account()["used"] == both


FULL = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=16k none /dev/shm && exec "$0"')
ROOM_AGAIN = ("sh", "-c", "mount -o remount,size=64m /dev/shm")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_who_comes_when_there_is_room_again_finds_the_ledger_of_those_before(rig: Rig) -> None:
    pod_uid = str(uuid.uuid4())
    rig.settings = {
        "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
        "HCS_LEDGER": "",
        "HCS_POD_UID": pod_uid,
        "HCS_CONTAINER": "trainer",
    }
    try:
        with rig.run("cuda_linked", behind=FULL) as first:
            assert first.begin().ask(f"alloc {48 * MIB}")[0] == 0
            there = ("nsenter", "--mount", f"--target={first.process.pid}")
            subprocess.run([*there, *ROOM_AGAIN], check=True)
            with rig.run("cuda_linked", behind=there) as second:
                assert second.begin().ask(f"alloc {48 * MIB}")[0] == CUDA_OUT_OF_MEMORY
                assert second.ask(f"alloc {16 * MIB}")[0] == 0
    finally:
        (ledger,) = ELSEWHERE.glob(f"hcs-{pod_uid}-*")
        ledger.unlink()


def test_the_first_process_sets_the_quota_while_it_lives(rig: Rig) -> None:
    with (
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as first,
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(4 * QUOTA_BYTES)) as second,
    ):
        first.begin().ask(f"alloc {MIB}")
        assert second.begin().ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 63]
        first.kill()
        second.kill()
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(2 * QUOTA_BYTES)) as third:
        assert third.begin().ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 128]


def test_the_ledger_of_a_pod_lies_in_shared_memory_for_its_user_alone(rig: Rig) -> None:
    pod_uid = str(uuid.uuid4())
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    path = Path("/dev/shm") / (  # noqa: S108 - that is where it belongs, and it is 0600
        f"hcs-{pod_uid}-tr_iner-{namespace}.ledger"
    )
    rig.settings = {"HCS_LEDGER": "", "HCS_POD_UID": pod_uid, "HCS_CONTAINER": "tr/iner"}
    try:
        with (
            rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as one,
            rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as other,
        ):
            one.begin().ask(f"alloc {48 * MIB}")
            assert other.begin().ask(f"alloc {48 * MIB}")[0] == CUDA_OUT_OF_MEMORY
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "how",
    [("pending",), ("moving",), ("emptying",), ("withdrawn",), ("stopped",), ("storm", "300")],
)
def test_the_ledger_survives_death_at_any_instruction(rig: Rig, how: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(rig.programs / "ledger_kills"), *how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile `ledger_starts` for file systems with and without nameless files."""
    out = tmp_path_factory.mktemp("starts")
    parts = [str(SOURCES / f"{part}.c") for part in ("ledger", "process", "config", "debug")]
    program = str(PROGRAMS / "ledger_starts.c")
    # With all symbols resolved before, or most of the instructions would be the loader's.
    for name, options in {
        "nameless": ["-Wl,-z,now"],
        "named": ["-Wl,-z,now", "-DNO_TMPFILE"],
    }.items():
        compile_c(out / name, program, *parts, *options)
    return out


@pytest.mark.parametrize("form", ["nameless", "named"])
@pytest.mark.parametrize("how", [("storm", "20"), ("killed", "199")])
def test_who_is_killed_while_it_starts_leaves_nothing_and_holds_up_nobody(
    starts: Path, tmp_path: Path, form: str, how: tuple[str, str]
) -> None:
    done = subprocess.run(
        [str(starts / form), *how, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", ["nameless", "named"])
def test_who_is_stopped_while_it_starts_holds_up_nobody_and_gets_no_second_quota(
    starts: Path, tmp_path: Path, form: str
) -> None:
    done = subprocess.run(
        [str(starts / form), "stopped", "397", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_programs_killed_while_they_start_leave_the_whole_quota(rig: Rig) -> None:
    chance = random.Random(STARTS)
    race = [str(rig.programs / "race"), "1", "1000000000", str(QUOTA_BYTES // STARTS)]
    crowd = [
        subprocess.Popen(
            race,
            env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(STARTS)
    ]
    for program in chance.sample(crowd, STARTS):
        program.kill()
    for program in crowd:
        program.wait()
    assert rig.peak_bytes() <= QUOTA_BYTES
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as last:
        assert last.begin().ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, QUOTA_BYTES // MIB]
        assert (rig.account()["used"], rig.account()["slots"]) == (QUOTA_BYTES, 1)


def test_a_ledger_has_memory_for_the_cards_that_there_are(rig: Rig) -> None:
    settings = {"HCS_VRAM_QUOTA": str(QUOTA_BYTES), "HCS_DEVICES": "one"}
    with rig.run("cuda_linked", **settings) as program:
        assert program.begin().ask(f"alloc {MIB}")[0] == 0
        assert rig.ledger.stat().st_blocks * 512 <= 32 * 1024


@pytest.mark.parametrize(
    ("program", "processes", "threads", "rounds"),
    [
        ("ledger_race", 4, 1, 2_000),
        ("ledger_race", 16, 1, 200),
        ("ledger_race", 2, 8, 500),
        ("ledger_race_checked", 1, 8, 300),
    ],
)
def test_no_race_ends_above_the_quota(
    rig: Rig, program: str, processes: int, threads: int, rounds: int
) -> None:
    overshoots, grants, refusals = _race(rig, program, processes, threads, rounds)
    assert overshoots == 0
    assert grants + refusals == processes * threads * rounds
    assert grants > 0


@pytest.mark.parametrize(("processes", "threads", "rounds"), [(4, 1, 500), (2, 4, 200)])
def test_of_many_that_ask_at_once_one_gets_what_there_is(
    rig: Rig, processes: int, threads: int, rounds: int
) -> None:
    overshoots, grants, refusals = _race(rig, "ledger_race", processes, threads, rounds, "together")
    assert (overshoots, grants) == (0, rounds)
    assert refusals == (processes * threads - 1) * rounds


def test_threads_that_allocate_while_contexts_end_leave_nothing_charged(rig: Rig) -> None:
    done = subprocess.run(
        [str(rig.programs / "account_race"), "8", "200"],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), LD_PRELOAD=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def _race(rig: Rig, program: str, *arguments: int | str) -> list[int]:
    """Return overshoots, grants and refusals."""
    done = subprocess.run(
        [str(rig.programs / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize("runtime", ["cuda", "acl"])
def test_an_executed_program_begins_with_nothing(rig: Rig, runtime: str) -> None:
    with (
        rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program,
        rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as neighbour,
    ):
        program.begin()
        assert program.ask(f"alloc {48 * MIB}")[0] == 0
        neighbour.begin()
        assert neighbour.ask(f"alloc {48 * MIB}")[0] != 0
        program.ask("exec")
        assert program.ask("device 7")[0] != 0  # the next program runs, and uses no card
        assert neighbour.ask(f"alloc {48 * MIB}")[0] == 0
        program.begin()
        assert program.ask(f"alloc {MIB}")[0] == 0
        assert rig.account()["slots"] == 2


def test_whoever_looks_sees_what_the_dead_left_go(rig: Rig) -> None:
    with (
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as victim,
        rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as survivor,
    ):
        victim.begin().ask(f"alloc {48 * MIB}")
        survivor.begin()
        assert survivor.ask("info")[1] == 16 * MIB
        victim.kill()
        for _ in range(100_000):  # at most ten looks a second
            if survivor.ask("info")[1] == QUOTA_BYTES:
                break
        assert rig.account()["used"] == 0
