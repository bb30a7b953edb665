"""CloudEvents 1.0, structured JSON: how an event looks to any subscriber in any language.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
`hcsnode` is our extension attribute. `data` stays raw until the kind is known, so an envelope of a
newer kind can still be read, counted and skipped.
"""

import datetime
import re
from typing import Annotated, Literal, TypeVar

import msgspec

from hcs_bus.errors import PoisonEventError, UnknownKindError
from hcs_bus.events import (
    DECISION_KINDS,
    FACT_KINDS,
    Allocation,
    Decision,
    Fact,
    Fault,
    Operator,
    Pod,
)
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName
from hcs_bus.subjects import decision_subject, fact_subject, node_token, parse_subject

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "io.hcs."
TYPE_VERSION = ".v1"
BACKSLASH = b"\\"
NUL = b"\\u0000"  # JSON's way to write it; PostgreSQL's text cannot hold it
# Behind an odd number of backslashes "u0000" is a NUL; behind an even number it is these letters.
WRITTEN_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The CloudEvents attributes; `data` is the payload's JSON."""

    specversion: Literal["1.0"] = "1.0"
    # <source token>/<incarnation>/<n>: given once, kept through spool and resends.
    id: Annotated[str, msgspec.Meta(max_length=512)]
    source: str
    type: str  # io.hcs.<fact|decision>.<kind>.v<n>
    subject: str  # the bus subject
    time: str  # RFC 3339, UTC, nanoseconds
    hcsnode: Annotated[NodeName, msgspec.Meta(min_length=1, max_length=253)]
    datacontenttype: str = "application/json"
    data: msgspec.Raw


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the wire: where to, under which id (for de-duplication), and the bytes."""

    subject: str
    id: str
    payload: bytes


T = TypeVar("T")

ENCODER = msgspec.json.Encoder()
ENVELOPE_DECODER = msgspec.json.Decoder(Envelope)
FACT_DECODERS = {
    f"{TYPE_PREFIX}fact.{kind}{TYPE_VERSION}": msgspec.json.Decoder(struct)
    for kind, struct in FACT_KINDS.items()
}
DECISION_DECODERS = {
    f"{TYPE_PREFIX}decision.{kind}{TYPE_VERSION}": msgspec.json.Decoder(struct)
    for kind, struct in DECISION_KINDS.items()
}
KIND_OF_FACT = {struct: kind for kind, struct in FACT_KINDS.items()}
KIND_OF_DECISION = {struct: kind for kind, struct in DECISION_KINDS.items()}
# What stands before the node in the subject of each type. A fault's subject goes on behind it.
SUBJECT_HEADS = {
    f"{TYPE_PREFIX}fact.{kind}{TYPE_VERSION}": fact_subject(kind, NodeName(""))
    for kind, struct in FACT_KINDS.items()
    if struct is not Fault
}
# Facts that say themselves what a part of their subject says. A look-up is cheaper than isinstance.
TELL_THEIR_SUBJECT = {Fault, Allocation, Operator, Pod}


def rfc3339(at_ns: int) -> str:
    """Return nanoseconds since the epoch as RFC 3339 in UTC, nothing rounded."""
    seconds, nanoseconds = divmod(at_ns, NANOSECONDS_PER_SECOND)
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def encode_fact(fact: Fact, *, node: NodeName, event_id: str, source: str) -> Message:
    """Wrap a fact; its subject follows from its kind, node and severity."""
    kind = KIND_OF_FACT[type(fact)]
    severity = fact.severity if isinstance(fact, Fault) else None
    subject = fact_subject(kind, node, severity)
    return _message(f"fact.{kind}", subject, fact, node=node, event_id=event_id, source=source)


def encode_decision(decision: Decision, *, event_id: str, source: str) -> Message:
    """Wrap a decision."""
    kind = KIND_OF_DECISION[type(decision)]
    subject = decision_subject(kind, decision.node)
    return _message(
        f"decision.{kind}", subject, decision, node=decision.node, event_id=event_id, source=source
    )


def _message(
    word: str, subject: str, event: Fact | Decision, *, node: NodeName, event_id: str, source: str
) -> Message:
    envelope = Envelope(
        id=event_id,
        source=source,
        type=f"{TYPE_PREFIX}{word}{TYPE_VERSION}",
        subject=subject,
        time=rfc3339(event.at_ns),
        hcsnode=node,
        data=msgspec.Raw(ENCODER.encode(event)),
    )
    return Message(subject=subject, id=event_id, payload=ENCODER.encode(envelope))


def decode_envelope(payload: bytes) -> Envelope:
    """Read the envelope alone.

    Raises:
        PoisonEventError: not a CloudEvent of ours.
    """
    # One byte is found ten times faster than a word, and few events hold a backslash.
    if BACKSLASH in payload and NUL in payload and WRITTEN_NUL.search(payload):
        raise PoisonEventError("envelope: holds a NUL character, which no text of ours does")
    try:
        return ENVELOPE_DECODER.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise PoisonEventError(f"envelope: {error}") from error


def open_fact(subject: str, payload: bytes) -> Envelope:
    """Read the envelope of a fact that was published under `subject`.

    The bus checks who may publish under which subject, and nothing else. So the envelope's type,
    node and subject must be the subject's own, or whoever may say one thing could say anything.

    Raises:
        PoisonEventError: not a CloudEvent of ours, or one under a subject that is not its own.
    """
    envelope = decode_envelope(payload)
    own = SUBJECT_HEADS.get(envelope.type, "") + node_token(envelope.hcsnode)
    if not subject == envelope.subject == own or "_" in envelope.hcsnode:
        # Forged; or a fault, or of a kind that this release does not know.
        _refuse_forged(envelope, subject)
    return envelope


def _refuse_forged(envelope: Envelope, subject: str) -> None:
    parsed = parse_subject(subject)
    if envelope.hcsnode != parsed.node:
        raise PoisonEventError(
            f"hcsnode {envelope.hcsnode!r} was published under the subject of {parsed.node!r}"
        )
    if not envelope.type.startswith(f"{TYPE_PREFIX}{parsed.stream_word}.{parsed.kind}.v"):
        raise PoisonEventError(
            f"type {envelope.type!r} was published under the subject of {parsed.kind!r}"
        )
    if envelope.subject != subject or envelope.type in SUBJECT_HEADS:
        raise PoisonEventError(
            f"an event whose subject is {envelope.subject!r} was published under {subject!r}"
        )


def decode_fact(envelope: Envelope) -> Fact:
    """Read a fact's payload.

    Raises:
        UnknownKindError: a kind or version this release does not know.
        PoisonEventError: the payload does not fit its kind, or not its envelope.
    """
    fact = _decode(envelope, FACT_DECODERS)
    if type(fact) in TELL_THEIR_SUBJECT:
        _refuse_contradiction(envelope, fact)
    return fact


def _refuse_contradiction(envelope: Envelope, fact: Fact) -> None:
    match fact:
        case Fault(severity=severity):
            if envelope.subject != fact_subject("fault", envelope.hcsnode, severity):
                raise PoisonEventError(
                    f"{envelope.type}: severity {severity} under {envelope.subject!r}"
                )
        case Allocation(node=node) | Operator(node=node) | Pod(node=node):
            if node != envelope.hcsnode:
                raise PoisonEventError(
                    f"{envelope.type}: speaks of node {node!r}, its envelope of "
                    f"{envelope.hcsnode!r}"
                )


def decode_decision(envelope: Envelope) -> Decision:
    """Read a decision's payload; raises as `decode_fact` does."""
    return _decode(envelope, DECISION_DECODERS)


def _decode(envelope: Envelope, decoders: dict[str, msgspec.json.Decoder[T]]) -> T:
    decoder = decoders.get(envelope.type)
    if decoder is None:
        raise UnknownKindError(f"type {envelope.type!r} is not known to this release")
    try:
        return decoder.decode(envelope.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise PoisonEventError(f"{envelope.type}: {error}") from error
