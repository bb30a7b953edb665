"""What a Pod asks for, read from its containers' resources. Pure: no Kubernetes client here."""

from collections.abc import Mapping, Sequence

import msgspec

from hcs_control.quantity import parse_positive_integer

VRAM = "ai.compute/vram"
TFLOPS_FP16 = "ai.compute/tflops-fp16"
RESOURCE_PREFIX = "ai.compute/"
RESOURCES = (VRAM, TFLOPS_FP16)
GFLOPS_PER_TFLOPS = 1_000


class Resources(msgspec.Struct, frozen=True):
    """`resources` of a container, as the API server sends it."""

    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class Container(msgspec.Struct, frozen=True):
    """The part of a container that matters here."""

    name: str
    resources: Resources = Resources()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Compute wanted by one container: totals, over however many cards it takes."""

    container: str
    vram_bytes: int
    fp16_gflops: int


class RequestError(ValueError):
    """The request cannot be served as written; the message names the field and what is allowed."""


def asks_for_compute(resources: Resources) -> bool:
    """Say whether a container wants anything of ours."""
    named = resources.requests.keys() | resources.limits.keys()
    return any(name.startswith(RESOURCE_PREFIX) for name in named)


def parse_request(
    containers: Sequence[Container], init_containers: Sequence[Container] = ()
) -> Request | None:
    """Return what a Pod asks for; None when it asks for nothing of ours.

    Raises:
        RequestError: a quantity is malformed, a resource unknown, or a part of it not supported.
    """
    for container in init_containers:
        if asks_for_compute(container.resources):
            raise RequestError(
                f"initContainers[{container.name}].resources: {RESOURCE_PREFIX}* is allowed in "
                "one regular container only"
            )
    asking = [container for container in containers if asks_for_compute(container.resources)]
    if not asking:
        return None
    if len(asking) > 1:
        names = ", ".join(container.name for container in asking)
        raise RequestError(
            f"containers {names}: only one container of a Pod may ask for {RESOURCE_PREFIX}*"
        )
    return _request_of(asking[0])


def _request_of(container: Container) -> Request:
    where = f"containers[{container.name}].resources"
    wanted = _merged(where, container.resources)
    unknown = sorted(name for name in wanted if name not in RESOURCES)
    if unknown:
        raise RequestError(f"{where}: {unknown[0]} is not one of {', '.join(RESOURCES)}")
    if VRAM not in wanted:
        raise RequestError(f"{where}: {VRAM} is required beside {TFLOPS_FP16}")
    values = {name: _quantity(where, name, text) for name, text in wanted.items()}
    return Request(
        container=container.name,
        vram_bytes=values[VRAM],
        fp16_gflops=values.get(TFLOPS_FP16, 0) * GFLOPS_PER_TFLOPS,
    )


def _merged(where: str, resources: Resources) -> Mapping[str, str]:
    wanted: dict[str, str] = {}
    for part in (resources.limits, resources.requests):
        for name, text in part.items():
            if not name.startswith(RESOURCE_PREFIX):
                continue
            if wanted.setdefault(name, text) != text:
                raise RequestError(f"{where}: {name} has a limit of {wanted[name]} but asks {text}")
    return wanted


def _quantity(where: str, name: str, text: str) -> int:
    try:
        return parse_positive_integer(text)
    except ValueError as error:
        raise RequestError(f"{where}: {name}: {error}") from error
