"""How wide a way over PCIe is, and about which cards a library is asked."""

import msgspec
import pytest

from hcs_agents.detectors.pcie import PcieWays, measured, way_to
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType
from tests.support.detectors import fingerprint_of

ONE, TWO, THREE = (DeviceId(f"card-{number}") for number in (1, 2, 3))


def card(number: int, generation: int, width: int, *links: Link) -> DeviceFingerprint:
    """Return a card in a slot of its own."""
    return msgspec.structs.replace(
        fingerprint_of(number),
        pcie_generation_max=generation,
        pcie_width_max=width,
        links=links,
    )


@pytest.mark.parametrize(
    ("generation", "gbytes_s"),
    [(0, 0), (1, 8), (2, 16), (3, 32), (4, 64), (5, 128), (6, 256), (7, 0), (10**9, 0), (-1, 0)],
)
def test_a_way_has_the_data_sheets_bandwidth_of_its_generation(
    generation: int, gbytes_s: float
) -> None:
    first, _ = measured([card(1, generation, 16, way_to(TWO)), card(2, 6, 16)])
    (link,) = first.links
    assert (link.lanes, link.bandwidth_gbytes_s) == (16, gbytes_s)


def test_wires_stay_as_they_are_and_ways_to_cards_that_are_gone_are_left_out() -> None:
    wire = Link(peer=THREE, type=LinkType.NVLINK, lanes=4, bandwidth_gbytes_s=200)
    first, second = measured([card(1, 4, 16, way_to(TWO), wire, way_to(THREE)), card(2, 3, 8)])
    assert [(link.peer, link.type) for link in first.links] == [
        (TWO, LinkType.PCIE),
        (THREE, LinkType.NVLINK),
    ]
    assert first.links[1] is wire
    assert second.links == ()


def test_a_pair_is_asked_about_until_there_is_an_answer_and_not_when_it_is_wired() -> None:
    asked: list[tuple[int, int]] = []
    answers: list[bool | None] = [None, True, False]

    def share_pcie(one: int, other: int) -> bool | None:
        asked.append((one, other))
        return answers.pop(0)

    ways: PcieWays[int] = PcieWays()
    cards = {ONE: 1, TWO: 2, THREE: 3}
    assert ways.peers(ONE, cards, share_pcie, wired={THREE}) == []
    assert ways.peers(TWO, cards, share_pcie, wired={THREE}) == [ONE]
    assert ways.peers(ONE, cards, share_pcie, wired=()) == [TWO]
    assert ways.peers(THREE, cards, share_pcie, wired={TWO}) == []
    assert asked == [(1, 2), (2, 1), (1, 3)]
