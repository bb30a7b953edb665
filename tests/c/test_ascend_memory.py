"""Ascend's own ways to memory: pools, sizes that differ by function, and what queries show."""

import pytest

from tests.support.interceptor import ACL_OUT_OF_MEMORY, MIB, Rig, first_card

BLOCK_BYTES = 18 * MIB
QUOTA_BYTES = 4 * BLOCK_BYTES
FULL = [ACL_OUT_OF_MEMORY, 4]
FORMS = pytest.mark.parametrize(
    "form", [f"{runtime}_{way}" for runtime in ("acl", "rt") for way in ("linked", "dlsym")]
)


def _used_and_held(rig: Rig) -> tuple[int, int]:
    """Return what the account says, and what the card's own books say."""
    return rig.account()["used"], sum(rig.held_bytes(first_card("acl")).values())


@FORMS
@pytest.mark.parametrize("kind", ["pool", "pool_at_once"])
def test_what_a_pool_keeps_stays_charged_until_it_is_trimmed(
    rig: Rig, form: str, kind: str
) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
        for block in range(3):
            assert program.ask(f"free {block}") == [0]
        assert _used_and_held(rig) == (QUOTA_BYTES, QUOTA_BYTES)
        assert program.ask("extra trim") == [0]
        assert _used_and_held(rig) == (BLOCK_BYTES, BLOCK_BYTES)
    assert rig.peak_bytes(first_card("acl")) == QUOTA_BYTES


@FORMS
def test_a_destroyed_pool_takes_its_blocks_with_it(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind pool")
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
        assert program.ask("free 0") == [0]
        assert program.ask("extra destroy_pool") == [0]
        assert _used_and_held(rig) == (0, 0)
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
    assert rig.peak_bytes(first_card("acl")) == QUOTA_BYTES


@FORMS
def test_what_lies_idle_in_a_pool_is_no_reason_to_refuse(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("kind pool")
        assert program.ask(f"fill {BLOCK_BYTES}") == FULL
        assert program.ask("free 0") == [0]
        program.ask("kind classic")
        assert program.ask(f"alloc {BLOCK_BYTES - MIB}")[0] == 0
        assert rig.account()["used"] <= QUOTA_BYTES


@pytest.mark.parametrize(
    ("form", "kind", "bytes_"),
    [
        ("acl_linked", "configured", 32),
        ("acl_linked", "scheduled", 32),
        ("acl_linked", "managed", 2 * MIB),
        ("acl_linked", "pool", 2 * MIB),
        ("rt_linked", "configured", 32),
        ("rt_linked", "named", 32),
        ("rt_linked", "media", 32),
        ("rt_linked", "media_flagged", 32),
        ("rt_linked", "pool", 2 * MIB),
    ],
)
def test_a_byte_costs_what_the_card_gives_for_it(
    rig: Rig, form: str, kind: str, bytes_: int
) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask("alloc 1")[0] == 0
        assert _used_and_held(rig) == (bytes_, bytes_)


@FORMS
def test_the_total_of_a_device_is_its_quota(rig: Rig, form: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask("total 0") == [0, QUOTA_BYTES]
