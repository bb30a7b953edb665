"""The spool: nothing is forgotten before the bus has it, and the bus never counts it twice."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from hcs_bus import spool_publisher
from hcs_bus.envelope import Message, decode_envelope, decode_fact
from hcs_bus.errors import ConfigError, SpoolFullError
from hcs_bus.events import Fault, Fingerprint
from hcs_bus.memory import MemoryBus
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishRefused, PublishResult, Record
from hcs_bus.spool import Spool, SpoolEntry
from hcs_bus.spool_publisher import SpoolPublisher
from hcs_bus.subjects import FACTS_STREAM, parse_subject
from tests.support.bus_contract import fetch_all
from tests.support.facts import NODE, device, fault, fingerprint, heartbeat


def ids(spool: Spool) -> list[str]:
    """Return what waits."""
    return [entry.message.id for entry in spool.pending(1_000_000)]


def test_numbers_go_on_across_restarts_and_acknowledgements(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE)
    first = spool.append(heartbeat())
    spool.acknowledge(entry.n for entry in spool.pending(10))
    spool.close()
    spool = Spool(tmp_path, node=NODE)
    second = spool.append(heartbeat())
    node, incarnation, n = first.id.split("/")
    assert second.id == f"{node}/{incarnation}/{int(n) + 1}"


def test_a_lost_spool_starts_another_incarnation(tmp_path: Path) -> None:
    one = Spool(tmp_path / "a", node=NODE).append(heartbeat())
    two = Spool(tmp_path / "b", node=NODE).append(heartbeat())
    assert one.id.split("/")[1] != two.id.split("/")[1]


def test_what_waits_survives_without_a_clean_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE)
    sent = [spool.append(fault("d0")) for _ in range(3)]
    os.close(spool._lock)  # no more than the kernel does after kill -9
    again = Spool(tmp_path, node=NODE)
    assert ids(again) == [message.id for message in sent]
    assert len(again) == 3


def files_open_below(directory: Path) -> int:
    """Return how many of this process's descriptors are of files below a directory."""
    with os.scandir("/proc/self/fd") as descriptors:
        return sum(Path(each).readlink().is_relative_to(directory) for each in descriptors)


def test_a_second_owner_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE)
    sent = spool.append(fault("d0"))
    open_files = files_open_below(tmp_path)
    with pytest.raises(ConfigError, match=f"spool {tmp_path} belongs to an agent that runs"):
        Spool(tmp_path, node=NODE)
    assert files_open_below(tmp_path) == open_files > 0
    assert ids(spool) == [sent.id]
    spool.close()
    assert ids(Spool(tmp_path, node=NODE)) == [sent.id]


OWNER = """
import sys, pathlib
from hcs_bus.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]), node="gpu-0")
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_spool_whose_owner_was_killed_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(ConfigError):
            Spool(tmp_path, node=NODE)
        owner.kill()
    Spool(tmp_path, node=NODE).close()


def test_a_full_spool_drops_the_oldest_heartbeat_and_counts_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE, entries_max=3)
    kept = [spool.append(fault("d0")).id]
    spool.append(heartbeat())
    kept += [spool.append(heartbeat()).id, spool.append(fault("d1")).id]
    assert ids(spool) == kept
    assert spool.dropped == 1


def test_what_is_dropped_is_counted_or_it_is_not_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE, entries_max=1)
    sent = spool.append(heartbeat())
    # As if the end came between the two.
    refusal = "BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'no'); END"
    spool._database.execute(f"CREATE TEMP TRIGGER refusal {refusal}")
    with pytest.raises(sqlite3.IntegrityError):
        spool.append(fault("d0"))
    assert (ids(spool), len(spool), spool.dropped) == ([sent.id], 1, 0)
    spool._database.execute("DROP TRIGGER refusal")
    kept = spool.append(fault("d0"))
    assert (ids(spool), len(spool), spool.dropped) == ([kept.id], 1, 1)


def test_faults_are_never_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE, entries_max=2)
    sent = [spool.append(fault("d0")).id, spool.append(fault("d1")).id]
    with pytest.raises(SpoolFullError, match="none may be dropped"):
        spool.append(heartbeat())
    assert ids(spool) == sent


def tight(directory: Path) -> Spool:
    """Return a spool with no room set aside."""
    return Spool(directory, node=NODE, reserved_bytes=0)


def fill(spool: Spool) -> None:
    """Let the spool's file grow no further; SQLite then says what it says of a full disk."""
    pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
    spool._database.execute(f"PRAGMA max_page_count = {pages}")


def make_room(spool: Spool) -> None:
    """Let it grow again."""
    spool._database.execute("PRAGMA max_page_count = 1000000")


