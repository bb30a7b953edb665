"""The agent's end of the quota socket: many processes report, facts come out at a bounded rate.

A `SOCK_SEQPACKET` socket in the file system, which the interceptor of every container of the node
connects to. Readers only take packets in; one timer publishes what is due. A process that says
anything malformed, too much, or a pid that is not its own is disconnected and counted: it will try
again, ever more seldom, and its program never notices. A restarted agent binds a new socket and
renames it over the old path, so there is no moment without one; the processes reconnect and say all
anew.

Each process is also told what the driver says that it has of its cards (`tell_driver`): of that it
knows its own allocations, and takes the rest for what its contexts cost.
"""

import asyncio
import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.quota.containers import NEVER_S, ClientNumber, Containers, UnknownClientError
from hcs_agents.quota.credentials import PROC, claims_own_pid, peer_pid, pod_of
from hcs_agents.quota.wire import (
    PACKET_BYTES_MAX,
    RECLAIM_PACKET,
    Hello,
    WireError,
    decode,
    driver_packet,
)
from hcs_bus.errors import ConfigError
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId

CLIENTS_MAX = 4096  # processes of one node; further ones are turned away, counted, and try again
BACKLOG_MAX = 512  # connections not yet accepted; further ones try again in a second
ACCEPTS_PER_TURN_MAX = 64  # then the event loop gets to breathe
ACCEPT_PAUSE_S = 1.0  # after a failed accept
HELLO_TIMEOUT_S = 5.0  # who connects and says nothing does not keep a place
MESSAGES_PER_S_MAX = 50  # the interceptor sends ten; more is a flood
FACT_INTERVAL_S = 1.0  # between two facts of one container and card
URGENT_FACT_INTERVAL_S = 0.1  # after a refusal or the end of a process
# Between two facts of one container and card that differ in the launches alone. Who works launches
# all the time: 10,000 nodes of eight cards would have 80,000 news each second, of a figure that
# nobody decides on. So it is 2,700, and the figure lags by half a minute.
LAUNCHES_FACT_INTERVAL_S = 30.0
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un has 108 with its end
SOCKET_MODE = 0o666  # containers run as any user; whoever gets the socket mounted may report

BytesOfPids = Mapping[int, int | None]
"""What processes, as this node counts them, have of one card; `None`: the driver does not say."""


@dataclass(slots=True)
class QuotaCounters:
    """What happened since the server was made; the agent exports these."""

    clients: int = 0  # connected now
    connections_total: int = 0
    refused_total: int = 0  # turned away at `CLIENTS_MAX`
    malformed_total: int = 0  # disconnected for what they sent, or did not send
    forged_total: int = 0  # disconnected for another process's pid or another Pod's name
    unverified_total: int = 0  # accepted although the process had ended before we could look
    outside_pods_total: int = 0  # accepted from processes that no kubelet put into a Pod
    messages_total: int = 0
    lost_total: int = 0  # messages that processes say they could not send
    facts_total: int = 0


@dataclass(slots=True)
class _Client:
    number: ClientNumber
    connection: socket.socket
    kernel_pid: int
    hello_timeout: asyncio.TimerHandle
    hello: Hello | None = None  # once it has introduced itself
    lost: int = 0
    second: int = 0  # the one that `messages` counts in
    messages: int = 0


@dataclass(slots=True)
class _Timer:
    handle: asyncio.TimerHandle | None = None
    due_at_s: float = NEVER_S


