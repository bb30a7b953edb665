"""Folds faults into episodes: one row per card and code while it lasts, with counts.

A lasting fault begins and ends by its agent's word. An occurrence (an application's Xid, say) has
no end that anybody tells: it belongs to the episode before it if that was heard of within
`OCCURRENCE_GAP_NS`, and begins a new one otherwise.
"""

import msgspec

from hcs_bus.events import Fault, FaultState
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import Change, FaultEpisodeRow

OCCURRENCE_GAP_NS = 600 * NANOSECONDS_PER_SECOND


def fold_episode(fleet: Fleet, seq: StreamSeq, node: NodeName, fault: Fault) -> list[Change]:
    """Return the episodes that a fault begins, continues or ends."""
    open_ = fleet.episodes.get((fault.device_id, fault.code))
    if fault.state is FaultState.CLEARED:
        return [] if open_ is None else [_ended(open_, seq, fault.at_ns)]
    if open_ is None:
        return [_begun(seq, node, fault)]
    if not open_.lasting and fault.at_ns - open_.reported_at_ns > OCCURRENCE_GAP_NS:
        return [_ended(open_, seq, open_.reported_at_ns), _begun(seq, node, fault)]
    return [
        msgspec.structs.replace(
            open_,
            seq=seq,
            node_name=node,
            severity=fault.severity,
            detail=fault.detail,
            lasting=fault.lasting,
            reports=open_.reports + 1,
            reported_at_ns=max(open_.reported_at_ns, fault.at_ns),
        )
    ]


def fold_late_fault(fleet: Fleet, seq: StreamSeq, node: NodeName, fault: Fault) -> list[Change]:
    """Return the trace of a fault that was overtaken by a later word on the same card and code.

    It is told of, but neither begins nor ends anything: the later word says how things are.
    """
    if fault.state is FaultState.CLEARED:
        return []
    open_ = fleet.episodes.get((fault.device_id, fault.code))
    if open_ is None:
        return [_ended(_begun(seq, node, fault), seq, fault.at_ns)]
    return [msgspec.structs.replace(open_, seq=seq, reports=open_.reports + 1)]


def _begun(seq: StreamSeq, node: NodeName, fault: Fault) -> FaultEpisodeRow:
    return FaultEpisodeRow(
        seq=seq,
        device_id=fault.device_id,
        code=fault.code,
        raised_seq=seq,
        node_name=node,
        vendor=fault.vendor,
        fault_name=fault.name,
        severity=fault.severity,
        detail=fault.detail,
        lasting=fault.lasting,
        reports=1,
        raised_at_ns=fault.at_ns,
        reported_at_ns=fault.at_ns,
    )


def _ended(episode: FaultEpisodeRow, seq: StreamSeq, at_ns: int) -> FaultEpisodeRow:
    # An agent's clock may step back; an episode must not end before it began.
    ended_at_ns = max(at_ns, episode.raised_at_ns)
    return msgspec.structs.replace(episode, seq=seq, ended_at_ns=ended_at_ns, ended_seq=seq)
