"""The projection: tables, the views for people, and the read-only role.

A table holds what the fold makes of the log; a change of the fold changes all of its rows. Until
the first release there is one revision, and a database of another one is made anew from the log.
"""

from alembic import op

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE node (
    node_name text PRIMARY KEY,
    agent_version text NOT NULL,
    detectors text NOT NULL,
    fingerprint_at_ns bigint,
    heartbeat_at_ns bigint,
    spool_dropped bigint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE node IS 'Nodes that run an agent.';
COMMENT ON COLUMN node.detectors IS 'What became of each vendor''s management library on the node.';

CREATE TABLE source_position (
    node_name text NOT NULL,
    incarnation text NOT NULL,
    last_n bigint NOT NULL,
    missing bigint[] NOT NULL,
    ahead text[] NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (node_name, incarnation)
);
COMMENT ON TABLE source_position IS
    'Which numbered events of each agent''s spool were folded: resent ones count once.';
COMMENT ON COLUMN source_position.ahead IS
    'While numbers are missing: what was folded ahead of them, so that they undo nothing newer.';

CREATE TABLE device (
    device_id text PRIMARY KEY,
    node_name text NOT NULL,
    vendor text NOT NULL,
    model text NOT NULL,
    device_index integer NOT NULL,
    pci_address text NOT NULL,
    numa_node integer NOT NULL,
    vram_bytes bigint NOT NULL,
    memory_bandwidth_gbytes_s double precision NOT NULL,
    fp16_gflops bigint NOT NULL,
    fp32_gflops bigint NOT NULL,
    driver_version text NOT NULL,
    serial text NOT NULL,
    int8_gops bigint NOT NULL,
    matrix_cores integer NOT NULL,
    pcie_generation_max integer NOT NULL,
    pcie_width_max integer NOT NULL,
    cpu_affinity text NOT NULL,
    library_version text NOT NULL,
    runtime_version text NOT NULL,
    firmware_version text NOT NULL,
    present boolean NOT NULL,
    health text NOT NULL CHECK (health IN ('healthy', 'isolated')),
    vram_allocated_bytes bigint NOT NULL CHECK (vram_allocated_bytes >= 0),
    fp16_allocated_gflops bigint NOT NULL CHECK (fp16_allocated_gflops >= 0),
    overcommitted boolean NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT device_not_overcommitted CHECK (
        overcommitted
        OR (vram_allocated_bytes <= vram_bytes AND fp16_allocated_gflops <= fp16_gflops)
    )
);
CREATE INDEX device_node_name ON device (node_name);
COMMENT ON TABLE device IS 'Every card ever seen, by UUID or serial number; where it is now.';
COMMENT ON COLUMN device.serial IS 'Of the board; empty when the vendor''s library does not say.';
COMMENT ON COLUMN device.matrix_cores IS
    'Tensor cores, AI cores and the like; 0 when the vendor''s library does not say.';
COMMENT ON COLUMN device.cpu_affinity IS 'The CPUs near the card, as Linux lists them.';
COMMENT ON COLUMN device.runtime_version IS 'The newest runtime that the driver serves.';
COMMENT ON COLUMN device.present IS 'Whether its node''s newest fingerprint still lists it.';
COMMENT ON COLUMN device.overcommitted IS
    'The card came back smaller than what had been given out; the only way past the CHECK.';
COMMENT ON COLUMN device.seq IS 'Position in the stream HCS_FACTS that last changed the row.';

CREATE TABLE device_validity (
    device_id text NOT NULL,
    valid_from_seq bigint NOT NULL,
    valid_from_ns bigint NOT NULL,
    valid_to_ns bigint,
    node_name text NOT NULL,
    vendor text NOT NULL,
    model text NOT NULL,
    device_index integer NOT NULL,
    vram_bytes bigint NOT NULL,
    fp16_gflops bigint NOT NULL,
    present boolean NOT NULL,
    health text NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, valid_from_seq),
    CHECK (valid_to_ns IS NULL OR valid_to_ns >= valid_from_ns)
);
CREATE UNIQUE INDEX device_validity_current ON device_validity (device_id)
    WHERE valid_to_ns IS NULL;
