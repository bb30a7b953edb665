"""Folds a node's fingerprint: the whole truth about its cards, so what it omits is gone.

But for the cards of a vendor whose library is broken: it can tell nothing, so they stay.
"""

import msgspec

from hcs_bus.errors import PoisonEventError
from hcs_bus.events import (
    TEXT_CHARACTERS_MAX,
    DetectorState,
    DeviceFingerprint,
    Fingerprint,
)
from hcs_bus.names import NodeName, StreamSeq, Vendor
from hcs_control.fleet import Fleet
from hcs_control.rows import (
    Change,
    DeviceLinkRow,
    DeviceRow,
    HardwareProfileRow,
    Health,
    NodeRow,
    RdmaNicRow,
    Removed,
)
from hcs_control.validity import with_validity


def fold_fingerprint(
    fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Fingerprint
) -> list[Change]:
    """Return the rows that a fingerprint changes.

    Raises:
        PoisonEventError: one card is listed twice.
    """
    named = {device.device_id for device in fact.devices}
    if len(named) != len(fact.devices):
        raise PoisonEventError(f"fingerprint of {node} lists a device twice")
    changes: list[Change] = [_node_row(fleet, seq, node, fact)]
    for device in fact.devices:
        row = _device_row(fleet, seq, node, device)
        changes.extend(with_validity(fleet, seq, fact.at_ns, row))
        changes.extend(_link_changes(fleet, seq, device))
    # A library that does not work cannot say that a card is gone.
    mute = {report.vendor for report in fact.detectors if report.state is DetectorState.BROKEN}
    for device_id in sorted(fleet.device_ids_of_node.get(node, set()) - named):
        row = fleet.devices[device_id]
        if row.present and row.vendor not in mute:
            absent = msgspec.structs.replace(row, seq=seq, present=False)
            changes.extend(with_validity(fleet, seq, fact.at_ns, absent))
    return changes + _nic_changes(fleet, seq, node, fact) + _profile_changes(fleet, seq, fact)


def _node_row(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Fingerprint) -> NodeRow:
    before = fleet.nodes.get(node) or NodeRow(seq=seq, node_name=node)
    reports = (
        f"{report.vendor}: {report.state}"
        + (f" ({report.detail[:TEXT_CHARACTERS_MAX]})" if report.detail else "")
        for report in fact.detectors
    )
    return msgspec.structs.replace(
        before,
        seq=seq,
        agent_version=fact.agent_version,
        detectors="; ".join(reports),
        fingerprint_at_ns=fact.at_ns,
    )


def _device_row(
    fleet: Fleet, seq: StreamSeq, node: NodeName, device: DeviceFingerprint
) -> DeviceRow:
    before = fleet.devices.get(device.device_id)
    row = DeviceRow(
        seq=seq,
        device_id=device.device_id,
        node_name=node,
        vendor=device.vendor,
        model=device.model,
        device_index=device.index,
        pci_address=device.pci_address,
        numa_node=device.numa_node,
        vram_bytes=device.vram_bytes,
        memory_bandwidth_gbytes_s=device.memory_bandwidth_gbytes_s,
        fp16_gflops=device.fp16_gflops,
        fp32_gflops=device.fp32_gflops,
        driver_version=device.driver_version,
        serial=device.serial,
        int8_gops=device.int8_gops,
        matrix_cores=device.matrix_cores,
        pcie_generation_max=device.pcie_generation_max,
        pcie_width_max=device.pcie_width_max,
        cpu_affinity=device.cpu_affinity,
        library_version=device.library_version,
        runtime_version=device.runtime_version,
        firmware_version=device.firmware_version,
        health=Health.ISOLATED if device.device_id in fleet.isolations else Health.HEALTHY,
    )
    if before is None:
        return row
    return msgspec.structs.replace(
        row,
        vram_allocated_bytes=before.vram_allocated_bytes,
        fp16_allocated_gflops=before.fp16_allocated_gflops,
        overcommitted=before.vram_allocated_bytes > row.vram_bytes
        or before.fp16_allocated_gflops > row.fp16_gflops,
    )


def _link_changes(fleet: Fleet, seq: StreamSeq, device: DeviceFingerprint) -> list[Change]:
    before = fleet.links_of_device.get(device.device_id, {})
    changes: list[Change] = []
    for link in device.links:
        row = DeviceLinkRow(
            seq=seq,
            device_id=device.device_id,
            peer_device_id=link.peer,
            link_type=link.type,
            lanes=link.lanes,
            bandwidth_gbytes_s=link.bandwidth_gbytes_s,
            latency_ns=link.latency_ns,
        )
        known = before.get(link.peer)
        if known is None or msgspec.structs.replace(known, seq=seq) != row:
            changes.append(row)
    named = {link.peer for link in device.links}
    gone = sorted(before.keys() - named)
    changes.extend(Removed(DeviceLinkRow, (device.device_id, peer)) for peer in gone)
    return changes


def _nic_changes(fleet: Fleet, seq: StreamSeq, node: NodeName, fact: Fingerprint) -> list[Change]:
    before = fleet.nics_of_node.get(node, {})
    changes: list[Change] = []
    for nic in fact.nics:
        row = RdmaNicRow(
            seq=seq,
            node_name=node,
            nic_name=nic.name,
            pci_address=nic.pci_address,
            numa_node=nic.numa_node,
            link_layer=nic.link_layer,
            rate_gbps=nic.rate_gbps,
            up=nic.up,
        )
        known = before.get(nic.name)
        if known is None or msgspec.structs.replace(known, seq=seq) != row:
            changes.append(row)
    gone = sorted(before.keys() - {nic.name for nic in fact.nics})
    changes.extend(Removed(RdmaNicRow, (node, name)) for name in gone)
    return changes


def _profile_changes(fleet: Fleet, seq: StreamSeq, fact: Fingerprint) -> list[Change]:
    """Return what the cards tell about their models; one row per model, whatever their number."""
    told: dict[tuple[Vendor, str], HardwareProfileRow] = {}
    for device in fact.devices:
        key = (device.vendor, device.model)
        known = told.get(key) or fleet.profiles.get(key)
        told[key] = HardwareProfileRow(
            seq=seq,
            vendor=device.vendor,
            model=device.model,
            vram_bytes=max(device.vram_bytes, known.vram_bytes if known else 0),
            memory_bandwidth_gbytes_s=device.memory_bandwidth_gbytes_s,
            fp16_gflops=device.fp16_gflops,
            fp32_gflops=device.fp32_gflops,
            int8_gops=device.int8_gops,
        )
    return [
        row
        for key, row in told.items()
        if key not in fleet.profiles or msgspec.structs.replace(fleet.profiles[key], seq=seq) != row
    ]
