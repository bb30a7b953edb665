"""From reports of processes to facts about containers: pure, without sockets and without a clock.

Each process reports its whole container, so the newest report (by ledger epoch and revision) is the
container's state. A fact is due when the state differs from what was last published, at most once
per interval and card; a refusal, or a process that ended, shortens the interval. When the last
process has ended, what is used is nothing, the peak stays, and the container is forgotten as soon
as that has been said.

Launches are another matter: each process reports its own, since it began, and what a container
launched is the sum over all that ever reported. A process may report on one connection after the
other, so it is known by its number and counted once; a container that runs one program after the
other goes on counting where it was, as long as it is among the last that ended.

Reports come much more often than facts go, so a queue says which container is due first. A report
changes only its own container's place in it; an entry that came too early is corrected when it is
its turn.
"""

import heapq
import itertools
from dataclasses import dataclass, field

import msgspec

from hcs_agents.quota.wire import COUNT_MAX, DeviceUsage, Hello, Usage
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid

ClientNumber = int
"""A connection's number, unique as long as the server lives."""

LONG_AGO_S = float("-inf")
NEVER_S = float("inf")
PROCESSES_KNOWN_MAX = 128  # of a container; one that comes back after more of them counts twice
ENDED_CONTAINERS_MAX = 512  # whose launches are remembered


class UnknownClientError(Exception):
    """A process reports usage before it said hello, or more cards than it said."""


State = tuple[int, DeviceUsage | None, int]
"""What a fact about a card says: its quota, its usage, the number of processes."""


@dataclass(slots=True)
class _Process:
    launches: int = 0


@dataclass(slots=True)
class _Launches:
    """What the processes of a container launched, those that ended included."""

    total: int = 0
    processes: dict[int, _Process] = field(default_factory=dict)

    def process(self, number: int) -> _Process:
        """Return the process of that number, which may have been here before."""
        process = self.processes.setdefault(number, _Process())
        if len(self.processes) > PROCESSES_KNOWN_MAX:
            del self.processes[next(iter(self.processes))]
        return process

    def note(self, process: _Process, launches: int) -> None:
        """Add what a process has launched since it last said how much."""
        grown = max(0, launches - process.launches)
        process.launches += grown
        self.total = min(self.total + grown, COUNT_MAX)


@dataclass(slots=True)
class _Device:
    quota_bytes: int
    usage: DeviceUsage | None = None  # none of the processes has reported yet
    urgent: bool = False
    published: State | None = None
    published_launches: int = 0
    published_at_s: float = LONG_AGO_S


@dataclass(slots=True)
class _Container:
    pod_uid: PodUid
    name: str
    launches: _Launches
    clients: set[ClientNumber] = field(default_factory=set)
    devices: dict[DeviceId, _Device] = field(default_factory=dict)
    newest: tuple[int, int] = (0, 0)  # epoch and revision
    queued_at_s: float = NEVER_S

    def state(self, device: _Device) -> State:
        """Return what a fact about the card would say now."""
        return device.quota_bytes, device.usage, len(self.clients)


@dataclass(frozen=True, slots=True)
class _Client:
    container: _Container
    device_ids: tuple[DeviceId, ...]
    process: _Process


