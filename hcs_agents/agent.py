"""The agent of one node: what the detectors see becomes facts on the bus.

Detector threads only enqueue. One loop drains the queue, spools facts, and remembers which faults
are in force; another carries the spool to the bus whenever there is one. The first fingerprint
waits until every detector has answered, because what a fingerprint omits is gone; faults wait for
the first fingerprint, because they speak of its cards.
"""

import asyncio
import contextlib
import queue
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from hcs_agents.detectors.port import Detector, FaultSignal
from hcs_agents.fault_catalogue import catalogue, describe
from hcs_agents.fault_memory import FaultMemory, RememberedFault
from hcs_agents.metrics import AgentMetrics
from hcs_agents.quota.server import QuotaServer
from hcs_agents.watcher import Crash, DetectorWatcher, Faults, Observation, Scan
from hcs_bus.envelope import KIND_OF_FACT
from hcs_bus.errors import SpoolFullError, TransientError
from hcs_bus.events import (
    DetectorReport,
    DetectorState,
    Fact,
    Fault,
    FaultState,
    Fingerprint,
    Heartbeat,
)
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName, Vendor
from hcs_bus.port import Bus
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher

LOG = structlog.get_logger()

OBSERVATIONS_MAX = 1000  # at the limit the detector threads wait
FIRST_SCAN_S = 10.0  # a library that takes longer is reported as broken for the time being
CONNECT_RETRY_S = 1.0
FAREWELL_S = 2.0  # how long the end may take to bring the spool to the bus


class AgentError(Exception):
    """A detector failed in a way that no detector may: a mistake of ours."""


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """What differs from node to node."""

    node: NodeName
    version: str
    spool: Path  # directory
    socket: Path  # where containers report their memory
    heartbeat_interval_s: float = 10.0
    fingerprint_interval_s: float = 600.0
    scan_interval_s: float = 2.0


