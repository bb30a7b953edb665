"""Extenders over the twins: two nodes with a card each, and as many replicas as a test wants."""

import asyncio

import msgspec

from hcs_bus.memory import MemoryBus
from hcs_bus.names import NodeName, PodUid, StreamSeq
from hcs_bus.port import Bus
from hcs_bus.subjects import ALLOCATION_SUBJECTS, FACTS_STREAM
from hcs_control.policy import load_policy
from hcs_control.store.memory import MemoryStore
from hcs_edge.extender.grants import BindRequest
from hcs_edge.extender.ledger import Ledger
from hcs_edge.extender.reconciler import Reconciler
from hcs_edge.extender.scheduling import Scheduling
from hcs_edge.extender.view import FleetView
from tests.support.facts import NODE, START_NS, device, fingerprint, message
from tests.support.folding import Folding
from tests.support.kube_twin import KubeTwin, pod

OTHER = NodeName("gpu-1")


class Replica:
    """One extender: its own view, ledger, verbs and reconciler, on a shared bus and API server."""

    def __init__(self, bus: Bus, store: MemoryStore, kube: KubeTwin) -> None:
        self.now_ns = START_NS
        self.view = FleetView(store, bus)
        self.ledger = Ledger(bus, self.view)
        self.scheduling = Scheduling(
            view=self.view, ledger=self.ledger, kube=kube, clock_ns=lambda: self.now_ns
        )
        self.reconciler = Reconciler(
            view=self.view, ledger=self.ledger, kube=kube, clock_ns=lambda: self.now_ns
        )
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load and follow."""
        await self.view.load()
        self.follow()

    def follow(self) -> None:
        """Follow the bus from where the view stands."""
        self._following = asyncio.create_task(self.view.follow())

    async def stop(self) -> None:
        """End without a word, as a killed process does."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)


class World:
    """Two nodes with one 80 GiB card each."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.store = MemoryStore()
        self.kube = KubeTwin(pod())
        self.replicas: list[Replica] = []

    async def prepare(self) -> None:
        """Put the fingerprints into the log, and project them."""
        folding = Folding(load_policy())
        for node, name in ((NODE, "d0"), (OTHER, "d1")):
            fact = fingerprint(device(name))
            await self.bus.publish_many([message(fact, node=node)])
            folding.add(fact, node=node)
        await self.store.commit(folding.batch())

    async def replica(self) -> Replica:
        """Start another extender."""
        made = Replica(self.bus, self.store, self.kube)
        await made.start()
        self.replicas.append(made)
        return made

    async def ledger_states(self) -> list[str]:
        """Return the ledger's states in order."""
        follower = await self.bus.follow(
            FACTS_STREAM, after=StreamSeq(0), subjects=(ALLOCATION_SUBJECTS,)
        )
        records = await follower.fetch(limit=1000, timeout_s=0.05)
        return [msgspec.json.decode(record.payload)["data"]["state"] for record in records]


def bind(name: str = "pod-1", node: NodeName = NODE) -> BindRequest:
    """Return what the scheduler says at bind."""
    return BindRequest(pod_name=name, pod_namespace="default", pod_uid=PodUid(name), node=node)
