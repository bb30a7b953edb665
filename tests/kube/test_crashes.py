"""`kill -9` on each part under work, then a restart: nothing lost, nothing given out twice."""

import json

import pytest

from tests.support.local_cluster import eventually
from tests.support.workloads import Workloads, pod

GIB = 1024**3


def storm(workloads: Workloads, prefix: str, count: int) -> None:
    """Create Pods at once."""
    items = [pod(f"{prefix}-{n}", vram="8Gi") for n in range(count)]
    workloads.cluster.kubectl(
        "create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def bound_count(workloads: Workloads) -> int:
    """Return how many grants are bound, in SQL."""
    return len(workloads.sql("SELECT 1 FROM allocation WHERE state = 'bound'"))


def assert_ledger_equals_pods(workloads: Workloads) -> None:
    """Compare what SQL says is given out with what the Pods' annotations say."""
    listed = json.loads(workloads.cluster.kubectl("get", "pods", "--output=json"))["items"]
    in_pods = {
        (item["metadata"]["uid"], device): int(quota)
        for item in listed
        for device, quota in zip(
            item["metadata"]["annotations"]["hcs.io/devices"].split(","),
            item["metadata"]["annotations"]["hcs.io/vram-quota"].split(","),
            strict=True,
        )
    }
    rows = workloads.sql("SELECT * FROM allocation WHERE state <> 'released'")
    assert {(row["pod_uid"], row["device_id"]): row["vram_bytes"] for row in rows} == in_pods
    over = workloads.sql(
        "SELECT device_id FROM device d WHERE vram_allocated_bytes <> coalesce((SELECT "
        "sum(vram_bytes) FROM allocation a WHERE a.device_id = d.device_id AND a.state <> "
        "'released'), 0)"
    )
    assert over == []


@pytest.mark.parametrize("victim", ["extender", "projector", "nats", "postgres", "webhook"])
def test_a_part_killed_while_pods_are_placed(workloads: Workloads, victim: str) -> None:
    storm(workloads, "before", 10)
    workloads.cluster.kill(victim)
    workloads.cluster.restart(victim)
    if victim != "webhook":  # without it, Pods are refused, as they should be
        storm(workloads, "after", 10)
    expected = 10 if victim == "webhook" else 20
    eventually(lambda: bound_count(workloads) == expected, deadline_s=90)
    assert_ledger_equals_pods(workloads)
    assert workloads.sql("SELECT * FROM parked_event WHERE subject LIKE '%allocation%'") == []


def test_a_fault_raised_while_the_agent_is_dead_is_reported_by_its_successor(
    workloads: Workloads,
) -> None:
    [row] = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = 'ascend-0' AND device_index = 5"
    )
    device_id = row["device_id"]
    workloads.cluster.kill("agent-ascend-0")
    workloads.hcs("sim", "fault", device_id)
    workloads.cluster.restart("agent-ascend-0")
    eventually(lambda: workloads.health(device_id) == "isolated")
    workloads.hcs("sim", "clear", device_id)
    eventually(lambda: workloads.health(device_id) == "healthy", deadline_s=60)


def test_a_fault_raised_while_the_bus_is_dead_arrives_when_it_is_back(
    workloads: Workloads,
) -> None:
    [row] = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = 'a100-0' AND device_index = 5"
    )
    device_id = row["device_id"]
    workloads.cluster.kill("nats")
    workloads.hcs("sim", "fault", device_id)
    workloads.cluster.restart("nats")
    eventually(lambda: workloads.health(device_id) == "isolated", deadline_s=60)
    rows = workloads.sql(
        "SELECT 1 FROM isolation WHERE device_id = $1 AND released_seq IS NULL", device_id
    )
    assert len(rows) == 1
    workloads.hcs("sim", "clear", device_id)
    eventually(lambda: workloads.health(device_id) == "healthy", deadline_s=60)


def test_after_all_of_this_the_log_folds_to_the_very_tables(workloads: Workloads) -> None:
    verdict = json.loads(workloads.hcs("replay", "--verify", "--output", "json"))
    assert verdict["differing"] == 0, verdict["examples"]
    assert verdict["compared"] > 100
