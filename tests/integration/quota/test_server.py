"""The quota socket, with honest and dishonest processes at its other end."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.quota import QuotaServer, wire
from hcs_agents.quota.server import bytes_by_card
from hcs_bus.errors import ConfigError
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId
from tests.support import quota_client

PATIENCE_S = 5.0
FACT_INTERVAL_S = 0.05


class Desk:
    """A server and the facts it published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: list[Quota] = []
        self.server = self.new_server()

    def new_server(self, *, clients_max: int = 8) -> QuotaServer:
        """Return another server for the same path."""
        return QuotaServer(
            self.path,
            self.facts.append,
            clock_ns=lambda: 42,
            clients_max=clients_max,
            fact_interval_s=FACT_INTERVAL_S,
        )


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def closed(connection: socket.socket) -> bool:
    """Tell whether the server hung up."""
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "quota.sock")
    desk.server.start()
    yield desk
    desk.server.stop()


async def test_usage_becomes_a_fact(desk: Desk) -> None:
    with quota_client.connect(desk.path) as process:
        process.send(quota_client.hello())
        process.send(quota_client.usage(7, peak_bytes=9, refusals=1))
        await until(lambda: bool(desk.facts))
        fact = desk.facts[0]
        assert (fact.at_ns, fact.used_bytes, fact.peak_bytes) == (42, 7, 9)
        assert (fact.pod_uid, fact.container) == (quota_client.POD_UID, quota_client.CONTAINER)
        assert (fact.quota_bytes, fact.refusals, fact.processes) == (1000, 1, 1)
    await until(lambda: desk.facts[-1].processes == 0)
    assert (desk.facts[-1].used_bytes, desk.facts[-1].peak_bytes) == (0, 9)
    await until(lambda: desk.server.counters.clients == 0)


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], id="not our language"),
        pytest.param([quota_client.hello(pid=1)], id="somebody else's pid"),
        pytest.param([quota_client.usage(1)], id="usage before hello"),
        pytest.param([quota_client.hello(), quota_client.hello()], id="two hellos"),
        pytest.param([quota_client.hello(), quota_client.usage(1, devices=2)], id="other cards"),
        pytest.param([quota_client.hello() + b"more"], id="longer than any message"),
    ],
)
async def test_a_forger_is_disconnected_and_counted(desk: Desk, packets: list[bytes]) -> None:
    with quota_client.connect(desk.path) as process:
        for packet in packets:
            process.send(packet)
        await until(lambda: closed(process))
    assert desk.server.counters.malformed_total == 1
    assert desk.facts == []


async def test_a_flood_is_disconnected(desk: Desk) -> None:
    with quota_client.connect(desk.path) as process:
        process.send(quota_client.hello())
        for number in range(200):
            try:
                process.send(quota_client.usage(number, revision=number))
            except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                break
        await until(lambda: closed(process))
    assert desk.server.counters.malformed_total == 1


async def test_too_many_processes_are_turned_away_and_counted(desk: Desk) -> None:
    connections = [quota_client.connect(desk.path) for _ in range(9)]
    await until(lambda: desk.server.counters.refused_total == 1)
    await until(lambda: closed(connections[-1]))
    assert desk.server.counters.clients == 8
    for connection in connections:
        connection.close()


async def test_lost_messages_are_counted(desk: Desk) -> None:
    with quota_client.connect(desk.path) as process:
        process.send(quota_client.hello(lost=3))
        process.send(quota_client.usage(1, lost=3))
        process.send(quota_client.usage(1, lost=5))
        await until(lambda: desk.server.counters.messages_total == 3)
    assert desk.server.counters.lost_total == 2


def told(used_bytes: list[int | None]) -> bytes:
    """Return what a process of the first epoch is told after a look at 42."""
    return wire.driver_packet(epoch_ns=1, looked_at_ns=42, used_bytes=used_bytes)


