"""Folds what isolates a card and what releases it: decisions, and the word of a person.

An isolation holds while any of its `active_codes` does. A person's word is a code of its own,
`operator`: faults that clear do not end it, only a person's release does, and that ends the
isolation whatever else holds it. A fault in force then isolates again when it is next raised.
"""

import msgspec

from hcs_bus.errors import PoisonEventError
from hcs_bus.events import Decision, Fault, FaultState, Isolate, Operator, OperatorVerb, Release
from hcs_bus.names import DeviceId, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.policy import Policy
from hcs_control.rows import Change, Health, IsolationRow
from hcs_control.validity import with_validity

DeviceDecision = Isolate | Release

OPERATOR = "operator"
"""The code and the rule of what a person decided."""


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


def _with_health(
    fleet: Fleet, seq: StreamSeq, decision: DeviceDecision, health: Health
) -> list[Change]:
    device = fleet.devices.get(decision.device_id)
    if device is None:
        return []
    changed = msgspec.structs.replace(device, seq=seq, health=health)
    return with_validity(fleet, seq, decision.at_ns, changed)


def fold_decision(fleet: Fleet, decision: Decision) -> list[Change]:
    """Return the effect of a decision read from the bus, for views that decide nothing.

    Only of a card's newest: a decision that was sent again may lie behind the one that undid it.
    """
    seq = decision.fact_seqs[-1]
    match decision:
        case Isolate():
            return isolate(fleet, seq, decision)
        case Release():
            return release(fleet, seq, decision)
        case _:
            return []  # of nodes, Pods and breakers nothing is kept in memory


def update_isolation(
    policy: Policy, seq: StreamSeq, isolation: IsolationRow, fault: Fault
) -> list[Change]:
    """Return the isolation as a further fault, or the end of one, leaves it."""
    codes = set(isolation.active_codes)
    if fault.state is FaultState.CLEARED:
        codes.discard(fault.code)
    elif policy.rule_for(fault) is not None:
        codes.add(fault.code)
    return _with_codes(seq, isolation, codes)


def _with_codes(seq: StreamSeq, isolation: IsolationRow, codes: set[str]) -> list[Change]:
    active_codes = tuple(sorted(codes))
    if active_codes == isolation.active_codes:
        return []
    return [
        msgspec.structs.replace(isolation, seq=seq, active_codes=active_codes, clear_since_ns=None)
    ]


def fold_operator(
    fleet: Fleet, policy: Policy, seq: StreamSeq, fact: Operator
) -> tuple[list[Change], list[DeviceDecision]]:
    """Return what a person's word changes, and the decisions that tell of it.

    Raises:
        PoisonEventError: the node does not have the card, or has none at all.
    """
    cards = fleet.device_ids_of_node.get(fact.node, set())
    if fact.device_id is not None and fact.device_id not in cards:
        raise PoisonEventError(f"{fact.verb} of device {fact.device_id!r}: not on node {fact.node}")
    if not cards:
        raise PoisonEventError(f"{fact.verb} of node {fact.node}: no cards are known there")
    if fact.verb is OperatorVerb.RESET_BREAKER:
        return [], []  # nothing to reset: no rule opens one yet
    chosen = sorted(cards) if fact.device_id is None else [fact.device_id]
    changes: list[Change] = []
    decisions: list[DeviceDecision] = []
    for device_id in chosen:
        isolation = fleet.isolations.get(device_id)
        if fact.verb is OperatorVerb.ISOLATE and isolation is not None:
            changes += _with_codes(seq, isolation, {*isolation.active_codes, OPERATOR})
        elif fact.verb is OperatorVerb.ISOLATE:
            isolating = _isolate_decision(policy, seq, device_id, fact)
            changes += isolate(fleet, seq, isolating)
            decisions.append(isolating)
        elif isolation is not None:
            releasing = _release_decision(policy, seq, isolation, fact)
            changes += release(fleet, seq, releasing)
            decisions.append(releasing)
    return changes, decisions


def _isolate_decision(
    policy: Policy, seq: StreamSeq, device_id: DeviceId, fact: Operator
) -> Isolate:
    return Isolate(
        at_ns=fact.at_ns,
        node=fact.node,
        device_id=device_id,
        code=OPERATOR,
        rule=OPERATOR,
        policy_version=policy.version,
        evidence=f"{fact.who}: {fact.why}",
        fact_seqs=(seq,),
    )


def _release_decision(
    policy: Policy, seq: StreamSeq, isolation: IsolationRow, fact: Operator
) -> Release:
    return Release(
        at_ns=fact.at_ns,
        node=fact.node,
        device_id=isolation.device_id,
        rule=OPERATOR,
        policy_version=policy.version,
        evidence=f"{fact.who}: {fact.why}",
        fact_seqs=(isolation.isolated_seq, seq),
    )
