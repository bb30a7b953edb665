"""An agent's core without detectors, as a program: spool, publisher, bus.

    HCS_NATS_URL=… python -m tests.support.spool_writer NODE SPOOL EVENTS_PER_S

It appends samples in which each card counts one corrected error, now and then a fault's beginning
or end, and sends some events a second time under another message id, as if the server had forgotten
the first. On SIGTERM it brings everything to the bus and ends. It may be killed at any time: the
next one goes on from its spool.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from hcs_bus import jetstream
from hcs_bus.envelope import Message
from hcs_bus.errors import TransientError
from hcs_bus.events import DeviceSample, Fact, FaultState, Samples
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, NodeName
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher
from tests.support.facts import device, fault, fingerprint

CARDS = 2
FAULT_SHARE = 0.05
AGAIN_SHARE = 0.05
SLICE_S = 0.02  # facts are appended in bursts of this length
CODES = ("79", "48")


def cards_of(node: NodeName) -> list[DeviceId]:
    """Return a node's cards."""
    return [DeviceId(f"{node}-{index}") for index in range(CARDS)]


def facts(node: NodeName, choose: random.Random) -> list[Fact]:
    """Return what is told next."""
    at_ns, cards = time.time_ns(), cards_of(node)
    if choose.random() < FAULT_SHARE:
        state = choose.choice(list(FaultState))
        return [fault(choose.choice(cards), choose.choice(CODES), state=state, at_ns=at_ns)]
    samples = tuple(DeviceSample(device_id=card, ecc_corrected=1) for card in cards)
    return [Samples(at_ns=at_ns, interval_s=SLICE_S, devices=samples)]


async def connected(nats_url: str, node: NodeName) -> JetStreamBus:
    """Return a bus; wait for it."""
    while True:
        with contextlib.suppress(TransientError):
            return await jetstream.connect(nats_url, name=f"writer-{node}")
        await asyncio.sleep(SLICE_S)


async def send_again(bus: JetStreamBus, spool: Spool, choose: random.Random) -> None:
    """Send some of what waits under other ids, for ever: only the fold can tell it is the same."""
    for number in itertools.count():
        entries = [one for one in spool.pending(20) if choose.random() < AGAIN_SHARE]
        await bus.publish_many(
            [
                Message(
                    subject=entry.message.subject,
                    id=f"{entry.message.id}/again/{number}",
                    payload=entry.message.payload,
                )
                for entry in entries
            ]
        )
        await asyncio.sleep(SLICE_S)


async def write(node: NodeName, directory: Path, events_per_s: float) -> None:
    """Append and publish until SIGTERM, then empty the spool."""
    choose = random.Random(f"{node} {os.getpid()}")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    spool = Spool(directory, node=node)
    publisher = SpoolPublisher(spool)
    cards = (device(card, index=index) for index, card in enumerate(cards_of(node)))
    publisher.publish(fingerprint(*cards, at_ns=time.time_ns()))
    bus = await connected(os.environ["HCS_NATS_URL"], node)
    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(publisher.run(bus))
        sending_again = tasks.create_task(send_again(bus, spool, choose))
        while not stopped.is_set():
            for _ in range(round(events_per_s * SLICE_S)):
                for fact in facts(node, choose):
                    publisher.publish(fact)
            await asyncio.sleep(SLICE_S)
        while len(spool):
            await asyncio.sleep(SLICE_S)
        publishing.cancel()
        sending_again.cancel()
    await bus.close()
    spool.close()


if __name__ == "__main__":
    asyncio.run(write(NodeName(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