class QuotaServer:
    """Listens at `path` and hands facts to `publish`, which must not raise and not block."""

    def __init__(
        self,
        path: Path,
        publish: Callable[[Quota], None],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        clients_max: int = CLIENTS_MAX,
        fact_interval_s: float = FACT_INTERVAL_S,
        launches_fact_interval_s: float = LAUNCHES_FACT_INTERVAL_S,
        proc: Path = PROC,
    ) -> None:
        self.counters = QuotaCounters()
        self._path = path
        self._publish = publish
        self._clock_ns = clock_ns
        self._clients_max = clients_max
        self._held_back_s = max(fact_interval_s, launches_fact_interval_s)
        self._proc = proc
        self._containers = Containers(
            interval_s=fact_interval_s,
            urgent_interval_s=min(URGENT_FACT_INTERVAL_S, fact_interval_s),
            launches_interval_s=launches_fact_interval_s,
        )
        self._clients: dict[ClientNumber, _Client] = {}
        self._listener: socket.socket | None = None
        self._inode = 0
        self._timer = _Timer()

    def start(self) -> None:
        """Listen; needs a running event loop.

        Raises:
            ConfigError: the path is too long for a socket, or its directory cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = _bind(self._path)
        self._inode = self._path.stat().st_ino
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Disconnect everybody and publish what was held back."""
        if self._listener is None:
            return
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for client in self._clients.values():
            self._close(client)
        self._clients.clear()
        self.counters.clients = 0
        if self._timer.handle is not None:
            self._timer.handle.cancel()
        self._publish_due(now_s=self._loop.time() + self._held_back_s)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:  # not yet another agent's
                self._path.unlink()

    @property
    def pids(self) -> dict[int, frozenset[DeviceId]]:
        """The processes that are connected, as this node counts, and the cards they named."""
        cards: dict[int, frozenset[DeviceId]] = {}
        for client in self._clients.values():
            if client.hello is not None:
                named = frozenset(card.device_id for card in client.hello.devices)
                cards[client.kernel_pid] = cards.get(client.kernel_pid, named) | named
        return cards

    def tell_driver(self, used: Mapping[DeviceId, BytesOfPids], *, looked_at_ns: int) -> None:
        """Tell each process what the driver says that it has of its cards, among those of `used`.

        Who is not in a card's list has nothing of it. `looked_at_ns` is a moment of the monotonic
        clock before the driver was asked: what a process allocated or freed since is its own to
        know.
        """
        for client in self._clients.values():
            hello = client.hello
            lists = [used.get(card.device_id) for card in hello.devices] if hello else []
            if hello is None or all(listed is None for listed in lists):
                continue
            packet = driver_packet(
                epoch_ns=hello.epoch_ns,
                looked_at_ns=looked_at_ns,
                used_bytes=[
                    None if listed is None else listed.get(client.kernel_pid, 0) for listed in lists
                ],
            )
            with contextlib.suppress(OSError):  # full or gone: the next word says it better
                client.connection.send(packet)

    def state(self) -> list[Quota]:
        """Return what is known of each container and card now, for metrics."""
        return self._containers.state(at_ns=self._clock_ns())

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(ACCEPTS_PER_TURN_MAX):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # out of descriptors: the backlog would wake us again at once
                self._loop.remove_reader(self._listener)
                self._loop.call_later(ACCEPT_PAUSE_S, self._resume_accepting)
                return
            if len(self._clients) >= self._clients_max:
                self.counters.refused_total += 1
                connection.close()
                continue
            self._add(connection)

    def _resume_accepting(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    def _add(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.counters.connections_total += 1
        number = self.counters.connections_total
        timeout = self._loop.call_later(HELLO_TIMEOUT_S, self._refuse, number)
        self._clients[number] = _Client(number, connection, peer_pid(connection), timeout)
        self.counters.clients = len(self._clients)
        self._loop.add_reader(connection, self._read, number)

    def _read(self, number: ClientNumber) -> None:
        # One packet per turn: a flood cannot keep the loop from the others.
        client = self._clients[number]
        try:
            packet = client.connection.recv(PACKET_BYTES_MAX + 1)
        except BlockingIOError:
            return
        except OSError:  # reset: gone
            packet = b""
        if not packet:
            self._drop(number)
            return
        self.counters.messages_total += 1
        if not self._take(client, packet):
            self._refuse(number)
        self._schedule()

    def _take(self, client: _Client, packet: bytes) -> bool:
        """Use a packet; false: this client must go."""
        if self._floods(client):
            return False
        try:
            message = decode(packet)
            if isinstance(message, Hello):
                return self._greet(client, message)
            self._containers.usage(client.number, message)
        except (WireError, UnknownClientError):
            return False
        self.counters.lost_total += max(0, message.lost - client.lost)
        client.lost = max(client.lost, message.lost)
        return True

    def _greet(self, client: _Client, hello: Hello) -> bool:
        if client.hello is not None:
            return False
        if not self._is_honest(client, hello):
            self.counters.forged_total += 1
            return False
        client.hello = hello
        client.hello_timeout.cancel()
        # What was lost on earlier connections was counted, or happened while there was no agent.
        client.lost = hello.lost
        for rival in self._containers.rivals(hello):
            self._hear_out(rival)
        self._containers.hello(client.number, hello)
        return True

    def _hear_out(self, number: ClientNumber) -> None:
        """Read a process that has hung up to its end, before its successor counts beside it."""
        hang_up = select.poll()
        hang_up.register(self._clients[number].connection, select.POLLHUP)
        if hang_up.poll(0):
            while number in self._clients:
                self._read(number)

    def _is_honest(self, client: _Client, hello: Hello) -> bool:
        """Compare a process's words with the kernel's; what cannot be known is counted."""
        own_pid = claims_own_pid(
            kernel_pid=client.kernel_pid, claimed_pid=hello.pid, proc=self._proc
        )
        pod_uid = pod_of(client.kernel_pid, proc=self._proc)
        if own_pid is False or pod_uid not in (None, hello.pod_uid):
            return False
        self.counters.unverified_total += own_pid is None
        self.counters.outside_pods_total += own_pid is not None and pod_uid is None
        return True

    def _floods(self, client: _Client) -> bool:
        second = int(self._loop.time())
        if second != client.second:
            client.second, client.messages = second, 0
        client.messages += 1
        return client.messages > MESSAGES_PER_S_MAX

    def _refuse(self, number: ClientNumber) -> None:
        self.counters.malformed_total += 1
        self._drop(number)

    def _drop(self, number: ClientNumber) -> None:
        client = self._clients.pop(number)
        self._close(client)
        self.counters.clients = len(self._clients)
        self._ask_for_reclaim(self._containers.gone(number))
        self._schedule()

    def _close(self, client: _Client) -> None:
        client.hello_timeout.cancel()
        self._loop.remove_reader(client.connection)
        client.connection.close()

    def _ask_for_reclaim(self, neighbours: tuple[ClientNumber, ...]) -> None:
        """Let one of the survivors drop what the dead process still has in the ledger."""
        for neighbour in neighbours:
            with contextlib.suppress(OSError):  # full or gone: the next one can do it as well
                self._clients[neighbour].connection.send(RECLAIM_PACKET)
                return

    def _schedule(self) -> None:
        due_at_s = self._containers.next_due_at_s()
        if self._timer.handle is not None:
            if self._timer.due_at_s == due_at_s:
                return
            self._timer.handle.cancel()
        pending = due_at_s < NEVER_S
        # A first fact is due since ever; the loop's clock starts at zero.
        handle = self._loop.call_at(max(due_at_s, 0.0), self._flush) if pending else None
        self._timer = _Timer(handle, due_at_s)

    def _flush(self) -> None:
        self._timer = _Timer()
        self._publish_due(now_s=self._loop.time())
        self._schedule()

    def _publish_due(self, *, now_s: float) -> None:
        for fact in self._containers.due(now_s=now_s, at_ns=self._clock_ns()):
            self.counters.facts_total += 1
            self._publish(fact)


def bytes_by_card(
    processes: Iterable[DeviceProcess], vram_bytes: Mapping[DeviceId, int]
) -> dict[DeviceId, dict[int, int | None]]:
    """Sort a driver's list by the cards that it is of; nobody has more of a card than there is."""
    found: dict[DeviceId, dict[int, int | None]] = {device_id: {} for device_id in vram_bytes}
    for process in processes:
        if process.device_id in found:
            used = process.used_bytes
            possible = used is not None and 0 <= used <= vram_bytes[process.device_id]
            found[process.device_id][process.pid] = used if possible else None
    return found


def _bind(path: Path) -> socket.socket:
    temporary = path.with_name(path.name + ".new")
    if len(os.fsencode(temporary)) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"socket: {path} is too long, allowed are {SOCKET_PATH_BYTES_MAX - 4} bytes"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        listener.setblocking(False)
        listener.bind(str(temporary))
        temporary.chmod(SOCKET_MODE)
        listener.listen(BACKLOG_MAX)
        temporary.replace(path)
    except OSError as error:
        listener.close()
        raise ConfigError(f"socket: cannot listen at {path}: {error}") from error
    return listener
