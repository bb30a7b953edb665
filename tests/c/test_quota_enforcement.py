"""A preloaded program gets exactly its quota, however it reaches the runtime."""

import pytest

from tests.support.interceptor import (
    ACL_OUT_OF_MEMORY,
    ACL_PADDING_BYTES,
    CARD_BYTES,
    CUDA_OUT_OF_MEMORY,
    GPUS,
    MIB,
    NPUS,
    OUT_OF_MEMORY,
    RUNTIMES,
    SMALLEST_BLOCK_BYTES,
    Rig,
    first_card,
)

QUOTA_BYTES = 256 * MIB
FORMS = [
    *(
        pytest.param(f"{runtime}_{way}", id=f"{runtime}-{way}")
        for runtime in RUNTIMES
        for way in ("linked", "dlsym", "ctypes")
    ),
    pytest.param("cuda_lookup", id="cuda-lookup"),
    pytest.param("musa_lookup", id="musa-lookup"),
]


def runtime_of(form: str) -> str:
    """Return the runtime of a program's form."""
    return form.partition("_")[0]


def padding_bytes(form: str) -> int:
    """Return what the runtime adds to each block."""
    return ACL_PADDING_BYTES if runtime_of(form) == "acl" else 0


def out_of_memory(form: str) -> int:
    """Return the runtime's own code."""
    return OUT_OF_MEMORY.get(runtime_of(form), CUDA_OUT_OF_MEMORY)


@pytest.mark.parametrize("form", FORMS)
def test_a_program_gets_its_quota_and_not_one_byte_more(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        block = 16 * MIB - padding_bytes(form)
        assert program.ask(f"fill {block}") == [out_of_memory(form), 16]
        assert program.ask("alloc 1")[0] == out_of_memory(form)
    assert rig.account()["used"] == QUOTA_BYTES
    assert rig.account()["refusals"] == 2
    # By the card's own books, not even for a moment was there more: nothing was allocated first
    # and given back when the quota turned out to be exceeded.
    assert rig.peak_bytes(first_card(runtime_of(form))) == QUOTA_BYTES


@pytest.mark.parametrize("form", FORMS)
def test_a_free_gives_it_back(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        whole = QUOTA_BYTES - padding_bytes(form)
        result, block = program.ask(f"alloc {whole}")
        assert result == 0
        assert program.ask("alloc 1")[0] == out_of_memory(form)
        assert program.ask(f"free {block}") == [0]
        assert rig.account()["used"] == 0
        assert program.ask(f"alloc {whole}")[0] == 0


@pytest.mark.parametrize(
    "form", [f"{runtime}_{way}" for runtime in RUNTIMES for way in ("linked", "dlsym")]
)
def test_queries_show_the_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("info") == [0, QUOTA_BYTES, QUOTA_BYTES]
        program.ask(f"alloc {100 * MIB - padding_bytes(form)}")
        assert program.ask("info") == [0, QUOTA_BYTES - 100 * MIB, QUOTA_BYTES]


@pytest.mark.parametrize("form", ["cuda_linked", "hip_linked", "cndrv_linked", "musa_linked"])
def test_total_memory_shows_the_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("total 0") == [0, QUOTA_BYTES]


def test_a_quota_above_the_card_shows_the_card(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(4 * CARD_BYTES)) as program:
        program.begin()
        assert program.ask("info") == [0, CARD_BYTES, CARD_BYTES]
        assert program.ask(f"fill {64 * MIB}") == [CUDA_OUT_OF_MEMORY, 16]
        # The card refused, not the quota: what was reserved for it was given back.
        assert rig.account()["used"] == CARD_BYTES
        assert rig.account()["refusals"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_blocks_are_charged_as_large_as_they_are(rig: Rig, form: str) -> None:
    runtime = runtime_of(form)
    smallest_bytes = SMALLEST_BLOCK_BYTES[runtime]
    with rig.run(form, HCS_VRAM_QUOTA=str(10 * smallest_bytes)) as program:
        program.begin()
        assert program.ask("fill 1") == [out_of_memory(runtime), 10]
    assert rig.peak_bytes(first_card(runtime)) == 10 * smallest_bytes


@pytest.mark.parametrize("form", FORMS)
def test_a_block_that_lacks_one_byte_of_quota_is_refused(rig: Rig, form: str) -> None:
    runtime = runtime_of(form)
    smallest_bytes = SMALLEST_BLOCK_BYTES[runtime]
    with rig.run(form, HCS_VRAM_QUOTA=str(10 * smallest_bytes - 1)) as program:
        program.begin()
        assert program.ask("fill 1") == [out_of_memory(runtime), 9]
    assert rig.peak_bytes(first_card(runtime)) == 9 * smallest_bytes


def test_sizes_near_the_end_of_the_address_space_are_refused(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        for size in (2**63, 2**64 - 1, 2**64 - 512):
            assert program.ask(f"alloc {size}")[0] == CUDA_OUT_OF_MEMORY
        assert rig.account()["used"] == 0


def test_a_quota_of_zero_allows_nothing(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA="0") as program:
        program.begin()
        assert program.ask("alloc 1")[0] == CUDA_OUT_OF_MEMORY
        assert program.ask("info") == [0, 0, 0]


def test_each_card_has_its_own_quota(rig: Rig) -> None:
    quotas = f"{64 * MIB},{32 * MIB}"
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=quotas, HCS_DEVICES=",".join(GPUS)) as program:
        program.begin(device=0)
        assert program.ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 64]
        program.ask("device 1")
        assert program.ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 32]
    assert (rig.peak_bytes(0), rig.peak_bytes(1)) == (64 * MIB, 32 * MIB)


def test_a_cuda_card_keeps_its_quota_when_the_program_reorders_cards(rig: Rig) -> None:
    with rig.run(
        "cuda_linked",
        HCS_VRAM_QUOTA=f"{64 * MIB},{32 * MIB}",
        HCS_DEVICES=",".join(GPUS),
        CUDA_VISIBLE_DEVICES="1",
    ) as program:
        program.begin(device=0)
        assert program.ask(f"fill {MIB}") == [CUDA_OUT_OF_MEMORY, 32]
    assert rig.account()["second"] == 32 * MIB


def test_an_ascend_card_keeps_its_quota_when_the_program_reorders_cards(rig: Rig) -> None:
    with rig.run(
        "acl_linked",
        HCS_VRAM_QUOTA=f"{64 * MIB},{32 * MIB}",
        HCS_DEVICES=",".join(NPUS),
        ASCEND_RT_VISIBLE_DEVICES="1,0",
    ) as program:
        program.begin(device=0)
        assert program.ask(f"fill {MIB - ACL_PADDING_BYTES}") == [ACL_OUT_OF_MEMORY, 32]


@pytest.mark.parametrize(
    ("runtime", "variable"),
    [
        ("hip", "HIP_VISIBLE_DEVICES"),
        ("cnrt", "MLU_VISIBLE_DEVICES"),
        ("cndrv", "MLU_VISIBLE_DEVICES"),
        ("musart", "MUSA_VISIBLE_DEVICES"),
        ("musa", "MUSA_VISIBLE_DEVICES"),
    ],
)
def test_a_card_keeps_its_quota_when_the_program_reorders_cards(
    rig: Rig, runtime: str, variable: str
) -> None:
    quotas = f"{64 * MIB},{32 * MIB}"
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=quotas, **{variable: "1,0"}) as program:
        program.begin(device=0)
        assert program.ask(f"fill {MIB}")[1] == 32
        program.ask("device 1")
        assert program.ask(f"fill {MIB}")[1] == 64
    first = first_card(runtime)
    assert (rig.peak_bytes(first), rig.peak_bytes(first + 1)) == (64 * MIB, 32 * MIB)


