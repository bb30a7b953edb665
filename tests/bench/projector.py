"""What an event costs the projector, on a real nats-server and PostgreSQL, by size of the fleet.

Fingerprints of all nodes are loaded first. Then a projector starts, is stopped (SIGSTOP) when it is
ready, a mix of samples, heartbeats, usage, 1 % faults and 1 % duplicates is put into the stream,
and what it then takes to commit all of it is measured: CPU, time, memory.

The baseline, in the same run and from the same state of the tables, writes the same rows: those
that the fold makes of each thousand events, by bare asyncpg, one prepared upsert over arrays per
table, with the position, in one transaction per thousand. It reads nothing, decodes nothing and
decides nothing. `ratio_to_upsert` is its time by the projector's.

    make bench BENCH=projector
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry
from sqlalchemy import ARRAY, Table
from sqlalchemy.dialects import postgresql

from hcs_bus.envelope import Message
from hcs_bus.events import DeviceSample, Fact, Samples, ThrottleReason
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, NodeName, StreamSeq
from hcs_bus.port import Record
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import load_policy
from hcs_control.projector import BATCH_RECORDS_MAX, BatchFolder
from hcs_control.rows import AnyRow, Removed
from hcs_control.store import postgres
from hcs_control.store.migrate import migrate
from hcs_control.store.tables import TABLE_OF_ROW
from tests.support.backend import Backend, start_backend, stop_backend
from tests.support.facts import GIB, device, fault, fingerprint, heartbeat, link, message, quota

NODE_COUNTS = (100, 1_000, 10_000)
DEVICES_PER_NODE = 8
EVENTS = 40_000
SAMPLES_SHARE, HEARTBEAT_SHARE, FAULT_SHARE = 0.45, 0.35, 0.01  # the rest is usage
COUNTED_SHARE = 0.01  # of the samples' cards, those that counted an error
DUPLICATE_SHARE = 0.01
PUBLISH_MAX = 1_000
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POSITION = "UPDATE projection_position SET stream_seq = stream_seq + $1"


# --- Events --------------------------------------------------------------------------------------


def fingerprints(nodes: int) -> Iterator[Message]:
    """Yield every node's fingerprint, fully linked."""
    for n in range(nodes):
        cards = [
            device(
                f"GPU-{n:05d}-{i}",
                index=i,
                links=tuple(link(f"GPU-{n:05d}-{j}") for j in range(DEVICES_PER_NODE) if j != i),
            )
            for i in range(DEVICES_PER_NODE)
        ]
        node = NodeName(f"n{n}")
        yield message(fingerprint(*cards), node=node, event_id=f"{node}/boot/1")


def samples(number: int, at_ns: int, choose: random.Random) -> Samples:
    """Return a round of samples as cards under work have them."""
    return Samples(
        at_ns=at_ns,
        interval_s=10.0,
        devices=tuple(
            DeviceSample(
                device_id=DeviceId(f"GPU-{number:05d}-{i}"),
                utilization_percent=float(choose.randrange(101)),
                memory_utilization_percent=float(choose.randrange(101)),
                vram_used_bytes=choose.randrange(80 * GIB),
                power_watts=choose.randrange(60_000, 400_000) / 1_000,
                temperature_celsius=float(choose.randrange(30, 90)),
                memory_temperature_celsius=float(choose.randrange(30, 100)),
                core_clock_mhz=choose.randrange(210, 1_410),
                memory_clock_mhz=1_593,
                throttle_reasons=(ThrottleReason.POWER,) if choose.random() < 0.1 else (),
                pcie_generation=4,
                pcie_width=16,
                ecc_corrected=int(choose.random() < COUNTED_SHARE),
            )
            for i in range(DEVICES_PER_NODE)
        ),
    )


def mix(nodes: int) -> Iterator[Message]:
    """Yield the events that are measured."""
    choose = random.Random(7)
    last_n = [1] * nodes
    for n in range(EVENTS):
        number, kind = choose.randrange(nodes), choose.random()
        card = f"GPU-{number:05d}-{choose.randrange(DEVICES_PER_NODE)}"
        fact: Fact
        if kind < FAULT_SHARE:
            fact = fault(card)
        elif kind < FAULT_SHARE + SAMPLES_SHARE:
            fact = samples(number, n, choose)
        elif kind < FAULT_SHARE + SAMPLES_SHARE + HEARTBEAT_SHARE:
            fact = heartbeat(at_ns=n)
        else:
            fact = quota(card, pod=f"pod-{card}")
        if choose.random() >= DUPLICATE_SHARE:  # else the last number again
            last_n[number] += 1
        node = NodeName(f"n{number}")
        sent = message(fact, node=node, event_id=f"{node}/boot/{last_n[number]}")
        # Another Nats-Msg-Id, as if the server's duplicates window had passed.
        yield Message(subject=sent.subject, id=f"mix/{n}", payload=sent.payload)


async def publish(bus: JetStreamBus, messages: Iterator[Message]) -> int:
    """Publish everything and return the stream's end."""
    batch: list[Message] = []
    for sent in messages:
        batch.append(sent)
        if len(batch) == PUBLISH_MAX:
            await bus.publish_many(batch)
            batch = []
    await bus.publish_many(batch)
    return (await bus.stream_state(FACTS_STREAM)).last_seq


# --- The projector -------------------------------------------------------------------------------


