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
    NAME_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
    Allocation,
    Benchmark,
    Checkpoint,
    ComputeQuota,
    Fact,
    Fault,
    FaultState,
    Fingerprint,
    Heartbeat,
    Operator,
    Pod,
    PolicyDocument,
    Quota,
    Samples,
    Tick,
)
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.fold_allocation import fold_allocation
from hcs_control.fold_episode import fold_episode, fold_late_fault
from hcs_control.fold_fingerprint import fold_fingerprint
from hcs_control.fold_isolation import (
    DeviceDecision,
    fold_operator,
    isolate,
    release,
    update_isolation,
)
from hcs_control.fold_newest import (
    fold_benchmark,
    fold_checkpoint,
    fold_compute_quota,
    fold_pod,
    fold_policy,
)
from hcs_control.fold_samples import fold_samples
from hcs_control.fold_source import account
from hcs_control.policy import Policy, decide_on_fault, decide_on_tick, parse_policy
from hcs_control.rows import Change, NodeRow, QuotaUsageRow, Removed


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What one fact does."""

    changes: list[Change]
    decisions: list[DeviceDecision] = []
    duplicate: bool = False  # folded before, under another position
    stale: bool = False  # overtaken by a later word about the same thing


def fold(
    fleet: Fleet, configured: Policy, seq: StreamSeq, envelope: Envelope, fact: Fact
) -> Folded:
    """Return the effect of `fact`, found at `seq`.

    The policy `configured` holds until the log brings one.

    Raises:
        PoisonEventError: the fact contradicts what the log says before it.
    """
    match fact:
        case Allocation():
            return Folded(changes=fold_allocation(fleet, seq, fact))
        case Tick():
            return _fold_tick(fleet, _policy_in_force(fleet, configured), seq, fact)
        case Operator():
            policy = _policy_in_force(fleet, configured)
            changes, decisions = fold_operator(fleet, policy, seq, fact)
            return Folded(changes=changes, decisions=decisions)
        case PolicyDocument():
            return Folded(changes=fold_policy(seq, fact))
        case Pod():
            return Folded(changes=fold_pod(seq, fact))
        case ComputeQuota():
            return Folded(changes=fold_compute_quota(seq, fact))
    accounted = account(fleet, seq, envelope, fact)
    if accounted is None:
        return Folded(changes=[], duplicate=True)
    if accounted.stale:
        trace: list[Change] = [accounted.position]
        if isinstance(fact, Fault):
            trace += fold_late_fault(fleet, seq, envelope.hcsnode, _shortened(fact))
        return Folded(changes=trace, stale=True)
    folded = _fold_agent_fact(fleet, configured, seq, envelope.hcsnode, fact)
    folded.changes.append(accounted.position)
    return folded


def _policy_in_force(fleet: Fleet, configured: Policy) -> Policy:
    return configured if fleet.policy is None else parse_policy(fleet.policy.document)


def _fold_agent_fact(
    fleet: Fleet,
    configured: Policy,
    seq: StreamSeq,
    node: NodeName,
    fact: Fingerprint | Samples | Heartbeat | Fault | Quota | Benchmark | Checkpoint,
) -> Folded:
    match fact:
        case Samples():
            return Folded(changes=fold_samples(fleet, seq, node, fact))
        case Heartbeat():
            before = fleet.nodes.get(node) or NodeRow(seq=seq, node_name=node)
            row = msgspec.structs.replace(
                before, seq=seq, heartbeat_at_ns=fact.at_ns, spool_dropped=fact.dropped
            )
            return Folded(changes=[row])
        case Fingerprint():
            return Folded(changes=fold_fingerprint(fleet, seq, node, fact))
        case Fault():
            policy = _policy_in_force(fleet, configured)
            return _fold_fault(fleet, policy, seq, node, _shortened(fact))
        case Quota():
            return Folded(changes=_fold_quota(fleet, seq, node, fact))
        case Benchmark():
            return Folded(changes=fold_benchmark(fleet, seq, node, fact))
        case Checkpoint():
            return Folded(changes=fold_checkpoint(fleet, seq, fact))


def _shortened(fault: Fault) -> Fault:
    """Return a fault with what there is room for: it must not be lost for its driver's words."""
    if len(fault.name) <= NAME_CHARACTERS_MAX and len(fault.detail) <= TEXT_CHARACTERS_MAX:
        return fault
    return msgspec.structs.replace(
        fault, name=fault.name[:NAME_CHARACTERS_MAX], detail=fault.detail[:TEXT_CHARACTERS_MAX]
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
    changes = fold_episode(fleet, seq, node, fault)
    isolation = fleet.isolations.get(fault.device_id)
    if isolation is not None:
        return Folded(changes=changes + update_isolation(policy, seq, isolation, fault))
    if fault.state is FaultState.CLEARED:
        return Folded(changes=changes)
    decision = decide_on_fault(policy, seq, device, fault)
    if decision is None:
        return Folded(changes=changes)
    return Folded(changes=changes + isolate(fleet, seq, decision), decisions=[decision])


def _fold_tick(fleet: Fleet, policy: Policy, seq: StreamSeq, tick: Tick) -> Folded:
    changes: list[Change] = []
    decisions: list[DeviceDecision] = []
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


def _fold_quota(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Quota) -> list[Change]:
    row = _usage_row(seq, node, fact, enforced=fact.enforced and not _exceeds_grant(fleet, fact))
    if fact.processes > 0 or (fact.enforced and fact.pod_uid in fleet.allocations):
        return [row]
    # Nobody is without a quota any more, or it is the last word of a container whose grant is gone
    # already: nothing would remove its row later.
    known = (fact.container, fact.device_id) in fleet.usage_of_pod.get(fact.pod_uid, {})
    return [Removed(QuotaUsageRow, row.key)] if known else []


def _exceeds_grant(fleet: Fleet, fact: Quota) -> bool:
    """Say whether a container holds itself to more than its Pod was given.

    The quota comes from its environment, which its programs can change.
    """
    grant = fleet.allocations.get(fact.pod_uid, {}).get(fact.device_id)
    return grant is not None and fact.quota_bytes > grant.vram_bytes


def _usage_row(seq: StreamSeq, node: NodeName, fact: Quota, *, enforced: bool) -> QuotaUsageRow:
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
        enforced=enforced,
        launches=fact.launches,
    )
