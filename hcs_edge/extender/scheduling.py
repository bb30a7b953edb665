"""The three verbs, as kube-scheduler means them, over the view in memory.

Filter and prioritize are pure look-ups. Bind decides again, reserves in the ledger, and then makes
one API write, the Binding with its annotations. It is idempotent on the Pod's UID: kube-scheduler
may repeat it after a time-out, and a bind that in fact succeeded must not be undone. So a bind
takes nothing back; which reservation it may still use is decided in `grants`.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection

import msgspec
import structlog

from hcs_bus.errors import BusError
from hcs_bus.events import Allocation
from hcs_bus.names import NodeName, PodUid
from hcs_control.placement import NoFit, Placement, scores
from hcs_control.request import Request, RequestError, parse_request
from hcs_edge.annotations import ALLOCATION, result_annotations
from hcs_edge.extender.grants import BindRequest, reserve, usable_node_of
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.view import FleetView
from hcs_edge.kube.port import Binding, KubeApi, KubeConflictError, KubeError, Pod

LOG = structlog.get_logger()

REQUESTS_REMEMBERED_MAX = 10_000  # Pods between filter and bind; an older one costs one GET


class Filtered(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes can serve a Pod, and why the others cannot."""

    nodes: list[NodeName]
    failed: dict[NodeName, str]
    error: str = ""


class Scheduling:
    """The verbs. Every method answers; errors are part of the answers."""

    def __init__(
        self,
        *,
        view: FleetView,
        ledger: Ledger,
        kube: KubeApi,
        clock_ns: Callable[[], int],
    ) -> None:
        self._view = view
        self._ledger = ledger
        self._kube = kube
        self._clock_ns = clock_ns
        self._requests: OrderedDict[PodUid, Request] = OrderedDict()

    def filter(self, pod: Pod, nodes: Collection[NodeName]) -> Filtered:
        """Say which nodes can serve the Pod now. Where an earlier bind got half-way, only there."""
        try:
            request = self._remember(pod)
        except RequestError as error:
            return Filtered(nodes=[], failed={}, error=str(error))
        if request is None:
            return Filtered(nodes=list(nodes), failed={})
        held = usable_node_of(self._view.fleet, pod.metadata.uid)
        if held is not None and held in nodes:
            why = f"the Pod is reserved on node {held} by an earlier bind"
            return Filtered(nodes=[held], failed={node: why for node in nodes if node != held})
        fitting, failed = [], {}
        for node in nodes:
            found = self._view.placements.place(node, request)
            if isinstance(found, NoFit):
                failed[node] = found.reason
            else:
                fitting.append(node)
        return Filtered(nodes=fitting, failed=failed)

    def prioritize(self, pod: Pod, nodes: Collection[NodeName]) -> dict[NodeName, int]:
        """Score nodes 0..10; a node that cannot serve the Pod any more scores 0."""
        request = self._remember(pod)
        if request is None:
            return dict.fromkeys(nodes, 0)
        found = {node: self._view.placements.place(node, request) for node in nodes}
        fitting = {node: p for node, p in found.items() if isinstance(p, Placement)}
        return dict.fromkeys(found, 0) | scores(fitting)

    async def bind(self, bind: BindRequest) -> str:
        """Reserve and bind; return an error message, empty on success."""
        try:
            return await self._bind(bind)
        except (BusError, KubeError, RequestError) as error:
            LOG.warning("bind_failed", pod_uid=bind.pod_uid, node=bind.node, error=str(error))
            return str(error)

    def _remember(self, pod: Pod) -> Request | None:
        request = parse_request(pod.spec.containers, pod.spec.initContainers)
        if request is not None:
            self._requests[pod.metadata.uid] = request
            self._requests.move_to_end(pod.metadata.uid)
            if len(self._requests) > REQUESTS_REMEMBERED_MAX:
                self._requests.popitem(last=False)
        return request

    async def _bind(self, bind: BindRequest) -> str:
        request = await self._request_of(bind)
        if request is None:
            return f"Pod {bind.pod_namespace}/{bind.pod_name} asks for no ai.compute resource"
        refused = await self._ledger.append(lambda: self._reserve(bind, request))
        if refused is not None:
            return refused
        return await self._write_binding(bind)

    def _reserve(self, bind: BindRequest, request: Request) -> Allocation | str | None:
        return reserve(
            self._view.fleet, self._view.placements, bind, request, now_ns=self._clock_ns()
        )

    async def _request_of(self, bind: BindRequest) -> Request | None:
        known = self._requests.get(bind.pod_uid)
        if known is not None:
            return known
        pod = await self._kube.get_pod(bind.pod_namespace, bind.pod_name)
        if pod is None or pod.metadata.uid != bind.pod_uid:
            raise KubeConflictError(f"Pod {bind.pod_uid} is gone")
        return self._remember(pod)

    async def _write_binding(self, bind: BindRequest) -> str:
        # Nothing is awaited between the ledger's last word and the request: the reservation is
        # this node's, and young enough.
        rows = list(self._view.fleet.allocations[bind.pod_uid].values())
        assert rows[0].node_name == bind.node, (rows[0].node_name, bind.node)
        binding = Binding(
            namespace=bind.pod_namespace,
            pod_name=bind.pod_name,
            pod_uid=bind.pod_uid,
            node=bind.node,
            annotations=result_annotations(self._view.fleet, rows),
        )
        try:
            await self._kube.bind(binding)
        except KubeConflictError as error:
            return await self._explain_conflict(bind, error)
        LOG.info("bound", pod_uid=bind.pod_uid, node=bind.node, devices=len(rows))
        return ""

    async def _explain_conflict(self, bind: BindRequest, error: KubeConflictError) -> str:
        """A Pod that this very reservation bound already is a success; another is not."""
        pod = await self._kube.get_pod(bind.pod_namespace, bind.pod_name)
        if pod is None or pod.metadata.uid != bind.pod_uid:
            return str(error)
        if pod.spec.nodeName == bind.node and ALLOCATION in pod.metadata.annotations:
            return ""
        # The reconciler releases the reservation once it sees what became of the Pod.
        return str(error)