@contextmanager
def projecting(backend: Backend, database: str) -> Iterator[int]:
    """Run a projector; yield its process id once it is ready."""
    listen = f"127.0.0.1:{backend.ports['projector']}"
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "hcs"), "projector", "--listen", listen],
        env=os.environ
        | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": backend.database_url(database)},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _is_ready(listen):
            assert process.poll() is None, "the projector ended"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _is_ready(listen: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{listen}/readyz", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


async def reach(connection: "asyncpg.Connection[asyncpg.Record]", end: int) -> None:
    """Wait until the projector has committed up to a position."""
    while await connection.fetchval("SELECT stream_seq FROM projection_position") < end:
        await asyncio.sleep(0.01)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# --- The baseline --------------------------------------------------------------------------------

Write = tuple[Table, dict[str, list[Any]]]


async def batches_of_rows(
    backend: Backend, database: str, messages: list[Message], seq: int
) -> list[list[Write]]:
    """Return what the projector would write, by batch and table, from the state of a database."""
    store = postgres.connect(backend.database_url(database))
    fleet = (await store.load()).fleet
    await store.close()
    metrics, policy = ProjectorMetrics(CollectorRegistry()), load_policy()
    batches: list[list[Write]] = []
    for start in range(0, len(messages), BATCH_RECORDS_MAX):
        folder = BatchFolder(fleet, policy, metrics)
        for offset, sent in enumerate(messages[start : start + BATCH_RECORDS_MAX], start=1):
            position = StreamSeq(seq + start + offset)
            folder.add(Record(seq=position, subject=sent.subject, payload=sent.payload))
        rows: dict[Table, list[AnyRow]] = {}
        for change in folder.changes.values():
            assert not isinstance(change, Removed), "the mix removes nothing"
            rows.setdefault(TABLE_OF_ROW[type(change)], []).append(change)
        batches.append([(table, arrays_of(table, each)) for table, each in rows.items()])
    return batches


def arrays_of(table: Table, rows: list[AnyRow]) -> dict[str, list[Any]]:
    """Return an array per column; a column of arrays travels as text and is cast back."""
    columns = {}
    for column in table.columns:
        values = [getattr(row, column.name) for row in rows]
        is_array = isinstance(column.type, ARRAY)
        columns[column.name] = [array_text(value) for value in values] if is_array else values
    return columns


def array_text(items: tuple[object, ...]) -> str:
    """Return a PostgreSQL array as text."""
    return "{" + ",".join(json.dumps(str(item), ensure_ascii=False) for item in items) + "}"


def upsert_of(table: Table) -> str:
    """Return a bare upsert over arrays."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # dialects ship no types
    types = {column.name: column.type.compile(dialect) for column in table.columns}
    carried = [
        "text" if isinstance(column.type, ARRAY) else types[column.name] for column in table.columns
    ]
    arrays = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(carried, start=1))
    names = ", ".join(types)
    keys = [column.name for column in table.primary_key]
    values = ", ".join(f"{name}::{type_}" for name, type_ in types.items())
    changed = ", ".join(f"{name} = excluded.{name}" for name in types if name not in keys)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS u({names}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    )


async def baseline_s(
    connection: "asyncpg.Connection[asyncpg.Record]", batches: list[list[Write]]
) -> float:
    """Write the batches and return how long it took."""
    started_s = time.perf_counter()
    for batch in batches:
        async with connection.transaction():
            await connection.execute(POSITION, BATCH_RECORDS_MAX)
            for table, columns in batch:
                await connection.execute(upsert_of(table), *columns.values())
    return time.perf_counter() - started_s


# --- The figures ---------------------------------------------------------------------------------


async def measure(backend: Backend, nodes: int) -> dict[str, float]:
    """Return the figures of one fleet size."""
    database, copy = f"bench_{nodes}", f"bench_{nodes}_baseline"
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    with projecting(backend, database):
        connection = await asyncpg.connect(backend.database_url(database, scheme="postgresql"))
        loaded = await publish(bus, fingerprints(nodes))
        await reach(connection, loaded)
        await connection.close()
    await asyncio.to_thread(backend.create_database, copy, template=database)
    messages = list(mix(nodes))
    connection = await asyncpg.connect(backend.database_url(database, scheme="postgresql"))
    with projecting(backend, database) as pid:
        os.kill(pid, signal.SIGSTOP)
        end = await publish(bus, iter(messages))
        cpu_s, started_s = _cpu_s(pid), time.perf_counter()
        os.kill(pid, signal.SIGCONT)
        await reach(connection, end)
        event_s = (time.perf_counter() - started_s) / EVENTS
        event_cpu_s, rss_mb = (_cpu_s(pid) - cpu_s) / EVENTS, _rss_mb(pid)
    await connection.close()
    await bus.close()
    await backend.delete_streams()
    batches = await batches_of_rows(backend, copy, messages, loaded)
    connection = await asyncpg.connect(backend.database_url(copy, scheme="postgresql"))
    row_s = await baseline_s(connection, batches) / EVENTS
    await connection.close()
    return {
        "cpu_us_per_event": round(event_cpu_s * 1e6, 1),
        "events_per_s": round(1 / event_s),
        "ratio_to_upsert": round(row_s / event_s, 2),
        "rss_mb": round(rss_mb),
    }


def named(of_fleets: dict[int, dict[str, float]]) -> dict[str, float]:
    """Return the figures of the largest fleet by their own names, and each fleet's by its size."""
    by_size = {
        f"{key}_{nodes}_nodes": value
        for nodes, figures in of_fleets.items()
        for key, value in figures.items()
    }
    return of_fleets[max(of_fleets)] | by_size


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    backend = start_backend(root)
    of_fleets: dict[int, dict[str, float]] = {}
    try:
        for nodes in NODE_COUNTS:
            backend.create_database(f"bench_{nodes}")
            migrate(backend.database_url(f"bench_{nodes}"))
            of_fleets[nodes] = asyncio.run(measure(backend, nodes))
            print(nodes, of_fleets[nodes], file=sys.stderr)
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"bench": "projector", "events": EVENTS, **named(of_fleets)}))


if __name__ == "__main__":
    main()
