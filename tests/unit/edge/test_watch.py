"""`hcs watch`: which events it asks for, where it begins, and the line that each kind gets."""

import json

import msgspec
import pytest
from click.testing import CliRunner

from hcs_bus.envelope import Message, encode_decision, encode_fact
from hcs_bus.events import DECISION_KINDS, FACT_KINDS, Fault, Tick
from hcs_bus.memory import MemoryBus
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import Record
from hcs_bus.subjects import CLUSTER_NODE, DECISIONS_STREAM, FACTS_STREAM
from hcs_edge.cli.event_lines import line
from hcs_edge.cli.watch import (
    CLOCKS_APART_MAX_NS,
    DULL_KINDS,
    KINDS,
    KINDS_SHOWN,
    Wanted,
    is_since,
    position_before,
    show,
    watch,
)
from tests.support.every_kind import DECISIONS, FACTS
from tests.support.facts import SECOND, START_NS, fault, heartbeat, message

NODE = NodeName("gpu-0.rack1")
LINE_COLUMNS_MAX = 160


def record(sent: Message, seq: int = 1) -> Record:
    """Return a message as it is read."""
    return Record(seq=StreamSeq(seq), subject=sent.subject, payload=sent.payload)


RECORDS = {
    **{kind: record(message(fact, node=NODE)) for kind, fact in FACTS.items()},
    **{
        kind: record(encode_decision(decision, event_id="1", source="/s"))
        for kind, decision in DECISIONS.items()
    },
}


def test_every_kind_can_be_chosen_and_the_dull_ones_are_hidden() -> None:
    assert set(KINDS) == FACT_KINDS.keys() | DECISION_KINDS.keys()
    assert set(KINDS_SHOWN) | set(DULL_KINDS) == set(KINDS)
    assert "samples" in DULL_KINDS and "operator" in KINDS_SHOWN and "taint" in KINDS_SHOWN


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_one_short_line_of_its_own_words(kind: str) -> None:
    shown = line(RECORDS[kind])
    assert f" {kind} " in f"{shown} "
    assert shown.startswith("2025-10-09T08:53:20.000Z  gpu-0.rack1")
    assert len(shown) <= LINE_COLUMNS_MAX and "\n" not in shown
    if kind != "tick":
        assert len(shown.split(kind, 1)[1].split()) >= 2, "it says nothing"


def test_what_matters_of_an_event_is_in_its_line() -> None:
    assert "fatal 79 raised on GPU-0: GPU has fallen off the bus" in line(RECORDS["fault"])
    assert "alice: isolate GPU-0: a fan is replaced" in line(RECORDS["operator"])
    assert "1 cards, busiest 97 %, hottest 71 °C, 2 errors counted" in line(RECORDS["samples"])
    assert "team-a/default: VRAM 640 GiB, TFLOPS 2496" in line(RECORDS["compute_quota"])
    assert "12 of 80 cards isolated" in line(RECORDS["breaker"])


def test_what_somebody_wrote_cannot_move_the_cursor() -> None:
    nasty = msgspec.structs.replace(fault("d0"), detail="\x1b[2J\r\nall is well")
    assert "\N{REPLACEMENT CHARACTER}[2J" in line(record(message(nasty)))
    assert line(record(message(nasty))).isprintable()
    unreadable = Record(seq=StreamSeq(9), subject="hcs.fact.\x1b.x", payload=b"{")
    assert line(unreadable).isprintable() and "unreadable" in line(unreadable)


def test_a_kind_of_a_newer_release_is_told_as_such() -> None:
    newer = RECORDS["tick"].payload.replace(b"fact.tick.v1", b"fact.tock.v1")
    assert "not known to this release" in line(
        Record(seq=StreamSeq(1), subject="hcs.fact.tock.x", payload=newer)
    )