def test_a_disk_that_refuses_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    spool = tight(tmp_path)
    spool.append(fault("d0"))
    fill(spool)
    with pytest.raises(SpoolFullError):
        for _ in range(1000):
            spool.append(fault("d0"))
    waiting = ids(spool)
    assert len(spool) == len(waiting)
    spool.close()
    assert ids(Spool(tmp_path, node=NODE)) == waiting


def test_on_a_full_disk_old_heartbeats_make_room_for_a_fault(tmp_path: Path) -> None:
    spool = tight(tmp_path)
    for n in range(100):
        spool.append(heartbeat(at_ns=n))
    fill(spool)
    with pytest.raises(SpoolFullError):
        for n in range(1000):
            spool.append(heartbeat(at_ns=n))
    assert spool.dropped == 0, "a heartbeat is not worth an older one"
    sent = spool.append(fault("d0"))
    assert ids(spool)[-1] == sent.id
    assert 0 < spool.dropped < 100


def test_facts_wait_for_room_in_order_and_none_is_lost(tmp_path: Path) -> None:
    spool = tight(tmp_path)
    publisher = SpoolPublisher(spool)
    assert publisher.publish(fault("d0"))
    fill(spool)
    published = 1
    while publisher.waiting < 3:
        assert publisher.publish(fault(f"d{published}"))
        published += 1
    assert not publisher.publish(heartbeat()), "it is not worth the memory"
    assert publisher.dropped == 1
    make_room(spool)
    assert publisher.publish(fault(f"d{published}"))
    assert publisher.waiting == 0
    found = [decode_fact(decode_envelope(e.message.payload)) for e in spool.pending(1_000)]
    names = [fact.device_id for fact in found if isinstance(fact, Fault)]
    assert names == [f"d{n}" for n in range(published + 1)]


def test_a_small_fact_does_not_overtake_a_large_one_that_waits(tmp_path: Path) -> None:
    spool = tight(tmp_path)
    publisher = SpoolPublisher(spool)
    fill(spool)
    whole_node = fingerprint(*(device(f"d{n}", index=n) for n in range(64)))
    assert publisher.publish(whole_node)
    assert publisher.publish(fault("d0"))
    assert (len(spool), publisher.waiting) == (0, 2)
    make_room(spool)
    assert publisher.publish(fault("d1"))
    found = [decode_fact(decode_envelope(e.message.payload)) for e in spool.pending(10)]
    assert [type(fact) for fact in found] == [Fingerprint, Fault, Fault]


def test_no_more_facts_wait_than_memory_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_publisher, "WAITING_MAX", 2)
    publisher = SpoolPublisher(Spool(tmp_path, node=NODE, entries_max=1))
    kept = [publisher.publish(fault(f"d{n}")) for n in range(5)]
    assert kept == [True, True, True, False, False]
    assert (publisher.waiting, publisher.dropped) == (2, 2)


def test_want_of_room_is_said_once_and_its_end_too(tmp_path: Path) -> None:
    spool = tight(tmp_path)
    publisher = SpoolPublisher(spool)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            publisher.publish(fault("d0"))
        fill(spool)
        while publisher.waiting < 5:
            publisher.publish(fault("d0"))
        make_room(spool)
        for _ in range(3):
            publisher.publish(fault("d0"))
    assert [line["event"] for line in logs] == ["spool_has_no_room", "spool_has_room"]


