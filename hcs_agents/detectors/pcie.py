"""How cards reach each other that no fabric connects: over PCIe.

A library says of two cards that they are on one PCIe, if only over two CPUs. How wide that way is
follows from the cards: it is as wide as the narrower of the two. What lies between them may be
shared with others, or slower; nobody tells that, so the bandwidth is the most that there can be.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType

Place = TypeVar("Place")
"""How a library speaks of a card."""

LANE_GBYTES_S = (0.5, 1, 2, 4, 8, 16)
"""Of PCIe's generations from 1 on: one lane, both directions together, as data sheets round it."""


class PcieWays(Generic[Place]):
    """Which cards a library says to be on one PCIe; about each pair it is asked once a session."""

    def __init__(self) -> None:
        self._told: dict[frozenset[DeviceId], bool] = {}

    def peers(
        self,
        device_id: DeviceId,
        cards: Mapping[DeviceId, Place],
        share_pcie: Callable[[Place, Place], bool | None],
        *,
        wired: Container[DeviceId],
    ) -> list[DeviceId]:
        """Return which of `cards` one reaches over PCIe and not, as `wired` ones, over a fabric.

        An answer of `share_pcie` holds while the cards are there; `None` is none yet.
        """
        found = []
        for peer in cards:
            if peer == device_id or peer in wired:
                continue
            pair = frozenset((device_id, peer))
            told = self._told.get(pair)
            if told is None:
                told = share_pcie(cards[device_id], cards[peer])
            if told is not None:
                self._told[pair] = told
            if told:
                found.append(peer)
        return found

    def links(
        self,
        device_id: DeviceId,
        cards: Mapping[DeviceId, Place],
        share_pcie: Callable[[Place, Place], bool | None],
        *,
        fabric: LinkType,
        lanes_to: Mapping[DeviceId, int],
        lane_gbytes_s: float,
    ) -> tuple[Link, ...]:
        """Return a card's links to other `cards`: its fabric's, by their lanes, and over PCIe."""
        links = [
            Link(peer=peer, type=fabric, lanes=lanes, bandwidth_gbytes_s=lanes * lane_gbytes_s)
            for peer, lanes in lanes_to.items()
            if peer in cards and peer != device_id
        ]
        links += map(way_to, self.peers(device_id, cards, share_pcie, wired=lanes_to))
        return tuple(sorted(links, key=lambda link: link.peer))


def way_to(peer: DeviceId) -> Link:
    """Return a link over PCIe; `measured` says how wide it is."""
    return Link(peer=peer, type=LinkType.PCIE, lanes=0, bandwidth_gbytes_s=0)


def measured(devices: Iterable[DeviceFingerprint]) -> list[DeviceFingerprint]:
    """Return cards whose links over PCIe say how wide they are; those to no other card are left."""
    cards = {device.device_id: device for device in devices}
    return [_measured(device, cards) for device in cards.values()]


def _measured(
    device: DeviceFingerprint, cards: Mapping[DeviceId, DeviceFingerprint]
) -> DeviceFingerprint:
    if all(link.type is not LinkType.PCIE for link in device.links):
        return device
    links = tuple(
        _way(device, cards[link.peer]) if link.type is LinkType.PCIE else link
        for link in device.links
        if link.type is not LinkType.PCIE or link.peer in cards
    )
    return msgspec.structs.replace(device, links=links)


def _way(one: DeviceFingerprint, other: DeviceFingerprint) -> Link:
    return Link(
        peer=other.device_id,
        type=LinkType.PCIE,
        lanes=min(one.pcie_width_max, other.pcie_width_max),
        bandwidth_gbytes_s=min(_gbytes_s(one), _gbytes_s(other)),
    )


def _gbytes_s(device: DeviceFingerprint) -> float:
    """Return what a card's own link moves at most, 0 when that is unknown."""
    generation = device.pcie_generation_max
    known = 0 < generation <= len(LANE_GBYTES_S)
    return device.pcie_width_max * LANE_GBYTES_S[generation - 1] if known else 0
