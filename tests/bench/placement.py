"""What one Pod costs the extender's filter and prioritize, by number of nodes.

All nodes are candidates, half of their cards are broken into, as in a busy cluster. The figure that
counts is per node: kube-scheduler calls both verbs in its one scheduling loop.

    make bench BENCH=placement
"""

import json
import random
import statistics
import time

from hcs_bus.events import AllocationState
from hcs_bus.names import NodeName
from hcs_control.placement import Placement, scores
from hcs_control.placement_cache import PlacementCache
from hcs_control.policy import load_policy
from hcs_control.request import Request
from tests.support.facts import GIB, allocation, device, fingerprint
from tests.support.folding import Folding

NODE_COUNTS = (100, 1_000, 10_000)
DEVICES_PER_NODE = 8
PODS = 7
REQUEST = Request(container="main", vram_bytes=16 * GIB, fp16_gflops=100_000)


def busy_cluster(nodes: int) -> Folding:
    """Return a fleet in which every second card has something on it."""
    choose = random.Random(7)
    folding = Folding(load_policy())
    for n in range(nodes):
        node = NodeName(f"n{n}")
        cards = [device(f"d{n}-{i}", index=i) for i in range(DEVICES_PER_NODE)]
        folding.add(fingerprint(*cards), node=node, event_id=f"{node}/boot/1")
        for i in range(0, DEVICES_PER_NODE, 2):
            share = (f"d{n}-{i}", choose.choice([8, 16, 32, 64]), choose.choice([50, 150, 300]))
            folding.add(allocation(AllocationState.RESERVED, share, pod=f"p{n}-{i}", node=node))
    return folding


def milliseconds_per_pod(folding: Folding, nodes: int) -> tuple[float, float]:
    """Return the CPU time of filter and prioritize: first Pod of a shape, median of later ones."""
    names = [NodeName(f"n{n}") for n in range(nodes)]
    cache = PlacementCache(folding.fleet)
    found_ms = []
    for pod in range(PODS):
        started_s = time.process_time()
        filtered = {node: cache.place(node, REQUEST) for node in names}
        fitting = [node for node, found in filtered.items() if isinstance(found, Placement)]
        again = {node: cache.place(node, REQUEST) for node in fitting}
        scores({node: found for node, found in again.items() if isinstance(found, Placement)})
        found_ms.append((time.process_time() - started_s) * 1e3)
        # One Pod is placed, and so one node changes.
        share = (f"d{pod}-1", 16, 100)
        folding.add(
            allocation(AllocationState.RESERVED, share, pod=f"new-{pod}", node=NodeName(f"n{pod}"))
        )
    return found_ms[0], statistics.median(found_ms[1:])


def main() -> None:
    """Print one JSON line."""
    result: dict[str, object] = {"bench": "placement", "devices_per_node": DEVICES_PER_NODE}
    for nodes in NODE_COUNTS:
        first_ms, later_ms = milliseconds_per_pod(busy_cluster(nodes), nodes)
        result[f"cpu_ms_first_pod_{nodes}_nodes"] = round(first_ms, 2)
        result[f"cpu_ms_later_pod_{nodes}_nodes"] = round(later_ms, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