COMMENT ON TABLE device_validity IS
    'Where each card was, and how, from when to when; valid_to_ns is null for how it is now.';

CREATE TABLE device_link (
    device_id text NOT NULL,
    peer_device_id text NOT NULL,
    link_type text NOT NULL,
    lanes integer NOT NULL,
    bandwidth_gbytes_s double precision NOT NULL,
    latency_ns bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, peer_device_id)
);
COMMENT ON TABLE device_link IS 'Links of a node''s cards, fabric or PCIe; one row per direction.';

CREATE TABLE rdma_nic (
    node_name text NOT NULL,
    nic_name text NOT NULL,
    pci_address text NOT NULL,
    numa_node integer NOT NULL,
    link_layer text NOT NULL,
    rate_gbps double precision NOT NULL,
    up boolean NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (node_name, nic_name)
);
COMMENT ON TABLE rdma_nic IS
    'Network cards that reach other nodes by RDMA; link_layer Ethernet is RoCE.';

CREATE TABLE node_sample (
    node_name text PRIMARY KEY,
    at_ns bigint NOT NULL,
    interval_s double precision NOT NULL,
    devices text NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE node_sample IS
    'The newest samples of each node as they came; the view device_health takes them apart.';
COMMENT ON COLUMN node_sample.devices IS 'A JSON list, one object per card that answered.';

CREATE TABLE device_counter (
    device_id text PRIMARY KEY,
    ecc_corrected bigint NOT NULL,
    ecc_uncorrected bigint NOT NULL,
    pcie_replays bigint NOT NULL,
    link_errors bigint NOT NULL,
    changed_at_ns bigint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE device_counter IS
    'Errors that each card has counted since HCS knows it; no row means none.';

CREATE TABLE fault_episode (
    device_id text NOT NULL,
    code text NOT NULL,
    raised_seq bigint NOT NULL,
    node_name text NOT NULL,
    vendor text NOT NULL,
    fault_name text NOT NULL,
    severity text NOT NULL,
    detail text NOT NULL,
    lasting boolean NOT NULL,
    reports bigint NOT NULL,
    raised_at_ns bigint NOT NULL,
    reported_at_ns bigint NOT NULL,
    ended_at_ns bigint,
    ended_seq bigint,
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, code, raised_seq),
    CHECK (ended_at_ns IS NULL OR ended_at_ns >= raised_at_ns)
);
CREATE UNIQUE INDEX fault_episode_open ON fault_episode (device_id, code) WHERE ended_seq IS NULL;
COMMENT ON TABLE fault_episode IS 'Each code on each card, from when to when, and how often.';
COMMENT ON COLUMN fault_episode.lasting IS
    'False: an occurrence, nobody tells of its end; it counts on while it repeats within 10 min.';
COMMENT ON COLUMN fault_episode.ended_seq IS 'Null while the fault lasts or may still repeat.';

CREATE TABLE isolation (
    device_id text NOT NULL,
    isolated_seq bigint NOT NULL,
    node_name text NOT NULL,
    code text NOT NULL,
    rule text NOT NULL,
    policy_version text NOT NULL,
    evidence text NOT NULL,
    active_codes text[] NOT NULL,
    isolated_at_ns bigint NOT NULL,
    clear_since_ns bigint,
    released_at_ns bigint,
    released_seq bigint,
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, isolated_seq)
);
CREATE UNIQUE INDEX isolation_current ON isolation (device_id) WHERE released_seq IS NULL;
COMMENT ON TABLE isolation IS 'Isolations of cards, current (released_seq is null) and past.';
COMMENT ON COLUMN isolation.active_codes IS 'Faults that hold the card; empty: to be released.';

