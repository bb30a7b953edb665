"""The verbs and the reconciler over the twins: nothing given out twice, nothing lost."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from hcs_bus.envelope import Message, encode_decision
from hcs_bus.errors import TransientError
from hcs_bus.events import FaultState, Tick
from hcs_bus.memory import MemoryBus
from hcs_bus.names import DeviceId, NodeName, PodUid, StreamSeq
from hcs_control.policy import load_policy
from hcs_edge.extender.grants import RESERVATION_TTL_S, BindRequest
from hcs_edge.kube.port import Binding, KubeConflictError, KubeError, Pod
from tests.support.extender import OTHER, Replica, World, bind
from tests.support.facts import (
    GIB,
    NODE,
    SECOND,
    START_NS,
    device,
    fault,
    fingerprint,
    heartbeat,
    message,
)
from tests.support.folding import Folding
from tests.support.kube_twin import KubeTwin, pod


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a prepared world."""
    made = World()
    await made.prepare()
    yield made
    for replica in made.replicas:
        await replica.stop()


async def test_filter_passes_nodes_that_fit_and_explains_the_others(world: World) -> None:
    replica = await world.replica()
    found = replica.scheduling.filter(pod(vram="80Gi"), [NODE, OTHER, NodeName("cpu-0")])
    assert found.nodes == [NODE, OTHER]
    assert "no accelerator" in found.failed[NodeName("cpu-0")]


async def test_filter_refuses_a_request_that_cannot_be(world: World) -> None:
    replica = await world.replica()
    assert "not whole" in replica.scheduling.filter(pod(vram="1.5"), [NODE]).error


async def test_the_tighter_node_scores_higher(world: World) -> None:
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    scores = replica.scheduling.prioritize(pod("pod-2"), [NODE, OTHER])
    assert scores[NODE] > scores[OTHER]


async def test_bind_reserves_and_writes_one_binding_with_annotations(world: World) -> None:
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    [binding] = world.kube.bindings
    assert binding.node == NODE
    assert binding.annotations["hcs.io/vendor"] == "nvidia"
    assert binding.annotations["hcs.io/devices"] == "d0"
    assert binding.annotations["hcs.io/nvidia-visible-devices"] == "d0"
    assert binding.annotations["hcs.io/vram-quota"] == str(16 * GIB)
    assert replica.view.fleet.devices[DeviceId("d0")].vram_allocated_bytes == 16 * GIB
    assert await world.ledger_states() == ["reserved"]


async def test_a_repeated_bind_is_a_success_and_takes_nothing_more(world: World) -> None:
    replica = await world.replica()
    assert await replica.scheduling.bind(bind()) == ""
    assert await replica.scheduling.bind(bind()) == ""
    assert await world.ledger_states() == ["reserved"]


async def test_a_node_that_filled_up_is_refused_at_bind(world: World) -> None:
    replica = await world.replica()
    world.kube.add(pod("big", vram="80Gi"))
    assert await replica.scheduling.bind(bind("big")) == ""
    assert "no longer fits" in await replica.scheduling.bind(bind())


async def test_racing_replicas_never_give_a_card_twice(world: World) -> None:
    replicas = [await world.replica() for _ in range(3)]
    names = [f"p{n}" for n in range(12)]
    for name in names:
        world.kube.add(pod(name, vram="16Gi", tflops="10"))
    errors = await asyncio.gather(
        *(replicas[n % 3].scheduling.bind(bind(name)) for n, name in enumerate(names))
    )
    assert sum(error == "" for error in errors) == 5
    for replica in replicas:
        await replica.view.catch_up(timeout_s=5)
        assert replica.view.fleet.devices[DeviceId("d0")].vram_allocated_bytes == 80 * GIB
    assert len(world.kube.bindings) == 5


async def test_a_replica_that_has_not_heard_of_a_grant_decides_again(world: World) -> None:
    first = await world.replica()
    behind = Replica(world.bus, world.store, world.kube)
    await behind.view.load()  # and does not follow yet
    world.kube.add(pod("big", vram="80Gi"))
    assert await first.scheduling.bind(bind("big")) == ""
    binding = asyncio.create_task(behind.scheduling.bind(bind()))
    await asyncio.sleep(0.01)
    assert not binding.done()
    behind.follow()
    world.replicas.append(behind)
    assert "no longer fits" in await binding
    assert await world.ledger_states() == ["reserved"]


async def test_a_restarted_extender_knows_what_was_given_out(world: World) -> None:
    first = await world.replica()
    assert await first.scheduling.bind(bind()) == ""
    await first.stop()
    second = await world.replica()
    await second.view.catch_up(timeout_s=5)
    assert second.view.fleet.devices[DeviceId("d0")].vram_allocated_bytes == 16 * GIB
    assert await second.scheduling.bind(bind()) == ""
    assert await world.ledger_states() == ["reserved"]


async def test_a_decision_that_the_loaded_projection_has_outlived_is_ignored(
    world: World,
) -> None:
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0")))
    folding.add(fingerprint(device("d1")), node=OTHER)
    folding.batch()  # `prepare` has committed these
    folding.add(fault("d0"))
    folding.add(fault("d0", state=FaultState.CLEARED))
    for at_s in (1, 1000):
        folding.add(Tick(at_ns=START_NS + at_s * SECOND), node=NodeName("cluster"))
    await world.store.commit(folding.batch())
    isolate, release = folding.decisions
    sent = [encode_decision(isolate, event_id="projector/1", source="/hcs/projector")]
    await world.bus.publish_many(sent)  # the release is still in the outbox
    await world.bus.publish_many([message(heartbeat(at_ns=n)) for n in range(4)])
    replica = await world.replica()
    await asyncio.sleep(0.05)
    assert replica.view.fleet.devices[release.device_id].usable


