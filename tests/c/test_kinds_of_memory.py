"""Each kind of memory that a runtime has is charged when it is made and given back when it ends."""

from itertools import product

import pytest

from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    CARD_BYTES,
    CUDA_OUT_OF_MEMORY,
    MIB,
    OUT_OF_MEMORY,
    RUNTIMES,
    Rig,
    first_card,
)

QUOTA_BYTES = 72 * MIB  # of 2 MiB pages and of mipmaps, which come in ninths
BLOCK_BYTES = 18 * MIB
KINDS = {
    "cudart": (
        "classic managed pitched volume array array3d mipmapped mapped "
        "graph_node graph_uploaded graph_captured graph_alone"
    ),
    "cuda": (
        "classic managed pitched array array3d mipmapped physical physical_part mapped "
        "graph_node graph_parameters graph_parameters_ptsz graph_uploaded graph_uploaded_ptsz "
        "graph_captured graph_alone"
    ),
    "acl": "aligned configured scheduled managed physical mapped retained",
    "rt": (
        "classic cached managed configured named media media_flagged "
        "physical mapped retained physical_2 mapped_2"
    ),
    "hip": (
        "classic with_flags managed pitched pitched_of_driver volume physical mapped "
        "array array3d mipmapped array_of_driver array3d_of_driver mipmapped_of_driver "
        "graph_node graph_plain graph_parameters graph_uploaded looked_up looked_up_spt"
    ),
    "cnrt": "classic constant",
    "cndrv": (
        "classic zeroed constant peer on_node exported security zeroed_on_node "
        "constant_on_node frame merged physical mapped retained"
    ),
    "musart": "classic managed pitched solid",
    "musa": "classic managed pitched physical mapped retained",
}
EACH_KIND = [
    pytest.param(f"{runtime}_{way}", kind, id=f"{runtime}-{way}-{kind}")
    for runtime, kinds in KINDS.items()
    for way in ("linked", "dlsym", *(("lookup",) if runtime in ("cuda", "musa") else ()))
    for kind in kinds.split()
] + [
    # By the lookup a new program gets the newest form.
    pytest.param(f"cuda_{way}", f"graph_{form}_form", id=f"cuda-{way}-graph_{form}_form")
    for way in ("linked", "dlsym")
    for form in ("first", "second")
]


@pytest.mark.parametrize(("form", "kind"), EACH_KIND)
def test_every_kind_gets_its_quota_and_gives_it_back(rig: Rig, form: str, kind: str) -> None:
    runtime = form.partition("_")[0]
    refused = OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY)
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        program.ask(f"kind {kind}")
        assert program.ask(f"fill {BLOCK_BYTES}") == [refused, 4]
        assert rig.account()["used"] == QUOTA_BYTES
        for block in range(4):
            assert program.ask(f"free {block}") == [0]
        assert rig.account()["used"] == 0
        assert program.ask(f"fill {BLOCK_BYTES}") == [refused, 4]
    assert rig.peak_bytes(first_card(runtime)) == QUOTA_BYTES


@pytest.mark.parametrize("runtime", ["acl"])
def test_cached_memory_is_padded(rig: Rig, runtime: str) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        program.ask("kind cached")
        assert program.ask(f"alloc {QUOTA_BYTES - 31}")[0] == OUT_OF_MEMORY[runtime]
        assert program.ask(f"alloc {QUOTA_BYTES - 32}")[0] == 0
        assert program.ask("free 0") == [0]
        assert rig.account()["used"] == 0


@pytest.mark.parametrize("runtime", ["cuda", "acl", "rt", "hip", "cndrv", "musa"])
def test_releasing_a_handle_that_is_mapped_gives_nothing_back(rig: Rig, runtime: str) -> None:
    refused = OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY)
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        program.ask("kind mapped")  # releases the handle as soon as it is mapped
        assert program.ask(f"alloc {QUOTA_BYTES}")[0] == 0
        assert program.ask(f"alloc {2 * MIB}")[0] == refused
        assert program.ask("free 0") == [0]
        assert program.ask(f"alloc {QUOTA_BYTES}")[0] == 0


