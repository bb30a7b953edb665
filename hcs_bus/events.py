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
Name = Annotated[str, msgspec.Meta(max_length=253)]  # the longest name that Kubernetes allows

Rate = Annotated[float, msgspec.Meta(ge=0)]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What every payload has: the moment it speaks of."""

    at_ns: Count


# --- Facts from agents ---------------------------------------------------------------------------


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One card's connection to another card of the same node."""

    peer: DeviceName
    type: LinkType
    lanes: SmallCount  # physical links that are up between the two
    bandwidth_gbytes_s: Rate  # both directions together, over all lanes


class DeviceFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a card is: nothing in here changes while the card works."""

    device_id: DeviceName
    vendor: Vendor
    model: str  # the name that `hardware.csv` knows, e.g. "A100 SXM4 80GB"
    index: SmallCount  # the vendor's own numbering, as its runtime's visibility variable wants it
    pci_address: str  # dddd:bb:dd.f, lower case
    numa_node: NumaNode  # -1 when the platform does not say
    vram_bytes: Count
    memory_bandwidth_gbytes_s: Rate
    fp16_gflops: Count  # dense, without sparsity
    fp32_gflops: Count  # 0 when the vendor publishes none
    driver_version: str
    links: tuple[Link, ...] = ()


class DetectorState(enum.StrEnum):
    """How far the agent got with one vendor's management library."""

    OK = "ok"
    ABSENT = "absent"  # no such library on this node: the normal state of most nodes
    BROKEN = "broken"  # the library is there and refuses to work


class DetectorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector found out about its library."""

    vendor: Vendor
    state: DetectorState
    detail: str = ""


class Fingerprint(Event, frozen=True, kw_only=True):
    """The whole of a node, on start, on change and every ten minutes. What it omits is gone."""

    agent_version: str
    detectors: tuple[DetectorReport, ...]
    devices: tuple[DeviceFingerprint, ...]


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
    name: str
    severity: Severity
    state: FaultState
    detail: str = ""


class Quota(Event, frozen=True, kw_only=True):
    """What one container uses of one card, as the interceptor told the agent."""

    pod_uid: PodName
    container: Name
    device_id: DeviceName
    quota_bytes: Count
    used_bytes: Count
    peak_bytes: Count
    refusals: Count  # allocations refused at the quota, since the container started
    processes: SmallCount


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
    reason: str = ""  # why it was released


# --- Facts from the projector --------------------------------------------------------------------


class Tick(Event, frozen=True, kw_only=True):
    """Time passed. Silence becomes visible through these: no fold reads a clock."""


# --- Decisions -----------------------------------------------------------------------------------


class Isolate(Event, frozen=True, kw_only=True):
    """Give this card no new work."""

    device_id: DeviceName
    node: NodeName
    code: Name
    rule: str
    policy_version: str
    evidence: str
    fact_seqs: tuple[StreamSeq, ...]  # positions in HCS_FACTS that this rests on


class Release(Event, frozen=True, kw_only=True):
    """The card may have work again."""

    device_id: DeviceName
    node: NodeName
    rule: str
    policy_version: str
    evidence: str
    fact_seqs: tuple[StreamSeq, ...]


Fact = Fingerprint | Heartbeat | Fault | Quota | Allocation | Tick
Decision = Isolate | Release

FACT_KINDS: dict[str, type[Fact]] = {
    "fingerprint": Fingerprint,
    "heartbeat": Heartbeat,
    "fault": Fault,
    "quota": Quota,
    "allocation": Allocation,
    "tick": Tick,
}
DECISION_KINDS: dict[str, type[Decision]] = {"isolate": Isolate, "release": Release}