async def test_a_process_is_told_what_the_driver_says_of_it_card_by_card(desk: Desk) -> None:
    used: dict[DeviceId, dict[int, int | None]] = {
        DeviceId("not-mine"): {os.getpid(): 1},
        DeviceId("mine"): {os.getpid(): 2**40, 1: 5},
        DeviceId("silent"): {os.getpid(): None},
        DeviceId("left"): {1: 5},
    }
    with quota_client.connect(desk.path) as process, quota_client.connect(desk.path) as stranger:
        process.send(quota_client.hello(devices=("left", "unasked", "mine", "silent")))
        await until(lambda: bool(desk.server.pids))
        desk.server.tell_driver(used, looked_at_ns=42)
        assert process.recv(4096) == told([0, None, 2**40, None])
        with pytest.raises(BlockingIOError):  # nothing to one that has not introduced itself
            stranger.recv(4096)
        desk.server.tell_driver({DeviceId("not-mine"): {os.getpid(): 1}}, looked_at_ns=43)
        with pytest.raises(BlockingIOError):  # nor when no card of its own was looked at
            process.recv(4096)


async def test_a_process_that_does_not_listen_keeps_nobody_waiting(desk: Desk) -> None:
    used = {DeviceId(quota_client.DEVICE): {os.getpid(): 7}}
    with quota_client.connect(desk.path) as deaf, quota_client.connect(desk.path) as process:
        for number, connection in enumerate((deaf, process)):
            connection.send(quota_client.hello(process=number))
        await until(lambda: desk.server.counters.messages_total == 2)
        for _ in range(5000):  # more than any socket takes
            desk.server.tell_driver(used, looked_at_ns=42)
            assert process.recv(4096) == told([7])
        assert desk.server.counters.clients == 2
        assert deaf.recv(4096) == told([7])


def test_a_drivers_list_is_sorted_by_cards_and_what_cannot_be_is_not_known() -> None:
    mine, other = DeviceId("mine"), DeviceId("other")
    processes = [
        DeviceProcess(device_id=mine, pid=1, used_bytes=100),
        DeviceProcess(device_id=mine, pid=2, used_bytes=101),
        DeviceProcess(device_id=mine, pid=3, used_bytes=-1),
        DeviceProcess(device_id=mine, pid=4),
        DeviceProcess(device_id=DeviceId("gone"), pid=1, used_bytes=1),
    ]
    assert bytes_by_card(processes, {mine: 100, other: 100}) == {
        mine: {1: 100, 2: None, 3: None, 4: None},
        other: {},
    }


async def test_a_neighbour_is_asked_to_reclaim_when_a_process_ends(desk: Desk) -> None:
    with quota_client.connect(desk.path) as survivor:
        survivor.send(quota_client.hello())
        with quota_client.connect(desk.path) as victim:
            victim.send(quota_client.hello())
            await until(lambda: desk.server.counters.messages_total == 2)
        async with asyncio.timeout(PATIENCE_S):
            packet = await asyncio.get_running_loop().sock_recv(survivor, 4096)
    assert packet == wire.RECLAIM_PACKET


async def test_two_ledgers_at_once_are_told_of_as_no_quota(desk: Desk) -> None:
    with quota_client.connect(desk.path) as one, quota_client.connect(desk.path) as other:
        for epoch_ns, process in enumerate((one, other), start=1):
            process.send(quota_client.hello(epoch_ns=epoch_ns))
            process.send(quota_client.usage(600, epoch_ns=epoch_ns))
        await until(lambda: bool(desk.facts) and desk.facts[-1].used_bytes == 1200)
        assert (desk.facts[-1].enforced, desk.facts[-1].processes) == (False, 2)
    await until(lambda: desk.facts[-1].processes == 0)
    assert (desk.facts[-1].enforced, desk.facts[-1].used_bytes) == (True, 0)


async def test_a_container_that_restarts_while_the_agent_is_busy_is_not_blamed(desk: Desk) -> None:
    facts = desk.facts
    with quota_client.connect(desk.path) as before:
        before.send(quota_client.hello())
        before.send(quota_client.usage(1))
        await until(lambda: bool(facts))
        for revision in range(2, 12):
            before.send(quota_client.usage(1, revision=revision))
    with quota_client.connect(desk.path) as after:
        after.send(quota_client.hello(epoch_ns=2))
        after.send(quota_client.usage(5, epoch_ns=2))
        time.sleep(FACT_INTERVAL_S)  # noqa: ASYNC251 - so whatever differs now is said at once
        await until(lambda: facts[-1].used_bytes == 5)
        await until(lambda: desk.server.counters.clients == 1)
    assert all(fact.enforced for fact in facts)
    assert desk.server.counters.messages_total == 2 + 10 + 2  # its last words were heard


