"""What the edge needs of a Kubernetes API server."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from hcs_bus.names import NodeName, PodUid
from hcs_control.request import Container


class KubeError(Exception):
    """The API server refused or did not answer."""


class KubeConflictError(KubeError):
    """The object is not in the state that the call assumed (gone, or bound elsewhere)."""


class ObjectMeta(msgspec.Struct, frozen=True):
    """`metadata`, as far as it matters here."""

    name: str
    uid: PodUid = PodUid("")
    namespace: str = ""
    annotations: dict[str, str] = {}
    resourceVersion: str = ""


class PodSpec(msgspec.Struct, frozen=True):
    """`spec`, as far as it matters here."""

    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    nodeName: NodeName = NodeName("")
    schedulerName: str = ""


class PodStatus(msgspec.Struct, frozen=True):
    """`status`, as far as it matters here."""

    phase: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A Pod as the API server sends it, less what HCS does not read."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def finished(self) -> bool:
        """Whether its containers will never run again."""
        return self.status.phase in ("Succeeded", "Failed")


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """One write that places a Pod and annotates it."""

    namespace: str
    pod_name: str
    pod_uid: PodUid
    node: NodeName
    annotations: dict[str, str]


class KubeApi(Protocol):
    """The port."""

    async def get_pod(self, namespace: str, name: str) -> Pod | None:
        """Return a Pod; None when there is none. Raises `KubeError`."""

    async def list_pods(self) -> list[Pod]:
        """Return all Pods that ask for the HCS scheduler. Raises `KubeError`."""

    def watch_pods(self) -> AsyncIterator[tuple[str, Pod]]:
        """Yield (`ADDED`|`MODIFIED`|`DELETED`, Pod), all current Pods first; ends on any error."""

    async def bind(self, binding: Binding) -> None:
        """Write a Binding.

        Raises:
            KubeConflictError: the Pod is gone, or bound already.
            KubeError: anything else.
        """

    async def close(self) -> None:
        """Close connections."""
