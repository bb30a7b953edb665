"""From reports of processes to facts about containers: pure, without sockets and without a clock.

Each process reports its whole container, so the newest report (by ledger epoch and revision) is the
container's state. A fact is due when the state differs from what was last published, at most once
per interval and card; a refusal, or a process that ended, shortens the interval. When the last
process has ended, what is used is nothing, the peak stays, and the container is forgotten as soon
as that has been said.
"""

from dataclasses import dataclass, field

import msgspec

from hcs_agents.quota.wire import DeviceUsage, Hello, Usage
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid

ClientNumber = int
"""A connection's number, unique as long as the server lives."""

LONG_AGO_S = float("-inf")
NEVER_S = float("inf")


class UnknownClientError(Exception):
    """A process reports usage before it said hello, or more cards than it said."""


State = tuple[int, DeviceUsage | None, int]
"""What a fact about a card says: its quota, its usage, the number of processes."""


@dataclass(slots=True)
class _Device:
    quota_bytes: int
    usage: DeviceUsage | None = None  # none of the processes has reported yet
    urgent: bool = False
    published: State | None = None
    published_at_s: float = LONG_AGO_S


@dataclass(slots=True)
class _Container:
    pod_uid: PodUid
    name: str
    clients: set[ClientNumber] = field(default_factory=set)
    devices: dict[DeviceId, _Device] = field(default_factory=dict)
    newest: tuple[int, int] = (0, 0)  # epoch and revision

    def state(self, device: _Device) -> State:
        """Return what a fact about the card would say now."""
        return device.quota_bytes, device.usage, len(self.clients)


class Containers:
    """The containers that report, each with its processes and cards."""

    def __init__(self, *, interval_s: float, urgent_interval_s: float) -> None:
        self._interval_s = interval_s
        self._urgent_interval_s = urgent_interval_s
        self._containers: dict[tuple[PodUid, str], _Container] = {}
        self._clients: dict[ClientNumber, tuple[_Container, tuple[DeviceId, ...]]] = {}

    def __len__(self) -> int:
        return len(self._containers)

    def hello(self, client: ClientNumber, hello: Hello) -> None:
        """Count a process to its container."""
        key = (hello.pod_uid, hello.container)
        container = self._containers.get(key)
        if container is None:
            container = _Container(pod_uid=hello.pod_uid, name=hello.container)
            self._containers[key] = container
        for quota in hello.devices:
            device = container.devices.get(quota.device_id)
            if device is None:
                device = _Device(quota_bytes=quota.quota_bytes)
                container.devices[quota.device_id] = device
            device.quota_bytes = quota.quota_bytes
        container.clients.add(client)
        self._clients[client] = (container, tuple(quota.device_id for quota in hello.devices))

    def usage(self, client: ClientNumber, usage: Usage) -> None:
        """Take a report, unless a newer one is known.

        Raises:
            UnknownClientError: the process did not introduce itself, or not these cards.
        """
        container, device_ids = self._clients.get(client, (None, ()))
        if container is None or len(usage.devices) != len(device_ids):
            raise UnknownClientError
        age = (usage.epoch_ns, usage.revision)
        if age < container.newest:
            return
        container.newest = age
        for device_id, reported in zip(device_ids, usage.devices, strict=True):
            device = container.devices[device_id]
            device.urgent |= reported.refusals > (device.usage.refusals if device.usage else 0)
            device.usage = reported

    def gone(self, client: ClientNumber) -> tuple[ClientNumber, ...]:
        """Forget a process; return its neighbours that live."""
        container, _ = self._clients.pop(client, (None, ()))
        if container is None:
            return ()
        container.clients.discard(client)
        for device in container.devices.values():
            device.urgent = True
            if device.usage and not container.clients:
                device.usage = msgspec.structs.replace(device.usage, used_bytes=0)
        return tuple(sorted(container.clients))

    def due(self, *, now_s: float, at_ns: int) -> list[Quota]:
        """Return the facts whose time has come; they count as published.

        A container without processes is forgotten once its last state has been said.
        """
        facts = []
        for container in list(self._containers.values()):
            for device_id, device in container.devices.items():
                if device.usage and self._due_at_s(container, device) <= now_s:
                    facts.append(_fact(container, device_id, device, device.usage, at_ns))
                    device.published = container.state(device)
                    device.published_at_s = now_s
                    device.urgent = False
            if not container.clients and self._container_due_at_s(container) == NEVER_S:
                del self._containers[container.pod_uid, container.name]
        return facts

    def state(self, *, at_ns: int) -> list[Quota]:
        """Return what facts about all cards of all containers would say now."""
        return [
            _fact(container, device_id, device, device.usage, at_ns)
            for container in self._containers.values()
            for device_id, device in container.devices.items()
            if device.usage
        ]

    def next_due_at_s(self) -> float:
        """Return when `due` will have something; infinity when only a new report can tell."""
        return min(map(self._container_due_at_s, self._containers.values()), default=NEVER_S)

    def _container_due_at_s(self, container: _Container) -> float:
        times = (self._due_at_s(container, device) for device in container.devices.values())
        return min(times, default=NEVER_S)

    def _due_at_s(self, container: _Container, device: _Device) -> float:
        if device.usage is None or container.state(device) == device.published:
            return NEVER_S
        interval_s = self._urgent_interval_s if device.urgent else self._interval_s
        return device.published_at_s + interval_s


def _fact(
    container: _Container, device_id: DeviceId, device: _Device, usage: DeviceUsage, at_ns: int
) -> Quota:
    return Quota(
        at_ns=at_ns,
        pod_uid=container.pod_uid,
        container=container.name,
        device_id=device_id,
        quota_bytes=device.quota_bytes,
        used_bytes=usage.used_bytes,
        peak_bytes=usage.peak_bytes,
        refusals=usage.refusals,
        processes=len(container.clients),
    )
