"""Folds the facts whose newest word stands: benchmarks, checkpoints, Pods, limits, policies."""

from hcs_bus.errors import ConfigError, PoisonEventError
from hcs_bus.events import Benchmark, Checkpoint, ComputeQuota, Pod, PodPhase, PolicyDocument
from hcs_bus.names import NodeName, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.policy import parse_policy
from hcs_control.rows import (
    BenchmarkRow,
    Change,
    CheckpointRow,
    ComputeQuotaRow,
    HealthPolicyRow,
    PodRow,
    Removed,
)


def fold_benchmark(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Benchmark) -> list[Change]:
    """Return the row of a measurement.

    Raises:
        PoisonEventError: the node does not have the card.
    """
    if fact.device_id not in fleet.device_ids_of_node.get(node, ()):
        raise PoisonEventError(f"benchmark of device {fact.device_id!r}: not on node {node}")
    row = BenchmarkRow(
        seq=seq,
        device_id=fact.device_id,
        benchmark_name=fact.name,
        node_name=node,
        gflops=fact.gflops,
        duration_s=fact.duration_s,
        power_watts=fact.power_watts,
        detail=fact.detail,
        at_ns=fact.at_ns,
    )
    return [row]


def fold_checkpoint(fleet: Fleet, seq: StreamSeq, fact: Checkpoint) -> list[Change]:
    """Return the row of a workload's newest checkpoint; one of an earlier step changes nothing.

    A Pod that was cut off may have spooled its last word before its successor saved more.
    """
    before = fleet.checkpoints.get((fact.namespace, fact.workload))
    if before is not None and fact.step < before.step and fact.at_ns < before.at_ns:
        return []
    row = CheckpointRow(
        seq=seq,
        namespace=fact.namespace,
        workload=fact.workload,
        pod_uid=fact.pod_uid,
        uri=fact.uri,
        step=fact.step,
        size_bytes=fact.size_bytes,
        at_ns=fact.at_ns,
    )
    return [row]


def fold_pod(seq: StreamSeq, fact: Pod) -> list[Change]:
    """Return the row of a Pod, or its removal."""
    if fact.phase is PodPhase.GONE:
        return [Removed(PodRow, (fact.pod_uid,))]
    row = PodRow(
        seq=seq,
        pod_uid=fact.pod_uid,
        namespace=fact.namespace,
        pod_name=fact.pod_name,
        node_name=fact.node,
        workload=fact.workload,
        phase=fact.phase,
        reason=fact.reason,
        at_ns=fact.at_ns,
    )
    return [row]


def fold_compute_quota(seq: StreamSeq, fact: ComputeQuota) -> list[Change]:
    """Return the row of a team's limit, or its removal."""
    if fact.removed:
        return [Removed(ComputeQuotaRow, (fact.namespace, fact.name))]
    row = ComputeQuotaRow(
        seq=seq,
        namespace=fact.namespace,
        quota_name=fact.name,
        vram_bytes=fact.vram_bytes,
        fp16_gflops=fact.fp16_gflops,
        priorities=fact.priorities,
        at_ns=fact.at_ns,
    )
    return [row]


def fold_policy(seq: StreamSeq, fact: PolicyDocument) -> list[Change]:
    """Return the row of a policy; it is in force from the next fact on.

    Raises:
        PoisonEventError: the document is no policy; the one before stays in force.
    """
    try:
        policy = parse_policy(fact.document)
    except ConfigError as error:
        raise PoisonEventError(f"policy {fact.version!r}: {error}") from error
    if policy.version != fact.version:
        raise PoisonEventError(
            f"policy {fact.version!r}: its document says version {policy.version!r}"
        )
    row = HealthPolicyRow(
        seq=seq,
        policy_seq=seq,
        policy_version=fact.version,
        document=fact.document,
        who=fact.who,
        why=fact.why,
        at_ns=fact.at_ns,
    )
    return [row]
