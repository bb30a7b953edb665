"""Ascend's own ways to memory: pools, sizes that differ by function, and what queries show."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.interceptor import (
    ACL_OUT_OF_MEMORY,
    ACL_PADDING_BYTES,
    ACL_PAGE_BYTES,
    CARD_BYTES,
    MIB,
    Program,
    Rig,
    first_card,
)

HUGE_PAGE_BYTES = 2 * MIB
BLOCK_BYTES = 18 * MIB
QUOTA_BYTES = 4 * BLOCK_BYTES
FULL = [ACL_OUT_OF_MEMORY, 4]
FORMS = pytest.mark.parametrize(
    "form", [f"{runtime}_{way}" for runtime in ("acl", "rt") for way in ("linked", "dlsym")]
)


def _used_and_held(rig: Rig) -> tuple[int, int]:
    """Return what the account says, and what the card's own books say."""
    return rig.account()["used"], sum(rig.held_bytes(first_card("acl")).values())


@contextmanager
def _full_pool(rig: Rig, form: str, kind: str = "pool") -> Iterator[Program]:
    """Run a program whose pool has the whole quota, in blocks 0 to 3."""
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
        yield program


@FORMS
@pytest.mark.parametrize("kind", ["pool", "pool_at_once"])
def test_what_a_pool_keeps_stays_charged_until_it_is_trimmed(
    rig: Rig, form: str, kind: str
) -> None:
    with _full_pool(rig, form, kind) as program:
        for block in range(3):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig) == (QUOTA_BYTES, QUOTA_BYTES)
        assert program.ask("extra trim") == [0]
        assert _used_and_held(rig) == (BLOCK_BYTES, BLOCK_BYTES)
    assert rig.peak_bytes(first_card("acl")) == QUOTA_BYTES


@FORMS
def test_a_destroyed_pool_takes_its_blocks_with_it(rig: Rig, form: str) -> None:
    with _full_pool(rig, form) as program:
        assert program.ask("free 0") == [0]
        assert program.ask("extra destroy_pool") == [0]
        assert _used_and_held(rig) == (0, 0)
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
    assert rig.peak_bytes(first_card("acl")) == QUOTA_BYTES


@FORMS
def test_what_lies_idle_in_a_pool_is_no_reason_to_refuse(rig: Rig, form: str) -> None:
    with _full_pool(rig, form) as program:
        assert program.ask("free 0") == [0]
        program.ask("kind classic")
        assert program.ask(f"alloc {BLOCK_BYTES - MIB}")[0] == 0
        assert rig.account()["used"] <= QUOTA_BYTES


