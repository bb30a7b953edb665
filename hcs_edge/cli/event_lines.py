"""Events in one short line each, for people who watch."""

import functools

from hcs_bus.envelope import (
    TYPE_PREFIX,
    TYPE_VERSION,
    Envelope,
    decode_decision,
    decode_envelope,
    decode_fact,
)
from hcs_bus.errors import PoisonEventError, UnknownKindError
from hcs_bus.events import (
    Allocation,
    Benchmark,
    Breaker,
    Checkpoint,
    ComputeQuota,
    Decision,
    Fact,
    Fault,
    Fingerprint,
    Heartbeat,
    Isolate,
    Operator,
    Pod,
    PolicyDocument,
    Qualify,
    Quota,
    Release,
    Reschedule,
    Samples,
    Taint,
    Tick,
    Untaint,
)
from hcs_bus.port import Record
from hcs_edge.cli.tables import gib

MILLISECONDS_END = len("2026-11-22T18:00:00.000")


def line(record: Record) -> str:
    """Return a record's time, node, kind and what it says."""
    try:
        envelope = decode_envelope(record.payload)
    except PoisonEventError as error:
        return _printable(f"{record.seq:>8}  {record.subject}  unreadable: {error}")
    stream, _, kind = envelope.type.removeprefix(TYPE_PREFIX).partition(".")
    name = kind.removesuffix(TYPE_VERSION)
    try:
        words = said(decode_decision(envelope) if stream == "decision" else decode_fact(envelope))
    except (PoisonEventError, UnknownKindError) as error:
        words = str(error)
    head = f"{_time(envelope)}  {envelope.hcsnode:<12}  {name:<13}"
    return _printable(f"{head}  {words}".rstrip())


def _time(envelope: Envelope) -> str:
    return f"{envelope.time[:MILLISECONDS_END]}Z"


def _printable(text: str) -> str:
    """Return text that cannot move a terminal's cursor: anybody may have written it."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


@functools.singledispatch
def said(event: Fact | Decision) -> str:
    """Return what an event of one kind says; each kind has its words below."""
    raise AssertionError(f"no words for {type(event).__name__}")


@said.register
def _(fact: Fault) -> str:
    detail = f": {fact.detail}" if fact.detail else ""
    return f"{fact.severity} {fact.code} {fact.state} on {fact.device_id}: {fact.name}{detail}"


@said.register
def _(fact: Fingerprint) -> str:
    detectors = ", ".join(f"{one.vendor} {one.state}" for one in fact.detectors)
    return f"{len(fact.devices)} cards, {len(fact.nics)} RDMA cards; {detectors}"


@said.register
def _(fact: Samples) -> str:
    busy = [one.utilization_percent for one in fact.devices if one.utilization_percent is not None]
    hot = [one.temperature_celsius for one in fact.devices if one.temperature_celsius is not None]
    told = [f"{len(fact.devices)} cards"]
    told += [f"busiest {max(busy):.0f} %"] if busy else []
    told += [f"hottest {max(hot):.0f} °C"] if hot else []
    errors = sum(
        one.ecc_corrected + one.ecc_uncorrected + one.pcie_replays + one.link_errors
        for one in fact.devices
    )
    return ", ".join([*told, f"{errors} errors counted"])


@said.register
def _(fact: Heartbeat) -> str:
    return f"{fact.spooled} events wait in the spool, {fact.dropped} were dropped"


@said.register
def _(fact: Quota) -> str:
    used = f"{gib(fact.used_bytes)} of {gib(fact.quota_bytes)} GiB, {fact.refusals} refused"
    return f"{fact.pod_uid}/{fact.container} on {fact.device_id}: {used}"


@said.register
def _(fact: Benchmark) -> str:
    return f"{fact.name} on {fact.device_id}: {fact.gflops / 1000:g} TFLOPS"


@said.register
def _(fact: Checkpoint) -> str:
    return f"{fact.namespace}/{fact.workload}: step {fact.step} at {fact.uri}"


@said.register
def _(fact: Pod) -> str:
    return f"{fact.namespace}/{fact.pod_name} {fact.phase} {fact.reason}"


@said.register
def _(fact: ComputeQuota) -> str:
    if fact.removed:
        return f"{fact.namespace}/{fact.name} removed"
    vram = "any" if fact.vram_bytes is None else f"{gib(fact.vram_bytes)} GiB"
    tflops = "any" if fact.fp16_gflops is None else f"{fact.fp16_gflops / 1000:g}"
    return f"{fact.namespace}/{fact.name}: VRAM {vram}, TFLOPS {tflops}"


@said.register
def _(fact: Operator) -> str:
    return f"{fact.who}: {fact.verb} {fact.device_id or 'the whole node'}: {fact.why}"


@said.register
def _(fact: PolicyDocument) -> str:
    return f"{fact.who}: {fact.version} in force: {fact.why}"


@said.register
def _(fact: Allocation) -> str:
    cards = " ".join(f"{one.device_id}:{gib(one.vram_bytes)}GiB" for one in fact.shares)
    return " ".join([f"{fact.namespace}/{fact.pod_name}", fact.state, cards, fact.reason])


@said.register
def _(_: Tick) -> str:
    return ""


@said.register(Isolate)
@said.register(Release)
def _(decision: Isolate | Release) -> str:
    return f"{decision.device_id} by {decision.rule}: {decision.evidence}"


@said.register(Taint)
@said.register(Untaint)
def _(decision: Taint | Untaint) -> str:
    return f"the node by {decision.rule}: {decision.evidence}"


@said.register
def _(decision: Breaker) -> str:
    state = "open" if decision.open else "closed"
    return f"{decision.scope} {state}: {decision.evidence}"


@said.register
def _(decision: Reschedule) -> str:
    cards = ", ".join(decision.device_ids)
    return f"Pod {decision.pod_uid} away from {cards}: {decision.evidence}"


@said.register
def _(decision: Qualify) -> str:
    return f"{decision.device_id} with {decision.name}: {decision.evidence}"
