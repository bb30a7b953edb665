"""Folds the log again, from its first fact or a snapshot, and compares with what the store holds.

The projection is a function of the log: the same facts under the same policy give the same rows,
the same decisions and the same parked events, byte for byte. Where they differ, somebody wrote to
the tables, the log was cut, or the fold has a fault; either way an operator wants to know.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from hcs_bus.errors import LogGapError, TransientError
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.metrics import ProjectorMetrics
from hcs_control.policy import Policy
from hcs_control.projector import BATCH_RECORDS_MAX, REFUSED, BatchFolder, refuse_jump
from hcs_control.store.memory import MemoryStore
from hcs_control.store.port import Batch, Contents, ParkedEvent

FETCH_TIMEOUT_S = 5.0
DIFFERENCES_SHOWN_MAX = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    position: StreamSeq
    compared: int  # rows, decisions and parked events
    differing: int
    examples: list[str]  # the first `DIFFERENCES_SHOWN_MAX` of them


async def replay(
    bus: Bus,
    policy: Policy,
    until: StreamSeq,
    *,
    progress: Callable[[int], None],
    snapshot: Contents | None = None,
    refused: Mapping[StreamSeq, ParkedEvent] | None = None,
) -> Contents:
    """Fold the facts 1..`until`, or those behind a snapshot, and return what a store would hold.

    What a store refused is parked here as well: nothing in the log tells what a store takes.

    Raises:
        LogGapError: the log no longer holds a fact that is needed, or ends before `until`.
        TransientError: the bus stopped answering.
    """
    store = MemoryStore()
    if snapshot is not None:
        await store.restore(snapshot, progress=lambda _: None)
    loaded = await store.load()
    fleet, position = loaded.fleet, loaded.position
    await _refuse_gap(bus, position, until)
    metrics = ProjectorMetrics(CollectorRegistry())
    follower = await bus.follow(FACTS_STREAM, after=position)
    while position < until:
        limit = min(BATCH_RECORDS_MAX, until - position)
        records = await follower.fetch(limit=limit, timeout_s=FETCH_TIMEOUT_S)
        if not records:
            raise TransientError(f"{FACTS_STREAM} fell silent at {position} of {until}")
        folder = BatchFolder(fleet, policy, metrics)
        reached = position
        for record in records:
            refuse_jump(reached, record)
            if refused and record.seq in refused:
                folder.parked.append(refused[record.seq])
            else:
                folder.add(record)
            reached = record.seq
        await store.commit(
            Batch(
                position_from=position,
                position_to=reached,
                changes=folder.changes,
                decisions=folder.decisions,
                parked=folder.parked,
            )
        )
        position = reached
        progress(position)
    await follower.close()
    return await store.contents()


async def _refuse_gap(bus: Bus, position: StreamSeq, until: StreamSeq) -> None:
    if until < position:
        raise LogGapError(
            f"the snapshot stands at {position}, the tables at {until}: an older one is needed"
        )
    state = await bus.stream_state(FACTS_STREAM)
    if until > position and (state.first_seq > position + 1 or state.last_seq < until):
        raise LogGapError(
            f"{FACTS_STREAM} holds {state.first_seq} to {state.last_seq}, "
            f"a replay needs {position + 1} to {until}; it may start from a snapshot"
        )


def refused_in(held: Contents) -> dict[StreamSeq, ParkedEvent]:
    """Return what a store parked because it refused the rows, by position."""
    return {each.stream_seq: each for each in held.parked if each.reason.startswith(REFUSED)}


def compare(held: Contents, replayed: Contents) -> Verdict:
    """Return where two stores' contents differ."""
    left, right = _by_name(held), _by_name(replayed)
    names = sorted(left.keys() | right.keys())
    differing = [name for name in names if left.get(name) != right.get(name)]
    return Verdict(
        position=held.position,
        compared=len(names),
        differing=len(differing),
        examples=[
            f"{name}: held {left.get(name)}, replayed {right.get(name)}"
            for name in differing[:DIFFERENCES_SHOWN_MAX]
        ],
    )


def _by_name(contents: Contents) -> dict[str, Any]:
    rows = {f"{type(row).__name__} {'/'.join(map(str, row.key))}": row for row in contents.rows}
    decisions = {f"decision {each.message.id}": each for each in contents.decisions}
    parked = {f"parked event {each.stream_seq}": each for each in contents.parked}
    return rows | decisions | parked