async def test_a_restarted_agent_takes_the_path_over(desk: Desk) -> None:
    with quota_client.connect(desk.path) as process:
        process.send(quota_client.hello())
        successor = desk.new_server()
        successor.start()
        desk.server.stop()  # the old one, ending late, must not remove the new one's socket
        await until(lambda: closed(process))
    with quota_client.connect(desk.path) as process:
        process.send(quota_client.hello())
        await until(lambda: successor.counters.messages_total == 1)
    successor.stop()
    assert not desk.path.exists()


async def test_a_stale_socket_is_replaced(desk: Desk) -> None:
    desk.server.stop()
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(desk.path))
    stale.close()
    desk.server = desk.new_server()
    desk.server.start()
    with quota_client.connect(desk.path):
        await until(lambda: desk.server.counters.connections_total == 1)


async def test_stopping_says_what_was_held_back(tmp_path: Path) -> None:
    facts: list[Quota] = []
    server = QuotaServer(tmp_path / "s", facts.append, fact_interval_s=1000)
    server.start()
    with quota_client.connect(tmp_path / "s") as process:
        process.send(quota_client.hello())
        process.send(quota_client.usage(1, revision=1))
        await until(lambda: len(facts) == 1)
        process.send(quota_client.usage(2, revision=2))
        await until(lambda: server.counters.messages_total == 3)
        assert len(facts) == 1
        server.stop()
    assert [fact.used_bytes for fact in facts] == [1, 2]


async def test_launches_alone_are_held_back_until_the_end(tmp_path: Path) -> None:
    facts: list[Quota] = []
    server = QuotaServer(tmp_path / "s", facts.append, fact_interval_s=0.01)
    server.start()
    with quota_client.connect(tmp_path / "s") as process:
        process.send(quota_client.hello())
        process.send(quota_client.usage(1, revision=1, launches=100))
        await until(lambda: bool(facts))
        for revision in range(2, 11):
            process.send(quota_client.usage(1, revision=revision, launches=100 * revision))
        await until(lambda: server.counters.messages_total == 11)
        assert [fact.launches for fact in server.state()] == [1000]
        assert [fact.launches for fact in facts] == [100]
        server.stop()
    assert [fact.launches for fact in facts] == [100, 1000]


async def test_a_path_too_long_for_a_socket_is_a_clear_error(tmp_path: Path) -> None:
    server = QuotaServer(tmp_path / ("x" * 100), lambda _: None)
    with pytest.raises(ConfigError, match="too long"):
        server.start()


async def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = QuotaServer(tmp_path / "file" / "quota.sock", lambda _: None)
    with pytest.raises(ConfigError, match="cannot listen"):
        server.start()


def pretend_pod(proc: Path, pod_uid: str) -> None:
    """Make a /proc in which this process is in a Pod's control group."""
    (proc / str(os.getpid())).mkdir(parents=True, exist_ok=True)
    (proc / str(os.getpid()) / "cgroup").write_text(f"0::/kubepods/pod{pod_uid}/abc\n")
    (proc / str(os.getpid()) / "status").write_text(f"NSpid:\t{os.getpid()}\n")


async def test_a_process_that_speaks_for_another_pod_is_disconnected(tmp_path: Path) -> None:
    facts: list[Quota] = []
    proc = tmp_path / "proc"
    server = QuotaServer(tmp_path / "q.sock", facts.append, fact_interval_s=0.05, proc=proc)
    server.start()
    pretend_pod(proc, "11111111-35a7-5d36-9e0e-0b0c4b1a6a51")
    with quota_client.connect(tmp_path / "q.sock") as process:
        process.send(quota_client.hello())
        await until(lambda: closed(process))
    assert server.counters.forged_total == 1
    pretend_pod(proc, quota_client.POD_UID)
    with quota_client.connect(tmp_path / "q.sock") as process:
        process.send(quota_client.hello())
        process.send(quota_client.usage(7))
        await until(lambda: bool(facts))
    assert (server.counters.forged_total, server.counters.outside_pods_total) == (1, 0)
    server.stop()
