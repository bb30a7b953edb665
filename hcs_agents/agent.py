"""The agent of one node: what the detectors see becomes facts on the bus.

Each vendor's detector runs in a worker process, whose words only enqueue. One loop drains the
queue, spools facts, and remembers which faults are in force; another carries the spool to the bus
whenever there is one. The first fingerprint waits until every vendor has answered, because what a
fingerprint omits is gone; faults wait for the first fingerprint, because they speak of its cards.

A vendor whose worker hangs has the fault `hang` on each of its cards: which of them it was, nobody
can say. That fault is the agent's own; it ends when each kind of call has returned again.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from hcs_agents.detectors.port import FaultSignal
from hcs_agents.enforcement import GRACE_S, Enforcement, look_up
from hcs_agents.fault_catalogue import HANG, catalogue, describe
from hcs_agents.fault_memory import FaultMemory, RememberedFault
from hcs_agents.fault_repeats import FaultRepeats
from hcs_agents.metrics import AgentMetrics
from hcs_agents.nics import rdma_nics
from hcs_agents.node_view import NodeView
from hcs_agents.quota.credentials import PROC
from hcs_agents.quota.server import QuotaServer, bytes_by_card
from hcs_agents.watcher import next_multiple
from hcs_agents.worker import Failure, FailureKind, Observation, Recovery, WorkerKeeper
from hcs_agents.worker_frames import Faults, Mistake, OnCards, Order, Sampled, Scan
from hcs_agents.worker_nursery import WorkerStarter
from hcs_bus.clock_steps import ClockSteps
from hcs_bus.envelope import KIND_OF_FACT
from hcs_bus.errors import TransientError
from hcs_bus.events import Fact, Fault, FaultState, Fingerprint, Heartbeat, Quota
from hcs_bus.names import NANOSECONDS_PER_SECOND, DeviceId, NodeName, Vendor
from hcs_bus.port import Bus
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher

LOG = structlog.get_logger()

FIRST_SCAN_S = 10.0  # a library that takes longer is reported as broken for the time being
CONNECT_RETRY_S = 1.0
SAMPLES_LAG = 0.2  # of their interval: workers have sampled by then, and their words are here
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
    sample_interval_s: float = 10.0
    call_timeout_s: float = 10.0  # a vendor's call that takes longer hangs
    grace_s: float = GRACE_S  # how long a Pod's process may use a card without a quota, unreported
    sysfs: Path = Path("/sys")
    proc: Path = PROC


class Agent:
    """See the module's docstring. `run` may be called once.

    Raises:
        ConfigError: another agent has this node's spool.
    """

    def __init__(
        self,
        settings: AgentSettings,
        workers: WorkerStarter,
        *,
        connect: Callable[[], Awaitable[Bus]],
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._connect = connect
        self._clock_ns = clock_ns
        self._monotonic_ns = monotonic_ns
        self._clock_steps = ClockSteps()
        self._spool = Spool(settings.spool, node=settings.node)
        self._publisher = SpoolPublisher(self._spool)
        self._quota = QuotaServer(
            settings.socket, self.publish, clock_ns=clock_ns, proc=settings.proc
        )
        self._enforcement = Enforcement(grace_s=settings.grace_s)
        self._node = NodeView(workers.vendors)
        self._metrics = AgentMetrics(
            spool=self._spool,
            publisher=self._publisher,
            quota=self._quota.counters,
            usage=self._usage_now,
            node=self._node,
            enforcement=self._enforcement,
        )
        self._memory = FaultMemory(settings.spool)
        self._bus: Bus | None = None
        self._observations: deque[Observation] = deque()
        self._observed = asyncio.Event()  # means: "there is something to take or to tell"
        self._fingerprint: Fingerprint | None = None  # the last one told
        self._held: list[tuple[Vendor, FaultSignal]] = []  # until the first fingerprint
        self._repeats = {vendor: FaultRepeats() for vendor in workers.vendors}

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
        LOG.info("agent_starts", node=self._settings.node, spooled=len(self._spool))
        try:
            async with asyncio.TaskGroup() as tasks:
                for vendor in self._workers.vendors:
                    tasks.create_task(self._keeper(vendor).run())
                tasks.create_task(self._drain_forever())
                tasks.create_task(self._sample_forever())
                tasks.create_task(self._look_at_nics_forever())
                tasks.create_task(self._beat_forever())
                tasks.create_task(self._publish_forever())
        finally:
            await self._end()

    def publish(self, fact: Fact) -> None:
        """Put a fact on its way; once this returns it survives the agent. Event loop only."""
        kind = KIND_OF_FACT[type(fact)]
        if self._publisher.publish(fact):
            self._metrics.facts.labels(kind).inc()
        else:
            self._metrics.unkept.labels(kind).inc()

    def _usage_now(self) -> list[Quota]:
        return [*self._enforcement.state(at_ns=self._clock_ns()), *self._quota.state()]

    async def _end(self) -> None:
        await self._workers.close()
        with contextlib.suppress(AgentError):  # it ends anyway
            self._drain()
        self._tell_repeats(now_s=math.inf)
        self._quota.stop()
        if self._bus is not None:
            with contextlib.suppress(TimeoutError, TransientError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._publisher.flush(self._bus)
                    await self._bus.close()
        LOG.info("agent_ends", node=self._settings.node, spooled=len(self._spool))
        self._spool.close()

    # --- From the workers -------------------------------------------------------------------------

    def _keeper(self, vendor: Vendor) -> WorkerKeeper:
        def order() -> Order:
            # A hang is no fault of the detector's: it could not tell of its end.
            active = [fault for fault in self._memory.active_of(vendor) if fault.code != HANG]
            return Order(
                scan_interval_s=self._settings.scan_interval_s,
                sample_interval_s=self._settings.sample_interval_s,
                active=tuple(active),
            )

        return WorkerKeeper(
            vendor,
            self._workers,
            self._observe,
            order=order,
            call_timeout_s=self._settings.call_timeout_s,
        )

    def _observe(self, observation: Observation) -> None:
        self._observations.append(observation)
        self._observed.set()

    async def _drain_forever(self) -> None:
        loop = asyncio.get_running_loop()
        impatient_at_s = loop.time() + FIRST_SCAN_S
        while True:
            timeout_s = self._settings.fingerprint_interval_s
            if self._fingerprint is None:
                timeout_s = max(0.0, impatient_at_s - loop.time())
            for repeats in self._repeats.values():
                timeout_s = min(timeout_s, max(0.0, repeats.due_at_s - loop.time()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._observed.wait()
            self._observed.clear()
            if self._fingerprint is None and loop.time() >= impatient_at_s:
                self._give_up_waiting()
            self._drain()

    def _give_up_waiting(self) -> None:
        for vendor in self._workers.vendors:
            if self._node.report_of(vendor) is None:
                self._node.note_broken(vendor, f"no answer in {FIRST_SCAN_S:g} s")
                self._note_report(vendor)

    def _drain(self) -> None:
        """Take everything in the queue, then tell of it: the fingerprint first."""
        while self._observations:
            self._take(self._observations.popleft())
        if self._node.is_complete:
            self._tell_fingerprint()
        if self._fingerprint is not None:
            now_s = asyncio.get_running_loop().time()
            held, self._held = self._held, []
            for vendor, signal in held:
                if self._repeats[vendor].take(signal, now_s=now_s):
                    self._tell_fault(vendor, signal)
            self._tell_repeats(now_s=now_s)

    def _tell_repeats(self, *, now_s: float) -> None:
        for vendor, repeats in self._repeats.items():
            for signal in repeats.due(now_s=now_s):
                self._tell_fault(vendor, signal)

    def _take(self, observation: Observation) -> None:
        match observation:
            case Scan(report=report):
                before = self._node.report_of(report.vendor)
                device_count = len(self._node.devices_of(report.vendor))
                self._node.note_scan(observation)
                if before != report or device_count != len(observation.devices):
                    self._note_report(report.vendor)
            case Faults(vendor=vendor, signals=signals):
                self._held += [(vendor, signal) for signal in signals]
            case Sampled():
                self._node.note_samples(observation, at_ns=self._clock_ns())
            case OnCards():
                self._note_processes(observation)
            case Failure(vendor=vendor, kind=kind, detail=detail):
                self._node.note_failure(observation)
                self._note_report(vendor)
                self._metrics.note_failure(observation)
                if kind is FailureKind.HANG:
                    self._hold_hangs(vendor, detail)
            case Recovery(vendor=vendor):
                self._held += [
                    (vendor, _hang(device_id, FaultState.CLEARED))
                    for device_id in sorted(self._hanging(vendor))
                ]
            case Mistake(vendor=vendor, detail=detail):
                raise AgentError(f"the {vendor} detector failed: {detail}")

    def _hold_hangs(self, vendor: Vendor, detail: str) -> None:
        hanging = self._hanging(vendor)
        self._held += [
            (vendor, _hang(device_id, FaultState.RAISED, detail))
            for device_id in self._node.last_seen_of(vendor)
            if device_id not in hanging
        ]

    def _hanging(self, vendor: Vendor) -> set[DeviceId]:
        """Return the cards that hang when all is told that waits to be."""
        hanging = {
            fault.device_id
            for fault in self._memory
            if fault.vendor is vendor and fault.code == HANG
        }
        for of, signal in self._held:
            if of is vendor and signal.code == HANG:
                raised = signal.state is FaultState.RAISED
                hanging = hanging | {signal.device_id} if raised else hanging - {signal.device_id}
        return hanging

    def _note_processes(self, listed: OnCards) -> None:
        """Tell of the Pods that use cards without a quota, and the others what the driver says."""
        cards = self._node.devices_of(listed.vendor)
        self._quota.tell_driver(
            bytes_by_card(listed.processes, {card.device_id: card.vram_bytes for card in cards}),
            looked_at_ns=listed.looked_at_ns,
        )
        now_s = asyncio.get_running_loop().time()
        seen = look_up(listed.processes, proc=self._settings.proc)
        self._enforcement.note(listed.vendor, seen, connected=self._quota.pids, now_s=now_s)
        for fact in self._enforcement.due(now_s=now_s, at_ns=self._clock_ns()):
            self.publish(fact)
            LOG.warning(
                "unenforced", pod=fact.pod_uid, device=fact.device_id, processes=fact.processes
            )

    def _note_report(self, vendor: Vendor) -> None:
        report = self._node.report_of(vendor)
        if report is None:
            raise AssertionError(f"no report of {vendor}")
        device_count = len(self._node.devices_of(vendor))
        LOG.info(
            "detector",
            vendor=vendor,
            state=report.state,
            detail=report.detail,
            devices=device_count,
        )
        self._metrics.note_detector(report, device_count)

    # --- Facts ------------------------------------------------------------------------------------

    def _tell_fingerprint(self) -> None:
        """Publish the whole node at the start, on a change, and when the last one is old."""
        now = self._node.fingerprint(at_ns=self._clock_ns(), agent_version=self._settings.version)
        last, age_ns = self._fingerprint, 0
        if last is not None:
            age_ns = now.at_ns - last.at_ns
            changed = msgspec.structs.replace(now, at_ns=last.at_ns) != last
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
            lasting=signal.lasting,
        )
        remembered = RememberedFault(vendor=vendor, device_id=signal.device_id, code=signal.code)
        if signal.state is FaultState.RAISED and signal.lasting:
            with _despite_a_full_disk():
                self._memory.add(remembered)  # before the spool; see `fault_memory`
        self.publish(fault)
        if signal.state is FaultState.CLEARED:
            with _despite_a_full_disk():
                self._memory.remove(remembered)
        self._metrics.note_fault(fault)
        LOG.info("fault", device=fault.device_id, code=fault.code, state=fault.state)

    async def _beat_forever(self) -> None:
        while True:
            at_ns = self._clock_ns()
            self._note_clock(at_ns)
            self.publish(
                Heartbeat(
                    at_ns=at_ns,
                    interval_s=self._settings.heartbeat_interval_s,
                    spooled=len(self._spool),
                    dropped=self._publisher.dropped,
                )
            )
            await asyncio.sleep(self._settings.heartbeat_interval_s)

    def _note_clock(self, at_ns: int) -> None:
        """Say so if the clock was set since the last heartbeat: every fact carries it."""
        step_s = self._clock_steps.step_s(wall_ns=at_ns, monotonic_ns=self._monotonic_ns())
        if step_s is not None:
            self._metrics.clock_steps.inc()
            LOG.warning("clock_stepped", step_s=step_s)

    async def _publish_forever(self) -> None:
        while True:
            try:
                self._bus = await self._connect()
                break
            except TransientError as error:
                LOG.warning("bus_unreachable", error=str(error), retry_s=CONNECT_RETRY_S)
                await asyncio.sleep(CONNECT_RETRY_S)
        await self._publisher.run(self._bus)

    async def _sample_forever(self) -> None:
        """Tell of samples a little after the workers took them, all vendors' in one fact."""
        interval_s = self._settings.sample_interval_s
        lag_s = SAMPLES_LAG * interval_s
        while True:
            now_s = time.monotonic()
            await asyncio.sleep(next_multiple(now_s - lag_s, interval_s) + lag_s - now_s)
            if self._fingerprint is None:
                continue  # nobody knows these cards yet; what they count is kept
            samples = self._node.take_samples(interval_s=interval_s)
            if samples is not None:
                self.publish(samples)

    async def _look_at_nics_forever(self) -> None:
        """Keep the network cards up to date; off the loop, for the kernel may ask the card."""
        while True:
            nics = await asyncio.to_thread(rdma_nics, self._settings.sysfs)
            if nics != self._node.nics:
                self._node.nics = nics
                self._observed.set()
            await asyncio.sleep(self._settings.scan_interval_s)


def _hang(device_id: DeviceId, state: FaultState, detail: str = "") -> FaultSignal:
    return FaultSignal(device_id=device_id, code=HANG, state=state, detail=detail)


@contextlib.contextmanager
def _despite_a_full_disk() -> Iterator[None]:
    """Go on when the fault memory cannot be written: the fault counts, not its file."""
    try:
        yield
    except OSError as error:
        LOG.exception("fault_memory_not_written", error=str(error))
