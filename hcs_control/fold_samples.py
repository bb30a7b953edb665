"""Folds samples: the newest ones as they came, and the sums of what their counters grew by.

Samples are the most frequent events by far, so they cost one row per node, not one per card; only a
card that counted an error gets a row of its own changed.
"""

import msgspec

from hcs_bus.events import DeviceSample, Samples
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import Change, DeviceCounterRow, NodeSampleRow

ENCODER = msgspec.json.Encoder()
COUNT_MAX = 2**63 - 1  # of a column; a sum stays there rather than stop the projector


def fold_samples(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Samples) -> list[Change]:
    """Return the rows that a round of samples changes.

    Errors of a card that the node's newest fingerprint does not list are not counted: the node may
    not speak for it, and its other cards' samples are none the worse.
    """
    cards = fleet.device_ids_of_node.get(node, set())
    counted = [
        _counted(fleet, seq, fact.at_ns, sample)
        for sample in fact.devices
        if (
            sample.ecc_corrected
            or sample.ecc_uncorrected
            or sample.pcie_replays
            or sample.link_errors
        )
        and sample.device_id in cards
    ]
    row = NodeSampleRow(
        seq=seq,
        node_name=node,
        at_ns=fact.at_ns,
        interval_s=fact.interval_s,
        devices=ENCODER.encode(fact.devices).decode(),
    )
    return [*counted, row]


def _counted(fleet: Fleet, seq: StreamSeq, at_ns: int, sample: DeviceSample) -> DeviceCounterRow:
    before = fleet.counters.get(sample.device_id) or DeviceCounterRow(
        seq=seq, device_id=sample.device_id, changed_at_ns=at_ns
    )
    return DeviceCounterRow(
        seq=seq,
        device_id=sample.device_id,
        ecc_corrected=min(COUNT_MAX, before.ecc_corrected + sample.ecc_corrected),
        ecc_uncorrected=min(COUNT_MAX, before.ecc_uncorrected + sample.ecc_uncorrected),
        pcie_replays=min(COUNT_MAX, before.pcie_replays + sample.pcie_replays),
        link_errors=min(COUNT_MAX, before.link_errors + sample.link_errors),
        changed_at_ns=at_ns,
    )