@pytest.mark.parametrize(
    ("runtime", "variable"), [("hip", "HIP_VISIBLE_DEVICES"), ("cnrt", "MLU_VISIBLE_DEVICES")]
)
def test_a_card_that_the_container_knows_by_the_nodes_number_has_its_quota(
    rig: Rig, runtime: str, variable: str
) -> None:
    # The container was given the node's second card alone: its first and only quota.
    with rig.run(
        f"{runtime}_linked", HCS_VRAM_QUOTA=str(32 * MIB), HCS_DEVICES="any", **{variable: "1"}
    ) as program:
        program.begin(device=0)
        assert program.ask(f"fill {MIB}")[1] == 32
    assert rig.peak_bytes(first_card(runtime) + 1) == 32 * MIB


@pytest.mark.parametrize("late", ["1", "7", "unknown", ","])
@pytest.mark.parametrize(
    ("runtime", "variable"),
    [
        ("acl", "ASCEND_RT_VISIBLE_DEVICES"),
        ("hip", "HIP_VISIBLE_DEVICES"),
        ("cnrt", "MLU_VISIBLE_DEVICES"),
        ("musart", "MUSA_VISIBLE_DEVICES"),
    ],
)
def test_the_only_card_has_its_quota_whatever_the_program_tells_those_that_it_starts(
    rig: Rig, runtime: str, variable: str, late: str
) -> None:
    container = {"HCS_VRAM_QUOTA": str(32 * MIB), "HCS_DEVICES": "any"}
    with rig.run(f"{runtime}_linked", **container) as program:
        program.begin()  # the runtime has read it, and we have not
        assert program.ask(f"environment {variable}={late}") == [0]
        assert program.ask(f"fill {MIB - ACL_PADDING_BYTES}")[1] == 32
    assert rig.peak_bytes(first_card(runtime)) <= 32 * MIB


@pytest.mark.parametrize("blanks", ["1 ", " 1", "1,"])
@pytest.mark.parametrize(
    ("runtime", "variable"), [("hip", "HIP_VISIBLE_DEVICES"), ("cnrt", "MLU_VISIBLE_DEVICES")]
)
def test_processes_that_are_given_one_card_each_are_charged_to_those(
    rig: Rig, runtime: str, variable: str, blanks: str
) -> None:
    container = {
        "HCS_VRAM_QUOTA": f"{64 * MIB},{32 * MIB}",
        "HCS_DEVICES": "any,other",
        "HCS_DEVICE_INDICES": "0,1",
    }
    with (
        rig.run(f"{runtime}_linked", **container, **{variable: "0"}) as first,
        rig.run(f"{runtime}_linked", **container, **{variable: blanks}) as second,
    ):
        assert first.begin().ask(f"fill {MIB}")[1] == 64
        assert second.begin().ask(f"fill {MIB}")[1] == 32
    number = first_card(runtime)
    assert (rig.peak_bytes(number), rig.peak_bytes(number + 1)) == (64 * MIB, 32 * MIB)


def test_a_bad_free_is_the_runtimes_matter(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        program.ask(f"alloc {MIB}")
        assert program.ask("free 0") == [0]
        assert program.ask("free 0") == [1]
        assert rig.account()["used"] == 0


def test_errno_is_left_alone(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("errno") == [77]
