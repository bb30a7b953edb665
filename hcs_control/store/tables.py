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
    BenchmarkRow,
    CheckpointRow,
    ComputeQuotaRow,
    DeviceCounterRow,
    DeviceLinkRow,
    DeviceRow,
    DeviceValidityRow,
    FaultEpisodeRow,
    HardwareProfileRow,
    HealthPolicyRow,
    IsolationRow,
    NodeRow,
    NodeSampleRow,
    PodRow,
    QuotaUsageRow,
    RdmaNicRow,
    SourcePositionRow,
)

METADATA = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _bigint(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _integer(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


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
    Column("ahead", ARRAY(Text), nullable=False),
    _bigint("seq"),
)
DEVICE = Table(
    "device",
    METADATA,
    _key("device_id"),
    _text("node_name"),
    _text("vendor"),
    _text("model"),
    _integer("device_index"),
    _text("pci_address"),
    _integer("numa_node"),
    _bigint("vram_bytes"),
    _double("memory_bandwidth_gbytes_s"),
    _bigint("fp16_gflops"),
    _bigint("fp32_gflops"),
    _text("driver_version"),
    _text("serial"),
    _bigint("int8_gops"),
    _integer("matrix_cores"),
    _integer("pcie_generation_max"),
    _integer("pcie_width_max"),
    _text("cpu_affinity"),
    _text("library_version"),
    _text("runtime_version"),
    _text("firmware_version"),
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
    _integer("device_index"),
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
    _integer("lanes"),
    _double("bandwidth_gbytes_s"),
    _bigint("latency_ns"),
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
    _integer("processes"),
    _bigint("at_ns"),
    Column("enforced", Boolean, nullable=False),
    _bigint("launches"),
    _bigint("seq"),
)
RDMA_NIC = Table(
    "rdma_nic",
    METADATA,
    _key("node_name"),
    _key("nic_name"),
    _text("pci_address"),
    _integer("numa_node"),
    _text("link_layer"),
    _double("rate_gbps"),
    Column("up", Boolean, nullable=False),
    _bigint("seq"),
)
NODE_SAMPLE = Table(
    "node_sample",
    METADATA,
    _key("node_name"),
    _bigint("at_ns"),
    _double("interval_s"),
    _text("devices"),
    _bigint("seq"),
)
DEVICE_COUNTER = Table(
    "device_counter",
    METADATA,
    _key("device_id"),
    _bigint("ecc_corrected"),
    _bigint("ecc_uncorrected"),
    _bigint("pcie_replays"),
    _bigint("link_errors"),
    _bigint("changed_at_ns"),
    _bigint("seq"),
)
FAULT_EPISODE = Table(
    "fault_episode",
    METADATA,
    _key("device_id"),
    _key("code"),
    Column("raised_seq", BigInteger, primary_key=True),
    _text("node_name"),
    _text("vendor"),
    _text("fault_name"),
    _text("severity"),
    _text("detail"),
    Column("lasting", Boolean, nullable=False),
    _bigint("reports"),
    _bigint("raised_at_ns"),
    _bigint("reported_at_ns"),
    _bigint("ended_at_ns", nullable=True),
    _bigint("ended_seq", nullable=True),
    _bigint("seq"),
)
BENCHMARK = Table(
    "benchmark",
    METADATA,
    _key("device_id"),
    _key("benchmark_name"),
    _text("node_name"),
    _bigint("gflops"),
    _double("duration_s"),
    Column("power_watts", Double, nullable=True),
    _text("detail"),
    _bigint("at_ns"),
    _bigint("seq"),
)
HARDWARE_PROFILE = Table(
    "hardware_profile",
    METADATA,
    _key("vendor"),
    _key("model"),
    _bigint("vram_bytes"),
    _double("memory_bandwidth_gbytes_s"),
    _bigint("fp16_gflops"),
    _bigint("fp32_gflops"),
    _bigint("int8_gops"),
    _bigint("seq"),
)
CHECKPOINT = Table(
    "checkpoint",
    METADATA,
    _key("namespace"),
    _key("workload"),
    _text("pod_uid"),
    _text("uri"),
    _bigint("step"),
    _bigint("size_bytes"),
    _bigint("at_ns"),
    _bigint("seq"),
)
POD = Table(
    "pod",
    METADATA,
    _key("pod_uid"),
    _text("namespace"),
    _text("pod_name"),
    _text("node_name"),
    _text("workload"),
    _text("phase"),
    _text("reason"),
    _bigint("at_ns"),
    _bigint("seq"),
)
COMPUTE_QUOTA = Table(
    "compute_quota",
    METADATA,
    _key("namespace"),
    _key("quota_name"),
    _bigint("vram_bytes", nullable=True),
    _bigint("fp16_gflops", nullable=True),
    Column("priorities", ARRAY(Text), nullable=False),
    _bigint("at_ns"),
    _bigint("seq"),
)
HEALTH_POLICY = Table(
    "health_policy",
    METADATA,
    Column("policy_seq", BigInteger, primary_key=True, autoincrement=False),
    _text("policy_version"),
    _text("document"),
    _text("who"),
    _text("why"),
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
    RdmaNicRow: RDMA_NIC,
    NodeSampleRow: NODE_SAMPLE,
    DeviceCounterRow: DEVICE_COUNTER,
    FaultEpisodeRow: FAULT_EPISODE,
    BenchmarkRow: BENCHMARK,
    HardwareProfileRow: HARDWARE_PROFILE,
    CheckpointRow: CHECKPOINT,
    PodRow: POD,
    ComputeQuotaRow: COMPUTE_QUOTA,
    HealthPolicyRow: HEALTH_POLICY,
}
