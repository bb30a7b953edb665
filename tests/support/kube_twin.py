"""The Kubernetes port in memory; the same contract suite runs against it and a real API server."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from hcs_bus.names import NodeName, PodUid
from hcs_control.request import Container, Resources
from hcs_edge.kube.port import Binding, KubeConflictError, ObjectMeta, Pod, PodSpec, PodStatus


def pod(
    name: str = "pod-1", *, vram: str | None = "16Gi", tflops: str | None = "100", node: str = ""
) -> Pod:
    """Return a Pod that asks for compute."""
    wanted = {"ai.compute/vram": vram, "ai.compute/tflops-fp16": tflops}
    requests = {name: text for name, text in wanted.items() if text is not None}
    return Pod(
        metadata=ObjectMeta(name=name, uid=PodUid(name), namespace="default"),
        spec=PodSpec(
            containers=(Container("main", Resources(requests=requests, limits=requests)),),
            nodeName=NodeName(node),
            schedulerName="hcs-scheduler",
        ),
        status=PodStatus(phase="Pending"),
    )


class KubeTwin:
    """Pods by namespace and name; open to tests."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
        self.bindings: list[Binding] = []
        self.events: asyncio.Queue[tuple[str, Pod]] = asyncio.Queue()

    def add(self, added: Pod) -> None:
        """Create or replace a Pod."""
        self.pods[(added.metadata.namespace, added.metadata.name)] = added

    async def get_pod(self, namespace: str, name: str) -> Pod | None:
        """Look up; see the port."""
        return self.pods.get((namespace, name))

    async def list_pods(self) -> list[Pod]:
        """Return all; see the port."""
        return list(self.pods.values())

    async def watch_pods(self) -> AsyncIterator[tuple[str, Pod]]:
        """Yield what is there, then what happens; see the port."""
        for present in list(self.pods.values()):
            yield "ADDED", present
        while True:
            yield await self.events.get()

    async def bind(self, binding: Binding) -> None:
        """Set the node once; see the port."""
        key = (binding.namespace, binding.pod_name)
        current = self.pods.get(key)
        if current is None or current.metadata.uid != binding.pod_uid:
            raise KubeConflictError("404: no such Pod")
        if current.spec.nodeName:
            raise KubeConflictError(f"409: already bound to {current.spec.nodeName}")
        self.bindings.append(binding)
        self.pods[key] = msgspec.structs.replace(
            current,
            metadata=msgspec.structs.replace(current.metadata, annotations=binding.annotations),
            spec=msgspec.structs.replace(current.spec, nodeName=binding.node),
        )

    async def close(self) -> None:
        """Nothing is held."""
