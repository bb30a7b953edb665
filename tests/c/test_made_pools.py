"""Pools of a program's own, on Cambricon's and Moore Threads' cards, in both layers."""

import pytest

from tests.support.interceptor import (
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    Rig,
    first_card,
)

BLOCK_BYTES = 18 * MIB
QUOTA_BYTES = 4 * BLOCK_BYTES
MADE = {
    "cnrt": ("made_pool",),
    "cndrv": ("made_pool",),
    "musart": ("made_pool", "made_pool_ptsz"),
    "musa": ("made_pool", "made_pool_ptsz"),
}
OF_MUSA = ("synchronize_stream", "synchronize_stream_ptsz", "synchronize_event")
WAITS = {
    "cnrt": ("synchronize", "synchronize_stream"),
    "cndrv": ("synchronize", "synchronize_stream", "synchronize_event"),
    "musart": ("synchronize", *OF_MUSA),
    "musa": ("synchronize", *OF_MUSA),
}
"""Of the ways to wait, after which the driver gives back what a pool does not need."""


def _full(runtime: str) -> list[int]:
    return [OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY), 4]


def _used_and_held(rig: Rig, runtime: str) -> tuple[int, int]:
    """Return what the account says, and what the card's own books say."""
    return rig.account()["used"], sum(rig.held_bytes(first_card(runtime)).values())


@pytest.mark.parametrize(("runtime", "kind"), [(r, k) for r, kinds in MADE.items() for k in kinds])
@pytest.mark.parametrize("way", ["linked", "dlsym"])
def test_blocks_outlive_their_pool_and_take_it_with_them(
    rig: Rig, runtime: str, kind: str, way: str
) -> None:
    with rig.run(f"{runtime}_{way}", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {BLOCK_BYTES}") == _full(runtime)
        for block in range(2):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig, runtime) == (QUOTA_BYTES, QUOTA_BYTES)
        assert program.ask("extra trim") == [0]
        assert _used_and_held(rig, runtime) == (2 * BLOCK_BYTES, 2 * BLOCK_BYTES)
        assert program.ask("extra destroy_pool") == [0]
        assert _used_and_held(rig, runtime) == (2 * BLOCK_BYTES, 2 * BLOCK_BYTES)
        for block in range(2, 4):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig, runtime) == (0, 0)
    assert rig.peak_bytes(first_card(runtime)) == QUOTA_BYTES


@pytest.mark.parametrize(("runtime", "wait"), [(r, w) for r, waits in WAITS.items() for w in waits])
def test_a_pool_is_charged_until_the_program_waits(rig: Rig, runtime: str, wait: str) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind made_pool")
        assert program.ask(f"fill {BLOCK_BYTES}") == _full(runtime)
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig, runtime) == (QUOTA_BYTES, QUOTA_BYTES)
        assert program.ask(f"extra {wait}") == [0]
        assert _used_and_held(rig, runtime) == (0, 0)
        assert program.ask(f"fill {BLOCK_BYTES}") == _full(runtime)


@pytest.mark.parametrize("runtime", ["musart", "musa"])
def test_the_threads_own_stream_allocates_from_the_cards_pool(rig: Rig, runtime: str) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async_ptsz")
        assert program.ask(f"fill {BLOCK_BYTES}") == _full(runtime)
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig, runtime) == (QUOTA_BYTES, QUOTA_BYTES)
        assert program.ask("extra synchronize_stream_ptsz") == [0]
        assert _used_and_held(rig, runtime) == (0, 0)


@pytest.mark.parametrize("way", ["linked", "dlsym", "lookup"])
def test_a_primary_context_takes_its_memory_with_its_last_release(rig: Rig, way: str) -> None:
    with rig.run(f"musa_{way}", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("device 0")
        for kind in ("classic", "pitched"):
            program.ask(f"kind {kind}")
            assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        program.ask("kind physical")  # is the card's
        assert program.ask(f"alloc {2 * MIB}")[0] == 0
        assert program.ask("extra release_primary") == [0]
        assert rig.account()["used"] == 2 * BLOCK_BYTES + 2 * MIB
        assert program.ask("extra release_primary") == [0]
        assert _used_and_held(rig, "musa") == (2 * MIB, 2 * MIB)
        assert program.ask("device 0") == [0]
        program.ask("kind classic")
        assert program.ask(f"alloc {QUOTA_BYTES - 2 * MIB}")[0] == 0


@pytest.mark.parametrize("form", ["cnrt_linked", "cnrt_dlsym"])
def test_the_attributes_of_a_device_show_its_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("total 0") == [0, QUOTA_BYTES]
