"""The webhook's HTTP face: `AdmissionReview` v1 in, `AdmissionReview` v1 out.

`/mutate` patches Pods and Pod templates; `/validate` lets nobody write the result annotations, in
a new Pod or later. They come with the Binding, which is another resource with rights of its own.
"""

import base64
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from hcs_control.request import RequestError
from hcs_edge.annotations import RESULT_ANNOTATIONS
from hcs_edge.webhook.mutate import (
    Json,
    patch_cron_job,
    patch_pod,
    patch_workload,
    result_annotation_change,
)

BODY_BYTES_MAX = 8 * 1024**2  # old and new object, each at most etcd's 1.5 MiB, twice over


class _Resource(msgspec.Struct):
    resource: str = ""


class _AdmissionRequest(msgspec.Struct):
    uid: str
    resource: _Resource
    operation: str
    object: msgspec.Raw = msgspec.Raw(b"null")
    oldObject: msgspec.Raw = msgspec.Raw(b"null")


class _AdmissionReview(msgspec.Struct):
    request: _AdmissionRequest


class _Metadata(msgspec.Struct, frozen=True):
    annotations: dict[str, str] = {}


class _Annotated(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


REVIEW = msgspec.json.Decoder(_AdmissionReview)
ANNOTATED = msgspec.json.Decoder(_Annotated | None)
ENCODER = msgspec.json.Encoder()

PATCHES = {"pods": patch_pod, "cronjobs": patch_cron_job}  # anything else is a workload


class WebhookHandlers:
    """One method per path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._admissions = Counter(
            "hcs_webhook_admissions", "Answers given", ["path", "allowed"], registry=registry
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the two admission paths."""
        return [
            web.post("/mutate", self._review("mutate", mutate)),
            web.post("/validate", self._review("validate", validate)),
        ]

    def _review(
        self, path: str, answer: Callable[[_AdmissionRequest], Json]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                review = REVIEW.decode(await request.read())
                response = answer(review.request)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                return web.Response(status=400, text=f"{path}: {error}\n")
            response["uid"] = review.request.uid
            self._admissions.labels(path=path, allowed=str(response["allowed"]).lower()).inc()
            body = {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": response,
            }
            return web.Response(body=ENCODER.encode(body), content_type="application/json")

        return handle


def mutate(request: _AdmissionRequest) -> Json:
    """Return the response with a patch, or a refusal that tells the author what to change."""
    patch_object = PATCHES.get(request.resource.resource, patch_workload)
    try:
        patch = patch_object(bytes(request.object))
    except RequestError as error:
        return _refused(str(error))
    if not patch:
        return {"allowed": True}
    encoded = base64.b64encode(ENCODER.encode(patch)).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def validate(request: _AdmissionRequest) -> Json:
    """Return a refusal if the request sets, changes or removes a result annotation."""
    new = ANNOTATED.decode(request.object) or _Annotated()
    old = ANNOTATED.decode(request.oldObject) or _Annotated()
    changed = result_annotation_change(
        old.metadata.annotations, new.metadata.annotations, RESULT_ANNOTATIONS
    )
    if changed is None:
        return {"allowed": True}
    return _refused(
        f"metadata.annotations[{changed}]: is written by HCS when it binds the Pod; "
        "it may not be set, changed or removed"
    )


def _refused(message: str) -> Json:
    return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": message}}
