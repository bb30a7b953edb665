"""The ledger: grants appended to the log under the server's own comparison.

A grant is an `allocation` fact appended with `Nats-Expected-Last-Subject-Sequence` over all
allocation subjects. The server takes it only from a writer that has folded every earlier grant, so
no card is given out twice, whatever replicas, restarts and time-outs do. On a conflict: catch up,
decide again. Event ids derive from the Pod and the ledger's position, so a repeated append of the
same decision is recognised by the server.
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

Refused = TypeVar("Refused")


class Ledger:
    """Appends grants that were decided on the view."""

    def __init__(self, bus: Bus, view: FleetView) -> None:
        self._bus = bus
        self._view = view

    async def append(self, decide: Callable[[], Allocation | Refused]) -> Refused | None:
        """Append what `decide` wants, given the view as it stands; decide anew on each conflict.

        Returns what `decide` gave if that was no allocation; None once its allocation is in the
        log and in the view.

        Raises:
            TransientError: the bus did not answer, or too many writers were faster.
        """
        for _ in range(TRIES_MAX):
            decision = decide()
            if not isinstance(decision, Allocation):
                return decision
            expected_seq = self._view.ledger_seq
            try:
                seq = await self._append_at(decision, expected_seq)
            except ConflictError:
                await self._view.catch_up(timeout_s=CATCH_UP_TIMEOUT_S)
                continue
            # Read your own write: the next decision must see this grant.
            await self._view.catch_up(timeout_s=CATCH_UP_TIMEOUT_S)
            LOG.info("allocation", pod_uid=decision.pod_uid, state=decision.state, seq=seq)
            return None
        raise TransientError(f"{TRIES_MAX} other writers were faster")

    async def _append_at(self, fact: Allocation, expected_seq: StreamSeq) -> StreamSeq:
        message = encode_fact(
            fact,
            node=fact.node,
            event_id=f"{fact.pod_uid}/{fact.state}/{expected_seq}",
            source=SOURCE,
        )
        return await self._bus.append(
            message, subjects=ALLOCATION_SUBJECTS, expected_seq=expected_seq
        )
