"""Keeps the past of a card: from when to when it was where, how healthy, and how large.

A new row begins when one of these changes. What is given out of a card is not kept here: the
ledger's rows hold their own times. `inventory_at` (in `migrations/`) reads both.
"""

import msgspec

from hcs_bus.names import StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import Change, DeviceRow, DeviceValidityRow


def with_validity(fleet: Fleet, seq: StreamSeq, at_ns: int, device: DeviceRow) -> list[Change]:
    """Return a changed device with the rows of its past that change with it."""
    before = fleet.validities.get(device.device_id)
    # Agents' clocks may step back; a range must not end before it began.
    from_ns = at_ns if before is None else max(at_ns, before.valid_from_ns)
    now = DeviceValidityRow(
        seq=seq,
        device_id=device.device_id,
        valid_from_seq=seq,
        valid_from_ns=from_ns,
        node_name=device.node_name,
        vendor=device.vendor,
        model=device.model,
        device_index=device.device_index,
        vram_bytes=device.vram_bytes,
        fp16_gflops=device.fp16_gflops,
        present=device.present,
        health=device.health,
    )
    if before is None:
        return [device, now]
    same = msgspec.structs.replace(
        now,
        seq=before.seq,
        valid_from_seq=before.valid_from_seq,
        valid_from_ns=before.valid_from_ns,
    )
    if same == before:
        return [device]
    return [device, msgspec.structs.replace(before, seq=seq, valid_to_ns=from_ns), now]
