"""A Pod that asks for compute lands on the right card, and everyone can see why."""

import http.client
import json
import ssl

import pytest

from hcs_edge.local.pki import CLUSTER_CA, Pki
from tests.support.local_cluster import eventually
from tests.support.workloads import Json, Workloads, pod

GIB = 1024**3


def test_the_basic_example_is_bound_to_a_card_that_stands_in_annotations_and_sql(
    workloads: Workloads,
) -> None:
    annotations = workloads.create_basic()
    [device_id] = annotations["hcs.io/devices"].split(",")
    eventually(lambda: bool(workloads.sql("SELECT 1 FROM allocation WHERE state = 'bound'")))
    [row] = workloads.sql(
        "SELECT a.*, d.vendor, d.device_index FROM allocation a JOIN device d USING (device_id) "
        "WHERE a.state = 'bound'"
    )
    assert row["device_id"] == device_id
    assert row["vendor"] == annotations["hcs.io/vendor"]
    assert row["vram_bytes"] == int(annotations["hcs.io/vram-quota"]) == 16 * GIB
    assert row["fp16_gflops"] == 100_000
    keys = {
        "nvidia": "nvidia",
        "huawei": "ascend",
        "hygon": "hygon",
        "cambricon": "cambricon",
        "mthreads": "mthreads",
    }
    key = f"hcs.io/{keys[row['vendor']]}-visible-devices"
    assert annotations[key] == (
        device_id if row["vendor"] == "nvidia" else str(row["device_index"])
    )


def test_a_deleted_pod_gives_its_share_back(workloads: Workloads) -> None:
    annotations = workloads.create_basic()
    workloads.delete_all_pods()
    [row] = workloads.sql(
        "SELECT vram_allocated_bytes, fp16_allocated_gflops FROM device WHERE device_id = $1",
        annotations["hcs.io/devices"],
    )
    assert tuple(row.values()) == (0, 0)


def test_limits_alone_are_enough(workloads: Workloads) -> None:
    given = pod("limits")
    resources = given["spec"]["containers"][0]["resources"]
    resources["limits"] = resources.pop("requests")
    assert workloads.bound(workloads.create(given))["hcs.io/vram-quota"] == str(16 * GIB)


def test_what_no_card_holds_is_spread_over_cards_of_one_node(workloads: Workloads) -> None:
    annotations = workloads.bound(workloads.create(pod("large", vram="160Gi", tflops="600")))
    assert len(annotations["hcs.io/devices"].split(",")) == 2
    assert annotations["hcs.io/vram-quota"] == f"{80 * GIB},{80 * GIB}"


def test_the_container_is_pointed_at_annotations_that_the_binding_brings(
    workloads: Workloads,
) -> None:
    name = workloads.create(pod("late"))
    workloads.bound(name)
    container = workloads.pod(name)["spec"]["containers"][0]
    references = {
        item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"]
        for item in container["env"]
        if "valueFrom" in item
    }
    assert references["NVIDIA_VISIBLE_DEVICES"] == (
        "metadata.annotations['hcs.io/nvidia-visible-devices']"
    )
    assert references["HCS_VRAM_QUOTA"] == "metadata.annotations['hcs.io/vram-quota']"
    assert container["resources"]["limits"] == container["resources"]["requests"]


def test_a_deployment_with_requests_alone_gets_its_pods_placed(workloads: Workloads) -> None:
    template = pod("unused")
    labels = {"app": "trainer"}
    workloads.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "trainer"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
    )
    eventually(lambda: len(workloads.sql("SELECT 1 FROM allocation WHERE state = 'bound'")) == 3)


def test_a_cron_job_with_requests_alone_gets_its_pod_placed(workloads: Workloads) -> None:
    template = {"spec": pod("unused")["spec"] | {"restartPolicy": "Never"}}
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 0 31 2 *", "jobTemplate": {"spec": {"template": template}}},
    }
    workloads.create(cron_job)  # its day never comes: the Job is made by hand
    workloads.cluster.kubectl("create", "job", "tonight", "--from=cronjob/nightly")
    eventually(lambda: len(workloads.sql("SELECT 1 FROM allocation WHERE state = 'bound'")) == 1)
    workloads.cluster.kubectl("delete", "cronjob", "nightly", "--cascade=foreground")


