"""Facts for tests: small, valid, and told apart by what a test passes in."""

import itertools

import msgspec

from hcs_bus.envelope import Envelope, Message, decode_envelope, encode_fact
from hcs_bus.events import (
    Allocation,
    AllocationState,
    DetectorReport,
    DetectorState,
    DeviceFingerprint,
    Fact,
    Fault,
    FaultState,
    Fingerprint,
    Heartbeat,
    Link,
    Quota,
    Share,
)
from hcs_bus.names import DeviceId, LinkType, NodeName, PodUid, Severity, Vendor

GIB = 1024**3
NODE = NodeName("gpu-0")
SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND

_numbers = itertools.count(1)


def device(
    name: str,
    *,
    index: int = 0,
    vram_gib: int = 80,
    tflops: int = 312,
    vendor: Vendor = Vendor.NVIDIA,
    model: str = "A100 SXM4 80GB",
    links: tuple[Link, ...] = (),
) -> DeviceFingerprint:
    """Return a card."""
    return DeviceFingerprint(
        device_id=DeviceId(name),
        vendor=vendor,
        model=model,
        index=index,
        pci_address=f"0000:{index:02x}:00.0",
        numa_node=0,
        vram_bytes=vram_gib * GIB,
        memory_bandwidth_gbytes_s=2039.0,
        fp16_gflops=tflops * 1000,
        fp32_gflops=19_500,
        driver_version="570.124.06",
        links=links,
    )


def fingerprint(*devices: DeviceFingerprint, at_ns: int = START_NS) -> Fingerprint:
    """Return a node's fingerprint."""
    return Fingerprint(
        at_ns=at_ns,
        agent_version="0.1.0",
        detectors=(DetectorReport(vendor=Vendor.NVIDIA, state=DetectorState.OK),),
        devices=devices,
    )


def link(peer: str, *, lanes: int = 12) -> Link:
    """Return an NVLink to a peer."""
    return Link(
        peer=DeviceId(peer), type=LinkType.NVLINK, lanes=lanes, bandwidth_gbytes_s=50.0 * lanes
    )


def heartbeat(*, at_ns: int = START_NS) -> Heartbeat:
    """Return a heartbeat."""
    return Heartbeat(at_ns=at_ns, interval_s=10.0)


def fault(
    device_name: str,
    code: str = "79",
    *,
    state: FaultState = FaultState.RAISED,
    at_ns: int = START_NS,
    vendor: Vendor = Vendor.NVIDIA,
) -> Fault:
    """Return a fault of a card."""
    return Fault(
        at_ns=at_ns,
        device_id=DeviceId(device_name),
        vendor=vendor,
        code=code,
        name="GPU has fallen off the bus",
        severity=Severity.FATAL,
        state=state,
    )


def quota(device_name: str, *, pod: str = "pod-1", used_gib: int = 1, launches: int = 0) -> Quota:
    """Return a container's usage."""
    return Quota(
        at_ns=START_NS,
        pod_uid=PodUid(pod),
        container="main",
        device_id=DeviceId(device_name),
        quota_bytes=16 * GIB,
        used_bytes=used_gib * GIB,
        peak_bytes=used_gib * GIB,
        refusals=0,
        processes=1,
        launches=launches,
    )


def unenforced(
    device_name: str, *, pod: str = "pod-2", used_gib: int = 1, processes: int = 1
) -> Quota:
    """Return what processes of a Pod use that no interceptor holds to a quota."""
    return msgspec.structs.replace(
        quota(device_name, pod=pod, used_gib=used_gib),
        container="",
        quota_bytes=0,
        processes=processes,
        enforced=False,
    )


def allocation(
    state: AllocationState,
    *shares: tuple[str, int, int],
    pod: str = "pod-1",
    node: NodeName = NODE,
    reason: str = "",
) -> Allocation:
    """Return a step in a grant's life; shares are (device, GiB, TFLOPS)."""
    return Allocation(
        at_ns=START_NS,
        pod_uid=PodUid(pod),
        namespace="default",
        pod_name=pod,
        node=node,
        state=state,
        shares=tuple(
            Share(device_id=DeviceId(name), vram_bytes=gib * GIB, fp16_gflops=tflops * 1000)
            for name, gib, tflops in shares
        ),
        reason=reason,
    )


def message(fact: Fact, *, node: NodeName = NODE, event_id: str | None = None) -> Message:
    """Return a fact as an agent of `node` would send it; ids count up unless given."""
    chosen = event_id or f"{node}/boot/{next(_numbers)}"
    return encode_fact(fact, node=node, event_id=chosen, source=f"/hcs/agent/{node}")


def envelope(fact: Fact, *, node: NodeName = NODE, event_id: str | None = None) -> Envelope:
    """Return the envelope of such a message."""
    return decode_envelope(message(fact, node=node, event_id=event_id).payload)
