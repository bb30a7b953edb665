"""The extender's HTTP face: the wire format of kube-scheduler v1 extenders.

Source: k8s.io/kube-scheduler/extender/v1/types.go. Its structs have no JSON tags, so keys are Go
field names; the embedded Pod uses the API's own. Any status but 200 is an error to the scheduler.
The verbs want the scheduler's own client certificate; `/readyz` and `/metrics` want none.
"""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram

from hcs_bus.names import NodeName, PodUid
from hcs_edge.extender.grants import BindRequest
from hcs_edge.extender.scheduling import Scheduling
from hcs_edge.extender.view import FleetView
from hcs_edge.kube.port import Pod

BODY_BYTES_MAX = 8 * 1024**2  # 10,000 node names and the largest Pod, with room to spare
SCHEDULER_COMMON_NAME = "hcs-scheduler-to-extender"
"""The common name that may use the verbs. Its authority certifies others too: kubelets, say."""


class _ExtenderArgs(msgspec.Struct, rename="pascal"):
    pod: Pod
    node_names: list[NodeName] | None = None


class _FilterResult(msgspec.Struct, rename="pascal"):
    node_names: list[NodeName]
    failed_nodes: dict[NodeName, str]
    error: str


class _HostPriority(msgspec.Struct, rename="pascal"):
    host: NodeName
    score: int


class _BindingArgs(msgspec.Struct):
    pod_name: str = msgspec.field(name="PodName")
    pod_namespace: str = msgspec.field(name="PodNamespace")
    pod_uid: PodUid = msgspec.field(name="PodUID")
    node: NodeName = msgspec.field(name="Node")


class _BindingResult(msgspec.Struct, rename="pascal"):
    error: str


ENCODER = msgspec.json.Encoder()
ARGS = msgspec.json.Decoder(_ExtenderArgs)
BINDING_ARGS = msgspec.json.Decoder(_BindingArgs)


class ExtenderMetrics:
    """Latency per verb; `count` is the number of calls."""

    def __init__(self, registry: CollectorRegistry, view: FleetView) -> None:
        self.duration_s = Histogram(
            "hcs_extender_duration_seconds",
            "Time per verb",
            ["verb"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
            registry=registry,
        )
        ledger_seq = Gauge(
            "hcs_extender_ledger_position", "Newest grant in the view", registry=registry
        )
        ledger_seq.set_function(lambda: view.ledger_seq)


class ExtenderHandlers:
    """One method per path."""

    def __init__(self, scheduling: Scheduling, view: FleetView, metrics: ExtenderMetrics) -> None:
        self._scheduling = scheduling
        self._view = view
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """Return the verbs."""
        return [
            web.post("/filter", self._verb("filter", self._filter)),
            web.post("/prioritize", self._verb("prioritize", self._prioritize)),
            web.post("/bind", self._verb("bind", self._bind)),
        ]

    def _verb(
        self, name: str, answer: Callable[[bytes], Awaitable[object]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        duration_s = self._metrics.duration_s.labels(verb=name)

        async def handle(request: web.Request) -> web.Response:
            refusal = refuse_stranger(request)
            if refusal is not None:
                return refusal
            if not self._view.ready:
                return web.Response(status=503, text="not caught up with the ledger yet\n")
            started_s = time.perf_counter()
            try:
                result = await answer(await request.read())
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                return web.Response(status=400, text=f"{name}: {error}\n")
            duration_s.observe(time.perf_counter() - started_s)
            return web.Response(body=ENCODER.encode(result), content_type="application/json")

        return handle

    async def _filter(self, body: bytes) -> _FilterResult:
        args = ARGS.decode(body)
        found = self._scheduling.filter(args.pod, args.node_names or [])
        return _FilterResult(node_names=found.nodes, failed_nodes=found.failed, error=found.error)

    async def _prioritize(self, body: bytes) -> list[_HostPriority]:
        args = ARGS.decode(body)
        scores = self._scheduling.prioritize(args.pod, args.node_names or [])
        return [_HostPriority(host=node, score=score) for node, score in scores.items()]

    async def _bind(self, body: bytes) -> _BindingResult:
        args = BINDING_ARGS.decode(body)
        error = await self._scheduling.bind(
            BindRequest(
                pod_name=args.pod_name,
                pod_namespace=args.pod_namespace,
                pod_uid=args.pod_uid,
                node=args.node,
            )
        )
        return _BindingResult(error=error)


def refuse_stranger(request: web.Request) -> web.Response | None:
    """Return what anybody but the scheduler is told; the TLS layer has verified against our CA."""
    peer = None if request.transport is None else request.transport.get_extra_info("peercert")
    if not peer:
        return web.Response(
            status=HTTPStatus.UNAUTHORIZED, text="a client certificate is required\n"
        )
    names = [value for part in peer["subject"] for key, value in part if key == "commonName"]
    if names != [SCHEDULER_COMMON_NAME]:
        return web.Response(
            status=HTTPStatus.FORBIDDEN,
            text=f"certificate of {', '.join(names)!r}: only {SCHEDULER_COMMON_NAME!r} may\n",
        )
    return None
