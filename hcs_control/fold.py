"""The fold: one fact at one position → changed rows and decisions. Pure: no await, clock or log.

`fold` reads the fleet and changes nothing; the caller applies what it returns. The same function
serves the projector, the extender's view and a replay, so all of them agree. A fact that must not
be believed (a grant that would over-commit a card, a fault on another node's card) raises
`PoisonEventError`: the caller parks it.
"""

import msgspec

from hcs_bus.envelope import Envelope
from hcs_bus.errors import PoisonEventError
from hcs_bus.events import (
    Allocation,
    Decision,
    Fact,
    Fault,
    FaultState,
    Fingerprint,
    Heartbeat,
    Isolate,
    Quota,
    Release,
    Tick,
)
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.fold_allocation import fold_allocation
from hcs_control.fold_fingerprint import fold_fingerprint
from hcs_control.policy import Policy, decide_on_fault, decide_on_tick
from hcs_control.rows import (
    Change,
    Health,
    IsolationRow,
    NodeRow,
    QuotaUsageRow,
    Removed,
    SourcePositionRow,
)
from hcs_control.validity import with_validity

MISSING_MAX = 1_024  # numbers remembered as skipped per source; more than a publisher has in flight


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What one fact does."""

    changes: list[Change]
    decisions: list[Decision] = []
    duplicate: bool = False  # folded before, under another position


def fold(fleet: Fleet, policy: Policy, seq: StreamSeq, envelope: Envelope, fact: Fact) -> Folded:
    """Return the effect of `fact`, found at `seq`.

    Raises:
        PoisonEventError: the fact contradicts what the log says before it.
    """
    match fact:
        case Allocation():
            return Folded(changes=fold_allocation(fleet, seq, fact))
        case Tick():
            return _fold_tick(fleet, policy, seq, fact)
    position = _advance_source(fleet, seq, envelope)
    if position is None:
        return Folded(changes=[], duplicate=True)
    folded = _fold_agent_fact(fleet, policy, seq, envelope.hcsnode, fact)
    folded.changes.append(position)
    return folded


def _fold_agent_fact(
    fleet: Fleet,
    policy: Policy,
    seq: StreamSeq,
    node: NodeName,
    fact: Fingerprint | Heartbeat | Fault | Quota,
) -> Folded:
    match fact:
        case Fingerprint():
            return Folded(changes=fold_fingerprint(fleet, seq, node, fact))
        case Heartbeat():
            before = fleet.nodes.get(node) or NodeRow(seq=seq, node_name=node)
            row = msgspec.structs.replace(
                before, seq=seq, heartbeat_at_ns=fact.at_ns, spool_dropped=fact.dropped
            )
            return Folded(changes=[row])
        case Fault():
            return _fold_fault(fleet, policy, seq, node, fact)
        case Quota():
            return Folded(changes=_fold_quota(fleet, seq, node, fact))


def _advance_source(fleet: Fleet, seq: StreamSeq, envelope: Envelope) -> SourcePositionRow | None:
    """Return the source's new position, or None for an event folded before.

    The server forgets ids after its duplicates window; a spool may resend later than that, and a
    resend may overtake: so every number is accounted for, not just the highest.
    """
    node, incarnation, n = _parse_id(envelope)
    before = fleet.sources.get((node, incarnation))
    last_n = before.last_n if before else 0
    missing = before.missing if before else ()
    if n > last_n:
        skipped = range(max(last_n + 1, n - MISSING_MAX), n)
        last_n, missing = n, (*missing, *skipped)[-MISSING_MAX:]
    elif n in missing:
        missing = tuple(other for other in missing if other != n)
    else:
        return None
    return SourcePositionRow(
        seq=seq, node_name=node, incarnation=incarnation, last_n=last_n, missing=missing
    )


def _parse_id(envelope: Envelope) -> tuple[NodeName, str, int]:
    match envelope.id.split("/"):
        case [envelope.hcsnode, incarnation, n] if n.isdecimal():
            return envelope.hcsnode, incarnation, int(n)
    raise PoisonEventError(
        f"id {envelope.id!r}: must be <node>/<incarnation>/<n> "
        f"with the event's own node {envelope.hcsnode!r}"
    )


def _fold_fault(
    fleet: Fleet, policy: Policy, seq: StreamSeq, node: NodeName, fault: Fault
) -> Folded:
    device = fleet.devices.get(fault.device_id)
    if device is None or device.node_name != node:
        where = "no node" if device is None else f"node {device.node_name}"
        raise PoisonEventError(
            f"fault on device {fault.device_id!r} from node {node}: {where} has that device"
        )
    isolation = fleet.isolations.get(fault.device_id)
    if isolation is not None:
        return Folded(changes=_update_isolation(policy, seq, isolation, fault))
    if fault.state is FaultState.CLEARED:
        return Folded(changes=[])
    decision = decide_on_fault(policy, seq, device, fault)
    if decision is None:
        return Folded(changes=[])
    return Folded(changes=isolate(fleet, seq, decision), decisions=[decision])


def _update_isolation(
    policy: Policy, seq: StreamSeq, isolation: IsolationRow, fault: Fault
) -> list[Change]:
    codes = set(isolation.active_codes)
    if fault.state is FaultState.CLEARED:
        codes.discard(fault.code)
    elif policy.rule_for(fault) is not None:
        codes.add(fault.code)
    active_codes = tuple(sorted(codes))
    if active_codes == isolation.active_codes:
        return []
    return [
        msgspec.structs.replace(isolation, seq=seq, active_codes=active_codes, clear_since_ns=None)
    ]


def _fold_tick(fleet: Fleet, policy: Policy, seq: StreamSeq, tick: Tick) -> Folded:
    changes: list[Change] = []
    decisions: list[Decision] = []
    for isolation in fleet.isolations.values():
        if not isolation.active_codes and isolation.clear_since_ns is None:
            changes.append(msgspec.structs.replace(isolation, seq=seq, clear_since_ns=tick.at_ns))
            continue
        device = fleet.devices[isolation.device_id]
        decision = decide_on_tick(policy, seq, device, isolation, tick)
        if decision is not None:
            changes.extend(release(fleet, seq, decision))
            decisions.append(decision)
    return Folded(changes=changes, decisions=decisions)


def isolate(fleet: Fleet, seq: StreamSeq, decision: Isolate) -> list[Change]:
    """Return the rows of an isolation. Idempotent: an isolated device is left as it is.

    A view may hear of an isolation before it hears of the device; its fingerprint then finds it.
    """
    if decision.device_id in fleet.isolations:
        return []
    row = IsolationRow(
        seq=seq,
        device_id=decision.device_id,
        isolated_seq=seq,
        node_name=decision.node,
        code=decision.code,
        rule=decision.rule,
        policy_version=decision.policy_version,
        evidence=decision.evidence,
        active_codes=(decision.code,),
        isolated_at_ns=decision.at_ns,
    )
    return [row, *_with_health(fleet, seq, decision, Health.ISOLATED)]


def release(fleet: Fleet, seq: StreamSeq, decision: Release) -> list[Change]:
    """Return the rows of a release. Idempotent: a device that is not isolated is left as it is."""
    isolation = fleet.isolations.get(decision.device_id)
    if isolation is None:
        return []
    row = msgspec.structs.replace(
        isolation, seq=seq, released_at_ns=decision.at_ns, released_seq=seq
    )
    return [row, *_with_health(fleet, seq, decision, Health.HEALTHY)]


def _with_health(fleet: Fleet, seq: StreamSeq, decision: Decision, health: Health) -> list[Change]:
    device = fleet.devices.get(decision.device_id)
    if device is None:
        return []
    changed = msgspec.structs.replace(device, seq=seq, health=health)
    return with_validity(fleet, seq, decision.at_ns, changed)


def fold_decision(fleet: Fleet, decision: Decision) -> list[Change]:
    """Return the effect of a decision read from the bus, for views that decide nothing."""
    seq = decision.fact_seqs[-1]
    match decision:
        case Isolate():
            return isolate(fleet, seq, decision)
        case Release():
            return release(fleet, seq, decision)


def _fold_quota(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Quota) -> list[Change]:
    row = _usage_row(seq, node, fact)
    if fact.processes > 0 or fact.pod_uid in fleet.allocations:
        return [row]
    # The last word of a container whose grant is gone already: nothing would remove its row later.
    known = (fact.container, fact.device_id) in fleet.usage_of_pod.get(fact.pod_uid, {})
    return [Removed(QuotaUsageRow, row.key)] if known else []


def _usage_row(seq: StreamSeq, node: NodeName, fact: Quota) -> QuotaUsageRow:
    return QuotaUsageRow(
        seq=seq,
        pod_uid=fact.pod_uid,
        container=fact.container,
        device_id=fact.device_id,
        node_name=node,
        quota_bytes=fact.quota_bytes,
        used_bytes=fact.used_bytes,
        peak_bytes=fact.peak_bytes,
        refusals=fact.refusals,
        processes=fact.processes,
        at_ns=fact.at_ns,
    )
