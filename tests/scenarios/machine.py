"""The fold, driven by commands: facts of agents and of the ledger in virtual time, and questions.

A command makes an event; folding it answers with what it changed and decided, or with why it was
refused. Agents number their events from 1, each its own; `hold` lets a number be overtaken.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hcs_agents.fault_catalogue import describe
from hcs_bus.errors import PoisonEventError
from hcs_bus.events import AllocationState, DeviceFingerprint, Fact, Fault, FaultState, Tick
from hcs_bus.names import DeviceId, NodeName, PodUid, Vendor
from hcs_control.placement import NoFit, place
from hcs_control.policy import load_policy
from hcs_control.request import Request
from hcs_control.rows import DeviceRow, IsolationRow, Removed
from hcs_control.store.port import change_key
from tests.scenarios.script import ScenarioError
from tests.scenarios.words import (
    Rows,
    change_line,
    decision_line,
    device_line,
    isolation_line,
    struct_line,
)
from tests.support.facts import GIB, SECOND, START_NS, allocation, device, fingerprint, heartbeat
from tests.support.folding import Folding

CLUSTER = NodeName("cluster")
UNITS = {"GiB": "80GiB", "TFLOPS": "312TFLOPS", "s": "30s"}  # unit: an example


class Event(NamedTuple):
    """A fact with the id its source gave it."""

    id: str
    node: NodeName
    fact: Fact


def quantity(text: str, unit: str) -> int:
    """Return the number of a quantity such as "80GiB"."""
    match = re.fullmatch(rf"([0-9]+){unit}", text)
    if match is None:
        raise ScenarioError(f"{text!r}: must be a whole number of {unit}, such as {UNITS[unit]}")
    return int(match[1])


class Machine:
    """One fleet, from nothing, and the way to it."""

    def __init__(self) -> None:
        self._folding = Folding(load_policy())
        self._rows: Rows = {}  # as the tables would hold them, released ones too
        self._now_ns = START_NS
        self._numbers: Counter[NodeName] = Counter()
        self._held: list[Event] = []
        self._last: Event | None = None

    def run(self, command: str) -> list[str]:
        """Obey a command and return its answer, at least one line.

        Raises:
            ScenarioError: there is no such command, or its arguments are wrong.
        """
        name, *arguments = command.split()
        if name == "hold":
            event = self._event(arguments)
            self._held.append(event)
            return [f"{event.id} is on its way"]
        if name in QUESTIONS:
            return _call(self, name, QUESTIONS[name], arguments) or ["none"]
        return self._fold(self._event([name, *arguments]))

    def _event(self, words: list[str]) -> Event:
        name, *arguments = words or [""]
        if name not in EVENTS:
            known = ", ".join(sorted([*EVENTS, *QUESTIONS, "hold"]))
            raise ScenarioError(f"unknown command {name!r}; there are {known}")
        return _call(self, name, EVENTS[name], arguments)

    def _fold(self, event: Event) -> list[str]:
        """Fold an event and say what it did."""
        self._last = event
        folding = self._folding
        try:
            folded = folding.add(event.fact, node=event.node, event_id=event.id)
        except PoisonEventError as error:
            return [f"#{folding.seq} {event.id}: refused: {error}"]
        head = f"#{folding.seq} {event.id}"
        if folded.duplicate:
            return [f"{head}: folded before"]
        lines = [line for change in folded.changes if (line := change_line(self._rows, change))]
        for change in folded.changes:
            if isinstance(change, Removed):
                del self._rows[change_key(change)]
            else:
                self._rows[change_key(change)] = change
        kinds = [
            f"decides: {type(decision).__name__.lower()} {decision.device_id}"
            for decision in folded.decisions
        ]
        return [head, *kinds, *lines] if kinds or lines else [f"{head}: changes nothing"]

    def _from_agent(self, node: NodeName, fact: Fact) -> Event:
        self._numbers[node] += 1
        return Event(f"{node}/boot/{self._numbers[node]}", node, fact)

    # --- Events ----------------------------------------------------------------------------------

    def fingerprint(self, node: str, *devices: str) -> Event:
        """NODE [DEVICE:80GiB:312TFLOPS[:VENDOR]]..."""
        cards = [_device(index, text) for index, text in enumerate(devices)]
        return self._from_agent(NodeName(node), fingerprint(*cards, at_ns=self._now_ns))

    def heartbeat(self, node: str) -> Event:
        """NODE"""  # noqa: D400, D415  # usage, not prose
        return self._from_agent(NodeName(node), heartbeat(at_ns=self._now_ns))

    def fault(self, device_id: str, code: str) -> Event:
        """DEVICE CODE"""  # noqa: D400, D415
        return self._fault(device_id, code, FaultState.RAISED)

    def clear(self, device_id: str, code: str) -> Event:
        """DEVICE CODE"""  # noqa: D400, D415
        return self._fault(device_id, code, FaultState.CLEARED)

    def _fault(self, device_id: str, code: str, state: FaultState) -> Event:
        row = self._device(device_id)
        known = describe(row.vendor, code)
        return self._from_agent(
            row.node_name,
            Fault(
                at_ns=self._now_ns,
                device_id=row.device_id,
                vendor=row.vendor,
                code=code,
                name=known.name,
                severity=known.severity,
                state=state,
            ),
        )

    def tick(self, duration: str) -> Event:
        """30s"""  # noqa: D400, D403, D415
        self._now_ns += quantity(duration, "s") * SECOND
        elapsed_s = (self._now_ns - START_NS) // SECOND
        return Event(f"tick/{elapsed_s}", CLUSTER, Tick(at_ns=self._now_ns))

    def reserve(self, pod: str, device_id: str, vram: str, tflops: str) -> Event:
        """POD DEVICE 16GiB 100TFLOPS"""  # noqa: D400, D415
        share = (device_id, quantity(vram, "GiB"), quantity(tflops, "TFLOPS"))
        node = self._device(device_id).node_name
        return Event(
            f"allocation/{pod}/reserved",
            node,
            allocation(AllocationState.RESERVED, share, pod=pod, node=node),
        )

    def bind(self, pod: str) -> Event:
        """POD"""  # noqa: D400, D415
        return Event(
            f"allocation/{pod}/bound", CLUSTER, allocation(AllocationState.BOUND, pod=pod)
        )

    def release(self, pod: str) -> Event:
        """POD"""  # noqa: D400, D415
        return Event(
            f"allocation/{pod}/released", CLUSTER, allocation(AllocationState.RELEASED, pod=pod)
        )

    def resend(self) -> Event:
        """Nothing: the event folded last comes again."""
        if self._last is None:
            raise ScenarioError("resend: nothing was sent yet")
        return self._last

    def arrive(self) -> Event:
        """Nothing: the event held first arrives."""
        if not self._held:
            raise ScenarioError("arrive: nothing is held")
        return self._held.pop(0)
