"""The way of a fact to the bus: into the spool, from there to the bus, out of the spool.

What is oldest is published first, dropped on acknowledgement, and tried again without one; what the
bus refuses for ever is said aloud and counted. What follows a fingerprint awaits its answer: a
fault that came before the fingerprint of its card would be parked, and the card never isolated.
While the spool has no room, facts that nothing supersedes wait in memory, in order, and are tried
again with each new fact and each acknowledgement; the others are dropped and counted.
"""

import asyncio
from collections import deque

import structlog

from hcs_bus.errors import SpoolFullError
from hcs_bus.events import Fact
from hcs_bus.port import Bus, PublishRefused
from hcs_bus.spool import Spool, SpoolEntry, is_superseded
from hcs_bus.subjects import FINGERPRINT_SUBJECTS

LOG = structlog.get_logger()

BATCH_ENTRIES_MAX = 200
RETRY_S_INITIAL = 0.1
RETRY_S_MAX = 5.0
WAITING_MAX = 1_000  # facts in memory, about a megabyte; further ones are lost, and counted
FINGERPRINTS_BEGIN = FINGERPRINT_SUBJECTS.removesuffix("*")


class SpoolPublisher:
    """Owns the way from a fact to the bus. `publish` returns once it is on disk, or waits."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[Fact] = deque()  # for room in the spool
        self._unforgotten: set[int] = set()  # numbers: the bus has them, the disk does not forget
        self._has_room = True  # as far as is known
        self._unkept = 0
        self._work = asyncio.Event()  # means: "the spool is not empty"
        self._work.set()

    @property
    def waiting(self) -> int:
        """Facts in memory that an end of the process would lose."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Events given up: for want of room, on disk or on the way there, or refused by the bus."""
        return self._spool.dropped + self._unkept

    def publish(self, fact: Fact) -> bool:
        """Put a fact on its way, behind those that wait; false when it had to be dropped."""
        self._spool_waiting()
        if not self._waiting and self._append(fact):
            return True
        if is_superseded(fact) or len(self._waiting) >= WAITING_MAX:
            self._unkept += 1
            return False
        self._waiting.append(fact)
        return True

    async def run(self, bus: Bus) -> None:
        """Publish until cancelled; while the bus is silent, wait longer from try to try."""
        retry_s = RETRY_S_INITIAL
        while True:
            await self._work.wait()
            if await self.flush_once(bus):
                retry_s = RETRY_S_INITIAL
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_S_MAX)

    async def flush(self, bus: Bus) -> None:
        """Publish until nothing waits, or the bus takes none of it."""
        while await self.flush_once(bus) and self._work.is_set():
            pass

    async def flush_once(self, bus: Bus) -> bool:
        """Publish one batch; false when the bus took none of it."""
        # Cleared before reading: an append that comes after the read sets it again.
        self._work.clear()
        waiting = self._spool.pending(BATCH_ENTRIES_MAX, without=self._unforgotten)
        entries = _through_fingerprint(waiting)
        results = await bus.publish_many([entry.message for entry in entries]) if entries else []
        done = set()
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, PublishRefused):  # for ever: it must not hold up the others
                self._unkept += 1
                LOG.error("event_refused", id=entry.message.id, reason=result.reason)
            if result is not None:
                done.add(entry.n)
        self._forget(done)
        self._spool_waiting()
        if len(self._spool) > len(self._unforgotten):
            self._work.set()
        return bool(done) or not entries

    def _forget(self, numbers: set[int]) -> None:
        self._unforgotten |= numbers
        if not self._unforgotten:
            return
        try:
            self._spool.acknowledge(self._unforgotten)
        except SpoolFullError as error:
            self._note_room(error)
        else:
            self._unforgotten = set()

    def _spool_waiting(self) -> None:
        while self._waiting and self._append(self._waiting[0]):
            self._waiting.popleft()

    def _append(self, fact: Fact) -> bool:
        try:
            self._spool.append(fact)
        except SpoolFullError as error:
            self._note_room(error)
            return False
        self._note_room(None)
        self._work.set()
        return True

    def _note_room(self, error: SpoolFullError | None) -> None:
        """Say once that there is no room, and once that there is again."""
        had_room, self._has_room = self._has_room, error is None
        if had_room and error is not None:
            LOG.error("spool_has_no_room", error=str(error), spooled=len(self._spool))
        elif not had_room and error is None:
            LOG.info("spool_has_room", waiting=len(self._waiting), unkept=self._unkept)


def _through_fingerprint(entries: list[SpoolEntry]) -> list[SpoolEntry]:
    """Return a batch's beginning, up to its first fingerprint: what follows awaits its answer."""
    for count, entry in enumerate(entries, start=1):
        if entry.message.subject.startswith(FINGERPRINTS_BEGIN):
            return entries[:count]
    return entries
