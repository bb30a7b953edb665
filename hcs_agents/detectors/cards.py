"""Which cards a library has shown, where each is, and which of them are lost.

A status other than "OK" says little: a driver is busy, resets something, is short of a permission.
One such moment must not take the cards of a whole node out of service. So a card is lost only after
it has not answered for `LOST_AFTER_S`, and while no card answers, a silence is the library's.

Nor does a place say much: another card may be put where one was taken out. Whoever asks whether a
card answers asks who it is; a card in whose place another one was found is lost, and forgotten once
that was told. If it is seen again, here or elsewhere, it is back.
"""

import enum
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from hcs_agents.detectors.port import LibraryBrokenError
from hcs_bus.events import DeviceFingerprint
from hcs_bus.names import DeviceId

LOG = structlog.get_logger()

LOST_AFTER_S = 2.0  # three looks in a row

Place = TypeVar("Place")


class Answer(enum.Enum):
    """How a card takes to being asked."""

    YES = enum.auto()
    GONE = enum.auto()  # the driver knows of no such card, or has another one in its place
    SILENT = enum.auto()  # neither: it is busy, it has timed out, …


def answer_of(status: int, *, fine: Collection[int], gone: Collection[int]) -> Answer:
    """Return what a status says of the card that was asked about."""
    if status in fine:
        return Answer.YES
    return Answer.GONE if status in gone else Answer.SILENT


@dataclass(frozen=True, kw_only=True)
class Found(Generic[Place]):
    """What an enumeration has found."""

    cards: Mapping[DeviceId, Place]
    silent: int = 0  # places whose card does not say who it is, for now
    nameless: tuple[int, ...] = ()  # indices of cards that nothing tells apart


@dataclass(slots=True, kw_only=True)
class _Card(Generic[Place]):
    place: Place
    silent_since_s: float | None = None  # `None`: it answered when it was last asked
    fingerprint: DeviceFingerprint | None = None  # as last told


class KnownCards(Generic[Place]):
    """The cards that were seen since the library was opened."""

    def __init__(self, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._cards: dict[DeviceId, _Card[Place]] = {}
        self._replaced: set[DeviceId] = set()
        self._nameless: tuple[int, ...] = ()

    @property
    def places(self) -> dict[DeviceId, Place]:
        """Where each card is, or was before it went away."""
        return {device_id: card.place for device_id, card in self._cards.items()}

    def note(self, found: Found[Place]) -> None:
        """Take in an enumeration.

        Raises:
            LibraryBrokenError: no card was ever seen, and there are some that say nothing.
        """
        if found.silent and not found.cards and not self._cards:
            raise LibraryBrokenError(f"{found.silent} cards, and none says who it is")
        if found.nameless and found.nameless != self._nameless:
            LOG.warning("cards_without_identity", indices=found.nameless, effect="not told of")
        self._nameless = found.nameless
        taken = list(found.cards.values())
        for device_id in [d for d, card in self._cards.items() if card.place in taken]:
            if device_id not in found.cards:
                del self._cards[device_id]
                self._replaced.add(device_id)
        for device_id, place in found.cards.items():
            self._replaced.discard(device_id)
            self._cards.setdefault(device_id, _Card(place=place)).place = place

    def lost(self, answers: Mapping[DeviceId, Answer]) -> set[DeviceId]:
        """Return which cards are lost, by what all of them answer now.

        Raises:
            LibraryBrokenError: none of them answers, and of one nobody knows why.
        """
        now_s, lost = self._monotonic_s(), set()
        for device_id, answer in answers.items():
            card = self._cards[device_id]
            if answer is Answer.YES:
                card.silent_since_s = None
                continue
            if card.silent_since_s is None:
                card.silent_since_s = now_s
            if now_s - card.silent_since_s >= LOST_AFTER_S:
                lost.add(device_id)
        no_card_answers = Answer.YES not in answers.values()
        if no_card_answers and any(answers[device_id] is Answer.SILENT for device_id in lost):
            raise LibraryBrokenError("no card answers")
        return lost | self._replaced

    def forget_replaced(self) -> None:
        """Forget the cards in whose places others are: they were told to be lost."""
        self._replaced.clear()

    def fingerprints(
        self, described: Mapping[DeviceId, DeviceFingerprint], answers: Mapping[DeviceId, Answer]
    ) -> list[DeviceFingerprint]:
        """Return what to tell of cards, which were asked for answers after they were described.

        One that is silent for the moment, or did not tell its memory, is told of as it was.

        Raises:
            LibraryBrokenError: see `lost`.
        """
        lost = self.lost(answers)
        for device_id, answer in answers.items():
            card, device = self._cards[device_id], described.get(device_id)
            if answer is Answer.GONE or device_id in lost:
                card.fingerprint = None
            elif answer is Answer.YES and device and (device.vram_bytes or not card.fingerprint):
                card.fingerprint = device
        told = [self._cards[device_id].fingerprint for device_id in answers]
        return [device for device in told if device is not None]