class Containers:
    """The containers that report, each with its processes and cards."""

    def __init__(
        self, *, interval_s: float, urgent_interval_s: float, launches_interval_s: float
    ) -> None:
        self._interval_s = interval_s
        self._urgent_interval_s = urgent_interval_s
        self._launches_interval_s = launches_interval_s
        self._containers: dict[tuple[PodUid, str], _Container] = {}
        self._clients: dict[ClientNumber, _Client] = {}
        self._ended: dict[tuple[PodUid, str], _Launches] = {}  # the last one last
        self._queue: list[tuple[float, int, _Container]] = []  # the number tells equal times apart
        self._entries = itertools.count()

    def __len__(self) -> int:
        return len(self._containers)

    def hello(self, client: ClientNumber, hello: Hello) -> None:
        """Count a process to its container."""
        key = (hello.pod_uid, hello.container)
        container = self._containers.get(key)
        if container is None:
            launches = self._ended.pop(key, None) or _Launches()
            container = _Container(hello.pod_uid, hello.container, launches)
            self._containers[key] = container
        for quota in hello.devices:
            device = container.devices.get(quota.device_id)
            if device is None:
                device = _Device(quota_bytes=quota.quota_bytes)
                container.devices[quota.device_id] = device
            device.quota_bytes = quota.quota_bytes
        container.clients.add(client)
        self._clients[client] = _Client(
            container,
            tuple(quota.device_id for quota in hello.devices),
            container.launches.process(hello.process),
        )
        self._enqueue(container)

    def usage(self, client: ClientNumber, usage: Usage) -> None:
        """Take a report, unless a newer one is known.

        Raises:
            UnknownClientError: the process did not introduce itself, or not these cards.
        """
        known = self._clients.get(client)
        if known is None or len(usage.devices) != len(known.device_ids):
            raise UnknownClientError
        container = known.container
        container.launches.note(known.process, usage.launches)
        age = (usage.epoch_ns, usage.revision)
        if age >= container.newest:
            container.newest = age
            for device_id, reported in zip(known.device_ids, usage.devices, strict=True):
                device = container.devices[device_id]
                device.urgent |= reported.refusals > (device.usage.refusals if device.usage else 0)
                device.usage = reported
        self._enqueue(container)

    def gone(self, client: ClientNumber) -> tuple[ClientNumber, ...]:
        """Forget a process; return its neighbours that live."""
        known = self._clients.pop(client, None)
        if known is None:
            return ()
        container = known.container
        container.clients.discard(client)
        for device in container.devices.values():
            device.urgent = True
            if device.usage and not container.clients:
                device.usage = msgspec.structs.replace(device.usage, used_bytes=0)
        self._enqueue(container)
        self._forget_if_over(container)
        return tuple(sorted(container.clients))

    def due(self, *, now_s: float, at_ns: int) -> list[Quota]:
        """Return the facts whose time has come; they count as published.

        A container without processes is forgotten once its last state has been said.
        """
        facts = []
        while self.next_due_at_s() <= now_s:
            _, _, container = heapq.heappop(self._queue)
            container.queued_at_s = NEVER_S
            for device_id, device in container.devices.items():
                if device.usage and self._due_at_s(container, device) <= now_s:
                    facts.append(_fact(container, device_id, device, device.usage, at_ns))
                    device.published = container.state(device)
                    device.published_launches = container.launches.total
                    device.published_at_s = now_s
                    device.urgent = False
            self._enqueue(container)
            self._forget_if_over(container)
        return facts

    def _forget_if_over(self, container: _Container) -> None:
        if container.clients or self._container_due_at_s(container) < NEVER_S:
            return
        key = (container.pod_uid, container.name)
        del self._containers[key]
        self._ended[key] = container.launches
        if len(self._ended) > ENDED_CONTAINERS_MAX:
            del self._ended[next(iter(self._ended))]

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
        while self._queue:
            at_s, _, container = self._queue[0]
            if at_s == container.queued_at_s == self._container_due_at_s(container):
                return at_s
            heapq.heappop(self._queue)
            if at_s == container.queued_at_s:
                container.queued_at_s = NEVER_S
                self._enqueue(container)
        return NEVER_S

    def _enqueue(self, container: _Container) -> None:
        """Let it be a container's turn when it is due, unless it is before that."""
        due_at_s = self._container_due_at_s(container)
        if due_at_s < container.queued_at_s:
            container.queued_at_s = due_at_s
            heapq.heappush(self._queue, (due_at_s, next(self._entries), container))

    def _container_due_at_s(self, container: _Container) -> float:
        times = (self._due_at_s(container, device) for device in container.devices.values())
        return min(times, default=NEVER_S)

    def _due_at_s(self, container: _Container, device: _Device) -> float:
        if device.usage is None:
            return NEVER_S
        if container.state(device) != device.published:
            interval_s = self._urgent_interval_s if device.urgent else self._interval_s
        elif container.launches.total != device.published_launches:
            interval_s = self._launches_interval_s
        else:
            return NEVER_S
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
        launches=container.launches.total,
    )