async def test_an_isolation_reaches_the_view_through_the_decision_stream(world: World) -> None:
    replica = await world.replica()
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0")))
    folding.seq = StreamSeq(10)
    folding.add(fault("d0"))
    decision = encode_decision(
        folding.decisions[0], event_id="projector/1", source="/hcs/projector"
    )
    await world.bus.publish_many([decision])
    async with asyncio.timeout(5):
        while replica.view.fleet.devices[DeviceId("d0")].usable:
            await asyncio.sleep(0.001)
    assert replica.scheduling.filter(pod(), [NODE, OTHER]).nodes == [OTHER]


class DeafKube(KubeTwin):
    """Writes the Binding, but its answer is lost."""

    async def bind(self, binding: Binding) -> None:
        """Bind, then fail."""
        await super().bind(binding)
        raise KubeError("connection reset")


async def test_a_binding_whose_answer_was_lost_is_recognised_on_retry(world: World) -> None:
    world.kube = DeafKube(pod())
    replica = await world.replica()
    assert "connection reset" in await replica.scheduling.bind(bind())
    assert await replica.scheduling.bind(bind()) == ""
    assert await world.ledger_states() == ["reserved"]


async def test_a_pod_that_is_gone_is_not_bound_and_its_reservation_is_released(
    world: World,
) -> None:
    replica = await world.replica()
    replica.scheduling.filter(pod(), [NODE])
    world.kube.pods.clear()
    assert "404" in await replica.scheduling.bind(bind())
    replica.now_ns += SECOND
    await replica.reconciler.sweep()
    assert await world.ledger_states() == ["reserved", "released"]
    assert replica.view.fleet.devices[DeviceId("d0")].vram_allocated_bytes == 0


async def finished(world: World, phase: str) -> Pod:
    """Bind a Pod and return it as it looks at its end."""
    replica = world.replicas[0]
    assert await replica.scheduling.bind(bind()) == ""
    bound = world.kube.pods[("default", "pod-1")]
    await replica.reconciler.observe(bound, gone=False)
    return msgspec.structs.replace(bound, status=msgspec.structs.replace(bound.status, phase=phase))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_finished_pod_gives_its_share_back(world: World, phase: str) -> None:
    replica = await world.replica()
    ended = await finished(world, phase)
    await replica.reconciler.observe(ended, gone=False)
    assert await world.ledger_states() == ["reserved", "bound", "released"]


async def test_replicas_that_see_the_same_end_release_once(world: World) -> None:
    replicas = [await world.replica() for _ in range(3)]
    ended = await finished(world, "Running")
    for replica in replicas:
        await replica.view.catch_up(timeout_s=5)
    await asyncio.gather(*(replica.reconciler.observe(ended, gone=True) for replica in replicas))
    assert await world.ledger_states() == ["reserved", "bound", "released"]


async def test_a_reservation_that_nobody_binds_is_released_after_its_time(world: World) -> None:
    class NeverBinds(KubeTwin):
        """Refuses every Binding."""

        async def bind(self, binding: Binding) -> None:
            """Fail."""
            raise KubeError("500")

    world.kube = NeverBinds(pod())
    replica = await world.replica()
    await replica.scheduling.bind(bind())
    replica.now_ns += int((RESERVATION_TTL_S - 1) * SECOND)
    await replica.reconciler.sweep()
    assert await world.ledger_states() == ["reserved"]
    replica.now_ns += 2 * SECOND
    await replica.reconciler.sweep()
    assert await world.ledger_states() == ["reserved", "released"]


class SilentBus(MemoryBus):
    """Stores appends, but the answer to the first is lost."""

    lost = 1

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Append, then fail once."""
        seq = await super().append(message, subjects=subjects, expected_seq=expected_seq)
        if self.lost:
            self.lost -= 1
            raise TransientError("no answer")
        return seq


async def test_an_append_whose_answer_was_lost_is_not_made_twice() -> None:
    world = World()
    world.bus = SilentBus()
    await world.prepare()
    replica = await world.replica()
    assert "no answer" in await replica.scheduling.bind(bind())
    assert await replica.scheduling.bind(bind()) == ""
    assert await world.ledger_states() == ["reserved"]
    await replica.stop()


async def test_a_pod_replaced_under_its_name_is_not_bound(world: World) -> None:
    replica = await world.replica()
    stale = BindRequest(
        pod_name="pod-1", pod_namespace="default", pod_uid=PodUid("older"), node=NODE
    )
    assert "gone" in await replica.scheduling.bind(stale)
    assert await world.ledger_states() == []


async def test_the_twin_refuses_a_second_binding() -> None:
    twin = KubeTwin(pod())
    binding = Binding(
        namespace="default", pod_name="pod-1", pod_uid=PodUid("pod-1"), node=NODE, annotations={}
    )
    await twin.bind(binding)
    with pytest.raises(KubeConflictError):
        await twin.bind(binding)
