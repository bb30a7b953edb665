"""The projection in memory: loaded once from the store, then followed on the bus.

From the log come the facts that placement needs (fingerprints and the ledger), through the very
same folds; from the decision stream come isolations and releases. A view never decides.

The log drops its oldest facts when it is full, and says nothing to a follower that was behind. So
whoever acts on the ledger must know that none of it is missing here. `whole_seq` says how far that
is sure. Before a grant is taken over, the log must still reach back to there; every
`SURVEY_INTERVAL_S` it moves on to the end of the log, if the ledger as the server has it is here.
If it cannot be sure, the view ends and its process restarts from the store.
"""

import asyncio

import msgspec
import structlog

from hcs_bus.envelope import Envelope, decode_decision, decode_envelope, decode_fact, open_fact
from hcs_bus.errors import LogGapError, PoisonEventError, TransientError, UnknownKindError
from hcs_bus.events import Allocation, Fact, Fingerprint, Isolate, Release
from hcs_bus.names import DeviceId, StreamSeq
from hcs_bus.port import Bus, Record, StreamState
from hcs_bus.subjects import (
    ALLOCATION_SUBJECTS,
    DECISIONS_STREAM,
    FACTS_STREAM,
    FINGERPRINT_SUBJECTS,
)
from hcs_control.fleet import Fleet
from hcs_control.fold_allocation import fold_allocation
from hcs_control.fold_fingerprint import fold_fingerprint
from hcs_control.fold_isolation import fold_decision
from hcs_control.fold_source import account
from hcs_control.placement_cache import PlacementCache
from hcs_control.rows import SourcePositionRow
from hcs_control.store.port import Store

LOG = structlog.get_logger()

BATCH_RECORDS_MAX = 500
FETCH_TIMEOUT_S = 1.0
RETRY_S = 0.2
SURVEY_INTERVAL_S = 10.0  # a log that drops facts younger than this is too small for everybody