CREATE TABLE allocation (
    pod_uid text NOT NULL,
    device_id text NOT NULL,
    node_name text NOT NULL,
    namespace text NOT NULL,
    pod_name text NOT NULL,
    state text NOT NULL CHECK (state IN ('reserved', 'bound', 'released')),
    vram_bytes bigint NOT NULL CHECK (vram_bytes >= 0),
    fp16_gflops bigint NOT NULL CHECK (fp16_gflops >= 0),
    reserved_at_ns bigint NOT NULL,
    changed_at_ns bigint NOT NULL,
    reason text NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (pod_uid, device_id)
);
CREATE INDEX allocation_live ON allocation (device_id) WHERE state <> 'released';
COMMENT ON TABLE allocation IS 'Shares of cards granted to Pods, folded from the ledger.';

CREATE TABLE quota_usage (
    pod_uid text NOT NULL,
    container text NOT NULL,
    device_id text NOT NULL,
    node_name text NOT NULL,
    quota_bytes bigint NOT NULL,
    used_bytes bigint NOT NULL,
    peak_bytes bigint NOT NULL,
    refusals bigint NOT NULL,
    processes integer NOT NULL,
    at_ns bigint NOT NULL,
    enforced boolean NOT NULL,
    launches bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (pod_uid, container, device_id)
);
COMMENT ON TABLE quota_usage IS
    'What each container uses of each card by the interceptor''s word, or the driver''s.';
COMMENT ON COLUMN quota_usage.enforced IS
    'False: no interceptor holds these processes to a quota, or to more than the Pod was granted.';
COMMENT ON COLUMN quota_usage.launches IS
    'Kernels and graphs launched by the container, on all its cards: the same in the row of each.';

CREATE TABLE benchmark (
    device_id text NOT NULL,
    benchmark_name text NOT NULL,
    node_name text NOT NULL,
    gflops bigint NOT NULL,
    duration_s double precision NOT NULL,
    power_watts double precision,
    detail text NOT NULL,
    at_ns bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, benchmark_name)
);
COMMENT ON TABLE benchmark IS 'What each card did in a micro-benchmark last.';

CREATE TABLE hardware_profile (
    vendor text NOT NULL,
    model text NOT NULL,
    vram_bytes bigint NOT NULL,
    memory_bandwidth_gbytes_s double precision NOT NULL,
    fp16_gflops bigint NOT NULL,
    fp32_gflops bigint NOT NULL,
    int8_gops bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (vendor, model)
);
COMMENT ON TABLE hardware_profile IS
    'What each model that was ever seen can do on paper; 0 means not published.';

CREATE TABLE checkpoint (
    namespace text NOT NULL,
    workload text NOT NULL,
    pod_uid text NOT NULL,
    uri text NOT NULL,
    step bigint NOT NULL,
    size_bytes bigint NOT NULL,
    at_ns bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (namespace, workload)
);
COMMENT ON TABLE checkpoint IS 'The newest state that each workload has saved.';

CREATE TABLE pod (
    pod_uid text PRIMARY KEY,
    namespace text NOT NULL,
    pod_name text NOT NULL,
    node_name text NOT NULL,
    workload text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('bound', 'finished')),
    reason text NOT NULL,
    at_ns bigint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE pod IS 'Pods with cards, until they are gone from the cluster.';

CREATE TABLE compute_quota (
    namespace text NOT NULL,
    quota_name text NOT NULL,
    vram_bytes bigint,
    fp16_gflops bigint,
    priorities text[] NOT NULL,
    at_ns bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (namespace, quota_name)
);
COMMENT ON TABLE compute_quota IS 'Limits of teams; null is no limit.';

