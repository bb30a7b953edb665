"""What admission adds to a Pod, and what it refuses."""

import base64
from typing import Any

import msgspec
import pytest

from hcs_control.request import RequestError
from hcs_edge.annotations import RESULT_ANNOTATIONS
from hcs_edge.webhook.http import REVIEW, mutate, validate
from hcs_edge.webhook.mutate import patch_pod, patch_workload

Json = dict[str, Any]


def pod(**container: Any) -> Json:
    """Return a Pod whose one container asks for compute, unless told otherwise."""
    main = {
        "name": "main",
        "image": "app",
        "resources": {"requests": {"ai.compute/vram": "16Gi", "ai.compute/tflops-fp16": "100"}},
    } | container
    return {"metadata": {"name": "p"}, "spec": {"containers": [main]}}


def patched(given: Json) -> Json:
    """Return the object with the patch applied; every operation of ours is an `add`."""
    result: Json = msgspec.json.decode(msgspec.json.encode(given))
    for operation in patch_pod(msgspec.json.encode(given)):
        assert operation["op"] == "add"
        *parents, last = operation["path"].strip("/").split("/")
        target: Any = result
        for part in parents:
            target = target[int(part)] if part.isdecimal() else target[part]
        target[last] = operation["value"]
    return result


def environment(given: Json) -> dict[str, Json]:
    """Return the container's environment after the patch, as the kubelet reads it: last wins."""
    return {item["name"]: item for item in patched(given)["spec"]["containers"][0]["env"]}


def test_limits_equal_requests_and_other_resources_stay() -> None:
    given = pod()
    given["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1"
    resources = patched(given)["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"ai.compute/vram": "16Gi", "ai.compute/tflops-fp16": "100"}
    assert resources["requests"]["cpu"] == "1"


def test_limits_alone_are_enough() -> None:
    resources = patched(pod(resources={"limits": {"ai.compute/vram": "16Gi"}}))["spec"][
        "containers"
    ][0]["resources"]
    assert resources["requests"] == resources["limits"] == {"ai.compute/vram": "16Gi"}


def test_the_pod_goes_to_our_scheduler() -> None:
    assert patched(pod())["spec"]["schedulerName"] == "hcs-scheduler"


def test_the_vendor_arrives_late_by_reference() -> None:
    variables = environment(pod())
    for name, key in {
        "NVIDIA_VISIBLE_DEVICES": "hcs.io/nvidia-visible-devices",
        "ASCEND_VISIBLE_DEVICES": "hcs.io/ascend-visible-devices",
        "HIP_VISIBLE_DEVICES": "hcs.io/hygon-visible-devices",
        "MLU_VISIBLE_DEVICES": "hcs.io/cambricon-visible-devices",
        "MTHREADS_VISIBLE_DEVICES": "hcs.io/mthreads-visible-devices",
        "HCS_VRAM_QUOTA": "hcs.io/vram-quota",
        "HCS_RUNTIME": "hcs.io/runtime",
    }.items():
        reference = variables[name]["valueFrom"]["fieldRef"]["fieldPath"]
        assert reference == f"metadata.annotations['{key}']"
    mounts = patched(pod())["spec"]["containers"][0]["volumeMounts"]
    [runtime] = [mount for mount in mounts if mount["name"] == "hcs-runtime"]
    assert runtime["subPathExpr"] == "$(HCS_RUNTIME)" and runtime["readOnly"]


def test_a_users_own_values_of_our_variables_are_dropped() -> None:
    env = [
        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
        {"name": "HCS_VRAM_QUOTA", "value": "99999999999"},
        {"name": "MY_OWN", "value": "kept"},
    ]
    variables = environment(pod(env=env))
    assert "value" not in variables["NVIDIA_VISIBLE_DEVICES"]
    assert "value" not in variables["HCS_VRAM_QUOTA"]
    assert variables["MY_OWN"]["value"] == "kept"
    names = [item["name"] for item in patched(pod(env=env))["spec"]["containers"][0]["env"]]
    assert len(names) == len(set(names))


def test_a_users_preload_comes_behind_ours() -> None:
    variables = environment(pod(env=[{"name": "LD_PRELOAD", "value": "/lib/mine.so"}]))
    assert variables["LD_PRELOAD"]["value"] == (
        "/usr/local/hcs/lib/libhcs_interceptor.so:/lib/mine.so"
    )


def test_only_the_asking_container_is_touched() -> None:
    given = pod()
    given["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x"})
    containers = patched(given)["spec"]["containers"]
    assert containers[0] == {"name": "sidecar", "image": "x"}
    assert "env" in containers[1]


def test_a_pod_that_asks_for_nothing_is_not_touched() -> None:
    assert patch_pod(msgspec.json.encode(pod(resources={"requests": {"cpu": "1"}}))) == []


@pytest.mark.parametrize("amount", ["1.5", "-1", "0", "lots"])
def test_an_amount_that_cannot_be_is_refused_by_name(amount: str) -> None:
    with pytest.raises(RequestError, match="ai.compute/vram"):
        patch_pod(msgspec.json.encode(pod(resources={"requests": {"ai.compute/vram": amount}})))


def test_another_scheduler_is_refused() -> None:
    given = pod()
    given["spec"]["schedulerName"] = "volcano"
    with pytest.raises(RequestError, match="'volcano' cannot place"):
        patch_pod(msgspec.json.encode(given))


def test_a_pod_that_names_its_node_is_refused() -> None:
    given = pod()
    given["spec"]["nodeName"] = "gpu-0"
    with pytest.raises(RequestError, match="spec.nodeName"):
        patch_pod(msgspec.json.encode(given))


def test_a_deployments_template_gets_limits_and_no_more() -> None:
    deployment = {"spec": {"template": pod()}}
    [operation] = patch_workload(msgspec.json.encode(deployment))
    assert operation["path"] == "/spec/template/spec/containers/0/resources"
    assert operation["value"]["limits"]["ai.compute/vram"] == "16Gi"


def test_a_cron_jobs_template_gets_them_where_it_lies() -> None:
    cron_job = {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod()}}}}
    response = mutate(review(cron_job, resource="cronjobs"))
    [operation] = msgspec.json.decode(base64.b64decode(response["patch"]))
    assert operation["path"] == "/spec/jobTemplate/spec/template/spec/containers/0/resources"
    assert operation["value"]["limits"]["ai.compute/vram"] == "16Gi"