class Agent:
    """See the module's docstring. `run` may be called once."""

    def __init__(
        self,
        settings: AgentSettings,
        detectors: Sequence[Detector],
        *,
        connect: Callable[[], Awaitable[Bus]],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._clock_ns = clock_ns
        self._spool = Spool(settings.spool, node=settings.node)
        self._quota = QuotaServer(settings.socket, self.publish, clock_ns=clock_ns)
        self._metrics = AgentMetrics(spooled=lambda: len(self._spool), quota=self._quota.counters)
        self._memory = FaultMemory(settings.spool)
        self._bus: Bus | None = None
        self._publisher: SpoolPublisher | None = None
        self._observations: queue.Queue[Observation] = queue.Queue(OBSERVATIONS_MAX)
        self._observed = asyncio.Event()  # means: "the queue is not empty"
        self._stopping = False
        self._scans: dict[Vendor, Scan] = {}
        self._fingerprint: Fingerprint | None = None  # the last one told
        self._held: list[tuple[Vendor, FaultSignal]] = []  # until the first fingerprint
        self._vendors = tuple(detector.vendor for detector in detectors)
        self._detectors = tuple(detectors)

    # --- Life -------------------------------------------------------------------------------------

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics."""
        return self._metrics.registry

    @property
    def ready(self) -> bool:
        """Say whether the first fingerprint is on its way."""
        return self._fingerprint is not None

    async def run(self) -> None:
        """Work until cancelled, then bring what is spooled to the bus if that is quick.

        Raises:
            ConfigError: the quota socket cannot be made.
            AgentError: a detector failed in a way that no detector may.
        """
        self._quota.start()
        loop = asyncio.get_running_loop()
        watchers = [self._watcher(detector, loop) for detector in self._detectors]
        LOG.info("agent_starts", node=self._settings.node, spooled=len(self._spool))
        for watcher in watchers:
            watcher.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._drain_forever())
                tasks.create_task(self._beat_forever())
                tasks.create_task(self._publish_forever())
        finally:
            await self._end(watchers)

    def publish(self, fact: Fact) -> None:
        """Put a fact on its way; once this returns it survives the agent. Event loop only."""
        try:
            if self._publisher is None:
                self._spool.append(fact)
            else:
                self._publisher.publish(fact)
        except SpoolFullError:
            LOG.exception("fact_not_kept")
            self._metrics.unkept.inc()
            return
        self._metrics.facts.labels(KIND_OF_FACT[type(fact)]).inc()

    async def _end(self, watchers: Sequence[DetectorWatcher]) -> None:
        self._stopping = True
        for watcher in watchers:
            watcher.stop()
        for watcher in watchers:
            await asyncio.to_thread(watcher.join)
        self._quota.stop()
        if self._bus is not None and self._publisher is not None:
            with contextlib.suppress(TimeoutError, TransientError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._publisher.flush_once()
                    await self._bus.close()
        LOG.info("agent_ends", node=self._settings.node, spooled=len(self._spool))
        self._spool.close()

    # --- From the detectors -----------------------------------------------------------------------

    def _watcher(self, detector: Detector, loop: asyncio.AbstractEventLoop) -> DetectorWatcher:
        def sink(observation: Observation) -> None:
            while not self._stopping:
                try:
                    self._observations.put(observation, timeout=1.0)
                except queue.Full:
                    continue
                loop.call_soon_threadsafe(self._observed.set)
                return

        return DetectorWatcher(
            detector,
            sink,
            active=self._memory.active_of(detector.vendor),
            scan_interval_s=self._settings.scan_interval_s,
        )

    async def _drain_forever(self) -> None:
        loop = asyncio.get_running_loop()
        impatient_at_s = loop.time() + FIRST_SCAN_S
        while True:
            timeout_s = self._settings.fingerprint_interval_s
            if self._fingerprint is None:
                timeout_s = max(0.0, impatient_at_s - loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._observed.wait()
            self._observed.clear()
            if self._fingerprint is None and loop.time() >= impatient_at_s:
                self._give_up_waiting()
            self._drain()

    def _give_up_waiting(self) -> None:
        for vendor in self._vendors:
            detail = f"no answer in {FIRST_SCAN_S:g} s"
            report = DetectorReport(vendor=vendor, state=DetectorState.BROKEN, detail=detail)
            if self._scans.setdefault(vendor, Scan(report=report)).report is report:
                self._note_report(report, device_count=0)

    def _drain(self) -> None:
        """Take everything in the queue, then tell of it: the fingerprint first."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._observations.get_nowait())
        if len(self._scans) == len(self._vendors):
            self._tell_fingerprint()
        if self._fingerprint is not None:
            held, self._held = self._held, []
            for vendor, signal in held:
                self._tell_fault(vendor, signal)

    def _take(self, observation: Observation) -> None:
        match observation:
            case Scan(report=report, devices=devices):
                before = self._scans.get(report.vendor)
                self._scans[report.vendor] = observation
                if before is None or before.report != report or len(before.devices) != len(devices):
                    self._note_report(report, device_count=len(devices))
            case Faults(vendor=vendor, signals=signals):
                self._held += [(vendor, signal) for signal in signals]
            case Crash(vendor=vendor, error=error):
                raise AgentError(f"the {vendor} detector failed: {error!r}") from error

    def _note_report(self, report: DetectorReport, *, device_count: int) -> None:
        LOG.info(
            "detector",
            vendor=report.vendor,
            state=report.state,
            detail=report.detail,
            devices=device_count,
        )
        self._metrics.note_detector(report, device_count)

    # --- Facts ------------------------------------------------------------------------------------

    def _tell_fingerprint(self) -> None:
        """Publish the whole node at the start, on a change, and when the last one is old."""
        now = Fingerprint(
            at_ns=self._clock_ns(),
            agent_version=self._settings.version,
            detectors=tuple(self._scans[vendor].report for vendor in self._vendors),
            devices=tuple(d for vendor in self._vendors for d in self._scans[vendor].devices),
        )
        last, age_ns = self._fingerprint, 0
        if last is not None:
            age_ns = now.at_ns - last.at_ns
            changed = (last.detectors, last.devices) != (now.detectors, now.devices)
            if (
                not changed
                and age_ns < self._settings.fingerprint_interval_s * NANOSECONDS_PER_SECOND
            ):
                return
        self._fingerprint = now
        self.publish(now)
        LOG.info("fingerprint", devices=len(now.devices), age_s=age_ns // NANOSECONDS_PER_SECOND)
        if last is None:
            self._repeat_remembered()

    def _repeat_remembered(self) -> None:
        detail = "still in force when the agent started"
        for fault in self._memory:
            signal = FaultSignal(
                device_id=fault.device_id, code=fault.code, state=FaultState.RAISED, detail=detail
            )
            self._tell_fault(fault.vendor, signal)

    def _tell_fault(self, vendor: Vendor, signal: FaultSignal) -> None:
        known = signal.code in catalogue(vendor)
        description = describe(vendor, signal.code)
        severity = description.severity if known else signal.severity or description.severity
        fault = Fault(
            at_ns=self._clock_ns(),
            device_id=signal.device_id,
            vendor=vendor,
            code=signal.code,
            name=description.name,
            severity=severity,
            state=signal.state,
            detail=signal.detail,
        )
        remembered = RememberedFault(vendor=vendor, device_id=signal.device_id, code=signal.code)
        if signal.state is FaultState.RAISED and signal.lasting:
            self._memory.add(remembered)  # before the spool; see `fault_memory`
        self.publish(fault)
        if signal.state is FaultState.CLEARED:
            self._memory.remove(remembered)
        self._metrics.note_fault(fault)
        LOG.info("fault", device=fault.device_id, code=fault.code, state=fault.state)

    async def _beat_forever(self) -> None:
        while True:
            self.publish(
                Heartbeat(
                    at_ns=self._clock_ns(),
                    interval_s=self._settings.heartbeat_interval_s,
                    spooled=len(self._spool),
                    dropped=self._spool.dropped,
                )
            )
            await asyncio.sleep(self._settings.heartbeat_interval_s)

    async def _publish_forever(self) -> None:
        while True:
            try:
                self._bus = await self._connect()
                break
            except TransientError as error:
                LOG.warning("bus_unreachable", error=str(error), retry_s=CONNECT_RETRY_S)
                await asyncio.sleep(CONNECT_RETRY_S)
        self._publisher = SpoolPublisher(self._spool, self._bus)
        await self._publisher.run()
