"""What becomes of a Pod's grant: reserved, bound, given back. Pure: the time is an argument.

The ledger decides who gets a card, but a Binding is a write to another server. Once sent it cannot
be called back: it may be worked on while its sender is dead, or has given up waiting. So a
reservation is used while it is young and given back when it is so old that no Binding made for it
can arrive any more. In between nobody touches it, and until then no other node is tried: if two
Bindings of one Pod were under way, the Pod could run on cards that somebody else was given.
"""

from collections.abc import Iterable, Mapping

import msgspec

from hcs_bus.events import Allocation, AllocationState
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName, PodUid
from hcs_control.fleet import Fleet
from hcs_control.placement import NoFit
from hcs_control.placement_cache import PlacementCache
from hcs_control.request import Request
from hcs_control.rows import AllocationRow
from hcs_edge.kube.port import Pod

BINDING_AGE_S_MAX = 30.0  # a reservation that is older gets no Binding any more
# No Binding arrives so late: it was sent within `BINDING_AGE_S_MAX`, and the API server works on it
# for `kube.client.REQUEST_TIMEOUT_S`. The rest is for clocks that differ and for etcd.
RESERVATION_TTL_S = 60.0


class BindRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What kube-scheduler says when it has chosen a node."""

    pod_name: str
    pod_namespace: str
    pod_uid: PodUid
    node: NodeName


class LeftOver(msgspec.Struct, frozen=True):
    """A grant that holds cards for nobody, as it was when that was found out."""

    grant: AllocationRow
    reason: str


def grant_of(fleet: Fleet, pod_uid: PodUid) -> AllocationRow | None:
    """Return one row of a Pod's grant: all change together, and differ in card and share alone."""
    return next(iter(fleet.allocations.get(pod_uid, {}).values()), None)


def usable_node_of(fleet: Fleet, pod_uid: PodUid) -> NodeName | None:
    """Return the node where a Pod has its cards already, if all of them are still healthy."""
    rows = fleet.allocations.get(pod_uid, {})
    if not all(fleet.devices[device_id].usable for device_id in rows):
        return None
    return next((row.node_name for row in rows.values()), None)


def reserve(
    fleet: Fleet, placements: PlacementCache, bind: BindRequest, request: Request, now_ns: int
) -> Allocation | str | None:
    """Return the reservation for a bind, why there is none, or None: the Pod has it already."""
    grant = grant_of(fleet, bind.pod_uid)
    if grant is not None:
        return _why_not_to_be_used(grant, bind, now_ns)
    found = placements.place(bind.node, request)
    if isinstance(found, NoFit):
        return f"node {bind.node} no longer fits: {found.reason}"
    return Allocation(
        at_ns=now_ns,
        pod_uid=bind.pod_uid,
        namespace=bind.pod_namespace,
        pod_name=bind.pod_name,
        node=bind.node,
        state=AllocationState.RESERVED,
        shares=found.shares,
    )


def _why_not_to_be_used(grant: AllocationRow, bind: BindRequest, now_ns: int) -> str | None:
    if grant.state is AllocationState.BOUND:
        return None if grant.node_name == bind.node else f"Pod is bound to node {grant.node_name}"
    if grant.node_name != bind.node:
        return (
            f"Pod is reserved on node {grant.node_name}, and an earlier bind to it may still "
            f"succeed; the reservation is given back after {RESERVATION_TTL_S:.0f} s"
        )
    if _age_s(grant, now_ns) > BINDING_AGE_S_MAX:
        return (
            f"the Pod's reservation is older than {BINDING_AGE_S_MAX:.0f} s; it is given back "
            f"after {RESERVATION_TTL_S:.0f} s, then the Pod can be bound anew"
        )
    return None


def step_for(fleet: Fleet, pod: Pod, *, gone: bool, now_ns: int) -> Allocation | None:
    """Return what a Pod's state does to its grant. None of it can be undone by a later state."""
    grant = grant_of(fleet, pod.metadata.uid)
    if grant is None:
        return None
    if gone:
        return _release(grant, "Pod deleted", now_ns)
    if pod.finished:
        return _release(grant, f"Pod {pod.status.phase.lower()}", now_ns)
    if pod.spec.nodeName and pod.spec.nodeName != grant.node_name:
        return _release(grant, f"Pod is bound to node {pod.spec.nodeName}", now_ns)
    if pod.spec.nodeName and grant.state is not AllocationState.BOUND:
        return _step(grant, AllocationState.BOUND, "", now_ns)
    return None


def left_over(
    grants: Iterable[AllocationRow], pods: Mapping[PodUid, Pod], now_ns: int
) -> list[LeftOver]:
    """Return grants without a living Pod, and reservations that no Binding can reach any more.

    `grants` are older than the list of `pods`, which was asked for at `now_ns` or later: a Pod that
    had a grant before is in the list, or it is gone for good.
    """
    found = []
    for grant in grants:
        pod = pods.get(grant.pod_uid)
        if pod is None:
            found.append(LeftOver(grant, "Pod is gone"))
        elif not pod.spec.nodeName and _age_s(grant, now_ns) > RESERVATION_TTL_S:
            found.append(LeftOver(grant, f"not bound within {RESERVATION_TTL_S:.0f} s"))
    return found


def release_left_over(fleet: Fleet, found: LeftOver, now_ns: int) -> Allocation | None:
    """Return the release, unless the grant is another by now and what was found out is void."""
    grant = grant_of(fleet, found.grant.pod_uid)
    if grant is None or grant.seq != found.grant.seq:
        return None
    return _release(grant, found.reason, now_ns)


def _release(grant: AllocationRow, reason: str, now_ns: int) -> Allocation:
    return _step(grant, AllocationState.RELEASED, reason, now_ns)


def _step(grant: AllocationRow, state: AllocationState, reason: str, now_ns: int) -> Allocation:
    return Allocation(
        at_ns=now_ns,
        pod_uid=grant.pod_uid,
        namespace=grant.namespace,
        pod_name=grant.pod_name,
        node=grant.node_name,
        state=state,
        reason=reason,
    )


def _age_s(grant: AllocationRow, now_ns: int) -> float:
    return (now_ns - grant.reserved_at_ns) / NANOSECONDS_PER_SECOND
