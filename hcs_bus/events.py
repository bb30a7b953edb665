"""What can be said on the bus: one frozen struct per kind of fact and of decision.

Evolution: only new fields, always with a default; a field is never retyped or renamed
(`tests/golden/events` holds one file per kind and version). Times are `at_ns`, nanoseconds
since the Unix epoch, taken by whoever observed the thing; sizes are bytes; rates carry their unit.
"""

import enum
from typing import Annotated

import msgspec

from hcs_bus.names import DeviceId, LinkType, NodeName, PodUid, Severity, StreamSeq, Vendor

# What cannot be true, or cannot be kept, is refused here: a message that exceeds these bounds is
# parked. The bounds are those of the tables' columns and of an index entry.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
SmallCount = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
NumaNode = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
DeviceName = Annotated[DeviceId, msgspec.Meta(min_length=1, max_length=128)]
PodName = Annotated[PodUid, msgspec.Meta(min_length=1, max_length=128)]
NAME_CHARACTERS_MAX = 253  # the longest name that Kubernetes allows
TEXT_CHARACTERS_MAX = 4_096
Name = Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Celsius = Annotated[float, msgspec.Meta(ge=-273, le=1_000)]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=False):
    """What every payload has: the moment it speaks of. Frozen, so no event is part of a cycle."""

    at_ns: Count


# --- Facts from agents ---------------------------------------------------------------------------


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One card's connection to another card of the same node."""

    peer: DeviceName
    type: LinkType
    lanes: SmallCount  # physical links that are up between the two; of "pcie": its lanes
    bandwidth_gbytes_s: Rate  # both directions together, over all lanes; 0: unknown
    latency_ns: Count = 0  # one way, as the platform states it; 0: it does not


class RdmaNic(msgspec.Struct, frozen=True, kw_only=True):
    """A network card of the node that cards can reach other nodes through (RoCE, InfiniBand)."""

    name: Name  # the RDMA device, e.g. "mlx5_0"
    pci_address: Name
    numa_node: NumaNode
    link_layer: Name  # "Ethernet" means RoCE, "InfiniBand" is itself
    rate_gbps: Rate  # gigabits per second of port 1
    up: bool


class DeviceFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a card is: nothing in here changes while the card works; that is in `Samples`."""

    device_id: DeviceName
    vendor: Vendor
    model: Name  # the name that `hardware.csv` knows, e.g. "A100 SXM4 80GB"
    index: SmallCount  # the vendor's own numbering, as its runtime's visibility variable wants it
    pci_address: Name  # dddd:bb:dd.f, lower case
    numa_node: NumaNode  # -1 when the platform does not say
    vram_bytes: Count
    memory_bandwidth_gbytes_s: Rate
    fp16_gflops: Count  # dense, without sparsity
    fp32_gflops: Count  # 0 when the vendor publishes none
    driver_version: Name
    links: tuple[Link, ...] = ()
    # Since 0.2. An empty text or a 0 means that the vendor's library does not say.
    serial: Name = ""  # of the board; the same in whatever slot or node
    int8_gops: Count = 0  # dense
    matrix_cores: SmallCount = 0  # tensor cores, AI cores: what multiplies matrices
    pcie_generation_max: SmallCount = 0  # what card and slot can do together
    pcie_width_max: SmallCount = 0
    cpu_affinity: Name = ""  # the near CPUs as Linux lists them: "0-31,64-95"
    library_version: Name = ""  # of the management library
    runtime_version: Name = ""  # the newest runtime that the driver serves: "12.4"
    firmware_version: Name = ""


class DetectorState(enum.StrEnum):
    """How far the agent got with one vendor's management library."""

    OK = "ok"
    ABSENT = "absent"  # no such library on this node: the normal state of most nodes
    BROKEN = "broken"  # the library is there and refuses to work


class DetectorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector found out about its library."""

    vendor: Vendor
    state: DetectorState
    detail: str = ""  # a library's own words, however many: the fold keeps the first of them


class Fingerprint(Event, frozen=True, kw_only=True):
    """The whole of a node, on start, on change and every ten minutes. What it omits is gone."""

    agent_version: Name
    detectors: tuple[DetectorReport, ...]
    devices: tuple[DeviceFingerprint, ...]
    nics: tuple[RdmaNic, ...] = ()


class ThrottleReason(enum.StrEnum):
    """Why a card runs below the clock it could have, as far as its library tells them apart."""

    POWER = "power"  # its power limit
    THERMAL = "thermal"  # its driver, because it is hot
    HARDWARE = "hardware"  # its board: power brake, or heat beyond the driver's limit
    OTHER = "other"  # synchronised with a slower one, an administrator's setting, and the like


class DeviceSample(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What one card does at a moment. A field that is left out is one its library does not tell.

    The counters are growth since the sample before: summing them up counts nothing twice.
    """

    device_id: DeviceName
    utilization_percent: Percent | None = None  # of the time, some kernel ran
    memory_utilization_percent: Percent | None = None  # of the time, memory was read or written
    vram_used_bytes: Count | None = None
    power_watts: Rate | None = None
    temperature_celsius: Celsius | None = None
    memory_temperature_celsius: Celsius | None = None
    core_clock_mhz: SmallCount | None = None
    memory_clock_mhz: SmallCount | None = None
    throttle_reasons: tuple[ThrottleReason, ...] = ()
    pcie_generation: SmallCount | None = None  # of the moment: idle links may run slower
    pcie_width: SmallCount | None = None
    ecc_corrected: Count = 0
    ecc_uncorrected: Count = 0
    pcie_replays: Count = 0
    link_errors: Count = 0  # of the fabric: CRC errors, replays and recoveries together


class Samples(Event, frozen=True, kw_only=True):
    """What the cards of a node do, once per interval; a card that does not answer is left out."""

    interval_s: Rate
    devices: tuple[DeviceSample, ...]


class Heartbeat(Event, frozen=True, kw_only=True):
    """The agent lives. `dropped` counts what a full spool ever had to give up."""

    interval_s: Rate
    spooled: Count = 0  # entries that wait for the bus
    dropped: Count = 0


class FaultState(enum.StrEnum):
    """Whether a fault begins or ends."""

    RAISED = "raised"
    CLEARED = "cleared"


class Fault(Event, frozen=True, kw_only=True):
    """A card reported an error, or its end. `code` is the vendor's: "79", "80E01801"."""

    device_id: DeviceName
    vendor: Vendor
    code: Name
    name: str  # this and `detail` may be a driver's words: the fold keeps the first of them
    severity: Severity
    state: FaultState
    detail: str = ""
    lasting: bool = True  # false: an occurrence, nobody will tell of its end


class Quota(Event, frozen=True, kw_only=True):
    """What one container uses of one card, as the interceptor told the agent.

    Of processes that no interceptor holds to a quota the driver tells: `enforced` is false then,
    `container` empty where nobody can say which it is, and a fact without processes is the end. It
    is false as well while a Pod's processes account for a card in two ledgers at once, or one of
    them cannot be kept to its share of the card's time.
    """

    pod_uid: PodName
    container: Name
    device_id: DeviceName
    quota_bytes: Count
    used_bytes: Count
    peak_bytes: Count
    refusals: Count  # allocations refused at the quota, since the container started
    processes: SmallCount
    enforced: bool = True  # since 0.2
    # Since 0.2. Kernels and graphs launched by the container, on all its cards: the same in the
    # facts of each. Counted since its agent knows it, so less than before when that began anew.
    launches: Count = 0


class Benchmark(Event, frozen=True, kw_only=True):
    """What a card did in a micro-benchmark: measured, not read from a data sheet."""

    device_id: DeviceName
    name: Name  # "fp16_gemm"
    gflops: Count  # achieved
    duration_s: Rate
    power_watts: Rate | None = None  # mean while it ran
    detail: Text = ""  # size of the matrices, versions: what it takes to compare two of them


class Checkpoint(Event, frozen=True, kw_only=True):
    """A workload has saved its state, and can go on from there."""

    namespace: Name
    workload: Name  # the Pod's controller as "Kind/name"; the Pod itself as "Pod/name"
    pod_uid: PodName
    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
    step: Count
    size_bytes: Count


# --- Facts from the mirror's watch ---------------------------------------------------------------


class PodPhase(enum.StrEnum):
    """How far a Pod with cards has come."""

    BOUND = "bound"
    FINISHED = "finished"
    GONE = "gone"


class Pod(Event, frozen=True, kw_only=True):
    """A Pod that holds cards changed its phase."""

    pod_uid: PodName
    namespace: Name
    pod_name: Name
    node: NodeName
    phase: PodPhase
    workload: Name = ""  # as in `Checkpoint`
    reason: Text = ""


