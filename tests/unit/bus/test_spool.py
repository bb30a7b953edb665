"""The spool: nothing is forgotten before the bus has it, and the bus never counts it twice."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from hcs_bus.envelope import Message, decode_envelope
from hcs_bus.errors import SpoolFullError
from hcs_bus.memory import MemoryBus
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishAck
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher
from hcs_bus.subjects import FACTS_STREAM
from tests.support.bus_contract import fetch_all
from tests.support.facts import NODE, fault, heartbeat


def ids(spool: Spool) -> list[str]:
    """Return what waits."""
    return [entry.message.id for entry in spool.pending(1_000_000)]


def test_numbers_go_on_across_restarts_and_acknowledgements(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE)
    first = spool.append(heartbeat())
    spool.acknowledge(spool.pending(10))
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
    # No close: as after kill -9.
    again = Spool(tmp_path, node=NODE)
    assert ids(again) == [message.id for message in sent]
    assert len(again) == 3


def test_a_full_spool_drops_the_oldest_heartbeat_and_counts_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE, entries_max=3)
    kept = [spool.append(fault("d0")).id]
    spool.append(heartbeat())
    kept += [spool.append(heartbeat()).id, spool.append(fault("d1")).id]
    assert ids(spool) == kept
    assert spool.dropped == 1


def test_faults_are_never_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE, entries_max=2)
    sent = [spool.append(fault("d0")).id, spool.append(fault("d1")).id]
    with pytest.raises(SpoolFullError, match="none may be dropped"):
        spool.append(heartbeat())
    assert ids(spool) == sent


def test_a_disk_that_refuses_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, node=NODE)
    spool.append(fault("d0"))
    pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
    spool._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for _ in range(1000):
            spool.append(fault("d0"))
    waiting = ids(spool)
    spool.close()
    assert ids(Spool(tmp_path, node=NODE)) == waiting


async def test_the_publisher_empties_the_spool_in_order(tmp_path: Path) -> None:
    bus, spool = MemoryBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool, bus)
    for n in range(450):
        publisher.publish(heartbeat(at_ns=n))
    expected = ids(spool)
    running = asyncio.create_task(publisher.run())
    records = await fetch_all(bus, 450)
    running.cancel()
    assert [decode_envelope(record.payload).id for record in records] == expected
    assert len(spool) == 0


class LossyBus(MemoryBus):
    """Stores everything, but acknowledges only every second message."""

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishAck | None]:
        """Forget half of the acknowledgements."""
        acks = await super().publish_many(messages)
        return [ack if position % 2 == 0 else None for position, ack in enumerate(acks)]


async def test_what_is_not_acknowledged_is_sent_again_under_its_id(tmp_path: Path) -> None:
    bus, spool = LossyBus(), Spool(tmp_path, node=NODE)
    publisher = SpoolPublisher(spool, bus)
    for n in range(10):
        publisher.publish(heartbeat(at_ns=n))
    while len(spool) > 0:
        await publisher.flush_once()
    state = await bus.stream_state(FACTS_STREAM)
    assert state.last_seq == StreamSeq(10)
