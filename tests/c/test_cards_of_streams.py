"""What is allocated in a stream is charged to the stream's card, whichever is the current one."""

import pytest

from tests.support.interceptor import (
    CUDA_OUT_OF_MEMORY,
    GPUS,
    MIB,
    OUT_OF_MEMORY,
    Rig,
    first_card,
)

STEP_BYTES = 32 * MIB  # in which the pools of CUDA's driver grow; a multiple of the others'
QUOTAS_BYTES = (2 * STEP_BYTES, 3 * STEP_BYTES)
SETTINGS = {
    "HCS_VRAM_QUOTA": ",".join(map(str, QUOTAS_BYTES)),
    "HCS_DEVICES": ",".join(GPUS),
}
OF_THE_NEXT_CARD = {
    "cuda": ["next_cards_stream", "next_cards_pool"],
    "hip": ["next_cards_stream", "next_cards_pool"],
    "cnrt": ["next_cards_stream"],
    "cndrv": ["next_cards_stream"],
    "musart": ["next_cards_stream"],
    "musa": ["next_cards_stream"],
}
EACH_KIND = [(runtime, kind) for runtime, kinds in OF_THE_NEXT_CARD.items() for kind in kinds]
EACH_FORM = [
    (f"{runtime}_{way}", kind)
    for runtime, kind in EACH_KIND
    for way in ("linked", "dlsym", *(("lookup",) if runtime in ("cuda", "musa") else ()))
]


def _refused(runtime: str, count: int) -> list[int]:
    return [OUT_OF_MEMORY.get(runtime, CUDA_OUT_OF_MEMORY), count]


@pytest.mark.parametrize(("form", "kind"), EACH_FORM)
def test_another_cards_memory_is_charged_there(rig: Rig, form: str, kind: str) -> None:
    runtime = form.partition("_")[0]
    first = first_card(runtime)
    with rig.run(form, **SETTINGS) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {STEP_BYTES}") == _refused(runtime, 3)
        account = rig.account()
        assert (account["used"], account["second"]) == (0, QUOTAS_BYTES[1])
        program.ask("kind async")  # in a stream of the current card
        assert program.ask(f"fill {STEP_BYTES}") == _refused(runtime, 2)
        account = rig.account()
        assert (account["used"], account["second"]) == QUOTAS_BYTES
    assert (rig.peak_bytes(first), rig.peak_bytes(first + 1)) == QUOTAS_BYTES


@pytest.mark.parametrize(("runtime", "kind"), EACH_KIND)
def test_what_is_freed_comes_back_to_the_card_that_had_it(
    rig: Rig, runtime: str, kind: str
) -> None:
    second = first_card(runtime) + 1
    with rig.run(f"{runtime}_linked", **SETTINGS) as program:
        program.begin().ask(f"kind {kind}")
        assert program.ask(f"fill {STEP_BYTES}") == _refused(runtime, 3)
        assert program.ask("drop") == [0]
        assert program.ask("extra synchronize") == [0]
        assert rig.account()["second"] == sum(rig.held_bytes(second).values()) == 0
        assert program.ask(f"fill {STEP_BYTES}") == _refused(runtime, 3)


@pytest.mark.parametrize("runtime", OF_THE_NEXT_CARD)
def test_the_current_card_stays_the_current_one(rig: Rig, runtime: str) -> None:
    with rig.run(f"{runtime}_linked", **SETTINGS) as program:
        program.begin().ask("kind next_cards_stream")
        assert program.ask(f"alloc {STEP_BYTES}")[0] == 0
        assert program.ask("info")[2] == QUOTAS_BYTES[0]
        program.ask("kind classic")
        assert program.ask(f"fill {STEP_BYTES}") == _refused(runtime, 2)
