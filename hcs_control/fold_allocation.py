"""Folds the ledger: a grant is reserved, then bound, and released at the end.

The writer has checked all this before it appended, and the log's order made its check binding; the
fold checks again, because it believes nobody: a grant that would over-commit a card is parked.
"""

import msgspec

from hcs_bus.errors import PoisonEventError
from hcs_bus.events import Allocation, AllocationState, Share
from hcs_bus.names import StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import AllocationRow, Change, DeviceRow, QuotaUsageRow, Removed


def fold_allocation(fleet: Fleet, seq: StreamSeq, fact: Allocation) -> list[Change]:
    """Return the rows that a step in a grant's life changes.

    Raises:
        PoisonEventError: the step is not possible from the state that the log has reached.
    """
    match fact.state:
        case AllocationState.RESERVED:
            return _reserve(fleet, seq, fact)
        case AllocationState.BOUND:
            return _bind(fleet, seq, fact)
        case AllocationState.RELEASED:
            return _release(fleet, seq, fact)


def _reserve(fleet: Fleet, seq: StreamSeq, fact: Allocation) -> list[Change]:
    if fact.pod_uid in fleet.allocations:
        raise PoisonEventError(f"Pod {fact.pod_uid} is reserved already")
    if not fact.shares or len({share.device_id for share in fact.shares}) != len(fact.shares):
        raise PoisonEventError(f"reservation of Pod {fact.pod_uid} needs distinct shares")
    changes: list[Change] = []
    for share in fact.shares:
        changes.append(_take(fleet, seq, fact, share))
        changes.append(
            AllocationRow(
                seq=seq,
                pod_uid=fact.pod_uid,
                device_id=share.device_id,
                node_name=fact.node,
                namespace=fact.namespace,
                pod_name=fact.pod_name,
                state=AllocationState.RESERVED,
                vram_bytes=share.vram_bytes,
                fp16_gflops=share.fp16_gflops,
                reserved_at_ns=fact.at_ns,
                changed_at_ns=fact.at_ns,
            )
        )
    return changes


def _take(fleet: Fleet, seq: StreamSeq, fact: Allocation, share: Share) -> DeviceRow:
    device = fleet.devices.get(share.device_id)
    if device is None or device.node_name != fact.node:
        raise PoisonEventError(f"node {fact.node} has no device {share.device_id}")
    if share.vram_bytes > device.vram_free_bytes or share.fp16_gflops > device.fp16_free_gflops:
        raise PoisonEventError(
            f"Pod {fact.pod_uid} would over-commit device {share.device_id}: wants "
            f"{share.vram_bytes} bytes and {share.fp16_gflops} gflops, free are "
            f"{device.vram_free_bytes} and {device.fp16_free_gflops}"
        )
    return msgspec.structs.replace(
        device,
        seq=seq,
        vram_allocated_bytes=device.vram_allocated_bytes + share.vram_bytes,
        fp16_allocated_gflops=device.fp16_allocated_gflops + share.fp16_gflops,
    )


def _bind(fleet: Fleet, seq: StreamSeq, fact: Allocation) -> list[Change]:
    rows = fleet.allocations.get(fact.pod_uid)
    if rows is None:
        raise PoisonEventError(f"Pod {fact.pod_uid} was never reserved")
    return [
        msgspec.structs.replace(row, seq=seq, state=AllocationState.BOUND, changed_at_ns=fact.at_ns)
        for row in rows.values()
    ]


def _release(fleet: Fleet, seq: StreamSeq, fact: Allocation) -> list[Change]:
    changes: list[Change] = []
    for row in fleet.allocations.get(fact.pod_uid, {}).values():
        changes.append(_give_back(fleet.devices[row.device_id], seq, row))
        changes.append(
            msgspec.structs.replace(
                row,
                seq=seq,
                state=AllocationState.RELEASED,
                changed_at_ns=fact.at_ns,
                reason=fact.reason,
            )
        )
    usage = fleet.usage_of_pod.get(fact.pod_uid, {})
    changes.extend(Removed(QuotaUsageRow, row.key) for row in usage.values())
    return changes


def _give_back(device: DeviceRow, seq: StreamSeq, row: AllocationRow) -> DeviceRow:
    vram_allocated_bytes = device.vram_allocated_bytes - row.vram_bytes
    fp16_allocated_gflops = device.fp16_allocated_gflops - row.fp16_gflops
    assert min(vram_allocated_bytes, fp16_allocated_gflops) >= 0, device.device_id
    return msgspec.structs.replace(
        device,
        seq=seq,
        vram_allocated_bytes=vram_allocated_bytes,
        fp16_allocated_gflops=fp16_allocated_gflops,
        overcommitted=vram_allocated_bytes > device.vram_bytes
        or fp16_allocated_gflops > device.fp16_gflops,
    )
