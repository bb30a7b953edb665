"""One request and one node → the cards that serve it, or the reason why none can. Pure.

A request is a total. It takes as many cards of one model as whole cards of that model would be
needed, evenly: how much of a card happens to be free never turns one card into two, because a
program written for one card cannot use two halves. Among equal choices the tightest fit wins: cards
that are broken into already are filled first, so that whole cards stay whole.
"""

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from hcs_bus.events import Share
from hcs_bus.names import NodeName, Vendor
from hcs_control.fleet import Fleet
from hcs_control.request import Request
from hcs_control.rows import DeviceRow

DEVICES_PER_REQUEST_MAX = 16  # the largest single node we know of
SCORE_MAX = 10  # Kubernetes' MaxExtenderPriority


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: whose cards, and which share of each."""

    node: NodeName
    vendor: Vendor
    shares: tuple[Share, ...]  # in the vendor's numbering
    fit: float  # 0..1: part of the chosen cards' free memory that the request takes


class NoFit(msgspec.Struct, frozen=True, kw_only=True):
    """Why a node cannot serve a request, in words for a Pod's events."""

    reason: str


def place(fleet: Fleet, node: NodeName, request: Request) -> Placement | NoFit:
    """Choose cards of `node` for `request`."""
    devices = fleet.devices_of(node)
    if not devices:
        return NoFit(reason="node has no accelerator that HCS knows")
    usable = [device for device in devices if device.usable]
    if not usable:
        return NoFit(reason=f"all {len(devices)} devices are isolated or absent")
    found = [
        placement
        for group in _by_model(usable)
        if (placement := _tightest(node, group, request)) is not None
    ]
    if not found:
        return NoFit(reason=_shortage(devices, usable, request))
    return min(found, key=lambda placement: (len(placement.shares), -placement.fit))


def scores(placements: Mapping[NodeName, Placement]) -> dict[NodeName, int]:
    """Return 0..`SCORE_MAX` per node: the tightest gets all, the others in proportion to it.

    In proportion, because whole steps of an absolute scale would make 16 of 64 GiB and 16 of
    80 GiB the same.
    """
    best = max((placement.fit for placement in placements.values()), default=1.0)
    return {node: round(SCORE_MAX * placement.fit / best) for node, placement in placements.items()}


def _by_model(devices: list[DeviceRow]) -> list[list[DeviceRow]]:
    groups: dict[tuple[Vendor, str], list[DeviceRow]] = defaultdict(list)
    for device in devices:
        groups[(device.vendor, device.model)].append(device)
    return list(groups.values())


def _tightest(node: NodeName, group: list[DeviceRow], request: Request) -> Placement | None:
    count = max(
        -(-request.vram_bytes // max(device.vram_bytes for device in group)),
        -(-request.fp16_gflops // max(1, *(device.fp16_gflops for device in group))),
    )
    if count > min(len(group), DEVICES_PER_REQUEST_MAX):
        return None
    vram_bytes = -(-request.vram_bytes // count)
    fp16_gflops = -(-request.fp16_gflops // count)
    fitting = [
        device
        for device in group
        if device.vram_free_bytes >= vram_bytes and device.fp16_free_gflops >= fp16_gflops
    ]
    if len(fitting) < count:
        return None
    chosen = sorted(fitting, key=_free)[:count]
    free_bytes = sum(device.vram_free_bytes for device in chosen)
    shares = tuple(
        Share(device_id=device.device_id, vram_bytes=vram_bytes, fp16_gflops=fp16_gflops)
        for device in sorted(chosen, key=lambda device: device.device_index)
    )
    return Placement(
        node=node, vendor=chosen[0].vendor, shares=shares, fit=vram_bytes * count / free_bytes
    )


def _free(device: DeviceRow) -> tuple[int, int, int]:
    return (device.vram_free_bytes, device.fp16_free_gflops, device.device_index)


def _shortage(devices: list[DeviceRow], usable: list[DeviceRow], request: Request) -> str:
    vram_gib = request.vram_bytes / 1024**3
    free_gib = max(device.vram_free_bytes for device in usable) / 1024**3
    free_tflops = max(device.fp16_free_gflops for device in usable) / 1000
    out = len(devices) - len(usable)
    return (
        f"wants {vram_gib:.1f} GiB and {request.fp16_gflops / 1000:.0f} TFLOPS; the freest device "
        f"has {free_gib:.1f} GiB and {free_tflops:.0f} TFLOPS"
        + (f" ({out} of {len(devices)} devices are isolated or absent)" if out else "")
    )
