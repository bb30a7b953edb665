"""The projector: reads facts in order, folds them, commits rows, decisions and position as one.

It keeps no state of its own that matters. Whatever goes wrong between two commits (a crash, a
database that went away, another projector that was faster), it loads the projection again and
continues behind the position found there. Decisions leave through the outbox: committed first,
published after, under an id derived from the log, so a crash in between publishes late, not twice.

No event may stop it for ever. What cannot be understood or believed is parked. Should the store
refuse rows that the fold made, their batch is folded anew, event by event, and the culprit parked.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import structlog

from hcs_bus.clock_steps import ClockSteps
from hcs_bus.envelope import (
    KIND_OF_DECISION,
    Envelope,
    decode_fact,
    encode_decision,
    encode_fact,
    open_fact,
)
from hcs_bus.errors import LogGapError, PoisonEventError, TransientError, UnknownKindError
from hcs_bus.events import Fact, Tick
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus, PublishAck, Record
from hcs_bus.subjects import CLUSTER_NODE, FACTS_STREAM
from hcs_control.fleet import Fleet
from hcs_control.fold import fold
from hcs_control.fold_isolation import DeviceDecision
from hcs_control.fold_source import account_unfolded
from hcs_control.metrics import ProjectorMetrics
from hcs_control.outbox import Outbox
from hcs_control.policy import Policy
from hcs_control.rows import AnyRow, Change, RowKey
from hcs_control.store.port import (
    Batch,
    FencedError,
    OutboxDecision,
    ParkedEvent,
    Store,
    StoreRefusedError,
    StoreUnavailableError,
    change_key,
)

LOG = structlog.get_logger()

BATCH_RECORDS_MAX = 1_000  # one transaction's worth
FETCH_TIMEOUT_S = 1.0
TICK_INTERVAL_S = 1.0
RETRY_S = 0.5
FENCED_RETRY_S_INITIAL = 0.1
FENCED_RETRY_S_MAX = 5.0  # how late a projector may notice that the one before it is gone
FENCED_CALM_COMMITS = 20  # so many in a row, and the next fence is the first again
PARKED_PAYLOAD_BYTES_MAX = 64 * 1024
PARKED_TEXT_CHARACTERS_MAX = 1_000
REFUSED = "refused by the store: "  # how the reason begins of what was parked for its rows
SOURCE = "/hcs/projector"


class BatchFolder:
    """Folds the records of one batch onto a fleet and gathers what has to be written."""

    def __init__(self, fleet: Fleet, policy: Policy, metrics: ProjectorMetrics) -> None:
        self._fleet = fleet
        self._policy = policy
        self._metrics = metrics
        self._folded: Counter[type[Fact]] = Counter()
        self.changes: dict[tuple[type[AnyRow], RowKey], Change] = {}
        self.decisions: list[OutboxDecision] = []
        self.parked: list[ParkedEvent] = []

    def add(self, record: Record) -> None:
        """Fold one record; what cannot be folded is parked or counted, never fatal."""
        envelope: Envelope | None = None
        try:
            envelope = open_fact(record.subject, record.payload)
            fact = decode_fact(envelope)
            folded = fold(self._fleet, self._policy, record.seq, envelope, fact)
        except UnknownKindError as error:
            self._metrics.unknown.inc()
            LOG.info("unknown_kind_skipped", seq=record.seq, detail=_storable(str(error)))
            self._account(record, envelope)
            return
        except PoisonEventError as error:
            self.park(record, str(error))
            self._account(record, envelope)
            return
        if folded.duplicate:
            self._metrics.duplicates.inc()
        if folded.stale:
            self._metrics.stale.inc()
        self._folded[type(fact)] += 1
        self._apply(folded.changes)
        for decision in folded.decisions:
            self.decisions.append(_outbox_decision(record.seq, decision))

    def count(self) -> None:
        """Count what was folded."""
        for kind, events in self._folded.items():
            self._metrics.folded[kind].inc(events)

    def park(self, record: Record, reason: str) -> None:
        """Keep a record aside with the reason; of a large one the beginning."""
        self._metrics.parked.inc()
        subject, reason = _storable(record.subject), _storable(reason)
        if len(record.payload) > PARKED_PAYLOAD_BYTES_MAX:
            reason += f" (kept are {PARKED_PAYLOAD_BYTES_MAX} of its {len(record.payload)} bytes)"
        LOG.warning("event_parked", seq=record.seq, subject=subject, reason=reason)
        self.parked.append(
            ParkedEvent(
                stream_seq=record.seq,
                subject=subject,
                reason=reason,
                payload=record.payload[:PARKED_PAYLOAD_BYTES_MAX],
            )
        )

    def _apply(self, changes: list[Change]) -> None:
        self._fleet.apply(changes)
        for change in changes:
            self.changes[change_key(change)] = change

    def _account(self, record: Record, envelope: Envelope | None) -> None:
        """Count an event that was not folded: its number would be missing for ever."""
        if envelope is not None:
            self._apply(account_unfolded(self._fleet, record.seq, envelope))


def _storable(text: str) -> str:
    """Return a text as PostgreSQL can hold it, and no longer than a person reads."""
    escaped = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    if len(escaped) <= PARKED_TEXT_CHARACTERS_MAX:
        return escaped
    return escaped[:PARKED_TEXT_CHARACTERS_MAX] + "…"


def _outbox_decision(seq: StreamSeq, decision: DeviceDecision) -> OutboxDecision:
    kind = KIND_OF_DECISION[type(decision)]
    event_id = f"projector/{kind}/{decision.device_id}/{seq}"
    message = encode_decision(decision, event_id=event_id, source=SOURCE)
    return OutboxDecision(fact_seq=seq, message=message)


def refuse_jump(position: StreamSeq, record: Record) -> None:
    """Refuse a record that is not the one behind `position`.

    Raises:
        LogGapError: facts in between are missing.
    """
    if record.seq != position + 1:
        raise LogGapError(f"{FACTS_STREAM} jumps from {position} to {record.seq}")


class Projector:
    """One projector; any number may run, the store lets one commit at a time."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        policy: Policy,
        metrics: ProjectorMetrics,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._store = store
        self._bus = bus
        self._policy = policy
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._monotonic_ns = monotonic_ns
        self._clock_steps = ClockSteps()
        self.outbox = Outbox(store, bus, metrics)
        self.position = StreamSeq(0)
        self.caught_up = False
        self._commits = 0  # since the projection was loaded

    async def run(self) -> NoReturn:
        """Project until cancelled.

        Raises:
            LogGapError: facts are missing from the log; the projection cannot go on.
            StoreRefusedError: the store refuses even the word of what it refused.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.outbox.run())
            tasks.create_task(self._tick())
            tasks.create_task(self._project())
        raise AssertionError("the loops above never end by themselves")

    async def _project(self) -> None:
        fenced_retry_s = FENCED_RETRY_S_INITIAL
        while True:
            self._commits = 0
            try:
                await self.project_until_interrupted()
            except FencedError as error:
                self._metrics.fenced.inc()
                LOG.warning("fenced", detail=str(error))
                # Two projectors that race for each batch would load everything again and again.
                if self._commits >= FENCED_CALM_COMMITS:
                    fenced_retry_s = FENCED_RETRY_S_INITIAL
                await asyncio.sleep(fenced_retry_s)
                fenced_retry_s = min(2 * fenced_retry_s, FENCED_RETRY_S_MAX)
            except (StoreUnavailableError, TransientError) as error:
                self._metrics.interrupted.inc()
                LOG.warning("projecting_interrupted", detail=str(error))
                await asyncio.sleep(RETRY_S)
            self.caught_up = False

    async def project_until_interrupted(self) -> None:
        """Load, then fold batch after batch.

        Returns when the store has refused a batch and that is dealt with: load again.
        """
        loaded = await self._store.load()
        # What was loaded stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        self.position = loaded.position
        self.outbox.wake()  # whoever committed last may have died before it published
        await self._refuse_gap()
        follower = await self._bus.follow(FACTS_STREAM, after=loaded.position)
        LOG.info("projecting", position=loaded.position, devices=len(loaded.fleet.devices))
        try:
            while True:
                records = await follower.fetch(limit=BATCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S)
                if records and not await self._project_batch(loaded.fleet, records):
                    return
                self.caught_up = len(records) < BATCH_RECORDS_MAX
        finally:
            await follower.close()

    async def _refuse_gap(self) -> None:
        state = await self._bus.stream_state(FACTS_STREAM)
        if state.first_seq > self.position + 1:
            raise LogGapError(
                f"{FACTS_STREAM} begins at {state.first_seq}, but the projection stands at "
                f"{self.position}: facts in between were lost. Restore the stream from a backup, "
                "or a newer projection into an empty database (`hcs snapshot restore`), or begin "
                "with both empty: the agents tell again what there is"
            )
        if state.last_seq < self.position:
            raise LogGapError(
                f"{FACTS_STREAM} ends at {state.last_seq}, before the projection's position "
                f"{self.position}: this is not the stream that was projected"
            )

    async def _project_batch(self, fleet: Fleet, records: list[Record]) -> bool:
        """Fold and commit; false when `fleet` is of no use any more."""
        folder = BatchFolder(fleet, self._policy, self._metrics)
        position = self.position
        for record in records:
            refuse_jump(position, record)
            folder.add(record)
            position = record.seq
        try:
            await self._commit(folder, position)
        except StoreRefusedError as error:
            LOG.warning("batch_refused", first=records[0].seq, last=position, detail=str(error))
            await self._project_one_by_one(records)
            return False
        return True

    async def _project_one_by_one(self, records: list[Record]) -> None:
        """Fold a refused batch anew, each event in its own transaction; park what is refused."""
        fleet = await self._load_again()
        for record in records:
            folder = BatchFolder(fleet, self._policy, self._metrics)
            folder.add(record)
            try:
                await self._commit(folder, record.seq)
            except StoreRefusedError as error:
                fleet = await self._load_again()
                folder = BatchFolder(fleet, self._policy, self._metrics)
                folder.park(record, f"{REFUSED}{error}")
                await self._commit(folder, record.seq)

    async def _load_again(self) -> Fleet:
        loaded = await self._store.load()
        if loaded.position != self.position:
            raise FencedError(f"position is {loaded.position}, not {self.position}")
        return loaded.fleet

    async def _commit(self, folder: BatchFolder, position: StreamSeq) -> None:
        await self._store.commit(
            Batch(
                position_from=self.position,
                position_to=position,
                changes=folder.changes,
                decisions=folder.decisions,
                parked=folder.parked,
            )
        )
        folder.count()
        self.position = position
        self._commits += 1
        self._metrics.position.set(position)
        if folder.decisions:
            self.outbox.wake()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_INTERVAL_S)
            at_ns = self._clock_ns()
            self._note_clock(at_ns)
            # Two projectors tick under the same id within one second; the server keeps one.
            event_id = f"tick/{at_ns // 1_000_000_000}"
            tick = encode_fact(
                Tick(at_ns=at_ns), node=CLUSTER_NODE, event_id=event_id, source=SOURCE
            )
            [result] = await self._bus.publish_many([tick])
            if not isinstance(result, PublishAck):
                self._metrics.ticks_unpublished.inc()

    def _note_clock(self, at_ns: int) -> None:
        """Say so if the clock was set since the last tick: releases count from tick to tick."""
        step_s = self._clock_steps.step_s(wall_ns=at_ns, monotonic_ns=self._monotonic_ns())
        if step_s is not None:
            self._metrics.clock_steps.inc()
            LOG.warning("clock_stepped", step_s=step_s)
