"""A fault isolates its card at once, the next Pod goes elsewhere, and the card comes back."""

import asyncio
import base64
import datetime
import json
import subprocess
import sys
from pathlib import Path

from hcs_bus import jetstream
from hcs_bus.envelope import Message
from tests.support.local_cluster import eventually
from tests.support.workloads import Workloads


def test_a_fault_isolates_the_card_and_the_next_pod_lands_elsewhere(workloads: Workloads) -> None:
    device_id = workloads.create_basic()["hcs.io/devices"]
    with workloads.faulty(device_id):
        again = workloads.create_basic()["hcs.io/devices"]
        assert again != device_id
        rows = workloads.sql(
            "SELECT * FROM isolation WHERE device_id = $1 AND released_seq IS NULL", device_id
        )
        assert len(rows) == 1
        assert rows[0]["code"] in rows[0]["evidence"]
    [released] = workloads.sql(
        "SELECT * FROM isolation WHERE device_id = $1 ORDER BY isolated_seq DESC LIMIT 1",
        device_id,
    )
    assert released["released_seq"] > released["isolated_seq"]
    assert list(released["active_codes"]) == []


def test_the_isolation_is_decided_at_the_faults_own_position_in_the_log(
    workloads: Workloads,
) -> None:
    device_id = workloads.sql("SELECT device_id FROM device WHERE vendor = 'nvidia' LIMIT 1")[0][
        "device_id"
    ]
    with watching(workloads) as watcher, workloads.faulty(device_id):
        events = {}
        while "io.hcs.decision.isolate.v1" not in events:
            assert watcher.stdout is not None
            event = json.loads(watcher.stdout.readline())
            events[event["type"]] = event
        fault, isolate = events["io.hcs.fact.fault.v1"], events["io.hcs.decision.isolate.v1"]
        assert fault["data"]["device_id"] == isolate["data"]["device_id"] == device_id
        [row] = workloads.sql(
            "SELECT isolated_seq FROM isolation WHERE device_id = $1 AND released_seq IS NULL",
            device_id,
        )
        # No tick, poll or later event was needed: the fault itself is what it rests on.
        assert isolate["data"]["fact_seqs"] == [row["isolated_seq"]]


def watching(workloads: Workloads) -> "subprocess.Popen[str]":
    """Start `hcs watch`; it has connected when the first old event is out."""
    command = [str(Path(sys.executable).parent / "hcs"), "watch", "--output", "json"]
    kinds = ["--kind", "fault", "--kind", "isolate", "--kind", "tick"]
    process = subprocess.Popen(
        [*command, *kinds],
        env={"HCS_HOME": str(workloads.cluster.home.root), "PATH": "/usr/bin:/bin", "HOME": "/"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # a tick comes every second
    return process


def test_a_card_that_is_pulled_is_absent_and_plugged_in_is_back(workloads: Workloads) -> None:
    device_id = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = 'a800-0' ORDER BY device_index LIMIT 1"
    )[0]["device_id"]
    workloads.hcs("sim", "pull", device_id)
    eventually(lambda: workloads.health(device_id) != "healthy")
    workloads.hcs("sim", "plug", device_id)
    eventually(lambda: workloads.health(device_id) == "healthy", deadline_s=60)


def test_the_inventory_command_shows_what_sql_shows(workloads: Workloads) -> None:
    shown = json.loads(workloads.hcs("inventory", "--output", "json"))
    rows = workloads.sql("SELECT device_id, vram_bytes FROM inventory")
    assert {row["device_id"]: row["vram_bytes"] for row in shown} == {
        row["device_id"]: row["vram_bytes"] for row in rows
    }
    assert len(rows) == 52


def test_an_unknown_card_is_refused_naming_what_exists(workloads: Workloads) -> None:
    done = workloads.try_hcs("sim", "fault", "a100-0/99")
    assert done.returncode == 2
    assert "a100-0" in done.stderr


def test_the_inventory_of_a_moment_ago_shows_the_card_as_it_was(workloads: Workloads) -> None:
    [row] = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = 'a800-0' AND device_index = 2"
    )
    device_id = row["device_id"]
    with workloads.faulty(device_id):
        [isolation] = workloads.sql(
            "SELECT to_timestamp(isolated_at_ns / 1e9) AS at FROM isolation "
            "WHERE device_id = $1 AND released_seq IS NULL",
            device_id,
        )
        asked = isolation["at"] - datetime.timedelta(seconds=1)
        shown = workloads.hcs("inventory", "--output", "json", "--at", f"{asked:%Y-%m-%dT%H:%M:%S}")
        health = {card["device_id"]: card["health"] for card in json.loads(shown)}
        assert health[device_id] == "healthy"
        assert workloads.health(device_id) == "isolated"


def test_a_malformed_message_is_parked_shown_and_holds_nothing_up(workloads: Workloads) -> None:
    async def publish() -> None:
        bus = await jetstream.connect(workloads.cluster.nats_url("control"), name="test")
        sent = Message(subject="hcs.fact.fault.a100-0.fatal", id="malformed", payload=b"{nonsense")
        assert await bus.publish_many([sent]) != [None]
        await bus.close()

    asyncio.run(publish())
    eventually(lambda: "nonsense" in parked_payloads(workloads))
    assert "hcs.fact.fault.a100-0.fatal" in workloads.hcs("psql", "-c", "TABLE parked_event")
    [row] = workloads.sql(
        "SELECT device_id FROM device WHERE node_name = 'a100-0' AND device_index = 1"
    )
    with workloads.faulty(row["device_id"]):
        pass  # the next fault is isolated and released as ever


def parked_payloads(workloads: Workloads) -> str:
    """Return what `hcs parked` shows of the messages themselves."""
    rows = json.loads(workloads.hcs("parked", "--output", "json"))
    return " ".join(base64.b64decode(row["payload"]).decode() for row in rows)
