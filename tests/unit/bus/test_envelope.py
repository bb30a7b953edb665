"""CloudEvents on the wire: a golden file per kind and version; anything else is refused."""

from pathlib import Path

import msgspec
import pytest

from hcs_bus.envelope import (
    decode_decision,
    decode_envelope,
    decode_fact,
    encode_decision,
    encode_fact,
    open_fact,
    rfc3339,
)
from hcs_bus.errors import PoisonEventError, UnknownKindError
from hcs_bus.events import (
    DECISION_KINDS,
    FACT_KINDS,
    Allocation,
    AllocationState,
    Fact,
    Fault,
    Operator,
    OperatorVerb,
    Pod,
    PodPhase,
)
from hcs_bus.names import DeviceId, NodeName, PodUid, Severity
from hcs_bus.subjects import node_token, parse_subject
from tests.support.every_kind import DECISIONS, FACTS, NODE
from tests.support.facts import START_NS, device, fault, fingerprint, heartbeat, message

GOLDEN = Path(__file__).parents[2] / "golden" / "events"
FIRST = GOLDEN.with_name("events_first")  # what agents of the first release sent


def test_every_kind_has_a_golden_file() -> None:
    assert FACTS.keys() == FACT_KINDS.keys()
    assert DECISIONS.keys() == DECISION_KINDS.keys()
    names = {path.name for path in GOLDEN.iterdir()}
    assert names == {f"{kind}.v1.json" for kind in (*FACTS, *DECISIONS)}


@pytest.mark.parametrize("kind", FACTS)
def test_a_fact_is_written_and_read_as_its_golden_file(kind: str) -> None:
    sent = encode_fact(FACTS[kind], node=NODE, event_id="gpu-0/b00t/7", source="/hcs/agent/gpu-0")
    golden = (GOLDEN / f"{kind}.v1.json").read_bytes().rstrip(b"\n")
    assert sent.payload == golden
    assert decode_fact(decode_envelope(golden)) == FACTS[kind]


@pytest.mark.parametrize("kind", DECISIONS)
def test_a_decision_is_written_and_read_as_its_golden_file(kind: str) -> None:
    sent = encode_decision(DECISIONS[kind], event_id=f"projector/{kind}/GPU-0/7", source="/hcs/p")
    golden = (GOLDEN / f"{kind}.v1.json").read_bytes().rstrip(b"\n")
    assert sent.payload == golden
    assert decode_decision(decode_envelope(golden)) == DECISIONS[kind]


@pytest.mark.parametrize("path", sorted(FIRST.iterdir()), ids=lambda path: path.name)
def test_what_the_first_release_sent_is_still_understood(path: Path) -> None:
    envelope = decode_envelope(path.read_bytes())
    fact = envelope.type.startswith("io.hcs.fact.")
    event = decode_fact(envelope) if fact else decode_decision(envelope)
    assert (FACTS | DECISIONS)[path.name.partition(".")[0]].at_ns == event.at_ns


def test_a_newer_kind_is_unknown_not_poison() -> None:
    raw = message(heartbeat()).payload.replace(b"io.hcs.fact.heartbeat.v1", b"io.hcs.fact.pulse.v1")
    with pytest.raises(UnknownKindError, match="pulse"):
        decode_fact(decode_envelope(raw))
    newer = message(heartbeat()).payload.replace(b"heartbeat.v1", b"heartbeat.v2")
    with pytest.raises(UnknownKindError):
        decode_fact(decode_envelope(newer))


def test_a_field_of_a_newer_release_is_ignored() -> None:
    raw = message(heartbeat()).payload.replace(b'"interval_s"', b'"mood":"good","interval_s"')
    assert decode_fact(decode_envelope(raw)) == heartbeat()