@pytest.mark.parametrize(
    ("form", "act"),
    [
        *((f"cuda_{way}", "new_context") for way in ("linked", "dlsym", "lookup")),
        *(("cuda_linked", f"new_context_{which}_form") for which in ("first", "second", "third")),
    ],
)
@pytest.mark.parametrize("end", ["destroy_context", "destroy_context_first_form"])
def test_a_context_takes_its_memory_with_it(rig: Rig, form: str, act: str, end: str) -> None:
    with rig.run(form, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {MIB}")[0] == 0  # the primary context's
        assert program.ask(f"extra {act}") == [0]
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        program.ask("kind managed")
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        program.ask("kind async")  # a pool's memory is the card's
        assert program.ask(f"alloc {2 * MIB}")[0] == 0  # of a step of 32
        program.ask("kind physical")
        assert program.ask(f"alloc {2 * MIB}")[0] == 0
        assert rig.account()["used"] == 2 * BLOCK_BYTES + 35 * MIB
        assert program.ask(f"extra {end}") == [0]
        assert rig.account()["used"] == 35 * MIB


@pytest.mark.parametrize("form", ["", "_first_form"])
@pytest.mark.parametrize("way", ["reset_primary", "release_primary"])
def test_a_primary_context_takes_its_memory_with_it(rig: Rig, way: str, form: str) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        assert program.ask(f"extra {way}{form}") == [0]
        assert rig.account()["used"] == 0
        assert program.ask("device 0") == [0]
        assert program.ask(f"alloc {QUOTA_BYTES}")[0] == 0


def test_a_primary_context_lives_until_its_last_release(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        program.ask("device 0")
        assert program.ask(f"alloc {BLOCK_BYTES}")[0] == 0
        assert program.ask("extra release_primary") == [0]
        assert rig.account()["used"] == BLOCK_BYTES
        assert program.ask("extra release_primary") == [0]
        assert rig.account()["used"] == 0


@pytest.mark.parametrize(
    ("runtime", "way"),
    [
        *((runtime, "reset") for runtime in RUNTIMES if not runtime.startswith("cuda")),
        *((runtime, "reset_at_once") for runtime in ("acl", "rt")),
    ],
)
def test_a_reset_device_gives_all_back(rig: Rig, runtime: str, way: str) -> None:
    full = [OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY), 4]
    block_bytes = BLOCK_BYTES - (ACL_PADDING_BYTES if runtime == "acl" else 0)
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin()
        assert program.ask(f"fill {block_bytes}") == full
        assert program.ask(f"extra {way}") == [0]
        assert rig.account()["used"] == 0
        assert program.ask("device 0") == [0]
        assert program.ask(f"fill {block_bytes}") == full
    assert rig.peak_bytes(first_card(runtime)) == QUOTA_BYTES


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        *product(("hip", "musa", "cndrv"), ("physical", "mapped", "async", "made_pool")),
        *product(("acl", "rt"), ("physical", "mapped", "pool")),
    ],
)
def test_who_resets_a_card_has_no_memory_twice(rig: Rig, runtime: str, kind: str) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"alloc {2 * MIB}")[0] == 0
        assert program.ask("extra reset") == [0]
        behind_handle = kind in ("physical", "mapped") and runtime != "hip"
        held = rig.held_bytes(first_card(runtime)).get(program.process.pid, 0)
        assert held == rig.account()["used"] == (2 * MIB if behind_handle else 0)
        program.ask("device 0")
        program.ask("kind classic")
        assert program.ask(f"fill {MIB - ACL_PADDING_BYTES}")[1] == (QUOTA_BYTES - held) // MIB
    assert rig.peak_bytes(first_card(runtime)) <= QUOTA_BYTES


@pytest.mark.parametrize(("reset", "left"), [("reset", BLOCK_BYTES), ("reset_at_once", 0)])
@pytest.mark.parametrize(("runtime", "padding_bytes"), [("acl", ACL_PADDING_BYTES), ("rt", 0)])
def test_an_ascend_device_is_reset_as_often_as_it_was_set(
    rig: Rig, runtime: str, padding_bytes: int, reset: str, left: int
) -> None:
    with rig.run(f"{runtime}_linked", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        program.begin().ask("device 0")
        assert program.ask(f"alloc {BLOCK_BYTES - padding_bytes}")[0] == 0
        assert program.ask(f"extra {reset}") == [0]
        assert rig.account()["used"] == left
        if left:
            assert program.ask(f"extra {reset}") == [0]
        assert rig.account()["used"] == 0


def test_host_memory_and_what_is_imported_cost_nothing(rig: Rig) -> None:
    with rig.run("cuda_linked", HCS_VRAM_QUOTA=str(MIB)) as program:
        program.begin().ask(f"alloc {MIB}")
        assert program.ask("extra host_and_imported") == [0]
        assert (rig.account()["used"], rig.account()["refusals"]) == (MIB, 0)


@pytest.mark.parametrize("way", ["linked", "dlsym"])
@pytest.mark.parametrize(
    ("runtime", "form"),
    [
        ("hip", "total_mib"),
        ("hip", "total_mib_r0000"),
        ("hip", "total_mib_r0600"),
        ("musart", "total_mib"),
        ("musart", "total_mib_v2"),
    ],
)
def test_a_cards_properties_show_the_quota(rig: Rig, runtime: str, way: str, form: str) -> None:
    with rig.run(f"{runtime}_{way}", HCS_VRAM_QUOTA=str(QUOTA_BYTES)) as program:
        assert program.begin().ask(f"extra {form}") == [QUOTA_BYTES // MIB]
    with rig.run(f"{runtime}_{way}") as program:
        assert program.begin().ask(f"extra {form}") == [CARD_BYTES // MIB]
