"""Publishes decisions: committed with their rows first, sent after, each into the stream once.

A crash between publishing and marking leaves a decision that is in the stream and does not know it.
The server forgets ids after its duplicates window, and a projector may be down for longer, or its
tables may be made anew from the log. So an outbox reads the end of HCS_DECISIONS first, and what is
there already is marked, not sent. It reads it again when it does not know what became of something
that it sent or marked, and when the server may have forgotten what others sent since.
"""

import asyncio
from typing import NoReturn

import structlog

from hcs_bus.envelope import decode_envelope
from hcs_bus.errors import PoisonEventError, TransientError
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus, PublishAck, PublishRefused
from hcs_bus.subjects import DECISIONS_STREAM, DECISIONS_SUBJECTS
from hcs_control.metrics import ProjectorMetrics
from hcs_control.store.port import Store, StoreUnavailableError

LOG = structlog.get_logger()

BATCH_MAX = 200
RETRY_S = 0.5
UNMARKED_MAX = 10 * BATCH_MAX  # how far behind the newest marked one an unmarked one may lie
READING_VALID_S = 60.0  # half of the time for which the server knows the ids it was sent
FETCH_RECORDS_MAX = 1_000
FETCH_TIMEOUT_S = 5.0
NOWHERE = StreamSeq(0)  # where the outbox has a decision that the bus will never take


class Outbox:
    """The way from the store's outbox to the stream; one per projector."""

    def __init__(self, store: Store, bus: Bus, metrics: ProjectorMetrics) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._work = asyncio.Event()  # means: "the outbox may hold something"
        self._work.set()
        self._seq_of_id: dict[str, StreamSeq] | None = None  # none: the stream must be read
        self._read_at_s = 0.0

    def wake(self) -> None:
        """Say that a commit has put decisions into it."""
        self._work.set()

    async def run(self) -> NoReturn:
        """Publish until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                left = await self.publish_once()
            except (StoreUnavailableError, TransientError) as error:
                LOG.warning("outbox_waits", detail=str(error))
                left = True
                await asyncio.sleep(RETRY_S)
            if left:
                self._work.set()

    async def publish_once(self) -> bool:
        """Publish what waits, a batch at most; true when something is left.

        Raises:
            StoreUnavailableError, TransientError: try again later.
        """
        waiting = await self._store.unpublished(BATCH_MAX)
        if not waiting:
            return False
        held = await self._held()
        settled = {
            decision.message.id: held[decision.message.id]
            for decision in waiting
            if decision.message.id in held
        }
        unsent = [each.message for each in waiting if each.message.id not in settled]
        self._seq_of_id = None  # until it is known what became of each of them
        for message, result in zip(unsent, await self._bus.publish_many(unsent), strict=True):
            if isinstance(result, PublishAck):
                settled[message.id] = result.seq
                self._metrics.decisions.inc()
            elif isinstance(result, PublishRefused):  # for ever: it must not hold up the others
                settled[message.id] = NOWHERE
                self._metrics.refused.inc()
                LOG.error("decision_refused", id=message.id, reason=result.reason)
        if settled:
            await self._store.mark_published(settled)
        if len(settled) < len(waiting):
            await asyncio.sleep(RETRY_S)  # the bus is away, or does not take them now
            return True
        self._seq_of_id = held
        return len(waiting) == BATCH_MAX

    async def _held(self) -> dict[str, StreamSeq]:
        """Return what the stream is known to hold, by id; read again where that is too long ago."""
        now_s = asyncio.get_running_loop().time()
        if self._seq_of_id is None or now_s >= self._read_at_s + READING_VALID_S:
            self._seq_of_id, self._read_at_s = await self._read_stream(), now_s
        return self._seq_of_id

    async def _read_stream(self) -> dict[str, StreamSeq]:
        """Return what the stream holds from where an unmarked decision may lie, by id."""
        # Of the last message that is there: a stream that was emptied goes on counting, and one
        # that was made anew begins again.
        end = await self._bus.last_seq(DECISIONS_STREAM, DECISIONS_SUBJECTS)
        marked = min(await self._store.decision_seq(), end)
        after = StreamSeq(max(0, marked - UNMARKED_MAX))
        found: dict[str, StreamSeq] = {}
        follower = await self._bus.follow(DECISIONS_STREAM, after=after)
        try:
            while after < end:
                records = await follower.fetch(limit=FETCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S)
                if not records:
                    raise TransientError(f"{DECISIONS_STREAM} fell silent at {after} of {end}")
                for record in records:
                    try:
                        found[decode_envelope(record.payload).id] = record.seq
                    except PoisonEventError:
                        continue  # nobody's: it is not in the outbox
                after = records[-1].seq
        finally:
            await follower.close()
        return found
