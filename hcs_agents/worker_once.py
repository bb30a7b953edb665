"""One look at a node, by the same workers that watch it: open, scan and sample, then end.

A vendor that hangs or crashes is a finding like any other, and bounded in the same way.
"""

import asyncio
from pathlib import Path

from hcs_agents.nics import rdma_nics
from hcs_agents.node_view import NodeView
from hcs_agents.worker import Failure, Observation, WorkerKeeper
from hcs_agents.worker_frames import Mistake, Order, Sampled, Scan
from hcs_agents.worker_nursery import NurseryError, WorkerStarter
from hcs_bus.events import DetectorState

INTERVAL_S = 3600.0  # nobody waits for a second time


async def look_once(
    workers: WorkerStarter, *, call_timeout_s: float, at_ns: int, sysfs: Path = Path("/sys")
) -> NodeView:
    """Return a node of which every vendor has said what there is, or has failed.

    Raises:
        NurseryError: no worker can be started.
    """
    node = NodeView(workers.vendors)
    node.nics = await asyncio.to_thread(rdma_nics, sysfs)
    waiting = set(workers.vendors)
    done = asyncio.Event()

    def observe(observation: Observation) -> None:
        match observation:
            case Scan(report=report) if report.vendor in waiting:
                node.note_scan(observation)
                if report.state is not DetectorState.OK:
                    waiting.discard(report.vendor)
            case Failure(vendor=vendor) if vendor in waiting:
                node.note_failure(observation)
                waiting.discard(vendor)
            case Mistake(vendor=vendor, detail=detail) if vendor in waiting:
                node.note_broken(vendor, detail)
                waiting.discard(vendor)
            case Sampled(vendor=vendor) if vendor in waiting:
                node.note_samples(observation, at_ns=at_ns)
                waiting.discard(vendor)
        if not waiting:
            done.set()

    order = Order(scan_interval_s=INTERVAL_S, sample_interval_s=INTERVAL_S)
    try:
        async with asyncio.TaskGroup() as tasks:
            keepers = [
                tasks.create_task(
                    WorkerKeeper(
                        vendor,
                        workers,
                        observe,
                        order=lambda: order,
                        call_timeout_s=call_timeout_s,
                    ).run()
                )
                for vendor in workers.vendors
            ]
            await done.wait()
            for keeper in keepers:
                keeper.cancel()
    except* NurseryError as group:
        raise NurseryError(str(group.exceptions[0])) from group
    finally:
        await workers.close()
    return node
