"""The local control plane is a real one, and closed to whoever has no business with it."""

import json
from pathlib import Path

import pytest

from hcs_edge.local import https
from hcs_edge.local.cluster import status
from hcs_edge.local.pki import ETCD_CA, Pki
from tests.support.local_cluster import LocalCluster, eventually

PLAIN_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "plain"},
    "spec": {"containers": [{"name": "main", "image": "none"}]},
}
TCP_LISTEN = "0A"
LOOPBACK_HEX = "0100007F"


def test_a_plain_pod_is_scheduled_onto_a_simulated_node_and_runs(
    local_cluster: LocalCluster,
) -> None:
    def pod() -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads(
            local_cluster.kubectl("get", "pod", "plain", "--output=json")
        )
        return found

    local_cluster.kubectl("apply", "-f", "-", text=json.dumps(PLAIN_POD))
    eventually(lambda: pod()["status"]["phase"] == "Running")
    assert pod()["spec"]["nodeName"] in local_cluster.connection.nodes
    local_cluster.kubectl("delete", "pod", "plain", "--wait")
    assert local_cluster.kubectl("get", "pods", "--output=name") == ""


def test_there_is_one_ready_node_per_simulated_agent(local_cluster: LocalCluster) -> None:
    nodes = json.loads(local_cluster.kubectl("get", "nodes", "--output=json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == set(local_cluster.connection.nodes)
    for node in nodes:
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"


@pytest.mark.parametrize(
    ("verb", "resource", "expected"),
    [
        ("list", "pods", "yes"),
        ("create", "pods/binding", "yes"),
        ("create", "pods", "no"),
        ("delete", "pods", "no"),
        ("patch", "pods", "no"),
        ("get", "secrets", "no"),
        ("list", "nodes", "no"),
    ],
)
def test_the_extender_may_read_pods_and_bind_them_and_nothing_else(
    local_cluster: LocalCluster, verb: str, resource: str, expected: str
) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "hcs-extender",
            "resourceAttributes": {
                "namespace": "default",
                "verb": verb,
                "resource": resource.partition("/")[0],
                "subresource": resource.partition("/")[2],
            },
        },
    }
    answer = local_cluster.kubectl("create", "-f", "-", "--output=json", text=json.dumps(review))
    assert json.loads(answer)["status"]["allowed"] == (expected == "yes")


def test_the_administrators_certificate_does_not_open_the_store(
    local_cluster: LocalCluster,
) -> None:
    pki, port = Pki(local_cluster.home.pki), local_cluster.connection.ports["etcd"]
    assert https.is_ready(pki, port, "/health", client="etcd-client", authority=ETCD_CA)
    assert not https.is_ready(pki, port, "/health", client="admin", authority=ETCD_CA)


def test_every_program_listens_on_loopback_only(local_cluster: LocalCluster) -> None:
    addresses = {
        address
        for record in status(local_cluster.home)
        if record.identity is not None
        for address in _listening(record.identity.pid)
    }
    assert len(addresses) >= len(status(local_cluster.home)) - 1  # KWOK listens nowhere
    assert {address.partition(":")[0] for address in addresses} == {LOOPBACK_HEX}


def _listening(pid: int) -> list[str]:
    sockets = {
        target
        for path in Path(f"/proc/{pid}/fd").iterdir()
        if (target := str(path.readlink())).startswith("socket:")
    }
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == TCP_LISTEN and f"socket:[{fields[9]}]" in sockets:
                found.append(fields[1])
    return found
