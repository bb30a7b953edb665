"""Drains a spool into the bus: publish what is oldest, drop it on acknowledgement, try again."""

import asyncio

import structlog

from hcs_bus.events import Fact
from hcs_bus.port import Bus
from hcs_bus.spool import Spool

LOG = structlog.get_logger()

BATCH_ENTRIES_MAX = 200
RETRY_S_INITIAL = 0.1
RETRY_S_MAX = 5.0


class SpoolPublisher:
    """Owns the way from the spool to the bus. `publish` returns once the event is on disk."""

    def __init__(self, spool: Spool, bus: Bus) -> None:
        self._spool = spool
        self._bus = bus
        self._work = asyncio.Event()  # means: "the spool is not empty"
        self._work.set()

    def publish(self, fact: Fact) -> None:
        """Store a fact and wake the loop; raises what `Spool.append` raises."""
        self._spool.append(fact)
        self._work.set()

    async def run(self) -> None:
        """Publish until cancelled; while the bus is silent, wait longer from try to try."""
        retry_s = RETRY_S_INITIAL
        while True:
            await self._work.wait()
            if await self.flush_once():
                retry_s = RETRY_S_INITIAL
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_S_MAX)

    async def flush_once(self) -> bool:
        """Publish one batch; false when the bus acknowledged none of it."""
        # Cleared before reading: an append that comes after the read sets it again.
        self._work.clear()
        entries = self._spool.pending(BATCH_ENTRIES_MAX)
        if not entries:
            return True
        acks = await self._bus.publish_many([entry.message for entry in entries])
        stored = [entry for entry, ack in zip(entries, acks, strict=True) if ack is not None]
        self._spool.acknowledge(stored)
        if len(self._spool) > 0:
            self._work.set()
        return bool(stored)
