"""The Kubernetes port on kubernetes-asyncio: its kubeconfig, TLS and watch, not its models.

Its models cost six to eight times the decoding of the few fields that HCS reads, so every call
takes the raw response and decodes structs of our own.
"""

from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from kubernetes_asyncio import client, config

from hcs_edge.annotations import SCHEDULER_NAME
from hcs_edge.kube.port import Binding, KubeConflictError, KubeError, Pod

REQUEST_TIMEOUT_S = 10.0
WATCH_TIMEOUT_S = 300  # the server ends the watch then; the caller lists and watches again
FIELD_SELECTOR = f"spec.schedulerName={SCHEDULER_NAME}"


class _PodList(msgspec.Struct):
    items: list[Pod]


class _WatchLine(msgspec.Struct):
    type: str
    object: msgspec.Raw


POD = msgspec.json.Decoder(Pod)
POD_LIST = msgspec.json.Decoder(_PodList)
WATCH_LINE = msgspec.json.Decoder(_WatchLine)


class KubernetesApi:
    """The port on one API client; make one with `connect`."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client
        self._core = client.CoreV1Api(api_client)

    async def get_pod(self, namespace: str, name: str) -> Pod | None:
        """GET; see the port."""
        try:
            return POD.decode(
                await _body(
                    self._core.read_namespaced_pod(
                        name,
                        namespace,
                        _preload_content=False,
                        _request_timeout=REQUEST_TIMEOUT_S,
                    )
                )
            )
        except KubeConflictError:
            return None

    async def list_pods(self) -> list[Pod]:
        """GET all; see the port."""
        call = self._core.list_pod_for_all_namespaces(
            field_selector=FIELD_SELECTOR,
            _preload_content=False,
            _request_timeout=REQUEST_TIMEOUT_S,
        )
        return POD_LIST.decode(await _body(call)).items

    async def watch_pods(self) -> AsyncIterator[tuple[str, Pod]]:
        """List and watch in one request; see the port."""
        response = await _response(
            self._core.list_pod_for_all_namespaces(
                field_selector=FIELD_SELECTOR,
                watch=True,
                timeout_seconds=WATCH_TIMEOUT_S,
                _preload_content=False,
            )
        )
        try:
            async for line in response.content:
                event = WATCH_LINE.decode(line)
                if event.type in ("ADDED", "MODIFIED", "DELETED"):
                    yield event.type, POD.decode(event.object)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(f"watch of Pods: {error!r}") from error
        finally:
            response.close()

    async def bind(self, binding: Binding) -> None:
        """POST the Binding; see the port."""
        body = client.V1Binding(
            metadata=client.V1ObjectMeta(
                name=binding.pod_name,
                namespace=binding.namespace,
                uid=binding.pod_uid,
                annotations=binding.annotations,
            ),
            target=client.V1ObjectReference(api_version="v1", kind="Node", name=binding.node),
        )
        # The generated method cannot tell the server for how long it may work on the request.
        call = self._client.call_api(
            "/api/v1/namespaces/{namespace}/pods/{name}/binding",
            "POST",
            {"namespace": binding.namespace, "name": binding.pod_name},
            [("timeout", f"{REQUEST_TIMEOUT_S:.0f}s")],
            {"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=REQUEST_TIMEOUT_S,
        )
        await _body(call)

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()


async def _response(
    call: Awaitable[Any],
) -> aiohttp.ClientResponse:  # the client's calls are untyped
    try:
        response: aiohttp.ClientResponse = await call
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise KubeError(f"{type(error).__name__}: {error}") from error
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return response
    body = (await response.read()).decode(errors="replace")
    response.close()
    error_type = KubeConflictError if response.status in (404, 409) else KubeError
    raise error_type(f"{response.status}: {body}")


async def _body(call: Awaitable[Any]) -> bytes:  # as above
    response = await _response(call)
    try:
        return await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise KubeError(f"{type(error).__name__}: {error}") from error


async def connect(kubeconfig: Path | None) -> KubernetesApi:
    """Return an API for a kubeconfig file, or for the Pod's own service account if None.

    Raises:
        KubeError: no usable configuration.
    """
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(  # type: ignore[no-untyped-call]  # no stubs there
                client_configuration=configuration
            )
        else:
            await config.load_kube_config(
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except (config.ConfigException, OSError) as error:
        raise KubeError(f"kubeconfig {kubeconfig}: {error}") from error
    return KubernetesApi(client.ApiClient(configuration))
