"""What a message costs the client of the bus, published and followed: CPU time, and the rate.

A real nats-server with the configuration of `hcs up` (it syncs before it acknowledges, which bounds
the rate of publishing) and heartbeats, under uvloop as all programs run. The baseline, in the same
run and in turns with ours, is what nats-py offers itself: `js.publish` under `gather`, and `fetch`
of a pull subscription. Medians of the rounds; a ratio of 5 means a fifth of the CPU time.

    make bench BENCH=bus
"""

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import nats
import uvloop
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from hcs_bus.envelope import CONTENT_TYPE, Message
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishAck
from hcs_bus.subjects import FACTS_STREAM
from tests.support.backend import Backend, start_backend, stop_backend
from tests.support.facts import heartbeat, message

MESSAGES = 10_000  # a round's
BATCH = 1_000
ROUNDS = 5
TIMEOUT_S = 10.0


class Cost(msgspec.Struct):
    """What one round took, by message."""

    cpu_us: float
    wall_us: float


async def cost_of(work: Callable[[], Awaitable[int]]) -> Cost:
    """Measure one round; `work` returns how many messages it was."""
    cpu_s, started_s = time.process_time(), time.perf_counter()
    messages = await work()
    return Cost(
        cpu_us=(time.process_time() - cpu_s) / messages * 1e6,
        wall_us=(time.perf_counter() - started_s) / messages * 1e6,
    )


def batches() -> list[list[Message]]:
    """Return a round's messages."""
    return [[message(heartbeat(at_ns=n)) for n in range(BATCH)] for _ in range(MESSAGES // BATCH)]


async def publish(bus: JetStreamBus, work: list[list[Message]]) -> int:
    """Publish by the adapter."""
    for batch in work:
        results = await bus.publish_many(batch)
        assert all(isinstance(result, PublishAck) for result in results)
    return MESSAGES


async def publish_by_nats(context: JetStreamContext, work: list[list[Message]]) -> int:
    """Publish by nats-py alone."""
    for batch in work:
        await asyncio.gather(
            *(
                context.publish(
                    sent.subject,
                    sent.payload,
                    headers={"Nats-Msg-Id": sent.id, "Content-Type": CONTENT_TYPE},
                )
                for sent in batch
            )
        )
    return MESSAGES


async def follow(bus: JetStreamBus, count: int) -> int:
    """Read the whole stream by the adapter."""
    follower = await bus.follow(FACTS_STREAM, after=StreamSeq(0))
    left = count
    while left > 0:
        left -= len(await follower.fetch(limit=BATCH, timeout_s=TIMEOUT_S))
    await follower.close()
    return count


async def follow_by_nats(context: JetStreamContext, count: int) -> int:
    """Read the whole stream by nats-py alone."""
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True)
    info = await context.add_consumer(FACTS_STREAM, config)
    subscription = await context.pull_subscribe_bind(consumer=info.name, stream=FACTS_STREAM)
    left = count
    while left > 0:
        fetched = await subscription.fetch(BATCH, timeout=TIMEOUT_S)
        # As much as the adapter hands out: position, subject, payload.
        left -= len([(one.metadata.sequence.stream, one.subject, one.data) for one in fetched])
    await subscription.unsubscribe()
    return count


async def measure(backend: Backend) -> dict[str, float]:
    """Return the figures."""
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    client = await nats.connect(backend.nats_url)
    context = client.jetstream()
    costs: dict[str, list[Cost]] = {}

    async def run(name: str, work: Callable[[], Awaitable[int]]) -> None:
        costs.setdefault(name, []).append(await cost_of(work))

    for _ in range(ROUNDS):
        await run("publish", partial(publish, bus, batches()))
        await run("nats_publish", partial(publish_by_nats, context, batches()))
        await run("follow", partial(follow, bus, 2 * MESSAGES))
        await run("nats_fetch", partial(follow_by_nats, context, 2 * MESSAGES))
        await backend.purge_facts(keep=0)
    await client.close()
    await bus.close()
    return figures(costs)


def figures(costs: dict[str, list[Cost]]) -> dict[str, float]:
    """Return medians and ratios."""
    cpu_us = {name: statistics.median(c.cpu_us for c in found) for name, found in costs.items()}
    wall_us = {name: statistics.median(c.wall_us for c in found) for name, found in costs.items()}
    return {
        "publish_us_per_message": round(cpu_us["publish"], 1),
        "publish_messages_per_s": round(1e6 / wall_us["publish"]),
        "publish_ratio_to_nats_py": round(cpu_us["nats_publish"] / cpu_us["publish"], 1),
        "follow_us_per_message": round(cpu_us["follow"], 1),
        "follow_messages_per_s": round(1e6 / wall_us["follow"]),
        "follow_ratio_to_nats_py": round(cpu_us["nats_fetch"] / cpu_us["follow"], 1),
    }


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    backend = start_backend(root)
    try:
        result = uvloop.run(measure(backend))
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"bench": "bus", "messages": MESSAGES, "rounds": ROUNDS, **result}))


if __name__ == "__main__":
    main()
