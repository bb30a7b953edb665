"""What pools and graphs keep on the card stays charged until the driver gives it back."""

import pytest

from tests.support.interceptor import (
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    Rig,
    first_card,
)

STEP_BYTES = 32 * MIB  # in which the driver's pools grow
QUOTA_BYTES = 4 * STEP_BYTES
FULL = [CUDA_OUT_OF_MEMORY, 4]
KINDS = {
    "cuda": ("async async_ptsz async_then_free pool pool_ptsz made_pool pool_of_part managed_pool"),
    "hip": "async pool made_pool",
    "cudart": "async async_ptsz async_then_free pool made_pool",
    **dict.fromkeys(("cnrt", "cndrv", "musart", "musa"), "async"),
}
EACH_KIND = [
    pytest.param(f"{runtime}_{way}", kind, id=f"{runtime}-{way}-{kind}")
    for runtime, kinds in KINDS.items()
    for way in (("linked", "dlsym", "lookup") if runtime == "cuda" else ("linked", "dlsym"))
    for kind in kinds.split()
]


@pytest.mark.parametrize(("form", "kind"), EACH_KIND)
def test_a_pool_is_charged_until_the_driver_gives_back(rig: Rig, form: str, kind: str) -> None:
    runtime = form.partition("_")[0]
    card = first_card(runtime)
    full = [OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY), 4]
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {STEP_BYTES}") == full
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == QUOTA_BYTES
        assert program.ask("extra synchronize") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == 0
        assert program.ask(f"fill {STEP_BYTES}") == full
    assert rig.peak_bytes(card) == QUOTA_BYTES


@pytest.mark.parametrize(
    "way", ["synchronize", "synchronize_stream", "synchronize_own_stream", "synchronize_event"]
)
@pytest.mark.parametrize("form", ["cuda_linked", "cuda_dlsym", "hip_linked", "hip_dlsym"])
def test_whatever_a_program_waits_for_it_has_back_what_is_given_back(
    rig: Rig, form: str, way: str
) -> None:
    card = first_card(form.partition("_")[0])
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async")
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        assert program.ask("free 0") == [0]
        assert rig.account()["used"] == QUOTA_BYTES
        assert program.ask(f"extra {way}") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == 3 * STEP_BYTES


@pytest.mark.parametrize("form", ["cuda_linked", "cuda_dlsym", "hip_linked", "hip_dlsym"])
def test_what_is_trimmed_is_given_back(rig: Rig, form: str) -> None:
    card = first_card(form.partition("_")[0])
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async")
        assert program.ask("extra keep_all") == [0]
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        assert program.ask("free 0") == [0]
        assert program.ask("extra synchronize") == [0]
        assert rig.account()["used"] == QUOTA_BYTES
        assert program.ask("extra trim") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == 3 * STEP_BYTES


def test_a_pool_is_charged_as_it_grows_and_not_by_its_blocks(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async")
        for _ in range(16):
            assert program.ask(f"alloc {2 * MIB}")[0] == 0
        assert rig.account()["used"] == STEP_BYTES
        assert program.ask("alloc 1")[0] == 0
        assert rig.account()["used"] == 2 * STEP_BYTES


def test_a_pool_does_not_grow_where_there_is_no_room_for_a_step(rig: Rig) -> None:
    quota_bytes = 2 * STEP_BYTES - MIB
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(quota_bytes)) as program:
        program.begin().ask("kind async")
        assert program.ask(f"alloc {STEP_BYTES}") == [0, 0]
        assert program.ask("alloc 1")[0] == CUDA_OUT_OF_MEMORY
        program.ask("kind classic")
        assert program.ask(f"alloc {quota_bytes - STEP_BYTES}")[0] == 0
    assert rig.peak_bytes() == quota_bytes


@pytest.mark.parametrize(
    ("threshold", "kept"), [("keep_all", QUOTA_BYTES), ("keep_some", STEP_BYTES)]
)
def test_what_is_below_the_threshold_stays_charged(rig: Rig, threshold: str, kept: int) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async")
        assert program.ask(f"extra {threshold}") == [0]
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert program.ask("extra synchronize_stream") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == kept
        assert program.ask("info")[1] == QUOTA_BYTES - kept
        assert program.ask("extra trim") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == 0


@pytest.mark.parametrize("kind", ["classic", "physical", "made_pool", "graph_alone"])
def test_what_lies_idle_in_a_pool_is_no_reason_to_refuse(rig: Rig, kind: str) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind async")
        assert program.ask("extra keep_all") == [0]
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        refusals = rig.account()["refusals"]
        program.ask(f"kind {kind}")
        assert program.ask(f"alloc {STEP_BYTES}")[0] == CUDA_OUT_OF_MEMORY
        program.ask("kind async")
        assert program.ask("free 1") == [0]
        program.ask(f"kind {kind}")
        assert program.ask(f"alloc {STEP_BYTES}")[0] == 0
        assert rig.account()["refusals"] == refusals + 1
    assert rig.peak_bytes() == QUOTA_BYTES


@pytest.mark.parametrize("runtime", ["cuda", "hip"])
def test_blocks_outlive_their_pool_and_take_it_with_them(rig: Rig, runtime: str) -> None:
    card = first_card(runtime)
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind made_pool")
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        for block in range(2):
            assert program.ask(f"free {block}") == [0]
        assert program.ask("extra destroy_pool") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == 2 * STEP_BYTES
        for block in range(2, 4):
            assert program.ask(f"free {block}") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes(card).values()) == 0


def test_a_captured_allocation_takes_nothing_before_the_launch(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {QUOTA_BYTES}") == [0, 0]
        program.ask("kind graph_alone")
        refusals = rig.account()["refusals"]
        assert program.ask(f"alloc {STEP_BYTES}")[0] == CUDA_OUT_OF_MEMORY  # 999: in the capture
        assert rig.account()["refusals"] == refusals + 1
        program.ask("kind classic")
        assert program.ask("free 0") == [0]
        program.ask("kind graph_alone")
        assert program.ask(f"fill {STEP_BYTES}") == FULL
    assert rig.peak_bytes() == QUOTA_BYTES


def test_a_destroyed_graph_is_charged_until_its_memory_is_trimmed(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind graph_destroyed")
        for block in range(4):
            assert program.ask(f"alloc {STEP_BYTES}") == [0, block]
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == QUOTA_BYTES
        assert program.ask("extra trim_graphs") == [0]
        assert rig.account()["used"] == sum(rig.held_bytes().values()) == 0


def test_a_graph_can_be_launched_again_at_the_quota(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind graph_alone")
        assert program.ask(f"alloc {QUOTA_BYTES}") == [0, 0]
        for _ in range(3):
            assert program.ask("extra launch_again") == [0]
        assert program.ask("extra trim_graphs") == [0]
        assert sum(rig.held_bytes().values()) == 0
        assert rig.account()["used"] == QUOTA_BYTES  # it may be launched at any time
        program.ask("kind classic")
        assert program.ask(f"alloc {MIB}")[0] == CUDA_OUT_OF_MEMORY
        assert program.ask("extra launch_again") == [0]
    assert rig.peak_bytes() == QUOTA_BYTES


def test_a_forked_child_has_none_of_the_parents_pools(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.ask("fork")
        program.begin().ask("kind async")
        assert program.ask(f"fill {STEP_BYTES}") == FULL
        assert rig.account()["used"] == QUOTA_BYTES
