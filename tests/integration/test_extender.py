"""The extender's view and ledger on a real server, whose log loses its oldest facts."""

import asyncio

import pytest

from hcs_bus.errors import LogGapError
from hcs_bus.events import AllocationState
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId
from hcs_bus.subjects import FACTS_STREAM
from hcs_control.policy import load_policy
from hcs_control.store.memory import MemoryStore
from hcs_edge.extender import view as view_module
from tests.support.backend import Backend
from tests.support.extender import Replica, bind
from tests.support.facts import GIB, allocation, device, fingerprint, heartbeat, message
from tests.support.folding import Folding
from tests.support.kube_twin import KubeTwin, pod

D0 = DeviceId("d0")


@pytest.fixture
async def replica(bus: JetStreamBus, monkeypatch: pytest.MonkeyPatch) -> Replica:
    """Return an extender that has loaded one card of 80 GiB; it looks around without a pause."""
    monkeypatch.setattr(view_module, "FETCH_TIMEOUT_S", 0.05)
    monkeypatch.setattr(view_module, "SURVEY_INTERVAL_S", 0.0)
    folding, store, fact = Folding(load_policy()), MemoryStore(), fingerprint(device("d0"))
    await bus.publish_many([message(fact)])
    folding.add(fact)
    await store.commit(folding.batch())
    made = Replica(bus, store, KubeTwin(*(pod(f"pod-{n}") for n in range(4))))
    await made.view.load()
    return made


async def test_grants_go_on_when_the_newest_has_left_the_log(
    bus: JetStreamBus, backend: Backend, replica: Replica
) -> None:
    replica.follow()
    assert await replica.scheduling.bind(bind("pod-0")) == ""
    await bus.publish_many([message(heartbeat(at_ns=n)) for n in range(5)])
    end = (await bus.stream_state(FACTS_STREAM)).last_seq
    async with asyncio.timeout(10):
        while replica.view.whole_seq < end:
            await asyncio.sleep(0.01)
    await backend.purge_facts(keep=3)
    for name in ("pod-1", "pod-2"):
        assert await replica.scheduling.bind(bind(name)) == ""
    assert replica.view.fleet.devices[D0].vram_allocated_bytes == 48 * GIB
    await replica.stop()


async def test_a_view_that_missed_a_grant_ends(
    bus: JetStreamBus, backend: Backend, replica: Replica
) -> None:
    for name, gib in (("missed", 70), ("seen", 1)):
        fact = allocation(AllocationState.RESERVED, ("d0", gib, 1), pod=name)
        await bus.publish_many([message(fact)])
    await backend.purge_facts(keep=1)
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(replica.view.follow(), 10)
    assert ended.group_contains(LogGapError)
    assert not replica.view.ready
