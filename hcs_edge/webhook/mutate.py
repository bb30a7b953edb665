"""What is added to a Pod at admission, as a JSON patch. Pure.

Environment and mounts are frozen when a Pod is created, before anyone knows its vendor. So they
point at annotations that the Binding will bring: `fieldRef` for variables, `subPathExpr` for the
runtime directory; the kubelet resolves both when it starts the container. A user's own values of
these variables are dropped: they would decide which cards the container sees.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from hcs_control.request import (
    RESOURCE_PREFIX,
    Container,
    Request,
    RequestError,
    Resources,
    parse_request,
)
from hcs_edge.annotations import (
    DEVICE_INDICES,
    DEVICES,
    RUNTIME,
    SCHEDULER_NAME,
    VENDOR,
    VENDOR_RUNTIMES,
    VRAM_QUOTA,
)

Json = dict[str, Any]  # a piece of a Kubernetes object that is passed through untouched

SCHEDULERS_REPLACED = ("", "default-scheduler", SCHEDULER_NAME)

INTERCEPTOR = "/usr/local/hcs/lib/libhcs_interceptor.so"
AGENT_SOCKET = "/run/hcs/agent.sock"
VOLUMES = {  # name: (directory on the node, mount point)
    "hcs-runtime": ("/opt/hcs/runtime", "/usr/local/hcs/runtime"),
    "hcs-lib": ("/opt/hcs/lib", "/usr/local/hcs/lib"),
    "hcs-agent": ("/run/hcs", "/run/hcs"),
}


class _AdmittedContainer(msgspec.Struct):
    name: str
    resources: Resources = Resources()
    env: list[Json] = []
    volumeMounts: list[Json] = []


class _AdmittedPodSpec(msgspec.Struct):
    containers: list[_AdmittedContainer] = []
    initContainers: list[_AdmittedContainer] = []
    volumes: list[Json] = []
    schedulerName: str = ""
    nodeName: str = ""


class _AdmittedPod(msgspec.Struct):
    spec: _AdmittedPodSpec


class _Template(msgspec.Struct):
    template: _AdmittedPod


class _AdmittedWorkload(msgspec.Struct):
    spec: _Template


class _JobTemplate(msgspec.Struct):
    jobTemplate: _AdmittedWorkload


class _AdmittedCronJob(msgspec.Struct):
    spec: _JobTemplate


POD = msgspec.json.Decoder(_AdmittedPod)
WORKLOAD = msgspec.json.Decoder(_AdmittedWorkload)
CRON_JOB = msgspec.json.Decoder(_AdmittedCronJob)


def patch_pod(raw: bytes) -> list[Json]:
    """Return the patch for a Pod; empty if it asks for nothing of ours.

    Raises:
        RequestError: the Pod asks for something that cannot be; the message is for its author.
    """
    spec = POD.decode(raw).spec
    request = _request(spec)
    if request is None:
        return []
    if spec.schedulerName not in SCHEDULERS_REPLACED:
        raise RequestError(
            f"spec.schedulerName: {spec.schedulerName!r} cannot place {RESOURCE_PREFIX}* requests; "
            f"leave it out or use {SCHEDULER_NAME!r}"
        )
    if spec.nodeName:
        raise RequestError(
            f"spec.nodeName: a Pod that asks for {RESOURCE_PREFIX}* is placed by {SCHEDULER_NAME}; "
            "leave nodeName out"
        )
    return [
        _add("/spec/schedulerName", SCHEDULER_NAME),
        _add("/spec/volumes", _volumes(spec.volumes)),
        *_patch_container("/spec", spec, request),
    ]


def patch_workload(raw: bytes) -> list[Json]:
    """Return the patch for a Deployment, Job or the like: limits beside requests, no more.

    The API server validates Pod templates as it does Pods, so a template with requests alone would
    be refused before any Pod exists. The rest is added to the Pods.

    Raises:
        RequestError: as for `patch_pod`.
    """
    return _patch_template("/spec/template", WORKLOAD.decode(raw).spec.template)


def patch_cron_job(raw: bytes) -> list[Json]:
    """Return the patch for a CronJob, whose Pod template lies deeper; as `patch_workload`."""
    job = CRON_JOB.decode(raw).spec.jobTemplate
    return _patch_template("/spec/jobTemplate/spec/template", job.spec.template)


def _patch_template(path: str, template: _AdmittedPod) -> list[Json]:
    request = _request(template.spec)
    if request is None:
        return []
    position, container = _asking(template.spec, request)
    return [_resources_patch(f"{path}/spec/containers/{position}", container)]


def _request(spec: _AdmittedPodSpec) -> Request | None:
    def plain(containers: list[_AdmittedContainer]) -> list[Container]:
        return [Container(container.name, container.resources) for container in containers]

    return parse_request(plain(spec.containers), plain(spec.initContainers))


def _asking(spec: _AdmittedPodSpec, request: Request) -> tuple[int, _AdmittedContainer]:
    names = [container.name for container in spec.containers]
    position = names.index(request.container)
    return position, spec.containers[position]


def _patch_container(base: str, spec: _AdmittedPodSpec, request: Request) -> list[Json]:
    position, container = _asking(spec, request)
    path = f"{base}/containers/{position}"
    return [
        _resources_patch(path, container),
        _add(f"{path}/env", _environment(container)),
        _add(f"{path}/volumeMounts", _mounts(container.volumeMounts)),
    ]


def _resources_patch(path: str, container: _AdmittedContainer) -> Json:
    """An extended resource must have equal request and limit, and either may be left out."""
    requests, limits = container.resources.requests, container.resources.limits
    ours = {
        name: text
        for part in (limits, requests)
        for name, text in part.items()
        if name.startswith(RESOURCE_PREFIX)
    }
    return _add(f"{path}/resources", {"requests": requests | ours, "limits": limits | ours})


def _environment(container: _AdmittedContainer) -> list[Json]:
    ours = _variables(container.name)
    kept = [item for item in container.env if item["name"] not in ours]
    preload = [item for item in container.env if item["name"] == "LD_PRELOAD"]
    if preload and preload[-1].get("value"):
        ours["LD_PRELOAD"] = {"value": f"{INTERCEPTOR}:{preload[-1]['value']}"}
    # Ours first: a later variable may refer to an earlier one as $(NAME).
    return [{"name": name} | source for name, source in ours.items()] + kept


def _variables(container: str) -> dict[str, Json]:
    from_annotations = {
        "HCS_VENDOR": VENDOR,
        "HCS_RUNTIME": RUNTIME,
        "HCS_DEVICES": DEVICES,
        "HCS_DEVICE_INDICES": DEVICE_INDICES,
        "HCS_VRAM_QUOTA": VRAM_QUOTA,
    } | {
        runtime.visible_environment: runtime.visible_annotation
        for runtime in VENDOR_RUNTIMES.values()
    }
    return {
        **{
            name: _field(f"metadata.annotations['{key}']") for name, key in from_annotations.items()
        },
        "HCS_POD_UID": _field("metadata.uid"),
        "HCS_CONTAINER": {"value": container},
        "HCS_AGENT_SOCKET": {"value": AGENT_SOCKET},
        "LD_PRELOAD": {"value": INTERCEPTOR},
    }


def _field(path: str) -> Json:
    return {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _volumes(present: list[Json]) -> list[Json]:
    kept = [volume for volume in present if volume["name"] not in VOLUMES]
    return kept + [
        {"name": name, "hostPath": {"path": directory, "type": ""}}
        for name, (directory, _) in VOLUMES.items()
    ]


def _mounts(present: list[Json]) -> list[Json]:
    kept = [mount for mount in present if mount["name"] not in VOLUMES]
    mounts: list[Json] = [
        {"name": name, "mountPath": mount_point, "readOnly": True}
        for name, (_, mount_point) in VOLUMES.items()
    ]
    mounts[0]["subPathExpr"] = "$(HCS_RUNTIME)"
    return kept + mounts


def _add(path: str, value: object) -> Json:
    return {"op": "add", "path": path, "value": value}


def result_annotation_change(
    old: Mapping[str, str], new: Mapping[str, str], guarded: frozenset[str]
) -> str | None:
    """Return a result annotation that differs between two states of a Pod; None if none does."""
    return next((key for key in sorted(guarded) if old.get(key) != new.get(key)), None)
