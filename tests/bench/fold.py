"""What one event costs the fold, by size of the fleet: CPU time, and memory per device.

The baseline is `json.loads` of the same messages in the same run, so the ratio says how much the
whole fold costs beside merely parsing. The cost must not grow with the fleet.

    make bench BENCH=fold
"""

import gc
import json
import random
import time
import tracemalloc

from hcs_bus.envelope import Message, decode_envelope, decode_fact
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.fold import fold
from hcs_control.policy import load_policy
from tests.support.facts import device, fault, fingerprint, heartbeat, message

DEVICES_PER_NODE = 8
EVENTS = 20_000
FAULT_SHARE = 0.01
NODE_COUNTS = (100, 1_000, 10_000)


def build(nodes: int) -> Fleet:
    """Return a folded fleet."""
    fleet, policy = Fleet(), load_policy()
    for number in range(nodes):
        cards = [device(f"d{number}-{i}", index=i) for i in range(DEVICES_PER_NODE)]
        node = NodeName(f"n{number}")
        sent = message(fingerprint(*cards), node=node, event_id=f"{node}/boot/1")
        envelope = decode_envelope(sent.payload)
        fact = decode_fact(envelope)
        fleet.apply(fold(fleet, policy, StreamSeq(number + 1), envelope, fact).changes)
    return fleet


def mix(nodes: int) -> list[Message]:
    """Return heartbeats with some faults among them."""
    choose = random.Random(7)
    last_n = [1] * nodes  # each agent numbers its own events
    sent = []
    for n in range(EVENTS):
        number = choose.randrange(nodes)
        card = f"d{number}-{choose.randrange(DEVICES_PER_NODE)}"
        fact = fault(card) if choose.random() < FAULT_SHARE else heartbeat(at_ns=n)
        last_n[number] += 1
        node = NodeName(f"n{number}")
        sent.append(message(fact, node=node, event_id=f"{node}/boot/{last_n[number]}"))
    return sent


def fold_all(fleet: Fleet, messages: list[Message], seq: int) -> float:
    """Fold messages and return CPU µs per event."""
    policy = load_policy()
    started_s = time.process_time()
    for offset, sent in enumerate(messages, start=1):
        envelope = decode_envelope(sent.payload)
        fact = decode_fact(envelope)
        fleet.apply(fold(fleet, policy, StreamSeq(seq + offset), envelope, fact).changes)
    return (time.process_time() - started_s) / len(messages) * 1e6


def parse_all(messages: list[Message]) -> float:
    """Parse the same messages and return CPU µs per event."""
    started_s = time.process_time()
    for sent in messages:
        json.loads(sent.payload)
    return (time.process_time() - started_s) / len(messages) * 1e6


def main() -> None:
    """Print one JSON line."""
    result: dict[str, object] = {"bench": "fold", "events": EVENTS}
    for nodes in NODE_COUNTS:
        gc.collect()
        tracemalloc.start()
        fleet = build(nodes)
        held_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        messages = mix(nodes)
        parse_us, fold_us = parse_all(messages), fold_all(fleet, messages, nodes)
        result |= {
            f"cpu_us_per_event_{nodes}_nodes": round(fold_us, 2),
            f"ratio_to_json_loads_{nodes}_nodes": round(fold_us / parse_us, 2),
            f"bytes_per_device_{nodes}_nodes": held_bytes // (nodes * DEVICES_PER_NODE),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
