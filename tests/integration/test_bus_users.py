"""Each user of the bus may say and hear what is its own, and nothing else."""

import asyncio
from collections.abc import Iterator

import nats
import pytest
from nats.aio.msg import Msg

from hcs_bus import jetstream
from hcs_bus.names import Severity
from hcs_edge.local.cluster import Part
from tests.support.local_cluster import LocalCluster, running_cluster

ANSWER_TIMEOUT_S = 5.0


@pytest.fixture(scope="module")
def bus_only() -> Iterator[LocalCluster]:
    """Start a bus with the users of a whole cluster."""
    with running_cluster({Part.NATS}) as started:
        yield started


async def _fate(bus_only: LocalCluster, url: str, subject: str) -> str:
    """Publish as the URL's user; return what came of it: "arrived", or the server's refusal."""
    fate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def on_error(error: Exception) -> None:
        fate.set_result(str(error))

    async def on_message(message: Msg) -> None:
        fate.set_result(f"arrived: {message.subject}")

    observer = await nats.connect(bus_only.nats_url("control"))
    await observer.subscribe(subject, cb=on_message)
    await observer.flush()
    client = await nats.connect(url, error_cb=on_error)
    await client.publish(subject, b"{}")
    try:
        return await asyncio.wait_for(fate, ANSWER_TIMEOUT_S)
    finally:
        await client.close()
        await observer.close()


async def _refusal_to_listen(url: str, subject: str) -> str:
    refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def on_error(error: Exception) -> None:
        refusal.set_result(str(error))

    client = await nats.connect(url, error_cb=on_error)
    await client.subscribe(subject)
    try:
        return await asyncio.wait_for(refusal, ANSWER_TIMEOUT_S)
    finally:
        await client.close()


@pytest.mark.parametrize(
    "subject",
    [
        "hcs.fact.heartbeat.a100-0",
        "hcs.fact.quota.a100-0",
        *(f"hcs.fact.fault.a100-0.{severity}" for severity in Severity),
    ],
)
async def test_an_agent_may_publish_the_facts_of_its_own_node(
    bus_only: LocalCluster, subject: str
) -> None:
    url = bus_only.agent_nats_url("a100-0")
    assert await _fate(bus_only, url, subject) == f"arrived: {subject}"


@pytest.mark.parametrize(
    "subject",
    [
        "hcs.fact.heartbeat.a800-0",
        "hcs.fact.fault.a800-0.fatal",
        "hcs.fact.fault.a100-0",
        "hcs.fact.fault.a100-0.dire",
        "hcs.fact.operator.a100-0",
        "hcs.fact.allocation.a100-0",
        "hcs.decision.isolate.a100-0",
        "$JS.API.STREAM.DELETE.HCS_FACTS",
    ],
)
async def test_an_agent_may_not_publish_anything_else(bus_only: LocalCluster, subject: str) -> None:
    url = bus_only.agent_nats_url("a100-0")
    assert "permissions violation" in await _fate(bus_only, url, subject)


@pytest.mark.parametrize("subject", ["hcs.>", "_INBOX.>", "_INBOX.extender.>"])
async def test_an_agent_may_not_listen_to_others(bus_only: LocalCluster, subject: str) -> None:
    url = bus_only.agent_nats_url("a100-0")
    assert "permissions violation" in await _refusal_to_listen(url, subject)


@pytest.mark.parametrize("subject", ["hcs.fact.heartbeat.a100-0", "$JS.API.STREAM.PURGE.HCS_FACTS"])
async def test_a_reader_changes_nothing(bus_only: LocalCluster, subject: str) -> None:
    url = bus_only.connection.nats_url
    assert "permissions violation" in await _fate(bus_only, url, subject)


async def test_the_streams_may_be_declared_again_by_a_projector_that_restarts(
    bus_only: LocalCluster,
) -> None:
    for _ in range(3):
        bus = await jetstream.connect(bus_only.nats_url("control"), name="projector")
        await bus.ensure_streams()
        await bus.close()
