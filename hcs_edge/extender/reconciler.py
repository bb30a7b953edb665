"""Keeps the ledger true to the Pods: what was bound is marked so, what ended is given back.

Two ways lead to the same decisions. The watch reacts at once; the sweep compares everything with a
fresh list, and so finds what a crash or a lost watch left behind. It alone gives a reservation back
that nobody binds. Any number of replicas may reconcile: each decision is made on the view under the
ledger's comparison, so one of them appends.
"""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import structlog

from hcs_bus.errors import BusError
from hcs_edge.extender.grants import LeftOver, left_over, release_left_over, step_for
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.view import FleetView
from hcs_edge.kube.port import KubeApi, KubeError, Pod

LOG = structlog.get_logger()

SWEEP_INTERVAL_S = 10.0
RETRY_S = 1.0


class Reconciler:
    """Follows the Pods of the HCS scheduler."""

    def __init__(
        self,
        *,
        view: FleetView,
        ledger: Ledger,
        kube: KubeApi,
        clock_ns: Callable[[], int],
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
        await self._ledger.append(
            lambda: step_for(self._view.fleet, pod, gone=gone, now_ns=self._clock_ns())
        )

    async def sweep(self) -> None:
        """Compare the whole ledger with a fresh list of Pods."""
        # Before the Pods are asked for: see `left_over`.
        grants = [next(iter(rows.values())) for rows in self._view.fleet.allocations.values()]
        asked_ns = self._clock_ns()
        pods = {pod.metadata.uid: pod for pod in await self._kube.list_pods()}
        for pod in pods.values():
            await self.observe(pod, gone=False)
        for found in left_over(grants, pods, asked_ns):
            await self._release(found)

    async def _release(self, found: LeftOver) -> None:
        await self._ledger.append(
            lambda: release_left_over(self._view.fleet, found, self._clock_ns())
        )
