"""The fold, driven by commands: facts of agents and of the ledger in virtual time, and questions.

A command makes an event; folding it answers with what it changed and decided, or with why it was
refused. Agents number their events from 1, each its own; `hold` lets a number be overtaken.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from hcs_agents.fault_catalogue import describe
from hcs_bus.errors import PoisonEventError
from hcs_bus.events import (
    Allocation,
    AllocationState,
    DeviceFingerprint,
    DeviceSample,
    Fact,
    Fault,
    FaultState,
    Operator,
    OperatorVerb,
    PolicyDocument,
    Samples,
    Tick,
)
from hcs_bus.names import DeviceId, NodeName, Vendor
from hcs_control.placement import NoFit, place
from hcs_control.policy import load_policy
from hcs_control.request import Request
from hcs_control.rows import DeviceCounterRow, DeviceRow, IsolationRow, Removed
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

T = TypeVar("T")

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
        self._folded: dict[str, Event] = {}  # by id, the newest last

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
        self._folded[event.id] = self._folded.pop(event.id, event)
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
        """An agent says all of its node's cards, each as DEVICE:80GiB:312TFLOPS[:VENDOR]."""
        cards = [_device(index, text) for index, text in enumerate(devices)]
        return self._from_agent(NodeName(node), fingerprint(*cards, at_ns=self._now_ns))

    def heartbeat(self, node: str) -> Event:
        """An agent says that it lives."""
        return self._from_agent(NodeName(node), heartbeat(at_ns=self._now_ns))

    def fault(self, device: str, code: str) -> Event:
        """The agent of the card's node reports a fault."""
        return self._fault(device, code, FaultState.RAISED)

    def clear(self, device: str, code: str) -> Event:
        """The agent of the card's node reports a fault's end."""
        return self._fault(device, code, FaultState.CLEARED)

    def _fault(self, device: str, code: str, state: FaultState) -> Event:
        row = self._device(device)
        known = describe(row.vendor, code)
        fact = Fault(
            at_ns=self._now_ns,
            device_id=row.device_id,
            vendor=row.vendor,
            code=code,
            name=known.name,
            severity=known.severity,
            state=state,
        )
        return self._from_agent(row.node_name, fact)

    def occurrence(self, device: str, code: str) -> Event:
        """The agent of the card's node reports something that has no end."""
        event = self._fault(device, code, FaultState.RAISED)
        return event._replace(fact=msgspec.structs.replace(event.fact, lasting=False))

    def samples(self, node: str, *counts: str) -> Event:
        """An agent says what its cards do, each as DEVICE or DEVICE:COUNTER=GROWTH."""
        devices = tuple(_sample(text) for text in counts)
        fact = Samples(at_ns=self._now_ns, interval_s=10.0, devices=devices)
        return self._from_agent(NodeName(node), fact)

    def operator(self, verb: str, node: str, device: str = "") -> Event:
        """A person wants a card, or a whole node's cards, isolated or released."""
        fact = Operator(
            at_ns=self._now_ns,
            verb=OperatorVerb(verb),
            node=NodeName(node),
            device_id=DeviceId(device) if device else None,
            who="alice",
            why="a test",
        )
        return Event(f"operator/{len(self._folded)}", fact.node, fact)

    def policy(self, version: str, *codes: str) -> Event:
        """A policy is put in force: the codes of NVIDIA's cards that isolate one for 60 s."""
        rule = (
            f'[[rule]]\nname = "r"\nvendor = "nvidia"\nrelease_after_s = 60\ncodes = {list(codes)}'
        )
        document = f'version = "{version}"\n{rule}\n'
        if not codes:
            document = f'version = "{version}"\nrule = []\n'
        fact = PolicyDocument(
            at_ns=self._now_ns, version=version, document=document, who="alice", why="a test"
        )
        return Event(f"policy/{version}", CLUSTER, fact)

    def tick(self, duration: str) -> Event:
        """Time passes, and the timer says so."""
        self._now_ns += quantity(duration, "s") * SECOND
        elapsed_s = (self._now_ns - START_NS) // SECOND
        return Event(f"tick/{elapsed_s}", CLUSTER, Tick(at_ns=self._now_ns))

    def reserve(self, pod: str, device: str, vram: str, tflops: str, node: str = "") -> Event:
        """The ledger takes a share of a card, on its own node unless another is named."""
        share = (device, quantity(vram, "GiB"), quantity(tflops, "TFLOPS"))
        return self._from_ledger(
            pod,
            allocation(
                AllocationState.RESERVED,
                share,
                pod=pod,
                node=NodeName(node) if node else self._device(device).node_name,
            ),
        )

    def bind(self, pod: str) -> Event:
        """The ledger notes that a Pod got its Binding."""
        return self._from_ledger(pod, allocation(AllocationState.BOUND, pod=pod))

    def release(self, pod: str) -> Event:
        """The ledger gives back what a Pod had."""
        return self._from_ledger(pod, allocation(AllocationState.RELEASED, pod=pod))

    def _from_ledger(self, pod: str, fact: Allocation) -> Event:
        return Event(f"allocation/{pod}/{fact.state}", fact.node, fact)

    def resend(self, event_id: str = "") -> Event:
        """An event comes again: the newest, unless an id is given."""
        if event_id:
            if event_id not in self._folded:
                raise ScenarioError(f"{event_id!r} was not sent; there are: {list(self._folded)}")
            return self._folded[event_id]
        if not self._folded:
            raise ScenarioError("nothing was sent yet")
        return next(reversed(self._folded.values()))

    def arrive(self) -> Event:
        """The event held longest arrives."""
        if not self._held:
            raise ScenarioError("nothing is held")
        return self._held.pop(0)

    # --- Questions -------------------------------------------------------------------------------

    def place(self, node: str, vram: str, tflops: str) -> list[str]:
        """Which cards of a node would serve a request now."""
        request = Request(
            container="main",
            vram_bytes=quantity(vram, "GiB") * GIB,
            fp16_gflops=quantity(tflops, "TFLOPS") * 1000,
        )
        found = place(self._folding.fleet, NodeName(node), request)
        if isinstance(found, NoFit):
            return [f"nowhere: {found.reason}"]
        return [
            struct_line(share, "device_id", "vram_bytes", "fp16_gflops") for share in found.shares
        ]

    def devices(self) -> list[str]:
        """How each card stands."""
        return [device_line(row) for row in self._rows.values() if isinstance(row, DeviceRow)]

    def isolations(self) -> list[str]:
        """Which isolations there were ever."""
        return [isolation_line(row) for row in self._rows.values() if isinstance(row, IsolationRow)]

    def decisions(self) -> list[str]:
        """What was decided ever, and what it rests on."""
        return [decision_line(decision) for decision in self._folding.decisions]

    def _device(self, device: str) -> DeviceRow:
        row = self._folding.fleet.devices.get(DeviceId(device))
        if row is None:
            known = ", ".join(self._folding.fleet.devices)
            raise ScenarioError(f"no fingerprint has a card {device!r}; known are: {known}")
        return row


