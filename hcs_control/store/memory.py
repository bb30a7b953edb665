"""The store in memory, for unit tests: the same contract suite runs against it and PostgreSQL."""

from collections.abc import Callable

from hcs_bus.events import AllocationState
from hcs_bus.names import StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.rows import (
    AllocationRow,
    AnyRow,
    DeviceValidityRow,
    FaultEpisodeRow,
    IsolationRow,
    Removed,
    RowKey,
)
from hcs_control.store.port import (
    Batch,
    Contents,
    FencedError,
    Loaded,
    NotEmptyError,
    OutboxDecision,
    ParkedEvent,
)


class MemoryStore:
    """The port; its tables are open to tests."""

    def __init__(self) -> None:
        self.rows: dict[tuple[type[AnyRow], RowKey], AnyRow] = {}
        self.position = StreamSeq(0)
        self.outbox: dict[str, OutboxDecision] = {}
        self.published: dict[str, StreamSeq] = {}
        self.parked: list[ParkedEvent] = []

    async def load(self) -> Loaded:
        """Rebuild the fleet from the live rows; see the port."""
        fleet = Fleet()
        fleet.apply(row for row in self.rows.values() if _is_live(row))
        return Loaded(
            fleet=fleet,
            position=self.position,
            decision_seq=await self.decision_seq(),
        )

    async def contents(self) -> Contents:
        """Return everything; see the port."""
        return Contents(
            position=self.position,
            rows=list(self.rows.values()),
            decisions=list(self.outbox.values()),
            parked=list(self.parked),
            published=dict(self.published),
        )

    async def restore(self, contents: Contents, *, progress: Callable[[int], None]) -> None:
        """Take over another store's contents; see the port."""
        if self.position or self.rows or self.outbox or self.parked:
            raise NotEmptyError(f"the projection stands at {self.position}")
        self.rows = {(type(row), row.key): row for row in contents.rows}
        self.outbox = {decision.message.id: decision for decision in contents.decisions}
        self.parked = list(contents.parked)
        self.published = dict(contents.published)
        self.position = contents.position
        progress(len(contents.rows) + len(contents.decisions) + len(contents.parked))

    async def commit(self, batch: Batch) -> None:
        """Compare the position, then write; see the port."""
        if batch.position_from != self.position:
            raise FencedError(f"position is {self.position}, not {batch.position_from}")
        for key, change in batch.changes.items():
            if isinstance(change, Removed):
                self.rows.pop(key, None)
            else:
                self.rows[key] = change
        self.outbox.update({decision.message.id: decision for decision in batch.decisions})
        self.parked.extend(batch.parked)
        self.position = batch.position_to

    async def unpublished(self, limit: int) -> list[OutboxDecision]:
        """Return decisions without a known position; see the port."""
        waiting = [d for key, d in self.outbox.items() if key not in self.published]
        return sorted(waiting, key=lambda d: (d.fact_seq, d.message.id))[:limit]

    async def decision_seq(self) -> StreamSeq:
        """Return the highest position known; see the port."""
        return max(self.published.values(), default=StreamSeq(0))

    async def mark_published(self, published: dict[str, StreamSeq]) -> None:
        """Remember positions; see the port."""
        self.published.update(published)

    async def close(self) -> None:
        """Nothing is held."""


def _is_live(row: AnyRow) -> bool:
    match row:
        case IsolationRow():
            return row.released_seq is None
        case AllocationRow():
            return row.state is not AllocationState.RELEASED
        case DeviceValidityRow():
            return row.valid_to_ns is None
        case FaultEpisodeRow():
            return row.ended_seq is None
        case _:
            return True
