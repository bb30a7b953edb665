"""The Kubernetes adapter against a real API server; its twin keeps the same contract."""

import asyncio
import json

import pytest

from hcs_bus.names import NodeName, PodUid
from hcs_edge.kube import client
from hcs_edge.kube.port import Binding, KubeApi, KubeConflictError, Pod
from tests.support.kube_twin import KubeTwin
from tests.support.kube_twin import pod as twin_pod
from tests.support.workloads import Workloads


async def contract(api: KubeApi, created: Pod, node: NodeName) -> None:
    """Bind a Pod once; a second Binding, and one to a Pod that is no more, are conflicts."""
    name, namespace = created.metadata.name, created.metadata.namespace
    binding = Binding(
        namespace=namespace,
        pod_name=name,
        pod_uid=created.metadata.uid,
        node=node,
        annotations={"hcs.io/devices": "GPU-0"},
    )
    stale = Binding(
        namespace=namespace, pod_name=name, pod_uid=PodUid("older"), node=node, annotations={}
    )
    with pytest.raises(KubeConflictError):
        await api.bind(stale)
    await api.bind(binding)
    found = await api.get_pod(namespace, name)
    assert found is not None
    assert (found.metadata.uid, found.spec.nodeName) == (created.metadata.uid, node)
    assert found.metadata.annotations["hcs.io/devices"] == "GPU-0"
    with pytest.raises(KubeConflictError):
        await api.bind(binding)
    assert await api.get_pod(namespace, "nobody") is None
    assert created.metadata.uid in {pod.metadata.uid for pod in await api.list_pods()}
    async with asyncio.timeout(10):
        async for event, seen in api.watch_pods():
            if seen.metadata.uid == created.metadata.uid:
                assert event == "ADDED"
                break


async def test_the_twin_keeps_the_contract() -> None:
    created = twin_pod()
    await contract(KubeTwin(created), created, NodeName("a100-0"))


def test_the_adapter_keeps_the_contract_on_a_real_api_server(workloads: Workloads) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        # Gated Pods cannot be bound and others would be scheduled: this one asks for too much.
        "metadata": {"name": "contract"},
        "spec": {
            "schedulerName": "hcs-scheduler",
            "nodeSelector": {"none": "such"},
            "containers": [{"name": "main", "image": "none"}],
        },
    }
    name = workloads.create(manifest)
    raw = json.loads(workloads.cluster.kubectl("get", name, "--output=json"))

    async def run() -> None:
        api = await client.connect(workloads.cluster.home.kubeconfig)
        created = await api.get_pod("default", raw["metadata"]["name"])
        assert created is not None
        try:
            await contract(api, created, NodeName("a100-0"))
        finally:
            await api.close()

    asyncio.run(run())