class FleetView:
    """A live `Fleet` and how far it has followed the log."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._moved = asyncio.Condition()
        self._decisions_after = StreamSeq(0)
        self._loaded_position = StreamSeq(0)
        self._decided_seq_of: dict[DeviceId, StreamSeq] = {}  # what the newest decision rests on
        self.fleet = Fleet()
        self.placements = PlacementCache(self.fleet)
        self.facts_seq = StreamSeq(0)  # newest followed fact
        self.whole_seq = StreamSeq(0)  # `fleet` contains every grant up to here
        # The newest grant on the server, as long as `fleet` contains it: what an append expects.
        # It goes back, to 0 mostly, when that grant leaves the log.
        self.ledger_seq = StreamSeq(0)
        self.ready = False

    async def load(self) -> None:
        """Load the projection and look where the ledger ends.

        Raises:
            StoreUnavailableError, TransientError: try again later.
            LogGapError: facts behind the projection's position are gone from the log.
        """
        # Asked first: what has left this stream by now was published, and so committed, before.
        decisions = await self._bus.stream_state(DECISIONS_STREAM)
        loaded = await self._store.load()
        self.fleet = loaded.fleet
        self.placements = PlacementCache(self.fleet)
        self.facts_seq = self.whole_seq = self._loaded_position = loaded.position
        self._decisions_after = StreamSeq(max(loaded.decision_seq, decisions.first_seq - 1))
        await self._check_reach()
        self.ready = await self._ledger_end() <= self.whole_seq

    async def follow(self) -> None:
        """Follow both streams until cancelled; `load` comes first.

        Raises:
            LogGapError: something that was not followed yet is gone from a stream.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_facts())
            tasks.create_task(self._follow_decisions())

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until the fleet contains the ledger as it stands on the server now.

        Raises:
            TransientError: it does not within `timeout_s`.
            LogGapError: it never will.
        """
        end = await self._ledger_end()
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self.whole_seq >= end)
        except TimeoutError as error:
            raise TransientError(
                f"followed the ledger to {self.whole_seq} of {end} within {timeout_s} s"
            ) from error

    async def _ledger_end(self) -> StreamSeq:
        """Ask where the ledger ends, and take the answer over if the fleet contains all of it."""
        known = self.ledger_seq
        end = await self._bus.last_seq(FACTS_STREAM, ALLOCATION_SUBJECTS)
        if end > self.whole_seq or end == known > 0:
            return end  # on its way here; or here, and nothing behind it can have left the log
        await self._check_reach()
        if self.ledger_seq == known:  # else a newer grant has come while the server was asked
            self.ledger_seq = end
        return end

    async def _check_reach(self) -> StreamState:
        """Make sure that the log reaches back to what is whole here, and on to it."""
        before = self.whole_seq  # it may move on while the server answers
        state = await self._bus.stream_state(FACTS_STREAM)
        if state.first_seq > self.whole_seq + 1 or state.last_seq < before:
            self.ready = False
            raise LogGapError(
                f"{FACTS_STREAM} holds {state.first_seq} to {state.last_seq}, grants are known "
                f"here up to {self.whole_seq}: is the projector running?"
            )
        return state

    async def _survey(self) -> None:
        """Move `whole_seq` to the end of the log, if the ledger as it is on the server is here."""
        try:
            last_seq = (await self._check_reach()).last_seq  # before the end of the ledger is asked
            end = await self._ledger_end()
        except TransientError as error:
            LOG.info("survey_failed", reason=str(error))
            return
        if end <= self.whole_seq:
            await self._move_to(max(self.whole_seq, last_seq))
            self.ready = True

    async def _follow_facts(self) -> None:
        subjects = (ALLOCATION_SUBJECTS, FINGERPRINT_SUBJECTS)
        follower = await self._bus.follow(FACTS_STREAM, after=self.facts_seq, subjects=subjects)
        clock = asyncio.get_running_loop()
        survey_at_s = clock.time()
        while True:
            records = await follower.fetch(limit=BATCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S)
            if any(_is_grant(record) for record in records):
                await self._await_reach()
            for record in records:
                await self._take_fact(record)
            if not self.ready or clock.time() >= survey_at_s:
                survey_at_s = clock.time() + SURVEY_INTERVAL_S
                await self._survey()

    async def _await_reach(self) -> None:
        while True:
            try:
                await self._check_reach()
            except TransientError as error:
                LOG.info("grants_wait", reason=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _take_fact(self, record: Record) -> None:
        try:
            envelope = open_fact(record.subject, record.payload)
            self._fold(record.seq, envelope, decode_fact(envelope))
        except (PoisonEventError, UnknownKindError) as error:
            # The projector parks and counts it; here it only must not stop the others.
            LOG.info("fact_ignored", seq=record.seq, reason=str(error))
        self.facts_seq = record.seq
        if _is_grant(record):
            self.ledger_seq = record.seq
            await self._move_to(record.seq)

    def _fold(self, seq: StreamSeq, envelope: Envelope, fact: Fact) -> None:
        match fact:
            case Allocation():
                self.fleet.apply(fold_allocation(self.fleet, seq, fact))
            case Fingerprint():
                accounted = account(self.fleet, seq, envelope, fact)
                if accounted is None or accounted.stale:
                    return
                self.fleet.apply([_of_fingerprints_alone(accounted.position, envelope)])
                self.fleet.apply(fold_fingerprint(self.fleet, seq, envelope.hcsnode, fact))
            case _:
                raise AssertionError(f"{type(fact).__name__} under {envelope.subject}")

    async def _move_to(self, whole_seq: StreamSeq) -> None:
        async with self._moved:
            self.whole_seq = whole_seq
            self._moved.notify_all()

    async def _follow_decisions(self) -> None:
        follower = await self._bus.follow(DECISIONS_STREAM, after=self._decisions_after)
        while True:
            for record in await follower.fetch(limit=BATCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S):
                if record.seq != self._decisions_after + 1:
                    self.ready = False
                    raise LogGapError(
                        f"{DECISIONS_STREAM} jumps from {self._decisions_after} to {record.seq}"
                    )
                self._decisions_after = record.seq
                self._take_decision(record)

    def _take_decision(self, record: Record) -> None:
        try:
            decision = decode_decision(decode_envelope(record.payload))
        except (PoisonEventError, UnknownKindError) as error:
            LOG.info("decision_ignored", seq=record.seq, reason=str(error))
            return
        if not isinstance(decision, Isolate | Release):
            return  # of nodes, Pods and breakers nothing is kept in memory
        # What rests on facts up to the loaded position is in the loaded rows already. And a
        # decision that was sent again may come behind the one that undid it.
        seq = decision.fact_seqs[-1]
        if seq > self._decided_seq_of.get(decision.device_id, self._loaded_position):
            self._decided_seq_of[decision.device_id] = seq
            self.fleet.apply(fold_decision(self.fleet, decision))


def _is_grant(record: Record) -> bool:
    return record.subject.startswith(ALLOCATION_SUBJECTS.removesuffix("*"))


def _of_fingerprints_alone(position: SourcePositionRow, envelope: Envelope) -> SourcePositionRow:
    """Return a source's position without the numbers before the newest: they are other kinds'.

    A fingerprint among them that still comes is overtaken, and as good as folded.
    """
    if not envelope.id.endswith(f"/{position.last_n}"):
        return position
    return msgspec.structs.replace(position, missing=(), ahead=())
