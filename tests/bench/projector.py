"""What an event costs the projector, on a real nats-server and PostgreSQL, by size of the fleet.

Fingerprints of all nodes are loaded first; then a mix of heartbeats, usage, 1 % faults and 1 %
duplicates is put into the stream while the projector is stopped (SIGSTOP), and the time it then
takes to commit all of it is measured. The baseline, in the same run, is a bare asyncpg upsert over
arrays: one narrow row per event, a thousand a statement.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from hcs_bus.envelope import Message
from hcs_bus.events import Fact
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import NodeName
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.store.migrate import migrate
from tests.support.backend import Backend, start_backend, stop_backend
from tests.support.facts import device, fault, fingerprint, heartbeat, link, message, quota

NODE_COUNTS = (100, 1_000, 10_000)
DEVICES_PER_NODE = 8
EVENTS = 40_000
BATCH = 1_000
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CREATE = "CREATE TABLE baseline (name text PRIMARY KEY, at_ns bigint, seq bigint)"
UPSERT = (
    "INSERT INTO baseline SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) "
    "ON CONFLICT (name) DO UPDATE SET at_ns = excluded.at_ns, seq = excluded.seq"
)


def fingerprints(nodes: int) -> Iterator[Message]:
    """Yield every node's fingerprint, fully linked."""
    for n in range(nodes):
        cards = [
            device(
                f"d{n}-{i}",
                index=i,
                links=tuple(link(f"d{n}-{j}") for j in range(DEVICES_PER_NODE) if j != i),
            )
            for i in range(DEVICES_PER_NODE)
        ]
        node = NodeName(f"n{n}")
        yield message(fingerprint(*cards), node=node, event_id=f"{node}/boot/1")


def mix(nodes: int) -> Iterator[Message]:
    """Yield the events that are measured."""
    choose = random.Random(7)
    last_n = [1] * nodes
    for n in range(EVENTS):
        number = choose.randrange(nodes)
        card, kind = f"d{number}-{choose.randrange(DEVICES_PER_NODE)}", choose.random()
        fact: Fact
        if kind < 0.01:
            fact = fault(card)
        elif kind < 0.5:
            fact = quota(card, pod=f"pod-{card}")
        else:
            fact = heartbeat(at_ns=n)
        if choose.random() >= 0.01:  # else the last number again: a duplicate
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
        if len(batch) == BATCH:
            await bus.publish_many(batch)
            batch = []
    await bus.publish_many(batch)
    return (await bus.stream_state(FACTS_STREAM)).last_seq


async def position(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Return how far the projector has committed."""
    return int(await connection.fetchval("SELECT stream_seq FROM projection_position"))


@contextmanager
def projecting(backend: Backend, database: str) -> Iterator[int]:
    """Run a projector; yield its process id."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "hcs"), "projector", "--listen", "127.0.0.1:0"],
        env=os.environ
        | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": backend.database_url(database)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def reach(connection: "asyncpg.Connection[asyncpg.Record]", end: int) -> None:
    """Wait until the projector has committed up to a position."""
    while await position(connection) < end:
        await asyncio.sleep(0.01)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def baseline(connection: "asyncpg.Connection[asyncpg.Record]", nodes: int) -> float:
    """Return seconds per row of a bare upsert."""
    await connection.execute(
        "CREATE TABLE baseline (name text PRIMARY KEY, at_ns bigint, seq bigint)"
    )
    choose = random.Random(7)
    started_s = time.perf_counter()
    for start in range(0, EVENTS, BATCH):
        # A key stands in a statement once, as in the projector's own.
        names = list({f"n{choose.randrange(nodes)}" for _ in range(BATCH)})
        numbers = list(range(start, start + len(names)))
        await connection.execute(UPSERT, names, numbers, numbers)
    return (time.perf_counter() - started_s) / EVENTS


async def measure(backend: Backend, nodes: int) -> dict[str, float]:
    """Return the figures of one fleet size."""
    database = f"bench_{nodes}"
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    connection = await asyncpg.connect(backend.database_url(database, scheme="postgresql"))
    with projecting(backend, database) as pid:
        await reach(connection, await publish(bus, fingerprints(nodes)))
        os.kill(pid, signal.SIGSTOP)
        end = await publish(bus, mix(nodes))
        cpu_s, started_s = _cpu_s(pid), time.perf_counter()
        os.kill(pid, signal.SIGCONT)
        await reach(connection, end)
        event_s = (time.perf_counter() - started_s) / EVENTS
        event_cpu_s, rss_mb = (_cpu_s(pid) - cpu_s) / EVENTS, _rss_mb(pid)
    row_s = await baseline(connection, nodes)
    await connection.close()
    await bus.close()
    await backend.delete_streams()
    return {
        "cpu_us_per_event": round(event_cpu_s * 1e6, 1),
        "events_per_s": round(1 / event_s),
        "ratio_to_upsert": round(row_s / event_s, 2),
        "rss_mb": round(rss_mb),
    }


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    backend = start_backend(root)
    result: dict[str, object] = {"bench": "projector", "events": EVENTS}
    try:
        for nodes in NODE_COUNTS:
            backend.create_database(f"bench_{nodes}")
            migrate(backend.database_url(f"bench_{nodes}"))
            figures = asyncio.run(measure(backend, nodes))
            result |= {f"{key}_{nodes}_nodes": value for key, value in figures.items()}
            print(nodes, figures, file=sys.stderr)
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
