"""From reports of processes to facts about containers: pure, without sockets and without a clock.

Each process reports its container's whole ledger, so the newest report is the ledger's state, and
the ledger's state is the container's. Who has two ledgers at once has two quotas: a program was
sent to another ledger, or calls itself another container (only one of a Pod is given a quota), or
somebody removed the ledger under those who use it. Such containers hold themselves to no quota as
far as we can tell, `enforced` is false, and what they use is the sum. A ledger that replaces one
whose processes have all ended is nobody's second. It is false as well on a card of which a process
says that it does not keep to its share, as long as that one lives.

A fact is due when the state differs from what was last published, at most once per interval and
card; a refusal, or a process that ended, shortens the interval. When the last process has ended,
what is used is nothing, the peak stays, and the container is forgotten as soon as that has been
said.

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
from collections import Counter
from collections.abc import Iterable, Iterator
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
    """A process reports usage before it said hello, or of another ledger or other cards."""


State = tuple[int, DeviceUsage | None, int, bool]
"""What a fact about a card says: quota, usage, number of processes, whether they are held to it."""


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
class _Ledger:
    """An account that processes share, by the newest report of any of them."""

    clients: set[ClientNumber] = field(default_factory=set)
    device_ids: set[DeviceId] = field(default_factory=set)
    revision: int = 0
    usage: dict[DeviceId, DeviceUsage] = field(default_factory=dict)


@dataclass(slots=True)
class _Device:
    quota_bytes: int
    urgent: bool = False
    published: State | None = None
    published_launches: int = 0
    published_at_s: float = LONG_AGO_S


@dataclass(slots=True)
class _Container:
    pod: "_Pod"
    name: str
    launches: _Launches
    ledgers: dict[int, _Ledger] = field(default_factory=dict)  # by epoch
    processes: int = 0  # that are connected
    devices: dict[DeviceId, _Device] = field(default_factory=dict)
    queued_at_s: float = NEVER_S
    unlimited: dict[ClientNumber, frozenset[DeviceId]] = field(default_factory=dict)

    def usage(self, device_id: DeviceId) -> DeviceUsage | None:
        """Return what is used of a card; `None`: none of the processes has reported yet."""
        if len(self.ledgers) == 1:
            (ledger,) = self.ledgers.values()
            return ledger.usage.get(device_id)
        found = [of.usage[device_id] for of in self.ledgers.values() if device_id in of.usage]
        if not found:
            return None
        return DeviceUsage(
            used_bytes=_sum(usage.used_bytes for usage in found),
            peak_bytes=_sum(usage.peak_bytes for usage in found),
            refusals=_sum(usage.refusals for usage in found),
        )

    def state(self, device_id: DeviceId) -> State:
        """Return what a fact about the card would say now."""
        return (
            self.devices[device_id].quota_bytes,
            self.usage(device_id),
            self.processes,
            device_id not in self.pod.disputed
            and not any(device_id in cards for cards in self.unlimited.values()),
        )

    def end_ledger(self, epoch_ns: int) -> None:
        """Note that the last of its processes has ended, and holds nothing any more."""
        ledger = self.ledgers[epoch_ns]
        for device_id, usage in ledger.usage.items():
            ledger.usage[device_id] = msgspec.structs.replace(usage, used_bytes=0)
        if not ledger.usage:
            del self.ledgers[epoch_ns]
        self.forget_ended_ledgers()

    def forget_ended_ledgers(self) -> None:
        """Let go of ledgers without processes, once another one has taken their place."""
        if any(ledger.clients and ledger.usage for ledger in self.ledgers.values()):
            self.ledgers = {epoch: of for epoch, of in self.ledgers.items() if of.clients}


@dataclass(slots=True)
class _Pod:
    uid: PodUid
    containers: dict[str, _Container] = field(default_factory=dict)
    disputed: set[DeviceId] = field(default_factory=set)  # cards that processes have two ledgers of

    def look_for_disputes(self) -> None:
        """Count the ledgers of each card, when a process has come or gone."""
        ledgers = Counter(
            device_id
            for container in self.containers.values()
            for ledger in container.ledgers.values()
            if ledger.clients
            for device_id in ledger.device_ids
        )
        self.disputed = {device_id for device_id, count in ledgers.items() if count > 1}


def _sum(numbers: Iterable[int]) -> int:
    return min(sum(numbers), COUNT_MAX)


@dataclass(frozen=True, slots=True)
class _Client:
    container: _Container
    epoch_ns: int
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
        self._pods: dict[PodUid, _Pod] = {}
        self._clients: dict[ClientNumber, _Client] = {}
        self._ended: dict[tuple[PodUid, str], _Launches] = {}  # the last one last
        self._queue: list[tuple[float, int, _Container]] = []  # the number tells equal times apart
        self._entries = itertools.count()

    def __len__(self) -> int:
        return sum(len(pod.containers) for pod in self._pods.values())

    def hello(self, client: ClientNumber, hello: Hello) -> None:
        """Count a process to its container."""
        container = self._container(hello)
        for quota in hello.devices:
            device = container.devices.get(quota.device_id)
            if device is None:
                device = _Device(quota_bytes=quota.quota_bytes)
                container.devices[quota.device_id] = device
            device.quota_bytes = quota.quota_bytes
        device_ids = tuple(quota.device_id for quota in hello.devices)
        ledger = container.ledgers.setdefault(hello.epoch_ns, _Ledger())
        ledger.clients.add(client)
        ledger.device_ids.update(device_ids)
        container.processes += 1
        process = container.launches.process(hello.process)
        self._clients[client] = _Client(container, hello.epoch_ns, device_ids, process)
        self._processes_changed(container.pod)

    def rivals(self, hello: Hello) -> tuple[ClientNumber, ...]:
        """Return those beside which a process would be the Pod's first with a second ledger."""
        pod = self._pods.get(hello.pod_uid)
        if pod is None or pod.disputed:
            return ()
        return tuple(
            client
            for container in pod.containers.values()
            for epoch_ns, ledger in container.ledgers.items()
            for client in ledger.clients
            if (container.name, epoch_ns) != (hello.container, hello.epoch_ns)
        )

    def usage(self, client: ClientNumber, usage: Usage) -> None:
        """Take a report, unless a newer one is known.

        Raises:
            UnknownClientError: the process did not introduce itself, or not this ledger, or not
                these cards.
        """
        known = self._clients.get(client)
        if known is None or usage.epoch_ns != known.epoch_ns:
            raise UnknownClientError
        if len(usage.devices) != len(known.device_ids):
            raise UnknownClientError
        container = known.container
        container.launches.note(known.process, usage.launches)
        if usage.unlimited:
            cards = enumerate(known.device_ids)
            unlimited = frozenset(card for bit, card in cards if usage.unlimited >> bit & 1)
            container.unlimited[client] = unlimited
        ledger = container.ledgers[known.epoch_ns]
        if usage.revision >= ledger.revision:
            ledger.revision = usage.revision
            for device_id, reported in zip(known.device_ids, usage.devices, strict=True):
                before = ledger.usage.get(device_id)
                refused = reported.refusals > (before.refusals if before else 0)
                container.devices[device_id].urgent |= refused
                ledger.usage[device_id] = reported
            container.forget_ended_ledgers()
        self._enqueue(container)

    def gone(self, client: ClientNumber) -> tuple[ClientNumber, ...]:
        """Forget a process; return its neighbours that live."""
        known = self._clients.pop(client, None)
        if known is None:
            return ()
        container = known.container
        ledger = container.ledgers[known.epoch_ns]
        ledger.clients.discard(client)
        container.processes -= 1
        container.unlimited.pop(client, None)
        if not ledger.clients:
            container.end_ledger(known.epoch_ns)
        for device in container.devices.values():
            device.urgent = True
        self._processes_changed(container.pod)
        self._forget_if_over(container)
        return tuple(sorted(ledger.clients))

    def _container(self, hello: Hello) -> _Container:
        pod = self._pods.setdefault(hello.pod_uid, _Pod(hello.pod_uid))
        container = pod.containers.get(hello.container)
        if container is None:
            launches = self._ended.pop((pod.uid, hello.container), None) or _Launches()
            container = _Container(pod, hello.container, launches)
            pod.containers[hello.container] = container
        return container

    def due(self, *, now_s: float, at_ns: int) -> list[Quota]:
        """Return the facts whose time has come; they count as published.

        A container without processes is forgotten once its last state has been said.
        """
        facts: list[Quota] = []
        while self.next_due_at_s() <= now_s:
            _, _, container = heapq.heappop(self._queue)
            container.queued_at_s = NEVER_S
            for device_id, device in container.devices.items():
                if self._due_at_s(container, device_id) <= now_s:
                    device.published = container.state(device_id)
                    facts += _facts(container, device_id, at_ns)
                    device.published_launches = container.launches.total
                    device.published_at_s = now_s
                    device.urgent = False
            self._enqueue(container)
            self._forget_if_over(container)
        return facts

    def _forget_if_over(self, container: _Container) -> None:
        if container.processes or self._container_due_at_s(container) < NEVER_S:
            return
        pod = container.pod
        del pod.containers[container.name]
        if not pod.containers:
            del self._pods[pod.uid]
        self._ended[pod.uid, container.name] = container.launches
        if len(self._ended) > ENDED_CONTAINERS_MAX:
            del self._ended[next(iter(self._ended))]

    def state(self, *, at_ns: int) -> list[Quota]:
        """Return what facts about all cards of all containers would say now."""
        return [
            fact
            for pod in self._pods.values()
            for container in pod.containers.values()
            for device_id in container.devices
            for fact in _facts(container, device_id, at_ns)
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

    def _processes_changed(self, pod: _Pod) -> None:
        """See what has become due: whether a container is held to its quota depends on all."""
        pod.look_for_disputes()
        for container in pod.containers.values():
            self._enqueue(container)

    def _enqueue(self, container: _Container) -> None:
        """Let it be a container's turn when it is due, unless it is before that."""
        due_at_s = self._container_due_at_s(container)
        if due_at_s < container.queued_at_s:
            container.queued_at_s = due_at_s
            heapq.heappush(self._queue, (due_at_s, next(self._entries), container))

    def _container_due_at_s(self, container: _Container) -> float:
        times = (self._due_at_s(container, device_id) for device_id in container.devices)
        return min(times, default=NEVER_S)

    def _due_at_s(self, container: _Container, device_id: DeviceId) -> float:
        device = container.devices[device_id]
        state = container.state(device_id)
        if state[1] is None:
            return NEVER_S
        if state != device.published:
            interval_s = self._urgent_interval_s if device.urgent else self._interval_s
        elif container.launches.total != device.published_launches:
            interval_s = self._launches_interval_s
        else:
            return NEVER_S
        return device.published_at_s + interval_s


def _facts(container: _Container, device_id: DeviceId, at_ns: int) -> Iterator[Quota]:
    quota_bytes, usage, processes, enforced = container.state(device_id)
    if usage is not None:
        yield Quota(
            at_ns=at_ns,
            pod_uid=container.pod.uid,
            container=container.name,
            device_id=device_id,
            quota_bytes=quota_bytes,
            used_bytes=usage.used_bytes,
            peak_bytes=usage.peak_bytes,
            refusals=usage.refusals,
            processes=processes,
            enforced=enforced,
            launches=container.launches.total,
        )