def test_in_json_each_event_is_one_line_and_what_is_none_is_left_out(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    spread = json.dumps(json.loads(RECORDS["fault"].payload), indent=2).encode()
    bad = Record(seq=StreamSeq(2), subject="hcs.fact.fault.x.fatal", payload=b"{\n")
    pretty = Record(seq=StreamSeq(3), subject="hcs.fact.fault.x.fatal", payload=spread)
    show([RECORDS["isolate"], bad, pretty], as_json=True)
    lines = capsysbinary.readouterr().out.splitlines()
    assert lines[0] == RECORDS["isolate"].payload
    assert [json.loads(one)["type"] for one in lines] == [
        "io.hcs.decision.isolate.v1",
        "io.hcs.fact.fault.v1",
    ]


def test_the_subjects_are_those_of_kinds_node_and_severities() -> None:
    wanted = Wanted(kinds=("fault", "samples", "taint"), node=NODE)
    assert wanted.subjects == {
        FACTS_STREAM: ["hcs.fact.fault.gpu-0_rack1.*", "hcs.fact.samples.gpu-0_rack1"],
        DECISIONS_STREAM: ["hcs.decision.taint.gpu-0_rack1"],
    }
    bad = Wanted(kinds=("fault",), severities=("fatal", "degraded"))
    assert bad.subjects == {
        FACTS_STREAM: ["hcs.fact.fault.*.fatal", "hcs.fact.fault.*.degraded"],
        DECISIONS_STREAM: [],
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--all", "--since", "1h"], "--all and --since"),
        (["--severity", "fatal", "--kind", "isolate"], "only faults have one"),
        (["--severity", "bad"], "'bad' is not one of 'info', 'warning', 'degraded', 'fatal'"),
        (["--node", "a.>"], "'a.>' is no node name"),
        (["--since", "yesterday"], "'yesterday' is no time: use "),
        (["--kind", "noise"], "'noise' is not one of"),
    ],
)
def test_what_makes_no_sense_is_wrong_use(arguments: list[str], complaint: str) -> None:
    done = CliRunner().invoke(watch, arguments, terminal_width=200)
    assert done.exit_code == 2
    assert complaint in done.stderr


def test_an_event_is_since_a_moment_by_its_own_time() -> None:
    at = record(message(fault("d0", at_ns=START_NS)))
    assert is_since(at, START_NS) and not is_since(at, START_NS + 1)
    unreadable = Record(seq=StreamSeq(1), subject="s", payload=b"{")
    assert is_since(unreadable, 0) and not is_since(unreadable, 1)


async def log_with_stragglers(bus: MemoryBus) -> dict[int, int]:
    """Publish an hour of ticks, each followed by a fresh fault and an old one; return the times."""
    times: dict[int, int] = {}
    for second in range(0, 3600, 60):
        now_ns = START_NS + second * SECOND
        tick = encode_fact(
            Tick(at_ns=now_ns), node=CLUSTER_NODE, event_id=f"tick/{second}", source="/s"
        )
        late: list[Fault] = [fault("d0", at_ns=now_ns), fault("d1", at_ns=START_NS)]
        await bus.publish_many([tick, *(message(one) for one in late)])
        last = (await bus.stream_state(FACTS_STREAM)).last_seq
        times |= {last - 1: now_ns, last: START_NS}
    return times


async def test_since_begins_late_and_misses_nothing() -> None:
    bus = MemoryBus()
    times = await log_with_stragglers(bus)
    for minute in (0, 5, 31, 59, 70):
        since_ns = START_NS + minute * 60 * SECOND
        position = await position_before(bus, FACTS_STREAM, since_ns)
        wanted = [seq for seq, at_ns in times.items() if at_ns >= since_ns]
        assert all(seq > position for seq in wanted)
        skipped_ns = [at_ns for seq, at_ns in times.items() if seq <= position]
        assert all(at_ns <= since_ns - CLOCKS_APART_MAX_NS for at_ns in skipped_ns)
        assert (position > 0) == (minute > 10)


async def test_since_begins_at_the_first_event_of_a_cut_log_or_one_without_ticks() -> None:
    bus = MemoryBus()
    await bus.publish_many([message(heartbeat(at_ns=START_NS)) for _ in range(9)])
    assert await position_before(bus, FACTS_STREAM, START_NS + 3600 * SECOND) == 0
    await log_with_stragglers(bus)
    await bus.truncate(FACTS_STREAM, before=StreamSeq(50))
    assert await position_before(bus, FACTS_STREAM, START_NS) == 49
    assert await position_before(bus, FACTS_STREAM, 0) == 49
    assert await position_before(bus, DECISIONS_STREAM, START_NS) == 0


async def test_without_a_time_it_begins_with_what_comes() -> None:
    bus = MemoryBus()
    await bus.publish_many([message(heartbeat()) for _ in range(3)])
    assert await position_before(bus, FACTS_STREAM, None) == 3