@pytest.mark.parametrize(
    "payload",
    [
        message(heartbeat()).payload.replace(b"b", b"\\u0000", 1),
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"specversion":"0.3"}',
        b"\xff\xfe",
        b"{}" * 3,
    ],
)
def test_what_is_no_cloudevent_is_poison(payload: bytes) -> None:
    with pytest.raises(PoisonEventError):
        decode_envelope(payload)


@pytest.mark.parametrize("backslashes", range(1, 7))
def test_a_nul_has_an_odd_number_of_backslashes(backslashes: int) -> None:
    text = b"C:" + b"\\" * backslashes + b"u0000"
    raw = message(fault("d0")).payload.replace(b'"detail":""', b'"detail":"%s"' % text)
    if backslashes % 2:
        with pytest.raises(PoisonEventError, match="NUL"):
            decode_envelope(raw)
    else:
        fact = decode_fact(decode_envelope(raw))
        assert isinstance(fact, Fault)
        assert fact.detail == "C:" + "\\" * (backslashes // 2) + "u0000"


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        (b'"vram_bytes":', b'"vram_bytes":-'),
        (b'"vram_bytes":85899345920', b'"vram_bytes":"80 GB"'),
        (b'"vendor":"nvidia"', b'"vendor":"acme"'),
        (b'"vram_bytes":85899345920', b'"vram_bytes":9223372036854775808'),
        (b'"index":0', b'"index":2147483648'),
        (b'"numa_node":0', b'"numa_node":-2'),
        (b'"device_id":"d0"', b'"device_id":""'),
        (b'"device_id":"d0"', b'"device_id":"' + b"d" * 129 + b'"'),
        (b'"A100 SXM4 80GB"', b'"' + b"m" * 254 + b'"'),
        (b'"0000:00:00.0"', b'"' + b"p" * 254 + b'"'),
        (b'"570.124.06"', b'"' + b"v" * 254 + b'"'),
        (b'"agent_version":"0.1.0"', b'"agent_version":"' + b"v" * 254 + b'"'),
    ],
)
def test_a_payload_with_a_wrong_value_is_poison(found: bytes, changed: bytes) -> None:
    raw = message(fingerprint(device("d0"))).payload
    assert found in raw
    with pytest.raises(PoisonEventError, match="fingerprint"):
        decode_fact(decode_envelope(raw.replace(found, changed)))


def test_time_keeps_its_nanoseconds() -> None:
    assert rfc3339(1_760_000_000_000_000_001) == "2025-10-09T08:53:20.000000001Z"


def test_a_node_name_survives_its_subject() -> None:
    sent = message(fault("d0"), node=NODE)
    assert sent.subject == "hcs.fact.fault.gpu-0_rack1.fatal"
    assert parse_subject(sent.subject).node == NODE
    assert node_token(NODE) == "gpu-0_rack1"


@pytest.mark.parametrize(
    "subject", ["", "hcs.fact", "hcs.rumour.fault.a", "x.fact.fault.a", "a.b.c.d"]
)
def test_a_foreign_subject_is_poison(subject: str) -> None:
    with pytest.raises(PoisonEventError):
        parse_subject(subject)


def test_payloads_are_plain_json_for_any_language() -> None:
    data = msgspec.json.decode(message(fault("d0")).payload)
    assert data["specversion"] == "1.0"
    assert data["data"]["severity"] == "fatal"


# --- What is published under a subject ------------------------------------------------------------


@pytest.mark.parametrize("kind", FACTS)
def test_every_kind_of_fact_is_believed_under_its_own_subject(kind: str) -> None:
    sent = encode_fact(FACTS[kind], node=NODE, event_id="gpu-0/b00t/7", source="/hcs/agent/gpu-0")
    assert decode_fact(open_fact(sent.subject, sent.payload)) == FACTS[kind]


