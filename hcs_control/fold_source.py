"""Accounts for each numbered event of each source: what comes twice counts once, in any order.

The server forgets ids after its duplicates window, and a spool may resend later than that. A resend
may also be overtaken by what was sent after it; then its number is among the missing, and it
counts. But it must not undo what came after it: a fault's beginning that arrives behind its end
would isolate a healthy card for ever. So while numbers are missing, the facts folded ahead of them
are remembered by what they speak of, and a late one about the same thing is stale. A number that
is far behind never comes any more (its event was refused, or dropped by a full spool): it is
forgotten, and counts as folded.
"""

import bisect

import msgspec

from hcs_bus.envelope import Envelope
from hcs_bus.errors import PoisonEventError
from hcs_bus.events import Fact, Fault, Fingerprint, Quota
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import Change, SourcePositionRow

MISSING_MAX = 1_024  # how far behind a number may come; more than a publisher has in flight
N_MAX = 2**63 - 1  # what a column holds
AHEAD_MAX = 256  # facts remembered as folded ahead of missing ones; the oldest are forgotten


class Accounted(msgspec.Struct, frozen=True):
    """A source's position behind an event; `stale`: a later one about the same thing was folded."""

    position: SourcePositionRow
    stale: bool


def account(
    fleet: Fleet, seq: StreamSeq, envelope: Envelope, fact: Fact | None
) -> Accounted | None:
    """Return the source's new position, or None for an event folded before.

    Raises:
        PoisonEventError: the id is not one of an agent's own.
    """
    node, incarnation, n = _parse_id(envelope)
    before = fleet.sources.get((node, incarnation))
    if before is None:
        before = SourcePositionRow(seq=seq, node_name=node, incarnation=incarnation, last_n=0)
    topic = None if fact is None else _topic(fact)
    if n > before.last_n:
        missing = _missing(before, n)
        last_n, stale = n, False
    elif n in before.missing:
        missing = tuple(other for other in before.missing if other != n)
        last_n = before.last_n
        stale = any(of == topic and number > n for number, of in map(_split, before.ahead))
    else:
        return None
    ahead = _ahead(before, missing, n, topic) if missing else ()
    position = SourcePositionRow(
        seq=seq,
        node_name=node,
        incarnation=incarnation,
        last_n=last_n,
        missing=missing,
        ahead=ahead,
    )
    return Accounted(position, stale)


def account_unfolded(fleet: Fleet, seq: StreamSeq, envelope: Envelope) -> list[Change]:
    """Return the position behind an event that was parked or skipped, if its id is an agent's."""
    try:
        accounted = account(fleet, seq, envelope, None)
    except PoisonEventError:
        return []
    return [] if accounted is None else [accounted.position]


def _missing(before: SourcePositionRow, n: int) -> tuple[int, ...]:
    """Return the numbers that may still come when `n` is the newest."""
    oldest = n - MISSING_MAX
    if before.missing and before.missing[0] < oldest:
        left = before.missing[bisect.bisect_left(before.missing, oldest) :]
    else:
        left = before.missing
    skipped = range(max(before.last_n + 1, oldest), n)
    return (*left, *skipped) if skipped else left


def _ahead(
    before: SourcePositionRow, missing: tuple[int, ...], n: int, topic: str | None
) -> tuple[str, ...]:
    """Return the newest fact of each topic that lies behind some missing number."""
    if topic is None and missing[:1] == before.missing[:1]:
        return before.ahead  # most events are about nothing that an older one could undo
    newest = {of: number for number, of in map(_split, before.ahead)}
    if topic is not None:
        newest[topic] = max(n, newest.get(topic, 0))
    kept = sorted((number, of) for of, number in newest.items() if number > missing[0])
    return tuple(f"{number} {of}" for number, of in kept[-AHEAD_MAX:])


def _split(entry: str) -> tuple[int, str]:
    number, _, topic = entry.partition(" ")
    return int(number), topic


def _topic(fact: Fact) -> str | None:
    """Return what a fact's newest word is about; None where an older word does no harm."""
    match fact:
        case Fingerprint():
            return "fingerprint"
        case Fault():
            return f"fault {fact.device_id} {fact.code}"
        case Quota():
            return f"quota {fact.pod_uid} {fact.container} {fact.device_id}"
    return None


def _parse_id(envelope: Envelope) -> tuple[NodeName, str, int]:
    match envelope.id.split("/"):
        case [envelope.hcsnode, incarnation, n] if n.isdecimal() and int(n) <= N_MAX:
            return envelope.hcsnode, incarnation, int(n)
    raise PoisonEventError(
        f"id {envelope.id!r}: must be <node>/<incarnation>/<n> "
        f"with the event's own node {envelope.hcsnode!r} and n of at most {N_MAX}"
    )
