"""The projection: tables, the views for people, and the read-only role."""

from alembic import op

revision = "0001"
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
    seq bigint NOT NULL,
    PRIMARY KEY (node_name, incarnation)
);
COMMENT ON TABLE source_position IS
    'Which numbered events of each agent''s spool were folded: resent ones count once.';

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
    seq bigint NOT NULL,
    PRIMARY KEY (device_id, peer_device_id)
);
COMMENT ON TABLE device_link IS 'Fabric links between cards of one node; one row per direction.';

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
    seq bigint NOT NULL,
    PRIMARY KEY (pod_uid, container, device_id)
);
COMMENT ON TABLE quota_usage IS 'What each container uses of each card, as the interceptor counts.';

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
    d.fp16_gflops / 1000.0 AS fp16_tflops,
    greatest(0, d.fp16_gflops - d.fp16_allocated_gflops) / 1000.0 AS fp16_free_tflops,
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
        FILTER (WHERE d.present AND d.health = 'healthy'), 0) / 1000.0 AS fp16_free_tflops
FROM device d
GROUP BY d.vendor, d.model
ORDER BY d.vendor, d.model;
COMMENT ON VIEW free_capacity IS 'What new work could get, by model; isolated cards do not count.';
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