EVENTS: dict[str, Callable[..., Event]] = {
    "fingerprint": Machine.fingerprint,
    "heartbeat": Machine.heartbeat,
    "fault": Machine.fault,
    "clear": Machine.clear,
    "occurrence": Machine.occurrence,
    "samples": Machine.samples,
    "operator": Machine.operator,
    "policy": Machine.policy,
    "tick": Machine.tick,
    "reserve": Machine.reserve,
    "bind": Machine.bind,
    "release": Machine.release,
    "resend": Machine.resend,
    "arrive": Machine.arrive,
}
QUESTIONS: dict[str, Callable[..., list[str]]] = {
    "place": Machine.place,
    "devices": Machine.devices,
    "isolations": Machine.isolations,
    "decisions": Machine.decisions,
}


def _call(machine: Machine, name: str, method: Callable[..., T], arguments: list[str]) -> T:
    signature = inspect.signature(method)
    try:
        signature.bind(machine, *arguments)
    except TypeError as error:
        wanted = " ".join(parameter.upper() for parameter in _words(signature))
        raise ScenarioError(f"{name}: {error}; usage: {name} {wanted}") from error
    return method(machine, *arguments)


def _words(signature: inspect.Signature) -> list[str]:
    """Return the parameters behind `self` as usage: "node", "[node]", "[devices]..."."""
    words = []
    for parameter in list(signature.parameters.values())[1:]:
        many = "..." if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
        optional = many or parameter.default is not inspect.Parameter.empty
        words.append(f"[{parameter.name}]{many}" if optional else parameter.name)
    return words


def _sample(text: str) -> DeviceSample:
    match re.split("[:=]", text):
        case [name]:
            return DeviceSample(device_id=DeviceId(name))
        case [name, counter, growth] if counter in DeviceCounterRow.__struct_fields__:
            fields = {"device_id": name, counter: int(growth)}
            return msgspec.convert(fields, DeviceSample)
    raise ScenarioError(f"{text!r}: must be DEVICE[:ecc_corrected=2]")


def _device(index: int, text: str) -> DeviceFingerprint:
    match text.split(":"):
        case [name, vram, tflops]:
            vendor = Vendor.NVIDIA
        case [name, vram, tflops, word] if word in set(Vendor):
            vendor = Vendor(word)
        case _:
            vendors = "|".join(Vendor)
            raise ScenarioError(f"{text!r}: must be DEVICE:80GiB:312TFLOPS[:{vendors}]")
    return device(
        name,
        index=index,
        vram_gib=quantity(vram, "GiB"),
        tflops=quantity(tflops, "TFLOPS"),
        vendor=vendor,
        model=f"card of {vendor}",
    )