CREATE TABLE health_policy (
    policy_seq bigint PRIMARY KEY,
    policy_version text NOT NULL,
    document text NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    at_ns bigint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE health_policy IS
    'Policies that were put in force; the highest policy_seq is. Empty: the one that ships.';

CREATE TABLE projection_position (
    consumer text PRIMARY KEY,
    stream_seq bigint NOT NULL
);
INSERT INTO projection_position VALUES ('projector', 0);
COMMENT ON TABLE projection_position IS
    'How far HCS_FACTS is folded; changes in the same transaction as the rows.';

CREATE TABLE decision_outbox (
    decision_id text PRIMARY KEY,
    subject text NOT NULL,
    payload bytea NOT NULL,
    fact_seq bigint NOT NULL,
    published_seq bigint
);
CREATE INDEX decision_outbox_waiting ON decision_outbox (fact_seq) WHERE published_seq IS NULL;
COMMENT ON TABLE decision_outbox IS
    'Decisions, written with the rows they rest on and published after the commit.';

CREATE TABLE parked_event (
    stream_seq bigint PRIMARY KEY,
    subject text NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL
);
COMMENT ON TABLE parked_event IS 'Messages that could not be folded, with the reason.';
"""

VIEWS = """
CREATE VIEW inventory AS
SELECT
    d.node_name,
    d.device_index,
    d.device_id,
    d.vendor,
    d.model,
    d.vram_bytes,
    d.vram_allocated_bytes,
    greatest(0, d.vram_bytes - d.vram_allocated_bytes) AS vram_free_bytes,
    d.fp16_gflops / 1000::float8 AS fp16_tflops,
    greatest(0, d.fp16_gflops - d.fp16_allocated_gflops) / 1000::float8 AS fp16_free_tflops,
    CASE WHEN NOT d.present THEN 'absent' ELSE d.health END AS health,
    i.code AS isolation_code,
    i.evidence AS isolation_evidence,
    (SELECT count(*) FROM allocation a
      WHERE a.device_id = d.device_id AND a.state <> 'released') AS pods,
    to_timestamp(n.heartbeat_at_ns / 1e9) AS heartbeat_at
FROM device d
JOIN node n ON n.node_name = d.node_name
LEFT JOIN isolation i ON i.device_id = d.device_id AND i.released_seq IS NULL
ORDER BY d.node_name, d.vendor, d.device_index;
COMMENT ON VIEW inventory IS 'One row per card: what it is, what is free of it, and its health.';

CREATE VIEW free_capacity AS
SELECT
    d.vendor,
    d.model,
    count(*) AS devices,
    count(*) FILTER (WHERE d.present AND d.health = 'healthy') AS usable_devices,
    coalesce(sum(greatest(0, d.vram_bytes - d.vram_allocated_bytes))
        FILTER (WHERE d.present AND d.health = 'healthy'), 0) AS vram_free_bytes,
    coalesce(sum(greatest(0, d.fp16_gflops - d.fp16_allocated_gflops))
        FILTER (WHERE d.present AND d.health = 'healthy'), 0) / 1000::float8 AS fp16_free_tflops
FROM device d
GROUP BY d.vendor, d.model
ORDER BY d.vendor, d.model;
COMMENT ON VIEW free_capacity IS 'What new work could get, by model; isolated cards do not count.';

CREATE VIEW capacity_by_vendor AS
SELECT
    d.vendor,
    count(DISTINCT d.node_name) FILTER (WHERE d.present) AS nodes,
    count(*) FILTER (WHERE d.present) AS devices,
    count(*) FILTER (WHERE d.present AND d.health = 'healthy') AS healthy_devices,
    coalesce(sum(d.vram_bytes) FILTER (WHERE d.present), 0) AS vram_bytes,
    coalesce(sum(d.vram_allocated_bytes) FILTER (WHERE d.present), 0) AS vram_allocated_bytes,
    coalesce(sum(d.fp16_gflops) FILTER (WHERE d.present), 0) / 1000::float8 AS fp16_tflops,
    coalesce(sum(d.fp16_allocated_gflops) FILTER (WHERE d.present), 0) / 1000::float8
        AS fp16_allocated_tflops
FROM device d
GROUP BY d.vendor
ORDER BY d.vendor;
COMMENT ON VIEW capacity_by_vendor IS
    'All there is, by vendor: cards that are there, isolated ones too, and what is given out.';

CREATE VIEW device_health AS
SELECT
    d.device_id,
    d.node_name,
    d.device_index,
    d.vendor,
    d.model,
    CASE WHEN NOT d.present THEN 'absent' ELSE d.health END AS health,
    i.code AS isolation_code,
    ARRAY(
        SELECT e.code FROM fault_episode e
        WHERE e.device_id = d.device_id AND e.lasting AND e.ended_seq IS NULL
        ORDER BY e.code
    ) AS active_faults,
    to_timestamp(s.at_ns / 1e9) AS sampled_at,
    s.utilization_percent,
    s.memory_utilization_percent,
    s.vram_used_bytes,
    s.power_watts,
    s.temperature_celsius,
    s.memory_temperature_celsius,
    s.core_clock_mhz,
    s.memory_clock_mhz,
    s.throttle_reasons,
    s.pcie_generation,
    s.pcie_width,
    coalesce(c.ecc_corrected, 0) AS ecc_corrected,
    coalesce(c.ecc_uncorrected, 0) AS ecc_uncorrected,
    coalesce(c.pcie_replays, 0) AS pcie_replays,
    coalesce(c.link_errors, 0) AS link_errors
FROM device d
LEFT JOIN isolation i ON i.device_id = d.device_id AND i.released_seq IS NULL
LEFT JOIN device_counter c ON c.device_id = d.device_id
LEFT JOIN (
    SELECT n.node_name, n.at_ns, sample.*
    FROM node_sample n, json_to_recordset(n.devices::json) AS sample(
        device_id text,
        utilization_percent double precision,
        memory_utilization_percent double precision,
        vram_used_bytes bigint,
        power_watts double precision,
        temperature_celsius double precision,
        memory_temperature_celsius double precision,
        core_clock_mhz integer,
        memory_clock_mhz integer,
        throttle_reasons text[],
        pcie_generation integer,
        pcie_width integer
    )
) s ON s.device_id = d.device_id AND s.node_name = d.node_name
ORDER BY d.node_name, d.vendor, d.device_index;
COMMENT ON VIEW device_health IS
    'How each card is: its health, the faults in force, the newest sample, and all errors counted.';

CREATE VIEW unhealthy_devices AS
SELECT
    d.device_id,
    d.node_name,
    d.device_index,
    d.vendor,
    d.model,
    CASE WHEN NOT d.present THEN 'absent' ELSE d.health END AS health,
    to_timestamp(v.valid_from_ns / 1e9) AS since,
    i.code AS isolation_code,
    i.rule,
    i.evidence,
    i.active_codes,
    ARRAY(
        SELECT a.namespace || '/' || a.pod_name FROM allocation a
        WHERE a.device_id = d.device_id AND a.state <> 'released'
        ORDER BY 1
    ) AS pods
FROM device d
LEFT JOIN device_validity v ON v.device_id = d.device_id AND v.valid_to_ns IS NULL
LEFT JOIN isolation i ON i.device_id = d.device_id AND i.released_seq IS NULL
WHERE NOT d.present OR d.health <> 'healthy'
ORDER BY d.node_name, d.vendor, d.device_index;
COMMENT ON VIEW unhealthy_devices IS
    'Cards that get no new work: why, since when, and which Pods are on them.';

CREATE VIEW isolation_timeline AS
SELECT
    to_timestamp(i.isolated_at_ns / 1e9) AS isolated_at,
    to_timestamp(i.released_at_ns / 1e9) AS released_at,
    to_timestamp(i.released_at_ns / 1e9) - to_timestamp(i.isolated_at_ns / 1e9) AS lasted,
    i.node_name,
    i.device_id,
    d.vendor,
    d.model,
    i.code,
    i.rule,
    i.policy_version,
    i.evidence,
    i.isolated_seq
FROM isolation i
JOIN device d ON d.device_id = i.device_id
ORDER BY i.isolated_seq DESC;
COMMENT ON VIEW isolation_timeline IS
    'Every isolation ever, the newest first; released_at is null for those in force.';

CREATE VIEW team_usage AS
WITH granted AS (
    SELECT namespace, count(DISTINCT pod_uid) AS pods, count(DISTINCT device_id) AS devices,
        sum(vram_bytes) AS vram_bytes, sum(fp16_gflops) AS fp16_gflops
    FROM allocation WHERE state <> 'released' GROUP BY namespace
), used AS (
    SELECT a.namespace, sum(u.used_bytes) AS used_bytes, sum(u.refusals) AS refusals
    FROM quota_usage u
    JOIN allocation a ON a.pod_uid = u.pod_uid AND a.device_id = u.device_id
    WHERE a.state <> 'released' GROUP BY a.namespace
), unenforced AS ( -- on whatever card: a grant of another one is no excuse
    SELECT a.namespace, count(DISTINCT (u.pod_uid, u.container)) AS containers
    FROM quota_usage u
    JOIN allocation a ON a.pod_uid = u.pod_uid
    WHERE a.state <> 'released' AND NOT u.enforced AND u.processes > 0 GROUP BY a.namespace
), limited AS (
    SELECT namespace, min(vram_bytes) AS vram_bytes, min(fp16_gflops) AS fp16_gflops
    FROM compute_quota WHERE priorities = '{}' GROUP BY namespace
)
SELECT
    namespace,
    coalesce(g.pods, 0) AS pods,
    coalesce(g.devices, 0) AS devices,
    coalesce(g.vram_bytes, 0) AS vram_granted_bytes,
    l.vram_bytes AS vram_limit_bytes,
    coalesce(u.used_bytes, 0) AS vram_used_bytes,
    coalesce(u.refusals, 0) AS refusals,
    coalesce(g.fp16_gflops, 0) / 1000::float8 AS fp16_granted_tflops,
    l.fp16_gflops / 1000::float8 AS fp16_limit_tflops,
    coalesce(e.containers, 0) AS unenforced_containers
FROM granted g
FULL JOIN limited l USING (namespace)
LEFT JOIN used u USING (namespace)
LEFT JOIN unenforced e USING (namespace)
ORDER BY namespace;
COMMENT ON VIEW team_usage IS
    'By namespace: what is granted, what containers use, the limit (null: none), who has no quota.';
"""

# Roles belong to the server, not to the database: another HCS may have made it.
READER_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hcs_reader') THEN
        CREATE ROLE hcs_reader NOLOGIN;
    END IF;
END $$
"""

INVENTORY_AT = """
CREATE FUNCTION inventory_at(moment timestamptz) RETURNS TABLE (
    node_name text,
    device_index integer,
    device_id text,
    vendor text,
    model text,
    vram_bytes bigint,
    vram_allocated_bytes bigint,
    health text
) LANGUAGE sql STABLE AS $$
    SELECT v.node_name, v.device_index, v.device_id, v.vendor, v.model, v.vram_bytes,
        coalesce((
            SELECT sum(a.vram_bytes)::bigint FROM allocation a
            WHERE a.device_id = v.device_id AND a.reserved_at_ns <= at.ns
                AND (a.state <> 'released' OR a.changed_at_ns > at.ns)
        ), 0),
        CASE WHEN NOT v.present THEN 'absent' ELSE v.health END
    FROM (SELECT (extract(epoch FROM moment) * 1000000000)::bigint AS ns) at
    JOIN device_validity v
        ON v.valid_from_ns <= at.ns AND (v.valid_to_ns IS NULL OR v.valid_to_ns > at.ns)
    ORDER BY v.node_name, v.vendor, v.device_index
$$
"""
DESCRIBE_INVENTORY_AT = """
COMMENT ON FUNCTION inventory_at IS
    'The inventory as it was at a moment, by the events'' own times.'
"""

READER = """
GRANT USAGE ON SCHEMA public TO hcs_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO hcs_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO hcs_reader;
"""


def upgrade() -> None:
    """Create everything."""
    op.execute(READER_ROLE)
    for statement in (TABLES + VIEWS).split(";\n"):
        if statement.strip():
            op.execute(statement)
    op.execute(INVENTORY_AT)
    op.execute(DESCRIBE_INVENTORY_AT)
    for statement in READER.split(";\n"):
        if statement.strip():
            op.execute(statement)
