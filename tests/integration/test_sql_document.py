"""docs/sql.md says what the database says: every example's output, and every table's comment.

After a change that is meant: REWRITE_DOCUMENTS=1 pytest tests/integration/test_sql_document.py
"""

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from hcs_bus.events import AllocationState, ComputeQuota, Fact, FaultState, Samples
from hcs_bus.names import DeviceId, NodeName, Severity, Vendor
from hcs_control.policy import load_policy
from hcs_control.store.postgres import PostgresStore
from hcs_edge.local import postgres
from tests.support.every_kind import FACTS, FINGERPRINT, SAMPLES
from tests.support.facts import (
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    heartbeat,
    link,
    quota,
    unenforced,
)
from tests.support.folding import Folding

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
EXAMPLE = re.compile(r"```sql\n(.+?)\n```\n\n```text\n(.*?)\n?```", re.DOTALL)
GPU_NODE, NPU_NODE = NodeName("gpu-0"), NodeName("npu-0")
COMMENTS = """
SELECT c.relname AS name, c.relkind::text AS kind, obj_description(c.oid) AS comment
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') AND c.relname <> 'alembic_version'
"""


def at(offset_s: float, fact: Fact) -> Fact:
    """Return a fact of another moment."""
    return msgspec.structs.replace(fact, at_ns=START_NS + int(offset_s * SECOND))


def story() -> Folding:
    """Return what the document's examples ask about: two nodes, two Pods, some trouble."""
    folding = Folding(load_policy())
    card = FINGERPRINT.devices[0]
    cards = (
        msgspec.structs.replace(card, device_id=DeviceId("GPU-a1"), links=(link("GPU-b2"),)),
        msgspec.structs.replace(
            card,
            device_id=DeviceId("GPU-b2"),
            index=1,
            pci_address="0000:0f:00.0",
            links=(link("GPU-a1"),),
        ),
    )
    folding.add(msgspec.structs.replace(FINGERPRINT, devices=cards), node=GPU_NODE)
    npu = device("2102NPU07", vram_gib=64, tflops=295, vendor=Vendor.HUAWEI, model="Ascend 910B3")
    folding.add(fingerprint(npu), node=NPU_NODE)
    steps: list[tuple[float, NodeName, Fact]] = [
        (10, GPU_NODE, allocation(AllocationState.RESERVED, ("GPU-a1", 16, 100), node=GPU_NODE)),
        (11, GPU_NODE, allocation(AllocationState.BOUND, node=GPU_NODE)),
        (
            12,
            GPU_NODE,
            allocation(AllocationState.RESERVED, ("GPU-b2", 80, 312), pod="pod-2", node=GPU_NODE),
        ),
        (20, GPU_NODE, quota("GPU-a1", used_gib=11, launches=86_400)),
        (25, GPU_NODE, unenforced("GPU-b2", used_gib=3)),
        (30, NPU_NODE, fault("2102NPU07", "80E18402", vendor=Vendor.HUAWEI)),
        (40, NPU_NODE, fault("2102NPU07", "80E18402", state=FaultState.CLEARED)),
        (41, NodeName("cluster"), FACTS["tick"]),
        (60, NodeName("cluster"), FACTS["tick"]),
        (70, GPU_NODE, _occurrence()),
        (75, GPU_NODE, fault("GPU-b2", "79")),
        (80, GPU_NODE, _samples()),
        (80, GPU_NODE, heartbeat()),
        (80, NPU_NODE, heartbeat()),
        (81, NPU_NODE, _compute_quota()),
        (82, GPU_NODE, FACTS["checkpoint"]),
    ]
    for offset_s, node, fact in steps:
        folding.add(at(offset_s, fact), node=node)
    return folding


def _compute_quota() -> Fact:
    fact = FACTS["compute_quota"]
    assert isinstance(fact, ComputeQuota)
    return msgspec.structs.replace(fact, namespace="default", priorities=())


def _occurrence() -> Fact:
    return msgspec.structs.replace(
        fault("GPU-b2", "13"),
        name="Graphics Engine Exception",
        severity=Severity.WARNING,
        lasting=False,
    )


def _samples() -> Samples:
    sample = msgspec.structs.replace(SAMPLES.devices[0], device_id=DeviceId("GPU-a1"))
    return msgspec.structs.replace(SAMPLES, devices=(sample,))


def psql(url: str, query: str) -> str:
    """Return what psql prints."""
    run = subprocess.run(
        [postgres.programs() / "psql", "-X", "-q", "-c", query, url],
        env={"PGTZ": "UTC", "PATH": "", "LC_ALL": "C.UTF-8", **_library_path()},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return "\n".join(line.rstrip() for line in run.stdout.rstrip().splitlines())


def _library_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}


@pytest.fixture
async def reader_url(store: PostgresStore, database_url: str) -> str:
    """Return a database that holds the story."""
    await store.commit(story().batch())
    return database_url.replace("postgresql+asyncpg://", "postgresql://")


def test_each_example_gives_the_output_that_the_document_shows(reader_url: str) -> None:
    document = DOCUMENT.read_text()

    def answered(found: re.Match[str]) -> str:
        return f"```sql\n{found[1]}\n```\n\n```text\n{psql(reader_url, found[1])}\n```"

    fresh = EXAMPLE.sub(answered, document)
    if os.environ.get("REWRITE_DOCUMENTS"):
        DOCUMENT.write_text(fresh)
    assert fresh == document


async def test_every_table_and_view_is_described_and_every_view_has_an_example(
    database_url: str,
) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        found = (await connection.execute(text(COMMENTS))).all()
    await engine.dispose()
    document = DOCUMENT.read_text()
    examples = " ".join(query for query, _ in EXAMPLE.findall(document))
    for row in found:
        assert row.comment, f"{row.name} has no comment"
        assert row.comment in document, f"{row.name}: {row.comment}"
        assert row.kind == "r" or re.search(rf"\b{row.name}\b", examples), f"{row.name}: no example"
