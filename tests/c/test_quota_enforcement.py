"""A preloaded program gets exactly its quota, however it reaches the runtime."""

import pytest

from tests.support.interceptor import (
    ACL_OUT_OF_MEMORY,
    ACL_PADDING_BYTES,
    CARD_BYTES,
    CUDA_GRANULARITY_BYTES,
    CUDA_OUT_OF_MEMORY,
    GPUS,
    MIB,
    NPUS,
    Rig,
)

QUOTA_BYTES = 256 * MIB
FORMS = [
    pytest.param(f"{runtime}_{way}", id=f"{runtime}-{way}")
    for runtime in ("cuda", "cudart", "acl")
    for way in ("linked", "dlsym", "ctypes")
]


def padding_bytes(form: str) -> int:
    """Return what the runtime adds to each block."""
    return ACL_PADDING_BYTES if form.startswith("acl") else 0


def out_of_memory(form: str) -> int:
    """Return the runtime's own code."""
    return ACL_OUT_OF_MEMORY if form.startswith("acl") else CUDA_OUT_OF_MEMORY


def first_card(form: str) -> int:
    """Return the number of the runtime's first card over the node."""
    return len(GPUS) if form.startswith("acl") else 0


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
    assert rig.peak_bytes(first_card(form)) == QUOTA_BYTES


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


@pytest.mark.parametrize("form", ["cuda_linked", "cudart_dlsym", "acl_linked", "acl_dlsym"])
def test_queries_show_the_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("info") == [0, QUOTA_BYTES, QUOTA_BYTES]
        program.ask(f"alloc {100 * MIB - padding_bytes(form)}")
        assert program.ask("info") == [0, QUOTA_BYTES - 100 * MIB, QUOTA_BYTES]


def test_total_memory_shows_the_quota(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
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


def test_blocks_are_charged_as_large_as_they_are(rig: Rig) -> None:
    quota_bytes = 10 * CUDA_GRANULARITY_BYTES
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(quota_bytes)) as program:
        program.begin()
        assert program.ask("fill 1") == [CUDA_OUT_OF_MEMORY, 10]
    assert rig.peak_bytes() == quota_bytes


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
