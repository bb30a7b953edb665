"""The rows of the projection: what the fold keeps and the tables hold, field by field the same.

Every row carries `seq`, the position in HCS_FACTS that last changed it. Rows are frozen; a change
is a new row with the same key.
"""

import enum

import msgspec

from hcs_bus.events import AllocationState, PodPhase
from hcs_bus.names import DeviceId, LinkType, NodeName, PodUid, Severity, StreamSeq, Vendor


class Health(enum.StrEnum):
    """Whether a card may have new work, as far as its faults go."""

    HEALTHY = "healthy"
    ISOLATED = "isolated"  # a rule matched and the device has not been released yet


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every row has. Rows hold scalars only, so none is ever part of a cycle."""

    seq: StreamSeq


class NodeRow(Row, frozen=True, kw_only=True):
    """A node with an agent."""

    node_name: NodeName
    agent_version: str = ""
    detectors: str = ""  # "nvidia: ok; huawei: absent"
    fingerprint_at_ns: int | None = None
    heartbeat_at_ns: int | None = None
    spool_dropped: int = 0

    @property
    def key(self) -> tuple[str]:
        """Primary key."""
        return (self.node_name,)


class RdmaNicRow(Row, frozen=True, kw_only=True):
    """A network card that reaches other nodes."""

    node_name: NodeName
    nic_name: str
    pci_address: str
    numa_node: int
    link_layer: str  # "Ethernet" is RoCE
    rate_gbps: float
    up: bool

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.node_name, self.nic_name)


class NodeSampleRow(Row, frozen=True, kw_only=True):
    """What a node's cards did last: one row per node, because all of it is replaced at once."""

    node_name: NodeName
    at_ns: int
    interval_s: float
    devices: str  # the event's list, as JSON; the view `device_health` takes it apart

    @property
    def key(self) -> tuple[str]:
        """Primary key."""
        return (self.node_name,)


class SourcePositionRow(Row, frozen=True, kw_only=True):
    """Which of a source's numbered events were folded: all up to `last_n`, but for `missing`."""

    node_name: NodeName
    incarnation: str
    last_n: int
    missing: tuple[int, ...] = ()
    ahead: tuple[str, ...] = ()  # "<n> <topic>" of facts behind missing ones; see `fold_source`

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.node_name, self.incarnation)


class DeviceRow(Row, frozen=True, kw_only=True):
    """A card: what it is, where it is, and how much of it is given out."""

    device_id: DeviceId
    node_name: NodeName
    vendor: Vendor
    model: str
    device_index: int
    pci_address: str
    numa_node: int
    vram_bytes: int
    memory_bandwidth_gbytes_s: float
    fp16_gflops: int
    fp32_gflops: int
    driver_version: str
    serial: str = ""
    int8_gops: int = 0
    matrix_cores: int = 0
    pcie_generation_max: int = 0
    pcie_width_max: int = 0
    cpu_affinity: str = ""
    library_version: str = ""
    runtime_version: str = ""
    firmware_version: str = ""
    present: bool = True  # false: its node's newest fingerprint no longer has it
    health: Health = Health.HEALTHY
    vram_allocated_bytes: int = 0
    fp16_allocated_gflops: int = 0
    overcommitted: bool = False  # it shrank below what was given out before

    @property
    def key(self) -> tuple[str]:
        """Primary key."""
        return (self.device_id,)

    @property
    def usable(self) -> bool:
        """Whether new work may be placed on it."""
        return self.present and self.health is Health.HEALTHY

    @property
    def vram_free_bytes(self) -> int:
        """Bytes not given out."""
        return max(0, self.vram_bytes - self.vram_allocated_bytes)

    @property
    def fp16_free_gflops(self) -> int:
        """Compute not given out."""
        return max(0, self.fp16_gflops - self.fp16_allocated_gflops)


class DeviceValidityRow(Row, frozen=True, kw_only=True):
    """A stretch of a card's past during which nothing about it changed; open while it lasts."""

    device_id: DeviceId
    valid_from_seq: StreamSeq
    valid_from_ns: int
    valid_to_ns: int | None = None
    node_name: NodeName
    vendor: Vendor
    model: str
    device_index: int
    vram_bytes: int
    fp16_gflops: int
    present: bool
    health: Health

    @property
    def key(self) -> tuple[str, int]:
        """Primary key."""
        return (self.device_id, self.valid_from_seq)


class DeviceLinkRow(Row, frozen=True, kw_only=True):
    """A fabric link from one card to another of the same node; each direction has its row."""

    device_id: DeviceId
    peer_device_id: DeviceId
    link_type: LinkType
    lanes: int
    bandwidth_gbytes_s: float
    latency_ns: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.device_id, self.peer_device_id)


class DeviceCounterRow(Row, frozen=True, kw_only=True):
    """Errors that a card has counted since HCS knows it; only cards that counted any have a row."""

    device_id: DeviceId
    ecc_corrected: int = 0
    ecc_uncorrected: int = 0
    pcie_replays: int = 0
    link_errors: int = 0
    changed_at_ns: int

    @property
    def key(self) -> tuple[str]:
        """Primary key."""
        return (self.device_id,)


