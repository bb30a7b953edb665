"""Where an event goes: `hcs.fact.<kind>.<node>[.<severity>]` and `hcs.decision.<kind>.<node>`.

A node name's dots become `_`. A DNS name holds no underscore, so the way back is unambiguous.
"""

import msgspec

from hcs_bus.errors import PoisonEventError
from hcs_bus.names import NodeName, Severity

FACTS_STREAM = "HCS_FACTS"
DECISIONS_STREAM = "HCS_DECISIONS"

FACTS_SUBJECTS = "hcs.fact.>"
DECISIONS_SUBJECTS = "hcs.decision.>"
ALLOCATION_SUBJECTS = "hcs.fact.allocation.*"
FINGERPRINT_SUBJECTS = "hcs.fact.fingerprint.*"

CLUSTER_NODE = NodeName("cluster")
"""The node token of facts that belong to no node (ticks)."""


class ParsedSubject(msgspec.Struct, frozen=True, kw_only=True):
    """A subject taken apart: `stream_word` is "fact" or "decision"."""

    stream_word: str
    kind: str
    node: NodeName


def node_token(node: NodeName) -> str:
    """Return the node name as one subject token."""
    return node.replace(".", "_")


def fact_subject(kind: str, node: NodeName, severity: Severity | None = None) -> str:
    """Return the subject of a fact; only faults have a severity."""
    subject = f"hcs.fact.{kind}.{node_token(node)}"
    return subject if severity is None else f"{subject}.{severity}"


def decision_subject(kind: str, node: NodeName) -> str:
    """Return the subject of a decision."""
    return f"hcs.decision.{kind}.{node_token(node)}"


def parse_subject(subject: str) -> ParsedSubject:
    """Take a subject apart.

    Raises:
        PoisonEventError: it is not one of ours.
    """
    tokens = subject.split(".")
    if len(tokens) not in (4, 5) or tokens[0] != "hcs" or tokens[1] not in ("fact", "decision"):
        raise PoisonEventError(
            f"subject {subject!r} is not hcs.(fact|decision).<kind>.<node>[.<severity>]"
        )
    return ParsedSubject(
        stream_word=tokens[1], kind=tokens[2], node=NodeName(tokens[3].replace("_", "."))
    )
