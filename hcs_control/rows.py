"""The rows of the projection: what the fold keeps and the tables hold, field by field the same.

Every row carries `seq`, the position in HCS_FACTS that last changed it. Rows are frozen; a change
is a new row with the same key.
"""

import enum

import msgspec

from hcs_bus.events import AllocationState
from hcs_bus.names import DeviceId, LinkType, NodeName, PodUid, StreamSeq, Vendor


class Health(enum.StrEnum):
    """Whether a card may have new work, as far as its faults go."""

    HEALTHY = "healthy"
    ISOLATED = "isolated"  # a rule matched and the device has not been released yet


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What every row has."""

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


class SourcePositionRow(Row, frozen=True, kw_only=True):
    """Which of a source's numbered events were folded: all up to `last_n`, but for `missing`."""

    node_name: NodeName
    incarnation: str
    last_n: int
    missing: tuple[int, ...] = ()

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

    @property
    def key(self) -> tuple[str, str]:
        """Primary key."""
        return (self.device_id, self.peer_device_id)


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

    @property
    def key(self) -> tuple[str, str, str]:
        """Primary key."""
        return (self.pod_uid, self.container, self.device_id)


AnyRow = (
    NodeRow
    | SourcePositionRow
    | DeviceRow
    | DeviceValidityRow
    | DeviceLinkRow
    | IsolationRow
    | AllocationRow
    | QuotaUsageRow
)
RowKey = tuple[str | int, ...]


class Removed(msgspec.Struct, frozen=True):
    """A row that is no more."""

    row_type: type[AnyRow]
    key: RowKey


Change = AnyRow | Removed
