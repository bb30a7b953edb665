"""Which cards are lost, and what is told of those that say nothing for the moment."""

import msgspec
import pytest

from hcs_agents.detectors.cards import LOST_AFTER_S, Answer, Found, KnownCards, answer_of
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_bus.names import DeviceId
from tests.support.detectors import fingerprint_of

ONE, TWO, THREE = (DeviceId(f"card-{number}") for number in (1, 2, 3))
YES, GONE, SILENT = Answer.YES, Answer.GONE, Answer.SILENT


class Clock:
    """A clock that stands still."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cards(clock: Clock) -> KnownCards[int]:
    """Return a table of two cards."""
    cards: KnownCards[int] = KnownCards(monotonic_s=clock)
    cards.note(Found(cards={ONE: 0, TWO: 1}))
    return cards


def test_a_status_is_fine_or_says_that_the_card_is_gone_or_says_nothing() -> None:
    answers = [answer_of(status, fine=(0, 2), gone=(8,)) for status in (0, 2, 8, 17)]
    assert answers == [YES, YES, GONE, SILENT]


@pytest.mark.parametrize("answer", [GONE, SILENT])
def test_a_card_is_lost_when_it_has_not_answered_for_long_enough(
    answer: Answer, cards: KnownCards[int], clock: Clock
) -> None:
    assert cards.lost({ONE: answer, TWO: YES}) == set()
    clock.now_s += LOST_AFTER_S - 0.01
    assert cards.lost({ONE: answer, TWO: YES}) == set()
    clock.now_s += 0.01
    assert cards.lost({ONE: answer, TWO: YES}) == {ONE}
    assert cards.lost({ONE: YES, TWO: YES}) == set()


def test_an_answer_in_between_begins_the_wait_anew(cards: KnownCards[int], clock: Clock) -> None:
    for _ in range(10):
        assert cards.lost({ONE: SILENT, TWO: YES}) == set()
        clock.now_s += LOST_AFTER_S / 2
        assert cards.lost({ONE: YES, TWO: YES}) == set()
        clock.now_s += LOST_AFTER_S / 2


def test_a_silence_of_all_cards_is_the_librarys_and_loses_none(
    cards: KnownCards[int], clock: Clock
) -> None:
    silence = {ONE: SILENT, TWO: SILENT}
    assert cards.lost(silence) == set()
    clock.now_s += LOST_AFTER_S
    with pytest.raises(LibraryBrokenError):
        cards.lost(silence)


def test_cards_that_the_driver_calls_gone_may_all_be_lost(
    cards: KnownCards[int], clock: Clock
) -> None:
    gone = {ONE: GONE, TWO: GONE}
    assert cards.lost(gone) == set()
    clock.now_s += LOST_AFTER_S
    assert cards.lost(gone) == {ONE, TWO}


def test_a_card_in_whose_place_another_is_found_is_lost_and_then_forgotten(
    cards: KnownCards[int],
) -> None:
    cards.note(Found(cards={THREE: 0, TWO: 1}))
    assert cards.places == {TWO: 1, THREE: 0}
    answers = {TWO: YES, THREE: YES}
    assert cards.lost(answers) == {ONE}
    cards.forget_replaced()
    assert cards.lost(answers) == set()


def test_a_replaced_card_that_is_found_elsewhere_was_only_moved(cards: KnownCards[int]) -> None:
    cards.note(Found(cards={TWO: 0}))
    cards.note(Found(cards={TWO: 0, ONE: 1}))
    assert cards.places == {TWO: 0, ONE: 1}
    assert cards.lost({TWO: YES, ONE: YES}) == set()


def test_a_silent_card_is_told_of_as_it_was_and_one_that_is_gone_is_not(
    cards: KnownCards[int], clock: Clock
) -> None:
    one = msgspec.structs.replace(fingerprint_of(0), device_id=ONE)
    two = msgspec.structs.replace(fingerprint_of(1), device_id=TWO)
    assert cards.fingerprints({ONE: one, TWO: two}, {ONE: YES, TWO: YES}) == [one, two]
    half = msgspec.structs.replace(one, vram_bytes=0, model="")
    assert cards.fingerprints({ONE: half, TWO: two}, {ONE: SILENT, TWO: YES}) == [one, two]
    assert cards.fingerprints({ONE: half, TWO: two}, {ONE: YES, TWO: YES}) == [one, two]
    assert cards.fingerprints({TWO: two}, {ONE: SILENT, TWO: GONE}) == [one]
    clock.now_s += LOST_AFTER_S - 0.01
    assert cards.fingerprints({TWO: two}, {ONE: SILENT, TWO: YES}) == [one, two]
    clock.now_s += 0.01
    assert cards.fingerprints({TWO: two}, {ONE: SILENT, TWO: YES}) == [two]
    assert cards.fingerprints({ONE: half, TWO: two}, {ONE: YES, TWO: YES}) == [half, two]


def test_a_node_whose_cards_say_nothing_from_the_start_is_not_one_without_cards() -> None:
    cards: KnownCards[int] = KnownCards()
    cards.note(Found(cards={}))
    with pytest.raises(LibraryBrokenError):
        cards.note(Found(cards={}, silent=2))
    cards.note(Found(cards={ONE: 0}, silent=1))
    cards.note(Found(cards={}, silent=2))  # for the moment: `lost` will say


def test_cards_without_identity_are_named_once(
    cards: KnownCards[int], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for nameless in ((3, 5), (3, 5), ()):
        cards.note(Found(cards={ONE: 0}, nameless=nameless))
    said = caplog.text + capsys.readouterr().out
    assert said.count("cards_without_identity") == 1
    assert "(3, 5)" in said
