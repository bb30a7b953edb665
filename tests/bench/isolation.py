"""From a fault in a card to its isolation in SQL, through every real part, on an idle cluster.

A scenario file is changed; the vendor library, the detector, the agent, its spool, the bus, the
projector and PostgreSQL each do their part. The clock stops when a reader of the table sees it.

    make bench BENCH=isolation
"""

import asyncio
import json
import statistics
import time
from functools import partial
from pathlib import Path

import asyncpg

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from tests.support.local_cluster import LocalCluster, running_cluster

ROUNDS_PER_VENDOR = 25
POLL_S = 0.002
CODES = {"a100-0": "79", "ascend-0": "80E18402"}
ISOLATED = (
    "SELECT 1 FROM isolation JOIN device USING (device_id) WHERE isolation.node_name = $1 "
    "AND device_index = $2 AND released_seq IS NULL AND $3 = ANY (active_codes)"
)


async def measure(cluster: LocalCluster, node: str, code: str) -> list[float]:
    """Return milliseconds per round; cards are taken in turn, and cleared for the next."""
    connection = await asyncpg.connect(cluster.connection.database_url)
    file = ScenarioFile(Path(cluster.home.scenarios) / f"{node}.ini")
    found_ms = []
    for round_number in range(ROUNDS_PER_VENDOR):
        number = round_number % 8
        started_s = time.perf_counter()
        raised = partial(operations.raise_fault, number=number, code=code, at_ns=time.time_ns())
        file.update(raised)
        await _until(connection, node, number, code, isolated=True)
        found_ms.append((time.perf_counter() - started_s) * 1e3)
        file.update(
            partial(operations.clear_faults, number=number, code=code, at_ns=time.time_ns())
        )
        await _until(connection, node, number, code, isolated=False)
    await connection.close()
    return found_ms


async def _until(
    connection: "asyncpg.Connection[asyncpg.Record]",
    node: str,
    number: int,
    code: str,
    *,
    isolated: bool,
) -> None:
    while bool(await connection.fetch(ISOLATED, node, number, code)) is not isolated:
        await asyncio.sleep(POLL_S)


def main() -> None:
    """Print one JSON line."""
    result: dict[str, object] = {"bench": "isolation", "rounds_per_vendor": ROUNDS_PER_VENDOR}
    with running_cluster() as cluster:
        for node, code in CODES.items():
            found_ms = sorted(asyncio.run(measure(cluster, node, code)))
            result[f"{node}_p50_ms"] = round(statistics.median(found_ms), 1)
            result[f"{node}_max_ms"] = round(found_ms[-1], 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
