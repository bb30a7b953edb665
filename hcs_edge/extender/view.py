"""The projection in memory: loaded once from the store, then followed on the bus.

From the log come the facts that placement needs (fingerprints and the ledger), through the very
same fold; from the decision stream come isolations and releases. A view never decides. If a
follower cannot go on (the log was cut), the view ends and its process restarts from the store.
"""

import asyncio

import structlog

from hcs_bus.envelope import decode_decision, decode_envelope, decode_fact
from hcs_bus.errors import LogGapError, PoisonEventError, TransientError, UnknownKindError
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus, Record
from hcs_bus.subjects import (
    ALLOCATION_SUBJECTS,
    DECISIONS_STREAM,
    FACTS_STREAM,
    FINGERPRINT_SUBJECTS,
)
from hcs_control.fleet import Fleet
from hcs_control.fold import fold
from hcs_control.fold_isolation import fold_decision
from hcs_control.placement_cache import PlacementCache
from hcs_control.policy import Policy
from hcs_control.store.port import Store

LOG = structlog.get_logger()

BATCH_RECORDS_MAX = 500
FETCH_TIMEOUT_S = 1.0
NO_POLICY = Policy("none", ())  # faults are not followed here: there is nothing to decide


class FleetView:
    """A live `Fleet` and how far it has followed the log."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._moved = asyncio.Condition()
        self._decisions_after = StreamSeq(0)
        self._loaded_position = StreamSeq(0)
        self.fleet = Fleet()
        self.placements = PlacementCache(self.fleet)
        self.facts_seq = StreamSeq(0)  # newest followed fact
        self.ledger_seq = StreamSeq(0)  # newest allocation fact that `fleet` contains
        self.ready = False

    async def load(self) -> None:
        """Load the projection and catch up with the ledger's present end.

        Raises:
            StoreUnavailableError, TransientError: try again later.
            LogGapError: facts behind the projection's position are gone from the log.
        """
        loaded = await self._store.load()
        state = await self._bus.stream_state(FACTS_STREAM)
        if state.first_seq > loaded.position + 1:
            raise LogGapError(
                f"{FACTS_STREAM} begins at {state.first_seq}, the projection stands at "
                f"{loaded.position}: is the projector running?"
            )
        self.fleet = loaded.fleet
        self.placements = PlacementCache(self.fleet)
        self.facts_seq = self._loaded_position = loaded.position
        self._decisions_after = loaded.decision_seq
        await self._adopt_ledger_end()

    async def follow(self) -> None:
        """Follow both streams until cancelled; `load` comes first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_facts())
            tasks.create_task(self._follow_decisions())

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until the fleet contains the ledger as it stands on the server now.

        Raises:
            TransientError: it does not within `timeout_s`.
        """
        end = await self._bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS)
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self.ledger_seq >= end)
        except TimeoutError as error:
            raise TransientError(
                f"followed the ledger to {self.ledger_seq} of {end} within {timeout_s} s"
            ) from error

    async def _adopt_ledger_end(self) -> None:
        """A ledger that ends within the loaded projection is contained in it."""
        end = await self._bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS)
        if end <= self._loaded_position:
            await self._move_to(end)
            self.ready = True

    async def _follow_facts(self) -> None:
        subjects = (ALLOCATION_SUBJECTS, FINGERPRINT_SUBJECTS)
        follower = await self._bus.follow(FACTS_STREAM, after=self.facts_seq, subjects=subjects)
        while True:
            for record in await follower.fetch(limit=BATCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S):
                await self._take_fact(record)
            if not self.ready:
                end = await self._try_ledger_end()
                self.ready = end is not None and self.ledger_seq >= end

    async def _try_ledger_end(self) -> StreamSeq | None:
        try:
            return await self._bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS)
        except TransientError:
            return None

    async def _take_fact(self, record: Record) -> None:
        try:
            envelope = decode_envelope(record.payload)
            fact = decode_fact(envelope)
            self.fleet.apply(fold(self.fleet, NO_POLICY, record.seq, envelope, fact).changes)
        except (PoisonEventError, UnknownKindError) as error:
            # The projector parks and counts it; here it only must not stop the others.
            LOG.info("fact_ignored", seq=record.seq, reason=str(error))
        self.facts_seq = record.seq
        if record.subject.startswith(ALLOCATION_SUBJECTS.removesuffix("*")):
            await self._move_to(record.seq)

    async def _move_to(self, ledger_seq: StreamSeq) -> None:
        async with self._moved:
            self.ledger_seq = ledger_seq
            self._moved.notify_all()

    async def _follow_decisions(self) -> None:
        follower = await self._bus.follow(DECISIONS_STREAM, after=self._decisions_after)
        while True:
            for record in await follower.fetch(limit=BATCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S):
                self._take_decision(record)

    def _take_decision(self, record: Record) -> None:
        try:
            decision = decode_decision(decode_envelope(record.payload))
        except (PoisonEventError, UnknownKindError) as error:
            LOG.info("decision_ignored", seq=record.seq, reason=str(error))
            return
        # What rests on facts up to the loaded position is in the loaded rows already.
        if decision.fact_seqs[-1] > self._loaded_position:
            self.fleet.apply(fold_decision(self.fleet, decision))