@pytest.mark.parametrize(
    ("amount", "complaint"),
    [("1.5", "'1500m' is not whole"), ("-1", "'-1' must be greater than zero")],
)
def test_an_amount_that_cannot_be_is_refused_with_a_message(
    workloads: Workloads, amount: str, complaint: str
) -> None:
    message = refusal(workloads, pod("wrong", vram=amount))
    assert "containers[main].resources: ai.compute/vram" in message
    assert complaint in message


def test_nobody_writes_the_result_annotations(workloads: Workloads) -> None:
    forged = pod("forged")
    forged["metadata"]["annotations"] = {"hcs.io/devices": "GPU-0"}
    assert "written by HCS" in refusal(workloads, forged)
    name = workloads.create(pod("honest"))
    workloads.bound(name)
    with pytest.raises(Exception, match="written by HCS"):
        workloads.cluster.kubectl("annotate", "--overwrite", name, "hcs.io/vram-quota=1")
    workloads.cluster.kubectl("annotate", name, "example.com/note=fine")


def test_a_pod_that_fits_nowhere_is_told_why(workloads: Workloads) -> None:
    name = workloads.create(pod("huge", vram="10Ti"))

    def message() -> str:
        conditions = workloads.pod(name)["status"].get("conditions", [])
        return " ".join(condition.get("message", "") for condition in conditions)

    eventually(lambda: "wants 10240.0 GiB" in message())


def test_more_pods_than_a_node_holds_fill_it_exactly_and_no_further(workloads: Workloads) -> None:
    items = [pod(f"storm-{n}", vram="32Gi", node="a100-0") for n in range(20)]
    workloads.cluster.kubectl(
        "create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    eventually(
        lambda: len(workloads.sql("SELECT 1 FROM allocation WHERE state = 'bound'")) == 16,
        deadline_s=60,
    )
    rows = workloads.sql("SELECT vram_allocated_bytes FROM device WHERE node_name = 'a100-0'")
    assert [row["vram_allocated_bytes"] for row in rows] == [64 * GIB] * 8
    phases = [item["spec"].get("nodeName") for item in all_pods(workloads)]
    assert phases.count("a100-0") == 16
    assert workloads.sql("SELECT * FROM parked_event WHERE subject LIKE '%allocation%'") == []


def all_pods(workloads: Workloads) -> list[Json]:
    """Return all Pods of the namespace."""
    found: Json = json.loads(workloads.cluster.kubectl("get", "pods", "--output=json"))
    items: list[Json] = found["items"]
    return items


def refusal(workloads: Workloads, manifest: Json) -> str:
    """Return why the API server refused an object."""
    try:
        workloads.create(manifest)
    except Exception as error:  # noqa: BLE001  # whatever kubectl's wrapper raises holds the words
        return str(error)
    raise AssertionError("it was accepted")


def verb_status(workloads: Workloads, certificate: str | None) -> int:
    """Return what the extender answers to an empty bind of somebody with a certificate."""
    pki = Pki(workloads.cluster.home.pki)
    context = ssl.create_default_context(cafile=str(pki.certificate(CLUSTER_CA)))
    if certificate is not None:
        context.load_cert_chain(pki.certificate(certificate), pki.key(certificate))
    port = workloads.cluster.connection.ports["extender"]
    caller = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    caller.request("POST", "/bind", body="{}")
    status = caller.getresponse().status
    caller.close()
    return status


@pytest.mark.parametrize(
    ("certificate", "status"),
    [
        (None, http.HTTPStatus.UNAUTHORIZED),
        ("kwok", http.HTTPStatus.FORBIDDEN),
        ("admin", http.HTTPStatus.FORBIDDEN),
        ("scheduler-to-extender", http.HTTPStatus.BAD_REQUEST),  # heard, but says nothing
    ],
)
def test_the_verbs_are_the_schedulers_alone(
    workloads: Workloads, certificate: str | None, status: int
) -> None:
    assert verb_status(workloads, certificate) == status