def review(new: Json, old: Json | None = None, *, resource: str = "pods") -> Any:
    """Return the request of an admission review."""
    body = {
        "request": {
            "uid": "u",
            "resource": {"resource": resource},
            "operation": "UPDATE" if old else "CREATE",
            "object": new,
            "oldObject": old,
        }
    }
    return REVIEW.decode(msgspec.json.encode(body)).request


def annotated(**annotations: str) -> Json:
    """Return a Pod with annotations `hcs.io/<name>`."""
    keys = {f"hcs.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return {"metadata": {"name": "p", "annotations": keys}, "spec": {"containers": []}}


@pytest.mark.parametrize("key", sorted(RESULT_ANNOTATIONS))
def test_nobody_creates_a_pod_with_a_result(key: str) -> None:
    response = validate(review({"metadata": {"annotations": {key: "x"}}}))
    assert not response["allowed"]
    assert key in response["status"]["message"]


@pytest.mark.parametrize("new", [annotated(devices="GPU-1"), annotated()])
def test_nobody_changes_or_removes_a_result(new: Json) -> None:
    assert not validate(review(new, annotated(devices="GPU-0")))["allowed"]


def test_other_changes_pass() -> None:
    new = annotated(devices="GPU-0", topology_preference="high-bandwidth")
    assert validate(review(new, annotated(devices="GPU-0")))["allowed"]
    assert validate(review(annotated(topology_preference="x")))["allowed"]


def test_a_refusal_tells_the_author_what_to_change() -> None:
    given = pod(resources={"requests": {"ai.compute/vram": "1.5"}})
    response = mutate(review(given))
    assert not response["allowed"]
    assert response["status"]["message"].startswith("containers[main].resources: ai.compute/vram")


def test_the_patch_is_base64_json() -> None:
    response = mutate(review(pod()))
    assert response["patchType"] == "JSONPatch"
    operations = msgspec.json.decode(base64.b64decode(response["patch"]))
    assert operations == patch_pod(msgspec.json.encode(pod()))
