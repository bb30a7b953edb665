"""Folds facts one by one as the projector does, without a bus or a store."""

from hcs_bus.events import Fact
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.fold import Folded, fold
from hcs_control.fold_isolation import DeviceDecision
from hcs_control.policy import Policy
from hcs_control.rows import AnyRow, Change, RowKey
from hcs_control.store.port import Batch, change_key
from tests.support.facts import NODE, envelope


class Folding:
    """A fleet, and what the next batch would write."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.fleet = Fleet()
        self.seq = StreamSeq(0)
        self.decisions: list[DeviceDecision] = []
        self.changes: dict[tuple[type[AnyRow], RowKey], Change] = {}
        self._committed = StreamSeq(0)

    def add(self, fact: Fact, *, node: NodeName = NODE, event_id: str | None = None) -> Folded:
        """Fold one fact at the next position."""
        self.seq = StreamSeq(self.seq + 1)
        wrapped = envelope(fact, node=node, event_id=event_id)
        folded = fold(self.fleet, self.policy, self.seq, wrapped, fact)
        self.fleet.apply(folded.changes)
        self.changes.update({change_key(change): change for change in folded.changes})
        self.decisions.extend(folded.decisions)
        return folded

    def batch(self) -> Batch:
        """Return what was folded since the last batch."""
        batch = Batch(
            position_from=self._committed,
            position_to=self.seq,
            changes=self.changes,
            decisions=[],
            parked=[],
        )
        self.changes = {}
        self._committed = self.seq
        return batch