class ComputeQuota(Event, frozen=True, kw_only=True):
    """A team's limit, as its ComputeQuota object states it; `removed` when that is deleted."""

    namespace: Name
    name: Name
    vram_bytes: Count | None = None  # no limit when left out
    fp16_gflops: Count | None = None
    priorities: tuple[Name, ...] = ()  # PriorityClasses that it counts; none: all
    removed: bool = False


# --- Facts from people ---------------------------------------------------------------------------


class OperatorVerb(enum.StrEnum):
    """What a person wants done."""

    ISOLATE = "isolate"
    RELEASE = "release"
    RESET_BREAKER = "reset_breaker"


class Operator(Event, frozen=True, kw_only=True):
    """A person has decided something: who, and why."""

    verb: OperatorVerb
    node: NodeName
    device_id: DeviceName | None = None  # none: the whole node
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]


class PolicyDocument(Event, frozen=True, kw_only=True):
    """A whole health policy is put in force, from this position of the log on."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    document: Annotated[str, msgspec.Meta(min_length=1, max_length=256 * 1024)]  # TOML
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]


# --- Facts from the allocator --------------------------------------------------------------------


class AllocationState(enum.StrEnum):
    """A grant's life: reserved before the Binding is written, bound after it, then released."""

    RESERVED = "reserved"
    BOUND = "bound"
    RELEASED = "released"


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The part of one card that a grant takes."""

    device_id: DeviceName
    vram_bytes: Count
    fp16_gflops: Count


class Allocation(Event, frozen=True, kw_only=True):
    """A grant of cards to a Pod. The log of these is the ledger; see `hcs_edge.extender.ledger`."""

    pod_uid: PodName
    namespace: Name
    pod_name: Name
    node: NodeName
    state: AllocationState
    shares: tuple[Share, ...] = ()  # given when reserved; later states repeat no shares
    reason: Text = ""  # why it was released


# --- Facts from the projector --------------------------------------------------------------------


class Tick(Event, frozen=True, kw_only=True):
    """Time passed. Silence becomes visible through these: no fold reads a clock."""


# --- Decisions -----------------------------------------------------------------------------------


class DecisionEvent(Event, frozen=True, kw_only=True):
    """What every decision names: the rule and the facts it rests on."""

    node: NodeName
    rule: str
    policy_version: str
    evidence: str
    fact_seqs: tuple[StreamSeq, ...]  # positions in HCS_FACTS


class Isolate(DecisionEvent, frozen=True, kw_only=True):
    """Give this card no new work."""

    device_id: DeviceName
    code: Name


class Release(DecisionEvent, frozen=True, kw_only=True):
    """The card may have work again."""

    device_id: DeviceName


class Taint(DecisionEvent, frozen=True, kw_only=True):
    """The fault is the node's: give none of its cards new work."""

    code: Name


class Untaint(DecisionEvent, frozen=True, kw_only=True):
    """The node may have work again."""


class Breaker(DecisionEvent, frozen=True, kw_only=True):
    """Too many isolations at once: isolating pauses (`open`), or goes on."""

    scope: Name  # a model, or "fleet"
    open: bool


class Reschedule(DecisionEvent, frozen=True, kw_only=True):
    """Move this Pod to other cards."""

    pod_uid: PodName
    device_ids: tuple[DeviceName, ...]  # those it has to leave


class Qualify(DecisionEvent, frozen=True, kw_only=True):
    """Test this card; the node's agent answers with a `benchmark` fact."""

    device_id: DeviceName
    name: Name  # of the benchmark


Fact = (
    Fingerprint
    | Samples
    | Heartbeat
    | Fault
    | Quota
    | Benchmark
    | Checkpoint
    | Pod
    | ComputeQuota
    | Operator
    | PolicyDocument
    | Allocation
    | Tick
)
Decision = Isolate | Release | Taint | Untaint | Breaker | Reschedule | Qualify

FACT_KINDS: dict[str, type[Fact]] = {
    "fingerprint": Fingerprint,
    "samples": Samples,
    "heartbeat": Heartbeat,
    "fault": Fault,
    "quota": Quota,
    "benchmark": Benchmark,
    "checkpoint": Checkpoint,
    "pod": Pod,
    "compute_quota": ComputeQuota,
    "operator": Operator,
    "policy": PolicyDocument,
    "allocation": Allocation,
    "tick": Tick,
}
DECISION_KINDS: dict[str, type[Decision]] = {
    "isolate": Isolate,
    "release": Release,
    "taint": Taint,
    "untaint": Untaint,
    "breaker": Breaker,
    "reschedule": Reschedule,
    "qualify": Qualify,
}