async def test_what_the_disk_does_not_forget_is_not_published_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, spool = MemoryBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    acknowledge = Spool.acknowledge

    def refuse(_spool: Spool, _numbers: Iterable[int]) -> None:
        raise SpoolFullError

    monkeypatch.setattr(Spool, "acknowledge", refuse)
    for n in range(2):
        publisher.publish(fault(f"d{n}"))
        assert await publisher.flush_once(bus)
    assert len(await fetch_all(bus, 2)) == 2
    assert len(spool) == 2
    assert await publisher.flush_once(bus), "nothing is left to publish"
    monkeypatch.setattr(Spool, "acknowledge", acknowledge)
    publisher.publish(fault("d2"))
    await publisher.flush_once(bus)
    assert len(spool) == 0
    assert (await bus.stream_state(FACTS_STREAM)).last_seq == StreamSeq(3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    subprocess.run(["mount", *options], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.root
async def test_a_disk_that_is_full_loses_no_fault(small_disk: Path) -> None:
    bus, spool = MemoryBus(), Spool(small_disk, node=NODE)
    publisher = SpoolPublisher(spool)
    ballast = small_disk / "ballast"
    published = 0
    for _ in range(20):
        publisher.publish(fault(f"d{published}"))
        published += 1
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    for _ in range(1_000):
        publisher.publish(fault(f"d{published}"))
        published += 1
        await publisher.flush_once(bus)
        assert (len(spool), publisher.waiting) == (0, 0), "a full disk keeps no fault from the bus"
    while publisher.waiting < 50:
        publisher.publish(fault(f"d{published}"))
        published += 1
        assert published < 10_000
    ballast.unlink()
    publisher.publish(fault(f"d{published}"))
    assert publisher.waiting == 0
    while len(spool) > 0:
        await publisher.flush_once(bus)
    records = await fetch_all(bus, published + 1)
    facts = [decode_fact(decode_envelope(record.payload)) for record in records]
    names = [fact.device_id for fact in facts if isinstance(fact, Fault)]
    assert names == [f"d{n}" for n in range(published + 1)]
    spool.close()


async def test_the_publisher_empties_the_spool_in_order(tmp_path: Path) -> None:
    bus, spool = MemoryBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for n in range(450):
        publisher.publish(heartbeat(at_ns=n))
    expected = ids(spool)
    running = asyncio.create_task(publisher.run(bus))
    records = await fetch_all(bus, 450)
    running.cancel()
    assert [decode_envelope(record.payload).id for record in records] == expected
    assert len(spool) == 0


class LossyBus(MemoryBus):
    """Stores everything, but acknowledges only every second message."""

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Forget half of the acknowledgements."""
        acks = await super().publish_many(messages)
        return [ack if position % 2 == 0 else None for position, ack in enumerate(acks)]


class PickyBus(MemoryBus):
    """Refuses every second message for ever."""

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store the others."""
        results: list[PublishResult] = []
        for position, message in enumerate(messages):
            if position % 2 == 1:
                results.append(PublishRefused(reason="too large"))
            else:
                results += await super().publish_many([message])
        return results


async def test_what_the_bus_refuses_for_ever_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    bus, spool = PickyBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for n in range(4):
        publisher.publish(heartbeat(at_ns=n))
    assert await publisher.flush_once(bus)
    assert (len(spool), publisher.dropped) == (0, 2)
    assert (await bus.stream_state(FACTS_STREAM)).last_seq == StreamSeq(2)


async def test_what_is_not_acknowledged_is_sent_again_under_its_id(tmp_path: Path) -> None:
    bus, spool = LossyBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for n in range(10):
        publisher.publish(heartbeat(at_ns=n))
    while len(spool) > 0:
        await publisher.flush_once(bus)
    state = await bus.stream_state(FACTS_STREAM)
    assert state.last_seq == StreamSeq(10)


class LateBus(MemoryBus):
    """Its stream comes into being within a batch, behind its first messages."""

    def __init__(self, *, missed: int) -> None:
        super().__init__()
        self._missed = missed

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Store what comes behind the first few."""
        missed, self._missed = min(self._missed, len(messages)), 0
        results = await super().publish_many(messages[missed:])
        return [*[None] * missed, *results]


def kinds(entries: Sequence[SpoolEntry | Record]) -> list[str]:
    """Return the kinds of events, by their subjects."""
    subjects = [
        one.message.subject if isinstance(one, SpoolEntry) else one.subject for one in entries
    ]
    return [parse_subject(subject).kind for subject in subjects]


async def test_no_fault_overtakes_the_fingerprint_of_its_card(tmp_path: Path) -> None:
    bus, spool = LateBus(missed=2), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for fact in (heartbeat(), fingerprint(device("d0")), fault("d0"), heartbeat()):
        publisher.publish(fact)
    assert not await publisher.flush_once(bus)
    assert kinds(spool.pending(10)) == ["heartbeat", "fingerprint", "fault", "heartbeat"]
    await publisher.flush(bus)
    assert len(spool) == 0
    stored = await fetch_all(bus, 4)
    assert kinds(stored) == ["heartbeat", "fingerprint", "fault", "heartbeat"]


async def test_what_follows_a_fingerprint_waits_also_while_others_are_taken(tmp_path: Path) -> None:
    bus, spool = LossyBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for fact in (heartbeat(), fingerprint(device("d0")), fault("d0")):
        publisher.publish(fact)
    assert await publisher.flush_once(bus)
    assert kinds(spool.pending(10)) == ["fingerprint", "fault"]
    assert (await bus.stream_state(FACTS_STREAM)).last_seq == StreamSeq(2)


async def test_a_fingerprint_that_is_refused_for_ever_holds_up_nothing(tmp_path: Path) -> None:
    bus, spool = PickyBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for fact in (heartbeat(), fingerprint(device("d0")), fault("d0")):
        publisher.publish(fact)
    await publisher.flush(bus)
    assert (len(spool), publisher.dropped) == (0, 1)
    assert kinds(await fetch_all(bus, 2)) == ["heartbeat", "fault"]


async def test_a_flush_ends_when_the_spool_is_empty_or_the_bus_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_publisher, "BATCH_ENTRIES_MAX", 3)
    spool = Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool)
    for n in range(10):
        publisher.publish(heartbeat(at_ns=n))
    deaf = LateBus(missed=10)
    await publisher.flush(deaf)
    assert len(spool) == 10
    await publisher.flush(MemoryBus())
    assert len(spool) == 0
