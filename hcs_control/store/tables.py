"""The tables as SQLAlchemy Core sees them. A test compares them with what the migrations build."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

from hcs_control.rows import (
    AllocationRow,
    AnyRow,
    DeviceLinkRow,
    DeviceRow,
    DeviceValidityRow,
    IsolationRow,
    NodeRow,
    QuotaUsageRow,
    SourcePositionRow,
)

METADATA = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _bigint(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _double(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


NODE = Table(
    "node",
    METADATA,
    _key("node_name"),
    _text("agent_version"),
    _text("detectors"),
    _bigint("fingerprint_at_ns", nullable=True),
    _bigint("heartbeat_at_ns", nullable=True),
    _bigint("spool_dropped"),
    _bigint("seq"),
)
SOURCE_POSITION = Table(
    "source_position",
    METADATA,
    _key("node_name"),
    _key("incarnation"),
    _bigint("last_n"),
    Column("missing", ARRAY(BigInteger), nullable=False),
    _bigint("seq"),
)
DEVICE = Table(
    "device",
    METADATA,
    _key("device_id"),
    _text("node_name"),
    _text("vendor"),
    _text("model"),
    Column("device_index", Integer, nullable=False),
    _text("pci_address"),
    Column("numa_node", Integer, nullable=False),
    _bigint("vram_bytes"),
    _double("memory_bandwidth_gbytes_s"),
    _bigint("fp16_gflops"),
    _bigint("fp32_gflops"),
    _text("driver_version"),
    Column("present", Boolean, nullable=False),
    _text("health"),
    _bigint("vram_allocated_bytes"),
    _bigint("fp16_allocated_gflops"),
    Column("overcommitted", Boolean, nullable=False),
    _bigint("seq"),
)
DEVICE_VALIDITY = Table(
    "device_validity",
    METADATA,
    _key("device_id"),
    Column("valid_from_seq", BigInteger, primary_key=True),
    _bigint("valid_from_ns"),
    _bigint("valid_to_ns", nullable=True),
    _text("node_name"),
    _text("vendor"),
    _text("model"),
    Column("device_index", Integer, nullable=False),
    _bigint("vram_bytes"),
    _bigint("fp16_gflops"),
    Column("present", Boolean, nullable=False),
    _text("health"),
    _bigint("seq"),
)
DEVICE_LINK = Table(
    "device_link",
    METADATA,
    _key("device_id"),
    _key("peer_device_id"),
    _text("link_type"),
    Column("lanes", Integer, nullable=False),
    _double("bandwidth_gbytes_s"),
    _bigint("seq"),
)
ISOLATION = Table(
    "isolation",
    METADATA,
    _key("device_id"),
    Column("isolated_seq", BigInteger, primary_key=True),
    _text("node_name"),
    _text("code"),
    _text("rule"),
    _text("policy_version"),
    _text("evidence"),
    Column("active_codes", ARRAY(Text), nullable=False),
    _bigint("isolated_at_ns"),
    _bigint("clear_since_ns", nullable=True),
    _bigint("released_at_ns", nullable=True),
    _bigint("released_seq", nullable=True),
    _bigint("seq"),
)
ALLOCATION = Table(
    "allocation",
    METADATA,
    _key("pod_uid"),
    _key("device_id"),
    _text("node_name"),
    _text("namespace"),
    _text("pod_name"),
    _text("state"),
    _bigint("vram_bytes"),
    _bigint("fp16_gflops"),
    _bigint("reserved_at_ns"),
    _bigint("changed_at_ns"),
    _text("reason"),
    _bigint("seq"),
)
QUOTA_USAGE = Table(
    "quota_usage",
    METADATA,
    _key("pod_uid"),
    _key("container"),
    _key("device_id"),
    _text("node_name"),
    _bigint("quota_bytes"),
    _bigint("used_bytes"),
    _bigint("peak_bytes"),
    _bigint("refusals"),
    Column("processes", Integer, nullable=False),
    _bigint("at_ns"),
    _bigint("seq"),
)
PROJECTION_POSITION = Table(
    "projection_position",
    METADATA,
    _key("consumer"),
    _bigint("stream_seq"),
)
DECISION_OUTBOX = Table(
    "decision_outbox",
    METADATA,
    _key("decision_id"),
    _text("subject"),
    Column("payload", LargeBinary, nullable=False),
    _bigint("fact_seq"),
    _bigint("published_seq", nullable=True),
)
PARKED_EVENT = Table(
    "parked_event",
    METADATA,
    Column("stream_seq", BigInteger, primary_key=True, autoincrement=False),
    _text("subject"),
    _text("reason"),
    Column("payload", LargeBinary, nullable=False),
)

TABLE_OF_ROW: dict[type[AnyRow], Table] = {
    NodeRow: NODE,
    SourcePositionRow: SOURCE_POSITION,
    DeviceRow: DEVICE,
    DeviceValidityRow: DEVICE_VALIDITY,
    DeviceLinkRow: DEVICE_LINK,
    IsolationRow: ISOLATION,
    AllocationRow: ALLOCATION,
    QuotaUsageRow: QUOTA_USAGE,
}
