"""Binds, sweeps and Bindings that overtake each other, answers that come late, and `kill -9`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from hcs_bus.envelope import Message
from hcs_bus.errors import TransientError
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, PodUid, StreamSeq
from hcs_control.rows import Health
from hcs_edge.extender.grants import BINDING_AGE_S_MAX, RESERVATION_TTL_S
from hcs_edge.kube.port import Binding, KubeError, Pod
from tests.support.extender import OTHER, Replica, World, bind
from tests.support.facts import GIB, NODE, SECOND
from tests.support.kube_twin import KubeTwin, pod

POD = PodUid("pod-1")


class LateKube(KubeTwin):
    """An API server that is away at first, or works on Bindings and lists until it is let go on."""

    def __init__(self, *pods: Pod) -> None:
        super().__init__(*pods)
        self.away = False
        self.binding_may_go_on = asyncio.Event()
        self.list_may_go_on = asyncio.Event()
        self.binding_may_go_on.set()
        self.list_may_go_on.set()

    async def bind(self, binding: Binding) -> None:
        """Bind late."""
        if self.away:
            raise KubeError("the API server is away")
        await self.binding_may_go_on.wait()
        await super().bind(binding)

    async def list_pods(self) -> list[Pod]:
        """Answer late with what was so when it was asked."""
        found = await super().list_pods()
        await self.list_may_go_on.wait()
        return found


class LateWorld(World):
    """With that API server."""

    kube: LateKube

    def __init__(self) -> None:
        super().__init__()
        self.kube = LateKube(pod())

    async def reserved_only(self) -> Replica:
        """Return a replica whose Pod is reserved on `NODE`; its Binding came to nothing."""
        replica = await self.replica()
        replica.scheduling.filter(pod(), [NODE, OTHER])
        self.kube.away = True
        assert "away" in await replica.scheduling.bind(bind())
        self.kube.away = False
        return replica

    def let_all_go_on(self) -> None:
        """Release what was held up."""
        self.kube.binding_may_go_on.set()
        self.kube.list_may_go_on.set()


@pytest.fixture
async def world() -> AsyncIterator[LateWorld]:
    """Return a prepared world."""
    made = LateWorld()
    await made.prepare()
    yield made
    made.let_all_go_on()
    for replica in made.replicas:
        await replica.stop()


def later(replica: Replica, seconds: float) -> None:
    """Let time pass for a replica."""
    replica.now_ns += int(seconds * SECOND)


def granted(replica: Replica) -> dict[str, tuple[NodeName, int]]:
    """Return what the Pod holds: node and GiB, by card."""
    rows = replica.view.fleet.allocations.get(POD, {}).values()
    return {row.device_id: (row.node_name, row.vram_bytes // GIB) for row in rows}


async def started(work: Awaitable[str]) -> asyncio.Task[str]:
    """Start a bind and let it come as far as it can."""
    task = asyncio.ensure_future(work)
    for _ in range(50):
        await asyncio.sleep(0)
    return task


async def test_the_sweep_never_takes_a_card_from_under_a_binding(world: LateWorld) -> None:
    replica = await world.reserved_only()
    later(replica, RESERVATION_TTL_S + 1)
    world.kube.binding_may_go_on.clear()
    retry = await started(replica.scheduling.bind(bind()))
    await replica.reconciler.sweep()
    world.let_all_go_on()
    assert "given back" in await retry
    assert world.kube.bindings == []
    assert await world.ledger_states() == ["reserved", "released"]
    assert await replica.scheduling.bind(bind()) == ""
    await replica.reconciler.sweep()
    assert granted(replica) == {"d0": (NODE, 16)}
    assert await world.ledger_states() == ["reserved", "released", "reserved", "bound"]


async def test_a_binding_that_arrives_late_finds_its_reservation(world: LateWorld) -> None:
    replica = await world.reserved_only()
    later(replica, BINDING_AGE_S_MAX)
    world.kube.binding_may_go_on.clear()
    retry = await started(replica.scheduling.bind(bind()))
    later(replica, RESERVATION_TTL_S - BINDING_AGE_S_MAX)
    await replica.reconciler.sweep()
    world.let_all_go_on()
    assert await retry == ""
    assert granted(replica) == {"d0": (NODE, 16)}
    assert await world.ledger_states() == ["reserved"]


async def test_an_old_reservation_gets_no_binding_any_more(world: LateWorld) -> None:
    replica = await world.reserved_only()
    later(replica, BINDING_AGE_S_MAX + 1)
    assert "older than 30 s" in await replica.scheduling.bind(bind())
    assert world.kube.bindings == []


async def test_no_other_node_is_tried_while_a_binding_may_be_under_way(world: LateWorld) -> None:
    replicas = [await world.replica() for _ in range(2)]
    world.kube.binding_may_go_on.clear()
    first = await started(replicas[0].scheduling.bind(bind(node=NODE)))
    # The scheduler has given up waiting, and asks another replica for another node.
    refused = await replicas[1].scheduling.bind(bind(node=OTHER))
    assert f"reserved on node {NODE}" in refused
    world.let_all_go_on()
    assert await first == ""
    assert granted(replicas[1]) == {"d0": (NODE, 16)}
    assert [binding.node for binding in world.kube.bindings] == [NODE]


async def test_a_pod_moves_to_another_node_when_its_reservation_is_given_back(
    world: LateWorld,
) -> None:
    replica = await world.reserved_only()
    later(replica, RESERVATION_TTL_S + 1)
    await replica.reconciler.sweep()
    assert await replica.scheduling.bind(bind(node=OTHER)) == ""
    assert await world.ledger_states() == ["reserved", "released", "reserved"]
    assert granted(replica) == {"d1": (OTHER, 16)}


async def test_filter_sends_a_pod_back_to_its_reservation_though_it_fills_the_card(
    world: LateWorld,
) -> None:
    world.kube.add(pod(vram="80Gi"))
    replica = await world.reserved_only()
    found = replica.scheduling.filter(pod(vram="80Gi"), [NODE, OTHER])
    assert found.nodes == [NODE]
    assert "reserved on node gpu-0" in found.failed[OTHER]


async def test_filter_sends_no_pod_back_to_a_sick_card(world: LateWorld) -> None:
    replica = await world.reserved_only()
    sick = msgspec.structs.replace(
        replica.view.fleet.devices[DeviceId("d0")], health=Health.ISOLATED
    )
    replica.view.fleet.apply([sick])
    assert replica.scheduling.filter(pod(), [NODE, OTHER]).nodes == [OTHER]


async def test_a_sweep_that_was_overtaken_releases_no_newer_reservation(world: LateWorld) -> None:
    slow = await world.reserved_only()
    fast = await world.replica()
    for replica in (slow, fast):
        later(replica, RESERVATION_TTL_S + 1)
    await fast.view.catch_up(timeout_s=5)
    held = world.kube.list_may_go_on
    held.clear()
    overtaken = asyncio.ensure_future(slow.reconciler.sweep())
    await asyncio.sleep(0)
    world.kube.list_may_go_on = asyncio.Event()  # of the lists from now on
    world.kube.list_may_go_on.set()
    await fast.reconciler.sweep()
    assert await fast.scheduling.bind(bind()) == ""
    held.set()
    await overtaken
    assert await world.ledger_states() == ["reserved", "released", "reserved"]
    assert granted(fast) == {"d0": (NODE, 16)}


async def test_a_pod_newer_than_the_list_keeps_its_grant_whatever_the_clocks_say(
    world: LateWorld,
) -> None:
    replica = await world.replica()
    world.kube.pods.clear()
    world.kube.list_may_go_on.clear()
    sweep = asyncio.ensure_future(replica.reconciler.sweep())
    await asyncio.sleep(0)
    world.kube.add(pod())
    later(replica, -SECOND)  # the clock of the replica that reserves is behind
    assert await replica.scheduling.bind(bind()) == ""
    world.let_all_go_on()
    await sweep
    assert await world.ledger_states() == ["reserved"]


async def test_a_reservation_of_a_pod_that_runs_elsewhere_is_given_back(world: LateWorld) -> None:
    replica = await world.reserved_only()
    await replica.reconciler.observe(pod(node=OTHER), gone=False)
    assert await world.ledger_states() == ["reserved", "released"]


class LosingBus(MemoryBus):
    """Stores appends, and loses the answers while told so; remembers the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.lossy = True
        self.ids: list[str] = []

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Append, then fail."""
        self.ids.append(message.id)
        seq = await super().append(message, subjects=subjects, expected_seq=expected_seq)
        if self.lossy:
            raise TransientError("no answer")
        return seq


async def test_a_pod_is_never_bound_to_a_node_with_a_card_of_another() -> None:
    world = LateWorld()
    world.bus = LosingBus()
    await world.prepare()
    replica = Replica(world.bus, world.store, world.kube)
    await replica.view.load()  # and hears nothing of the ledger for a while
    assert "no answer" in await replica.scheduling.bind(bind(node=NODE))
    world.bus.lossy = False
    retry = await started(replica.scheduling.bind(bind(node=OTHER)))
    replica.follow()
    assert f"reserved on node {NODE}" in await retry
    assert world.kube.bindings == []
    # One id for both would make the server say that it has the second.
    assert len(set(world.bus.ids)) == len(world.bus.ids) == 2
    assert await replica.scheduling.bind(bind(node=NODE)) == ""
    assert await world.ledger_states() == ["reserved"]
    await replica.stop()


class Killed(BaseException):
    """`kill -9`: nothing in the process gets to see it."""


class Kill:
    """Kills a bind at its n-th call to the bus or the API server, before or after the effect."""

    def __init__(self, at_call: int, *, done: bool) -> None:
        self.at_call = at_call
        self.done = done
        self.victim: asyncio.Task[Any] | None = None
        self.calls = 0

    def over(self, target: object, *names: str) -> None:
        """Watch methods of the bus or the API server."""
        for name in names:
            setattr(target, name, self._around(getattr(target, name)))

    def _around(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(*args: Any, **options: Any) -> Any:
            if asyncio.current_task() is not self.victim:
                return await call(*args, **options)
            self.calls += 1
            if self.calls == self.at_call and not self.done:
                raise Killed
            result = await call(*args, **options)
            if self.calls == self.at_call:
                raise Killed
            return result

        return watched


CALLS_OF_A_BIND = 4  # GET the Pod, append, ask where the ledger ends, POST the Binding


@pytest.mark.parametrize("retried_on", [NODE, OTHER])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("at_call", range(1, CALLS_OF_A_BIND + 1))
async def test_a_bind_killed_anywhere_is_made_good_by_the_next_extender(
    world: LateWorld, at_call: int, done: bool, retried_on: NodeName
) -> None:
    kill = Kill(at_call, done=done)
    kill.over(world.bus, "append", "last_seq", "stream_state")
    kill.over(world.kube, "get_pod", "bind")
    dying = await world.replica()
    kill.victim = asyncio.ensure_future(dying.scheduling.bind(bind(node=NODE)))
    with pytest.raises(Killed):
        await kill.victim
    await dying.stop()
    successor = await world.replica()
    await successor.view.catch_up(timeout_s=5)
    for _ in range(20):  # the scheduler tries again and again, and the reconciler sweeps
        if not world.kube.pods["default", "pod-1"].spec.nodeName:
            await successor.scheduling.bind(bind(node=retried_on))
        later(successor, 5)
        await successor.reconciler.sweep()
    [binding] = world.kube.bindings
    [(device_id, (node, gib))] = granted(successor).items()
    assert (node, gib) == (binding.node, 16)
    assert binding.annotations["hcs.io/devices"] == device_id
    devices = successor.view.fleet.devices.values()
    assert sum(card.vram_allocated_bytes for card in devices) == 16 * GIB
    assert (await world.ledger_states())[-1] == "bound"