@pytest.mark.parametrize("kind", FACTS)
def test_no_kind_of_fact_is_believed_under_a_subject_of_another(kind: str) -> None:
    sent = encode_fact(FACTS[kind], node=NODE, event_id="gpu-0/b00t/7", source="/hcs/agent/gpu-0")
    for other in FACT_KINDS.keys() - {kind}:
        subject = f"hcs.fact.{other}.{node_token(NODE)}"
        payload = sent.payload.replace(sent.subject.encode(), subject.encode())
        with pytest.raises(PoisonEventError, match=f"under the subject of '{other}'"):
            open_fact(subject, payload)


@pytest.mark.parametrize(
    ("subject", "written", "reason"),
    [
        ("hcs.fact.heartbeat.gpu-1", "hcs.fact.heartbeat.gpu-1", "under the subject of 'gpu-1'"),
        ("hcs.fact.heartbeat.gpu-0_rack1", "hcs.fact.heartbeat.gpu-0", "an event whose subject is"),
        ("hcs.fact.heartbeat.gpu-0_rack1.x", None, "an event whose subject is"),
        ("hcs.fact.heartbeat", None, "is not hcs"),
        ("hcs.decision.heartbeat.gpu-0_rack1", None, "type 'io.hcs.fact.heartbeat.v1'"),
        ("", None, "is not hcs"),
    ],
)
def test_a_heartbeat_is_not_believed_elsewhere(
    subject: str, written: str | None, reason: str
) -> None:
    sent = message(heartbeat(), node=NODE)
    payload = sent.payload.replace(
        f'"subject":"{sent.subject}"'.encode(), f'"subject":"{written or subject}"'.encode()
    )
    with pytest.raises(PoisonEventError, match=reason):
        open_fact(subject, payload)


def test_a_node_whose_name_is_the_token_of_another_is_not_that_node() -> None:
    sent = message(heartbeat(), node=NodeName("gpu-0_rack1"))
    assert sent.subject == "hcs.fact.heartbeat.gpu-0_rack1"
    with pytest.raises(PoisonEventError, match="under the subject of 'gpu-0.rack1'"):
        open_fact(sent.subject, sent.payload)


def test_a_newer_version_under_the_subject_of_its_kind_is_unknown_not_poison() -> None:
    sent = message(heartbeat(), node=NODE)
    envelope = open_fact(sent.subject, sent.payload.replace(b"heartbeat.v1", b"heartbeat.v2"))
    with pytest.raises(UnknownKindError, match=r"heartbeat\.v2"):
        decode_fact(envelope)


@pytest.mark.parametrize("tail", ["", ".warning", ".fatal.fatal", ".dire"])
def test_a_fault_is_believed_under_its_severity_alone(tail: str) -> None:
    sent = message(fault("d0"), node=NODE)  # fatal
    subject = sent.subject.removesuffix(f".{Severity.FATAL}") + tail
    payload = sent.payload.replace(sent.subject.encode(), subject.encode())
    with pytest.raises(PoisonEventError, match="severity fatal under|is not hcs"):
        decode_fact(open_fact(subject, payload))


@pytest.mark.parametrize(
    "fact",
    [
        Operator(
            at_ns=START_NS,
            verb=OperatorVerb.RELEASE,
            node=NodeName("gpu-1"),
            device_id=DeviceId("e0"),
            who="nobody",
            why="to be believed",
        ),
        Allocation(
            at_ns=START_NS,
            pod_uid=PodUid("ghost"),
            namespace="default",
            pod_name="ghost",
            node=NodeName("gpu-1"),
            state=AllocationState.BOUND,
        ),
        Pod(
            at_ns=START_NS,
            pod_uid=PodUid("ghost"),
            namespace="default",
            pod_name="ghost",
            node=NodeName("gpu-1"),
            phase=PodPhase.BOUND,
        ),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_a_fact_about_another_node_than_its_subject_says_is_poison(fact: Fact) -> None:
    sent = message(fact, node=NODE)
    with pytest.raises(PoisonEventError, match=r"speaks of node 'gpu-1', its envelope of 'gpu-0\."):
        decode_fact(open_fact(sent.subject, sent.payload))