@pytest.mark.parametrize(
    ("form", "kind", "asked", "taken"),
    [
        ("acl_linked", "classic", 1, ACL_PAGE_BYTES),
        ("acl_linked", "classic", ACL_PAGE_BYTES - ACL_PADDING_BYTES, ACL_PAGE_BYTES),
        ("acl_linked", "classic", ACL_PAGE_BYTES - ACL_PADDING_BYTES + 1, 2 * ACL_PAGE_BYTES),
        ("acl_linked", "classic", MIB - ACL_PADDING_BYTES, MIB),
        ("acl_linked", "classic", MIB - ACL_PADDING_BYTES + 1, HUGE_PAGE_BYTES),
        ("acl_linked", "aligned", ACL_PAGE_BYTES, ACL_PAGE_BYTES),
        ("acl_linked", "aligned", MIB, MIB),
        ("acl_linked", "aligned", HUGE_PAGE_BYTES + 1, 2 * HUGE_PAGE_BYTES),
        ("acl_linked", "small", 3 * MIB, 3 * MIB + ACL_PAGE_BYTES),
        ("acl_linked", "huge", 1, HUGE_PAGE_BYTES),
        ("acl_linked", "configured", ACL_PAGE_BYTES, ACL_PAGE_BYTES),
        ("acl_linked", "configured", MIB + 1, HUGE_PAGE_BYTES),
        ("acl_linked", "scheduled", ACL_PAGE_BYTES, ACL_PAGE_BYTES),
        ("acl_linked", "managed", 1, HUGE_PAGE_BYTES),
        ("acl_linked", "physical", 1, HUGE_PAGE_BYTES),
        ("acl_linked", "pool", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "classic", 1, ACL_PAGE_BYTES),
        ("rt_linked", "classic", MIB, MIB),
        ("rt_linked", "classic", MIB + 1, HUGE_PAGE_BYTES),
        ("rt_linked", "small", 3 * MIB + 1, 3 * MIB + ACL_PAGE_BYTES),
        ("rt_linked", "huge", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "cached", ACL_PAGE_BYTES + 1, 2 * ACL_PAGE_BYTES),
        ("rt_linked", "managed", 1, ACL_PAGE_BYTES),
        ("rt_linked", "configured", ACL_PAGE_BYTES, ACL_PAGE_BYTES),
        ("rt_linked", "named", MIB + 1, HUGE_PAGE_BYTES),
        ("rt_linked", "advised", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "media", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "media_flagged", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "physical", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "physical_2", 1, HUGE_PAGE_BYTES),
        ("rt_linked", "pool", 1, HUGE_PAGE_BYTES),
    ],
)
def test_a_block_costs_the_pages_that_the_card_gives_for_it(
    rig: Rig, form: str, kind: str, asked: int, taken: int
) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(CARD_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"alloc {asked}")[0] == 0
        assert _used_and_held(rig) == (taken, taken)
        assert program.ask("free 0") == [0]


@pytest.mark.parametrize(
    ("form", "what"),
    [
        ("acl_linked", "giant"),
        ("acl_linked", "giant_physical"),
        ("rt_linked", "giant"),
        ("rt_linked", "giant_physical"),
        ("rt_linked", "giant_media"),
    ],
)
def test_a_page_of_1_gib_is_charged_whole_and_not_padded(rig: Rig, form: str, what: str) -> None:
    for quota_bytes, result in ((CARD_BYTES - 1, ACL_OUT_OF_MEMORY), (CARD_BYTES, 0)):
        with rig.run(form, HCS_VRAM_QUOTA=str(quota_bytes)) as program:
            program.begin()
            assert program.ask(f"extra take_{what}") == [result]
            taken = 0 if result else CARD_BYTES
            assert _used_and_held(rig) == (taken, taken)
        rig.ledger.unlink()


@FORMS
@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (ACL_PAGE_BYTES + 1, 2 * ACL_PAGE_BYTES),
        (333_333, 82 * ACL_PAGE_BYTES),
        (MIB + 1, HUGE_PAGE_BYTES),
        (3 * MIB + 7, 2 * HUGE_PAGE_BYTES),
    ],
)
def test_odd_blocks_fill_an_odd_quota_as_far_as_whole_pages_go(
    rig: Rig, form: str, asked: int, taken: int
) -> None:
    for spare_bytes in (0, 1, asked, taken - 1):
        with rig.run(form, HCS_VRAM_QUOTA=str(7 * taken + spare_bytes)) as program:
            program.begin()
            assert program.ask(f"fill {asked}") == [ACL_OUT_OF_MEMORY, 7]
            assert _used_and_held(rig) == (7 * taken, 7 * taken)
            assert program.ask("drop") == [0]
        rig.ledger.unlink()
    assert rig.peak_bytes(first_card("acl")) == 7 * taken


@FORMS
@pytest.mark.parametrize("kind", ["classic", "small", "huge", "configured", "physical"])
def test_sizes_near_the_end_of_the_address_space_are_refused(
    rig: Rig, form: str, kind: str
) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        for size in (2**63, 2**64 - HUGE_PAGE_BYTES, 2**64 - ACL_PADDING_BYTES, 2**64 - 1):
            assert program.ask(f"alloc {size}")[0] != 0
        assert _used_and_held(rig) == (0, 0)


@FORMS
def test_the_total_of_a_device_is_its_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("total 0") == [0, QUOTA_BYTES]
