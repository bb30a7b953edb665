"""Programs of CUDA's runtime API: the quota holds whichever family of its functions they use.

What each family gets when it is alone, and gives back, is in `test_kinds_of_memory.py` and
`test_pools.py`, which know this runtime as any other; here is what is the runtime's own.
"""

from contextlib import ExitStack

import pytest

from tests.support.interceptor import CUDA_OUT_OF_MEMORY, MIB, Program, Rig

STEP_BYTES = 32 * MIB  # in which the driver's pools grow, and of blocks
QUOTA_BYTES = 8 * STEP_BYTES
FAMILIES = [
    "classic",
    "managed",
    "pitched",
    "volume",
    "array",
    "array3d",
    "mapped",
    "async",
    "async_ptsz",
    "pool",
    "made_pool",
    "graph_node",
    "graph_captured",
    "graph_alone",
]
CROWD = 4


def crowd(rig: Rig, stack: ExitStack, kind: str) -> list[Program]:
    """Start several programs of one container that allocate in one way."""
    runs = (rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) for _ in range(CROWD))
    programs = [stack.enter_context(run) for run in runs]
    for program in programs:
        program.begin().ask(f"kind {kind}")
    return programs


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_crowd_reaches_exactly_its_quota(rig: Rig, kind: str) -> None:
    with ExitStack() as stack:
        programs = crowd(rig, stack, kind)
        for program in programs:
            program.send(f"fill {STEP_BYTES}")
        filled = [program.answer() for program in programs]
        assert {result for result, _ in filled} == {CUDA_OUT_OF_MEMORY}
        assert sum(count for _, count in filled) == 8
        assert rig.account()["used"] == QUOTA_BYTES
        for program in programs:
            assert program.ask("drop") == [0]
            assert program.ask("extra synchronize") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == 0
        assert programs[0].ask(f"fill {STEP_BYTES}") == [CUDA_OUT_OF_MEMORY, 8]
    assert rig.peak_bytes() == QUOTA_BYTES


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_card_is_as_large_as_the_quota_and_as_full(rig: Rig, kind: str) -> None:
    with rig.run("cudart_dlsym", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask("info") == [0, QUOTA_BYTES, QUOTA_BYTES]
        assert program.ask(f"alloc {STEP_BYTES}")[0] == 0
        assert program.ask("info") == [0, QUOTA_BYTES - STEP_BYTES, QUOTA_BYTES]


def test_a_refusal_is_the_last_error_until_somebody_asks(rig: Rig) -> None:
    with rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {QUOTA_BYTES + 1}")[0] == CUDA_OUT_OF_MEMORY
        assert program.ask(f"alloc {STEP_BYTES}")[0] == 0  # a success does not hide it
        assert program.ask("extra peek") == [CUDA_OUT_OF_MEMORY]
        assert program.ask("extra last_error") == [CUDA_OUT_OF_MEMORY]
        assert program.ask("extra last_error") == [0]


def test_a_reset_device_gives_back_what_ends_with_its_context(rig: Rig) -> None:
    with rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        for kind in ("classic", "managed", "pitched", "array"):
            program.ask(f"kind {kind}")
            assert program.ask(f"alloc {STEP_BYTES}")[0] == 0
        program.ask("kind mapped")  # behind a handle, which outlives the context
        assert program.ask(f"alloc {STEP_BYTES}")[0] == 0
        assert program.ask("extra reset") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == STEP_BYTES
        program.ask("kind classic")
        assert program.ask(f"fill {STEP_BYTES}") == [CUDA_OUT_OF_MEMORY, 7]


@pytest.mark.parametrize("form", ["first", "second", "third", "fourth"])
def test_a_reset_leaves_what_is_in_contexts_of_the_programs_own(rig: Rig, form: str) -> None:
    with rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"extra reset_beside_{form}_form") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == STEP_BYTES


def test_host_memory_and_what_is_imported_cost_nothing(rig: Rig) -> None:
    with rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"fill {STEP_BYTES}") == [CUDA_OUT_OF_MEMORY, 8]
        assert program.ask("extra host_and_imported") == [0]
        assert rig.account()["used"] == QUOTA_BYTES


def test_families_share_one_quota(rig: Rig) -> None:
    with rig.run("cudart_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        for kind in ("classic", "array3d", "mapped", "async", "graph_captured", "volume"):
            program.ask(f"kind {kind}")
            assert program.ask(f"alloc {STEP_BYTES}")[0] == 0, kind
        assert rig.account()["used"] == 6 * STEP_BYTES
        program.ask("kind managed")
        assert program.ask(f"fill {STEP_BYTES}") == [CUDA_OUT_OF_MEMORY, 2]
    assert rig.peak_bytes() == QUOTA_BYTES