class FaultEpisodeRow(Row, frozen=True, kw_only=True):
    """One code on one card while it lasts; occurrences without an end count while they repeat."""

    device_id: DeviceId
    code: str
    raised_seq: StreamSeq
    node_name: NodeName
    vendor: Vendor
    fault_name: str
    severity: Severity
    detail: str  # of the newest report
    lasting: bool
    reports: int
    raised_at_ns: int
    reported_at_ns: int  # of the newest report
    ended_at_ns: int | None = None
    ended_seq: StreamSeq | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Primary key."""
        return (self.device_id, self.code, self.raised_seq)


class IsolationRow(Row, frozen=True, kw_only=True):
    """One isolation of one card, from its decision to its release."""

    device_id: DeviceId
    isolated_seq: StreamSeq
    node_name: NodeName
    code: str
    rule: str
    policy_version: str
    evidence: str
    active_codes: tuple[str, ...]  # faults that hold it isolated; empty: waiting for release
    isolated_at_ns: int
    clear_since_ns: int | None = None  # first tick that saw no active code
    released_at_ns: int | None = None
    released_seq: StreamSeq | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Primary key."""
        return (self.device_id, self.isolated_seq)


class AllocationRow(Row, frozen=True, kw_only=True):
    """One Pod's share of one card."""

    pod_uid: PodUid
    device_id: DeviceId
    node_name: NodeName
    namespace: str
    pod_name: str
    state: AllocationState
    vram_bytes: int
    fp16_gflops: int
    reserved_at_ns: int
    changed_at_ns: int
    reason: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.pod_uid, self.device_id)


class QuotaUsageRow(Row, frozen=True, kw_only=True):
    """What one container uses of one card, newest word."""

    pod_uid: PodUid
    container: str
    device_id: DeviceId
    node_name: NodeName
    quota_bytes: int
    used_bytes: int
    peak_bytes: int
    refusals: int
    processes: int
    at_ns: int
    enforced: bool = True  # false: no interceptor holds it to a quota, or to more than was granted
    launches: int = 0  # the container's, on all its cards

    @property
    def key(self) -> tuple[str, str, str]:
        """Primary key."""
        return (self.pod_uid, self.container, self.device_id)


class BenchmarkRow(Row, frozen=True, kw_only=True):
    """What a card did in a micro-benchmark, newest word."""

    device_id: DeviceId
    benchmark_name: str
    node_name: NodeName
    gflops: int
    duration_s: float
    power_watts: float | None
    detail: str
    at_ns: int

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.device_id, self.benchmark_name)


class HardwareProfileRow(Row, frozen=True, kw_only=True):
    """What a model can do on paper, as agents that had one told."""

    vendor: Vendor
    model: str
    vram_bytes: int  # the largest that a card of this model ever had
    memory_bandwidth_gbytes_s: float
    fp16_gflops: int
    fp32_gflops: int
    int8_gops: int

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.vendor, self.model)


class CheckpointRow(Row, frozen=True, kw_only=True):
    """The newest state that a workload has saved."""

    namespace: str
    workload: str
    pod_uid: PodUid
    uri: str
    step: int
    size_bytes: int
    at_ns: int

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.namespace, self.workload)


class PodRow(Row, frozen=True, kw_only=True):
    """A Pod that holds or held cards, until it is gone from the cluster."""

    pod_uid: PodUid
    namespace: str
    pod_name: str
    node_name: NodeName
    workload: str
    phase: PodPhase
    reason: str
    at_ns: int

    @property
    def key(self) -> tuple[str]:
        """Primary key."""
        return (self.pod_uid,)


class ComputeQuotaRow(Row, frozen=True, kw_only=True):
    """A team's limit; null is no limit."""

    namespace: str
    quota_name: str
    vram_bytes: int | None
    fp16_gflops: int | None
    priorities: tuple[str, ...]
    at_ns: int

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.namespace, self.quota_name)


class HealthPolicyRow(Row, frozen=True, kw_only=True):
    """A policy that was put in force; the one with the highest position is."""

    policy_seq: StreamSeq
    policy_version: str
    document: str
    who: str
    why: str
    at_ns: int

    @property
    def key(self) -> tuple[int]:
        """Primary key."""
        return (self.policy_seq,)


AnyRow = (
    NodeRow
    | SourcePositionRow
    | DeviceRow
    | DeviceValidityRow
    | DeviceLinkRow
    | IsolationRow
    | AllocationRow
    | QuotaUsageRow
    | RdmaNicRow
    | NodeSampleRow
    | DeviceCounterRow
    | FaultEpisodeRow
    | BenchmarkRow
    | HardwareProfileRow
    | CheckpointRow
    | PodRow
    | ComputeQuotaRow
    | HealthPolicyRow
)
RowKey = tuple[str | int, ...]


class Removed(msgspec.Struct, frozen=True):
    """A row that is no more."""

    row_type: type[AnyRow]
    key: RowKey


Change = AnyRow | Removed
