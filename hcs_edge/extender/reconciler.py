"""Keeps the ledger true to the Pods: what was bound is marked so, what ended is given back.

Two ways lead to the same decisions. The watch reacts at once; the sweep compares everything with a
fresh list, and so finds what a crash or a lost watch left behind. Any number of replicas may
reconcile: each decision is made on the view under the ledger's comparison, so one of them appends.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from hcs_bus.errors import BusError
from hcs_bus.events import Allocation, AllocationState
from hcs_bus.names import NANOSECONDS_PER_SECOND, PodUid
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.view import FleetView
from hcs_edge.kube.port import KubeApi, KubeError, Pod

LOG = structlog.get_logger()

SWEEP_INTERVAL_S = 10.0
RESERVATION_TTL_S = 60.0  # a bind takes at most the scheduler's 5 s and one retry's back-off
RETRY_S = 1.0


class Reconciler:
    """Follows the Pods of the HCS scheduler."""

    def __init__(
        self,
        *,
        view: FleetView,
        ledger: Ledger,
        kube: KubeApi,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._view = view
        self._ledger = ledger
        self._kube = kube
        self._clock_ns = clock_ns

    async def run(self) -> None:
        """Watch and sweep until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._sweep())

    async def _watch(self) -> NoReturn:
        while True:
            try:
                async for event_type, pod in self._kube.watch_pods():
                    await self.observe(pod, gone=event_type == "DELETED")
            except (KubeError, BusError) as error:
                LOG.warning("watch_interrupted", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _sweep(self) -> NoReturn:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                await self.sweep()
            except (KubeError, BusError) as error:
                LOG.warning("sweep_interrupted", error=str(error))

    async def observe(self, pod: Pod, *, gone: bool) -> None:
        """Bring the ledger up to date with one Pod."""
        if gone or pod.finished:
            reason = "Pod deleted" if gone else f"Pod {pod.status.phase.lower()}"
            await self._step(pod.metadata.uid, AllocationState.RELEASED, reason)
        elif pod.spec.nodeName:
            await self._step(pod.metadata.uid, AllocationState.BOUND, "")

    async def sweep(self) -> None:
        """Compare the whole ledger with a fresh list of Pods."""
        started_ns = self._clock_ns()
        pods = {pod.metadata.uid: pod for pod in await self._kube.list_pods()}
        for pod in pods.values():
            await self.observe(pod, gone=False)
        for pod_uid, reason in self._left_over(pods, started_ns):
            await self._step(pod_uid, AllocationState.RELEASED, reason)

    def _left_over(self, pods: dict[PodUid, Pod], started_ns: int) -> list[tuple[PodUid, str]]:
        """Return grants without a living Pod. The list is older than grants made since."""
        found = []
        for pod_uid, rows in self._view.fleet.allocations.items():
            reserved_at_ns = max(row.reserved_at_ns for row in rows.values())
            age_s = (started_ns - reserved_at_ns) / NANOSECONDS_PER_SECOND
            if age_s < 0:
                continue
            pod = pods.get(pod_uid)
            if pod is None:
                found.append((pod_uid, "Pod is gone"))
            elif not pod.spec.nodeName and age_s > RESERVATION_TTL_S:
                found.append((pod_uid, f"not bound within {RESERVATION_TTL_S:.0f} s"))
        return found

    async def _step(self, pod_uid: PodUid, state: AllocationState, reason: str) -> None:
        def decide() -> Allocation | None:
            rows = list(self._view.fleet.allocations.get(pod_uid, {}).values())
            if not rows or rows[0].state is state:
                return None
            return Allocation(
                at_ns=self._clock_ns(),
                pod_uid=pod_uid,
                namespace=rows[0].namespace,
                pod_name=rows[0].pod_name,
                node=rows[0].node_name,
                state=state,
                reason=reason,
            )

        await self._ledger.append(decide)
