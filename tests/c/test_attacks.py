"""What careless and hostile programs do to the quota, and what comes of it.

Elsewhere: broken values and ledgers one by one in `test_fail_open.py` and, by the thousand, in
`test_fuzz.py`; kills between two instructions in `test_processes.py`, and of programs of every
runtime in `test_crowds.py`; a forged client of the agent's socket in
`tests/integration/quota/test_server.py`; a program that unset the preload or its variables in
`test_evasion.py`.
"""

import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CARD_BYTES,
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    PROGRAMS,
    RUNTIMES,
    Rig,
    compile_c,
    first_card,
    link,
)

QUOTA_BYTES = 64 * MIB
BLOCK_BYTES = 16 * MIB
STORM_PROCESSES = 16
STORM_KILLS = 150
LIVE_BLOCKS = 1_000_000
BLOCK_STATE_BYTES_MAX = 160
"""Of a live block, the simulated driver's own books included: the table's entries have 16 bytes,
and between a quarter and a half of them are in use."""


@pytest.fixture(scope="module")
def crowds(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the programs of this module, and return where they lie."""
    out = tmp_path_factory.mktemp("crowds")
    for name in ("many_threads", "many_blocks"):
        compile_c(out / name, str(PROGRAMS / f"{name}.c"), link("libcuda.so.1"))
    compile_c(out / "start_together", str(PROGRAMS / "start_together.c"))
    (out / "race").symlink_to(programs / "race")
    return out


def crowd(rig: Rig, *command: str | int | Path, quota_bytes: int) -> list[int]:
    """Run a program that must be enforced throughout; return the numbers it prints."""
    done = subprocess.run(
        list(map(str, command)),
        env=rig.environment(HCS_VRAM_QUOTA=str(quota_bytes), HCS_DEBUG="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("quota", "limit_bytes"),
    [
        ("", CARD_BYTES),
        ("0", 0),
        ("16Gi", CARD_BYTES),
        ("-1", CARD_BYTES),
        (str(2**64), CARD_BYTES),
        (str(4 * CARD_BYTES), CARD_BYTES),
        (str(2**63 - 1), CARD_BYTES),
        (str(QUOTA_BYTES), QUOTA_BYTES),
    ],
)
def test_a_number_is_a_limit_and_anything_else_is_none(
    rig: Rig, runtime: str, quota: str, limit_bytes: int
) -> None:
    block_bytes = BLOCK_BYTES - (ACL_PADDING_BYTES if runtime == "acl" else 0)
    refused = OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY)
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=quota) as program:
        program.begin()
        assert program.ask(f"fill {block_bytes}") == [refused, limit_bytes // BLOCK_BYTES]
        assert program.close() == 0
    assert rig.stderr() == ""


def test_ten_thousand_threads_share_the_quota_to_the_last_block(rig: Rig, crowds: Path) -> None:
    quota_bytes = 5_000 * 512
    assert crowd(rig, crowds / "many_threads", 10_000, 512, quota_bytes=quota_bytes) == [5_000]
    assert rig.peak_bytes() == quota_bytes
    assert rig.account()["refusals"] == 5_000
    assert rig.account()["used"] == 0  # each block was freed by another thread than its own


def test_sixty_four_processes_that_start_at_once_share_the_quota(rig: Rig, crowds: Path) -> None:
    race = (crowds / "race", "1", "300", str(MIB))
    got = crowd(rig, crowds / "start_together", "64", *race, quota_bytes=QUOTA_BYTES)
    assert len(got) == 64
    assert min(got) >= 0
    assert rig.peak_bytes() == QUOTA_BYTES
    account = rig.account()
    assert (account["quota"], account["peak"]) == (QUOTA_BYTES, QUOTA_BYTES)
    assert account["used"] == account["pending"] == 0


def test_a_million_live_blocks_are_no_reason_to_refuse(rig: Rig, crowds: Path) -> None:
    said = crowd(rig, crowds / "many_blocks", 512, quota_bytes=LIVE_BLOCKS * 512)
    blocks, more_kib, again = said
    assert (blocks, again) == (LIVE_BLOCKS, 1000)
    assert more_kib * 1024 / blocks <= BLOCK_STATE_BYTES_MAX
    assert rig.account()["refusals"] == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_double_free_gives_nothing_back_twice(rig: Rig, runtime: str) -> None:
    padding_bytes = ACL_PADDING_BYTES if runtime == "acl" else 0
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {2 * MIB - padding_bytes}") == [0, 0]
        assert program.ask(f"alloc {4 * MIB - padding_bytes}") == [0, 1]
        assert program.ask("free 0") == [0]
        assert program.ask("free 0") != [0]
        assert rig.account()["used"] == 4 * MIB


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_free_on_another_device_gives_back_to_the_blocks_own(rig: Rig, runtime: str) -> None:
    padding_bytes = ACL_PADDING_BYTES if runtime == "acl" else 0
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {2 * MIB - padding_bytes}") == [0, 0]
        assert program.ask("device 1") == [0]
        assert program.ask(f"alloc {4 * MIB - padding_bytes}") == [0, 1]
        assert (rig.account()["used"], rig.account()["second"]) == (2 * MIB, 4 * MIB)
        assert program.ask("free 0") == [0]
        assert (rig.account()["used"], rig.account()["second"]) == (0, 4 * MIB)


@pytest.mark.parametrize("card", [0, 1], ids=["on the same card", "on another card"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_free_in_another_thread_gives_back_to_the_blocks_own(
    rig: Rig, runtime: str, card: int
) -> None:
    padding_bytes = ACL_PADDING_BYTES if runtime == "acl" else 0
    whole = f"alloc {QUOTA_BYTES - padding_bytes}"
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(whole) == [0, 0]
        assert program.ask(f"elsewhere {card}") == [0]
        assert (rig.account()["used"], rig.account()["second"]) == (0, 0)
        assert program.ask(whole) == [0, 0]


@pytest.mark.parametrize(
    ("runtime", "made", "freed"),
    [
        ("cuda", "async", "classic"),
        ("cuda", "classic", "async"),
        ("cuda", "pool", "async_ptsz"),
        ("hip", "async", "classic"),
        ("hip", "classic", "async"),
        ("cnrt", "async", "classic"),
        ("cnrt", "classic", "async"),
        ("musart", "async", "classic"),
        ("musart", "classic", "async"),
    ],
)
def test_a_free_in_another_stream_gives_back(rig: Rig, runtime: str, made: str, freed: str) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {made}")
        assert program.ask(f"alloc {QUOTA_BYTES}") == [0, 0]
        program.ask(f"kind {freed}")
        assert program.ask("free 0") == [0]
        # What a pool keeps for the next block is still taken, and nothing else is.
        held_bytes = rig.held_bytes(first_card(runtime))[program.process.pid]
        assert rig.account()["used"] == held_bytes
        program.ask(f"kind {made}")
        assert program.ask(f"alloc {QUOTA_BYTES}") == [0, 1]
    assert rig.peak_bytes(first_card(runtime)) == QUOTA_BYTES


@contextmanager
def racer(rig: Rig, crowds: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that fills the quota with what it gets and frees it again, without end."""
    process = subprocess.Popen(
        [str(crowds / "race"), "1", str(2**40), str(4 * MIB)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), HCS_DEBUG="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        assert process.communicate()[1] == b""


def test_a_storm_of_kills_leaves_the_account_exact(rig: Rig, crowds: Path) -> None:
    choice = random.Random(1)
    with ExitStack() as all_racers:
        stacks = [all_racers.enter_context(ExitStack()) for _ in range(STORM_PROCESSES)]
        racers = [stack.enter_context(racer(rig, crowds)) for stack in stacks]
        for _ in range(STORM_KILLS):
            victim = choice.randrange(STORM_PROCESSES)
            assert racers[victim].poll() is None
            stacks[victim].close()
            racers[victim] = stacks[victim].enter_context(racer(rig, crowds))
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as survivor:
        survivor.begin()
        assert survivor.ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 64]
        assert (rig.account()["used"], rig.account()["pending"]) == (QUOTA_BYTES, 0)
        assert rig.account()["slots"] == 1
    assert rig.peak_bytes() == QUOTA_BYTES


def test_a_ledger_filled_with_random_bytes_under_a_program_lets_it_run(rig: Rig) -> None:
    noise = random.Random(3)
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {MIB}") == [0, 0]
        for _ in range(20):
            with rig.ledger.open("r+b") as ledger:  # the very file that the program has mapped
                ledger.write(noise.randbytes(rig.ledger.stat().st_size))
            result, block = program.ask(f"alloc {MIB}")
            assert result in (0, CUDA_OUT_OF_MEMORY)
            if result == 0:
                assert program.ask(f"free {block}") == [0]
            assert program.ask("info")[0] == 0
        assert program.ask("free 0") == [0]
        assert program.close() == 0
