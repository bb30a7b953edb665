"""From publish to a row that a reader of PostgreSQL sees, at 1,000 events a second.

The clock of an event starts when it is handed to the bus and stops when a reader that polls the
projection's position first sees one at or behind the event's own: position and rows are committed
in one transaction, so whoever sees the one sees the other. `resolution_ms` is the time from one
poll to the next at the median; by so much a figure may be too long.

The bus syncs each event before it acknowledges it: `stored_…` is how long that took, `behind_…`
how much later than that the rows were seen.

    make bench BENCH=lag
"""

import asyncio
import bisect
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

from hcs_bus.envelope import Message
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.port import PublishAck
from hcs_control.store.migrate import migrate
from tests.bench.projector import fingerprints, mix, projecting, publish, reach
from tests.support.backend import Backend, start_backend, stop_backend

NODES = 1_000
EVENTS_PER_S = 1_000
SLICE_S = 0.005  # events are handed over in bursts of this length
WARM_UP_EVENTS = 2_000  # not counted
EVENTS = 20_000
POLL_S = 0.000_5
DATABASE = "bench_lag"


class Reader:
    """Polls the position on a connection of its own, and remembers when it saw which."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._positions: list[int] = []
        self._seen_s: list[float] = []

    async def poll(self) -> None:
        """Poll until cancelled."""
        statement = await self._connection.prepare("SELECT stream_seq FROM projection_position")
        while True:
            position = await statement.fetchval()
            self._seen_s.append(time.perf_counter())
            self._positions.append(position)
            await asyncio.sleep(POLL_S)

    def seen_s(self, seq: int) -> float:
        """Return when a position at or behind `seq` was first seen."""
        return self._seen_s[bisect.bisect_left(self._positions, seq)]

    def has_seen(self, seq: int) -> bool:
        """Say whether a position at or behind `seq` was seen."""
        return bool(self._positions) and self._positions[-1] >= seq

    @property
    def resolution_s(self) -> float:
        """Time between two polls, at the median."""
        return statistics.median(b - a for a, b in itertools.pairwise(self._seen_s))


class Burst(NamedTuple):
    """Events that were handed to the bus together."""

    sent_s: float
    stored_s: float  # all of them were acknowledged
    positions: list[int]


async def send(bus: JetStreamBus, messages: Sequence[Message]) -> Burst:
    """Publish a burst."""
    sent_s = time.perf_counter()
    results = await bus.publish_many(messages)
    positions = [int(result.seq) for result in results if isinstance(result, PublishAck)]
    return Burst(sent_s, time.perf_counter(), positions)


async def measure(backend: Backend) -> dict[str, float]:
    """Return the figures."""
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    connection = await asyncpg.connect(backend.database_url(DATABASE, scheme="postgresql"))
    reader = Reader(connection)
    with projecting(backend, DATABASE):
        await reach(connection, await publish(bus, fingerprints(NODES)))
        messages = list(itertools.islice(mix(NODES), WARM_UP_EVENTS + EVENTS))
        burst = round(EVENTS_PER_S * SLICE_S)
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(reader.poll())
            began_s, sending = time.perf_counter(), []
            for number, start in enumerate(range(0, len(messages), burst)):
                await asyncio.sleep(began_s + number * SLICE_S - time.perf_counter())
                sending.append(tasks.create_task(send(bus, messages[start : start + burst])))
            took_s = time.perf_counter() - began_s
            sent = await asyncio.gather(*sending)
            while not reader.has_seen(sent[-1].positions[-1]):
                await asyncio.sleep(POLL_S)
            polling.cancel()
    await connection.close()
    await bus.close()
    counted = sent[WARM_UP_EVENTS // burst :]
    lags_ms = sorted(
        (reader.seen_s(seq) - one.sent_s) * 1e3 for one in counted for seq in one.positions
    )
    stored_ms = sorted((one.stored_s - one.sent_s) * 1e3 for one in counted)
    behind_ms = sorted((reader.seen_s(one.positions[-1]) - one.stored_s) * 1e3 for one in counted)
    return {
        "events": len(lags_ms),
        "events_per_s": round(len(messages) / took_s),
        "p50_ms": _percentile(lags_ms, 50),
        "p99_ms": _percentile(lags_ms, 99),
        "max_ms": round(lags_ms[-1], 1),
        "stored_p50_ms": _percentile(stored_ms, 50),
        "stored_p99_ms": _percentile(stored_ms, 99),
        "behind_p50_ms": _percentile(behind_ms, 50),
        "behind_p99_ms": _percentile(behind_ms, 99),
        "resolution_ms": round(reader.resolution_s * 1e3, 2),
    }


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return round(ordered[len(ordered) * percent // 100], 1)


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    backend = start_backend(root)
    try:
        backend.create_database(DATABASE)
        migrate(backend.database_url(DATABASE))
        figures = asyncio.run(measure(backend))
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"bench": "lag", "nodes": NODES} | figures))


if __name__ == "__main__":
    main()
