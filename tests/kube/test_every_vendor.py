"""A card of each vendor is pulled: the stream, the inventory, SQL and the past all tell of it."""

import contextlib
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_cluster import LocalCluster, eventually
from tests.support.workloads import Workloads

NODES = ("a100-0", "ascend-0", "hygon-0", "cambricon-0", "mthreads-0")
INDEX = 5
SAMPLED = 4  # another card: a pulled one says nothing
BACK_S = 60.0  # a detector may look for a replaced card every 30 s, and the rule waits 15 s


@pytest.fixture(scope="module", autouse=True)
def all_back(local_cluster: LocalCluster) -> Iterator[None]:
    """Put all cards back at the end and wait for them together: each takes half a minute."""
    yield
    workloads = Workloads(local_cluster)
    for node in NODES:
        workloads.hcs("sim", "plug", f"{node}/{INDEX}")
    eventually(
        lambda: (
            not workloads.sql(
                "SELECT FROM unhealthy_devices WHERE device_index = $1 AND node_name = ANY($2)",
                INDEX,
                list(NODES),
            )
        ),
        deadline_s=BACK_S,
    )


@contextlib.contextmanager
def watched(workloads: Workloads, node: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `hcs watch` on a node; it has connected when the first old event is out."""
    command = [str(Path(sys.executable).parent / "hcs"), "watch", "--node", node, "--all"]
    kinds = ["--kind", "fingerprint", "--kind", "fault", "--kind", "isolate", "--output", "json"]
    process = subprocess.Popen(
        [*command, *kinds],
        env={"HCS_HOME": str(workloads.cluster.home.root), "PATH": "/usr/bin:/bin", "HOME": "/"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()  # the node's fingerprint is one of them
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("node", NODES)
def test_a_pulled_card_shows_in_the_stream_the_inventory_sql_and_the_past(
    workloads: Workloads, node: str
) -> None:
    [row] = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = $1 AND device_index = $2", node, INDEX
    )
    device_id = row["device_id"]
    before = datetime.datetime.now(tz=datetime.UTC)
    with watched(workloads, node) as watcher:
        workloads.hcs("sim", "pull", f"{node}/{INDEX}")
        assert watcher.stdout is not None
        told = {}
        while "io.hcs.decision.isolate.v1" not in told:
            event = json.loads(watcher.stdout.readline())
            if event["data"].get("device_id") == device_id and event["data"]["code"] == "lost":
                told[event["type"]] = event["data"]
        assert told["io.hcs.fact.fault.v1"]["code"] == "lost"
        assert told["io.hcs.decision.isolate.v1"]["code"] == "lost"

        eventually(lambda: workloads.health(device_id) == "absent")
        shown = json.loads(workloads.hcs("inventory", "--output", "json"))
        [card] = [card for card in shown if card["device_id"] == device_id]
        assert (card["health"], card["isolation_code"]) == ("absent", "lost")

        [unhealthy] = workloads.sql(
            "SELECT node_name, active_codes FROM unhealthy_devices WHERE device_id = $1", device_id
        )
        assert (unhealthy["node_name"], unhealthy["active_codes"]) == (node, ["lost"])

        [past] = workloads.sql(
            "SELECT health FROM inventory_at($1) WHERE device_id = $2", before, device_id
        )
        assert past["health"] == "healthy"


def test_the_cluster_holds_cards_of_all_five_vendors(workloads: Workloads) -> None:
    rows = workloads.sql("SELECT vendor, count(*) AS devices FROM inventory GROUP BY vendor")
    assert {row["vendor"]: row["devices"] for row in rows} == {
        "nvidia": 18,
        "huawei": 10,
        "hygon": 8,
        "cambricon": 8,
        "mthreads": 8,
    }


@pytest.mark.parametrize("node", NODES)
def test_what_a_card_does_is_sampled_and_shown_in_sql(workloads: Workloads, node: str) -> None:
    workloads.hcs("sim", "temperature", f"{node}/{SAMPLED}", "77")
    try:
        eventually(
            lambda: (
                workloads.sql(
                    "SELECT temperature_celsius FROM device_health "
                    "WHERE node_name = $1 AND device_index = $2",
                    node,
                    SAMPLED,
                )[0]["temperature_celsius"]
                == 77
            ),
            deadline_s=30,
        )
    finally:
        workloads.hcs("sim", "temperature", f"{node}/{SAMPLED}", "35")
