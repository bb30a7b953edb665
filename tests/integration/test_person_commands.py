"""What people say and see: isolate, release, policy, top, inventory and watch on real servers."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hcs_bus.envelope import decode_envelope
from hcs_bus.events import AllocationState, DeviceSample, Operator, OperatorVerb, Samples
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, NodeName, Vendor
from hcs_bus.port import PublishAck
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.policy import DEFAULT_POLICY_PATH
from hcs_edge.cli.runtime import CommandFailedError
from hcs_edge.cli.word import say
from tests.integration.test_projector import start_projector
from tests.support.backend import Backend
from tests.support.commands import HCS, hcs
from tests.support.facts import (
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    message,
    quota,
)

MIXED = NodeName("mixed-0")
SAMPLED = Samples(
    at_ns=START_NS,
    interval_s=10,
    devices=(
        DeviceSample(device_id=DeviceId("d0"), utilization_percent=97, temperature_celsius=71.6),
    ),
)


@pytest.fixture
async def projector(
    backend: Backend, bus: JetStreamBus, database_url: str
) -> "AsyncIterator[subprocess.Popen[bytes]]":
    """Run a projector over a node with two cards and one with two vendors."""
    await bus.publish_many(
        [
            message(fingerprint(device("d0"), device("d1", index=1))),
            message(
                fingerprint(device("m0"), device("m1", vendor=Vendor.HUAWEI, model="Ascend 910B3")),
                node=MIXED,
            ),
            message(SAMPLED),
        ]
    )
    process = start_projector(backend, database_url)
    yield process
    process.terminate()
    process.wait()


@dataclass(frozen=True)
class People:
    """Who runs commands on these servers."""

    backend: Backend
    database_url: str

    async def hcs(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return await hcs(self.backend, self.database_url, *arguments)

    async def cards(self) -> dict[str, dict[str, Any]]:
        """Return the inventory by device."""
        done = await self.hcs("inventory", "--output", "json")
        assert done.returncode == 0, done.stderr
        return {card["device_id"]: card for card in json.loads(done.stdout)}

    def nats_url(self, user: str) -> str:
        """Return the URL of a user of the bus."""
        password, port = self.backend.passwords[user], self.backend.ports["nats"]
        return f"nats://{user}:{password}@127.0.0.1:{port}"


@pytest.fixture
async def people(
    projector: "subprocess.Popen[bytes]", backend: Backend, database_url: str
) -> People:
    """Wait until what is published is folded."""
    made = People(backend, database_url)
    async with asyncio.timeout(30):
        while len(await made.cards()) < 4:
            assert projector.poll() is None
            await asyncio.sleep(0.05)
    return made


async def test_a_person_isolates_a_card_and_releases_it(people: People) -> None:
    isolated = await people.hcs("isolate", "gpu-0/1", "--why", "a fan is replaced", "--who", "ann")
    assert isolated.returncode == 0, isolated.stderr
    assert isolated.stdout == "gpu-0/1 d1: isolated (operator): ann: a fan is replaced\n"
    health = {name: card["health"] for name, card in (await people.cards()).items()}
    assert health == {"d0": "healthy", "d1": "isolated", "m0": "healthy", "m1": "healthy"}
    released = await people.hcs("release", "d1", "--why", "it is new", "--output", "json")
    assert released.returncode == 0, released.stderr
    outcome = json.loads(released.stdout)
    assert (outcome["verb"], outcome["node"], outcome["device_id"]) == ("release", "gpu-0", "d1")
    assert [card["health"] for card in outcome["cards"]] == ["healthy"]


async def test_a_node_means_all_of_its_cards(people: People, bus: JetStreamBus) -> None:
    done = await people.hcs("isolate", "mixed-0", "--why", "moved", "--output", "json")
    outcome = json.loads(done.stdout)
    assert outcome["device_id"] is None
    assert [(card["device_id"], card["health"]) for card in outcome["cards"]] == [
        ("m1", "isolated"),
        ("m0", "isolated"),
    ]
    follower = await bus.follow(FACTS_STREAM, after=outcome["position"] - 1)
    [record, *_] = await follower.fetch(limit=1, timeout_s=5)
    await follower.close()
    envelope = decode_envelope(record.payload)
    assert envelope.source == "/hcs/operator" and envelope.id.startswith("operator/")
    assert record.subject == "hcs.fact.operator.mixed-0"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("mixed-0/0", "more than one card: m1 (huawei), m0 (nvidia); use the id"),
        ("gpu-0/7", "no card or node 'gpu-0/7'; nodes are gpu-0, mixed-0"),
    ],
)
async def test_what_is_not_one_card_is_wrong_use(
    target: str,
    complaint: str,
    people: People,
    bus: JetStreamBus,
) -> None:
    done = await people.hcs("isolate", target, "--why", "w")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert await bus.last_seq(FACTS_STREAM, "hcs.fact.operator.>") == 0


async def test_an_empty_reason_is_refused_before_it_is_said(
    people: People, bus: JetStreamBus
) -> None:
    done = await people.hcs("isolate", "d0", "--why", "")
    assert done.returncode == 2
    assert "`$.why`" in done.stderr
    assert await bus.last_seq(FACTS_STREAM, "hcs.fact.operator.>") == 0


async def test_without_a_projector_the_word_is_said_and_waits(
    people: People, projector: "subprocess.Popen[bytes]", bus: JetStreamBus
) -> None:
    projector.terminate()
    projector.wait()
    done = await people.hcs("isolate", "d0", "--why", "w", "--wait-s", "0.2")
    assert done.returncode == 1
    assert "does the projector run? It counts as soon as it is folded" in done.stderr
    assert await bus.last_seq(FACTS_STREAM, "hcs.fact.operator.>") > 0


async def test_a_card_that_moved_meanwhile_is_parked_and_said_so(people: People) -> None:
    fact = Operator(
        at_ns=START_NS,
        verb=OperatorVerb.ISOLATE,
        node=MIXED,
        device_id=DeviceId("d0"),
        who="ann",
        why="w",
    )
    with pytest.raises(CommandFailedError, match=r"refused at position \d+ .*not on node mixed-0"):
        await say(
            fact,
            node=MIXED,
            nats_url=people.backend.nats_url,
            database_url=people.database_url,
            wait_s=20,
        )


async def test_a_user_that_may_only_read_says_nothing(people: People) -> None:
    reader = people.nats_url("reader")
    done = await people.hcs("isolate", "d0", "--why", "w", "--nats-url", reader)
    assert done.returncode == 1
    assert done.stderr.startswith("hcs: ") or '"level": "warning"' in done.stderr
    assert "hcs.fact.operator.gpu-0" in done.stderr


async def test_the_operator_may_say_all_that_these_commands_say(
    people: People, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "site-1"\nrule = []\n')
    operator = people.nats_url("operator")
    for words in (("isolate", "d0"), ("release", "d0"), ("policy", "apply", str(rules))):
        done = await people.hcs(*words, "--why", "w", "--nats-url", operator)
        assert done.returncode == 0, done.stderr


async def test_a_policy_is_checked_applied_shown_and_remembered(
    people: People, bus: JetStreamBus, tmp_path: Path
) -> None:
    shipped = await people.hcs("policy", "show")
    assert shipped.stdout.split("\n", 1)[1] == DEFAULT_POLICY_PATH.read_text()
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "site-1"\nrule = []\n')
    checked = await people.hcs("policy", "check", str(rules))
    assert checked.returncode == 0 and "'site-1' is well-formed" in checked.stdout
    applied = await people.hcs("policy", "apply", str(rules), "--why", "quiet", "--who", "ann")
    assert applied.returncode == 0, applied.stderr
    assert re.fullmatch(r"policy 'site-1' is in force from position \d+ on\n", applied.stdout)
    # It is in force: what isolated before does not now.
    [ack] = await bus.publish_many([message(fault("d0"))])
    assert isinstance(ack, PublishAck)
    shown = await people.hcs("policy", "show")
    assert shown.stdout.startswith("# In force since ") and "by ann: quiet" in shown.stdout
    assert shown.stdout.endswith(rules.read_text())
    again = tmp_path / "again.toml"
    again.write_text(shown.stdout)
    assert (await people.hcs("policy", "check", str(again))).returncode == 0
    history = await people.hcs("policy", "history", "--output", "json")
    [row] = json.loads(history.stdout)
    assert (row["policy_version"], row["who"], row["why"]) == ("site-1", "ann", "quiet")
    done = await people.hcs("isolate", "d1", "--why", "wait for the fault too")
    assert done.returncode == 0, done.stderr
    health = {name: card["health"] for name, card in (await people.cards()).items()}
    assert health["d0"] == "healthy"


async def test_a_file_that_is_no_policy_is_not_published(
    people: People, bus: JetStreamBus, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "1"\n[[rule]]\nname = "a"\n')
    for words in (("check", str(rules)), ("apply", str(rules), "--why", "w")):
        done = await people.hcs("policy", *words)
        assert done.returncode == 2
        assert f"hcs: policy {rules}: " in done.stderr
        assert "missing required field `vendor` - at `$.rule[0]`" in done.stderr
    assert await bus.last_seq(FACTS_STREAM, "hcs.fact.policy.>") == 0


async def test_top_shows_each_container_beside_its_quota(people: People, bus: JetStreamBus) -> None:
    used = msgspec.structs.replace(quota("d0", used_gib=3, launches=86_400), refusals=2)
    await bus.publish_many(
        [message(allocation(AllocationState.RESERVED, ("d0", 16, 100))), message(used)]
    )
    # A word is folded behind what was published before it.
    assert (await people.hcs("release", "d0", "--why", "w")).returncode == 0
    done = await people.hcs("top", "--output", "json")
    [row] = json.loads(done.stdout)
    assert (row["namespace"], row["pod_name"], row["container"]) == ("default", "pod-1", "main")
    assert (row["node_name"], row["device_index"], row["device_id"]) == ("gpu-0", 0, "d0")
    assert (row["used_bytes"], row["quota_bytes"], row["refusals"]) == (3 << 30, 16 << 30, 2)
    assert row["launches"] == 86_400
    shown = await people.hcs("top")
    [line] = [line for line in shown.stdout.splitlines() if "pod-1" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == [
        "gpu-0",
        "0",
        "A100 SXM4 80GB",
        "default",
        "pod-1",
        "main",
        "3",
        "16",
        "3",
        "2",
        "86400",
    ]


async def test_the_inventory_shows_how_cards_are(people: People) -> None:
    await people.hcs("release", "d0", "--why", "the sample is folded then")
    found = await people.cards()
    assert found["d0"]["temperature_celsius"] == 71.6
    assert found["d0"]["utilization_percent"] == 97
    assert found["d1"]["temperature_celsius"] is None
    shown = await people.hcs("inventory")
    [line] = [line for line in shown.stdout.splitlines() if "gpu-0" in line and "97 %" in line]
    assert "72" in line
    assert max(map(len, shown.stdout.splitlines())) < 120


async def test_watch_replays_what_happened_since_and_goes_on(
    people: People, bus: JetStreamBus
) -> None:
    early = fault("d0", at_ns=START_NS)
    late = fault("d1", "48", at_ns=START_NS + 3600 * SECOND)
    await bus.publish_many([message(early), message(late)])
    since = "2025-10-09T09:00:00"  # between the two
    process = await asyncio.create_subprocess_exec(
        *(str(HCS), "watch", "--nats-url", people.backend.nats_url),
        *("--since", since, "--kind", "fault", "--output", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = json.loads(await process.stdout.readline())
            await bus.publish_many([message(msgspec.structs.replace(late, code="95"))])
            second = json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()
    assert first["data"]["code"] == "48" and second["data"]["code"] == "95"
    assert first["specversion"] == "1.0"


async def test_watch_says_in_a_line_that_there_are_no_streams(backend: Backend) -> None:
    done = await hcs(backend, "postgresql://hcs:x@127.0.0.1:1/x", "watch")
    assert done.returncode == 1
    assert done.stderr.startswith("hcs: ") and "Traceback" not in done.stderr
