"""The ledger: grants appended to the log under the server's own comparison.

A grant is an `allocation` fact appended with `Nats-Expected-Last-Subject-Sequence` over all
allocation subjects. The server takes it only from a writer that has folded every earlier grant, so
no card is given out twice, whatever replicas, restarts and time-outs do. On a conflict: catch up,
decide again. Event ids derive from the Pod, the node and the ledger's position, so a repeated
append of the same decision is recognised by the server.

An append that was answered says little: the server may have recognised an earlier one, of which we
were never told, and the fold may refuse what the log holds. So what was decided is read back: it is
decided again on the view behind the append, until nothing is left to be done.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog

from hcs_bus.envelope import encode_fact
from hcs_bus.errors import ConflictError, TransientError
from hcs_bus.events import Allocation
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus
from hcs_bus.subjects import ALLOCATION_SUBJECTS
from hcs_edge.extender.view import FleetView

LOG = structlog.get_logger()

TRIES_MAX = 20  # writers that may forestall us before we give up and let the scheduler retry
CATCH_UP_TIMEOUT_S = 2.0
SOURCE = "/hcs/extender"

LastWord = TypeVar("LastWord")


class Ledger:
    """Appends grants that were decided on the view."""

    def __init__(self, bus: Bus, view: FleetView) -> None:
        self._bus = bus
        self._view = view

    async def append(self, decide: Callable[[], Allocation | LastWord]) -> LastWord:
        """Append what `decide` wants, given the view as it stands, until it wants nothing more.

        Returns what `decide` gave that was no allocation. Nothing was awaited since: the caller
        finds the view as `decide` saw it.

        Raises:
            TransientError: the bus did not answer, or too many writers were faster.
        """
        for _ in range(TRIES_MAX):
            decision = decide()
            if not isinstance(decision, Allocation):
                return decision
            try:
                seq = await self._append_at(decision, self._view.ledger_seq)
                LOG.info("allocation", pod_uid=decision.pod_uid, state=decision.state, seq=seq)
            except ConflictError as error:
                LOG.info("append_forestalled", pod_uid=decision.pod_uid, reason=str(error))
            await self._view.catch_up(timeout_s=CATCH_UP_TIMEOUT_S)
        raise TransientError(f"not settled after {TRIES_MAX} tries: other writers were faster")

    async def _append_at(self, fact: Allocation, expected_seq: StreamSeq) -> StreamSeq:
        message = encode_fact(
            fact,
            node=fact.node,
            event_id=f"{fact.pod_uid}/{fact.state}/{fact.node}/{expected_seq}",
            source=SOURCE,
        )
        return await self._bus.append(
            message, subjects=ALLOCATION_SUBJECTS, expected_seq=expected_seq
        )
