"""The folded state in memory, with the few indexes that answers need.

Only live rows are kept: a released allocation or isolation leaves memory, its row stays in the
store. `apply` is the only way to change a fleet.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from hcs_bus.events import AllocationState
from hcs_bus.names import DeviceId, NodeName, PodUid, Vendor
from hcs_control.rows import (
    AllocationRow,
    AnyRow,
    Change,
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
    PodRow,
    QuotaUsageRow,
    RdmaNicRow,
    Removed,
    SourcePositionRow,
)


class Fleet:
    """All nodes, cards, grants and isolations that are current."""

    def __init__(self) -> None:
        self.nodes: dict[NodeName, NodeRow] = {}
        self.sources: dict[tuple[str, str], SourcePositionRow] = {}
        self.devices: dict[DeviceId, DeviceRow] = {}
        self.device_ids_of_node: dict[NodeName, set[DeviceId]] = {}
        self.version_of_node: dict[NodeName, int] = {}  # grows with each change of a card of it
        self.validities: dict[DeviceId, DeviceValidityRow] = {}
        self.links_of_device: dict[DeviceId, dict[DeviceId, DeviceLinkRow]] = {}
        self.isolations: dict[DeviceId, IsolationRow] = {}
        self.allocations: dict[PodUid, dict[DeviceId, AllocationRow]] = {}
        self.usage_of_pod: dict[PodUid, dict[tuple[str, DeviceId], QuotaUsageRow]] = {}
        self.nics_of_node: dict[NodeName, dict[str, RdmaNicRow]] = {}
        self.counters: dict[DeviceId, DeviceCounterRow] = {}
        self.episodes: dict[tuple[DeviceId, str], FaultEpisodeRow] = {}
        self.profiles: dict[tuple[Vendor, str], HardwareProfileRow] = {}
        self.checkpoints: dict[tuple[str, str], CheckpointRow] = {}
        self.policy: HealthPolicyRow | None = None

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over new rows and removals, in order."""
        for change in changes:
            if isinstance(change, Removed):
                self._remove(change)
            else:
                self._put(change)

    def devices_of(self, node: NodeName) -> list[DeviceRow]:
        """Return a node's cards, by the vendor's numbering."""
        rows = (self.devices[device_id] for device_id in self.device_ids_of_node.get(node, ()))
        return sorted(rows, key=lambda row: (row.vendor, row.device_index, row.device_id))

    def _put(self, row: AnyRow) -> None:
        put = self._PUT.get(type(row))
        if put is not None:
            put(self, row)

    def _put_node(self, row: NodeRow) -> None:
        self.nodes[row.node_name] = row

    def _put_source(self, row: SourcePositionRow) -> None:
        self.sources[row.key] = row

    def _put_validity(self, row: DeviceValidityRow) -> None:
        if row.valid_to_ns is None:
            self.validities[row.device_id] = row

    def _put_link(self, row: DeviceLinkRow) -> None:
        self.links_of_device.setdefault(row.device_id, {})[row.peer_device_id] = row

    def _put_usage(self, row: QuotaUsageRow) -> None:
        usage = self.usage_of_pod.setdefault(row.pod_uid, {})
        usage[(row.container, row.device_id)] = row

    def _put_nic(self, row: RdmaNicRow) -> None:
        self.nics_of_node.setdefault(row.node_name, {})[row.nic_name] = row

    def _put_counter(self, row: DeviceCounterRow) -> None:
        self.counters[row.device_id] = row

    def _put_profile(self, row: HardwareProfileRow) -> None:
        self.profiles[(row.vendor, row.model)] = row

    def _put_checkpoint(self, row: CheckpointRow) -> None:
        self.checkpoints[(row.namespace, row.workload)] = row

    def _put_policy(self, row: HealthPolicyRow) -> None:
        if self.policy is None or row.policy_seq >= self.policy.policy_seq:
            self.policy = row

    def _put_device(self, row: DeviceRow) -> None:
        before = self.devices.get(row.device_id)
        if before is not None and before.node_name != row.node_name:
            self.device_ids_of_node[before.node_name].discard(row.device_id)
            self._touch(before.node_name)
        self.devices[row.device_id] = row
        self.device_ids_of_node.setdefault(row.node_name, set()).add(row.device_id)
        self._touch(row.node_name)

    def _touch(self, node: NodeName) -> None:
        self.version_of_node[node] = self.version_of_node.get(node, 0) + 1

    def _put_isolation(self, row: IsolationRow) -> None:
        if row.released_seq is None:
            self.isolations[row.device_id] = row
        else:
            self.isolations.pop(row.device_id, None)

    def _put_episode(self, row: FaultEpisodeRow) -> None:
        if row.ended_seq is None:
            self.episodes[(row.device_id, row.code)] = row
        else:
            self.episodes.pop((row.device_id, row.code), None)

    def _put_allocation(self, row: AllocationRow) -> None:
        of_pod = self.allocations.setdefault(row.pod_uid, {})
        if row.state is AllocationState.RELEASED:
            of_pod.pop(row.device_id, None)
        else:
            of_pod[row.device_id] = row
        if not of_pod:
            del self.allocations[row.pod_uid]

    def _remove(self, removed: Removed) -> None:
        if removed.row_type is DeviceLinkRow:
            card, peer = (DeviceId(str(part)) for part in removed.key)
            self.links_of_device[card].pop(peer, None)
        elif removed.row_type is QuotaUsageRow:
            pod_uid, container, device_id = (str(part) for part in removed.key)
            usage = self.usage_of_pod[PodUid(pod_uid)]
            usage.pop((container, DeviceId(device_id)), None)
            if not usage:
                del self.usage_of_pod[PodUid(pod_uid)]
        elif removed.row_type is RdmaNicRow:
            node, nic_name = (str(part) for part in removed.key)
            self.nics_of_node[NodeName(node)].pop(nic_name, None)
        elif removed.row_type not in (PodRow, ComputeQuotaRow):
            raise AssertionError(f"rows of {removed.row_type.__name__} are never removed")

    # Where each kind of row goes. The others (samples, benchmarks, Pods, limits) are for SQL alone.
    _PUT: ClassVar[dict[type[AnyRow], Callable[[Any, Any], None]]] = {
        NodeRow: _put_node,
        SourcePositionRow: _put_source,
        DeviceRow: _put_device,
        DeviceValidityRow: _put_validity,
        DeviceLinkRow: _put_link,
        IsolationRow: _put_isolation,
        AllocationRow: _put_allocation,
        QuotaUsageRow: _put_usage,
        RdmaNicRow: _put_nic,
        DeviceCounterRow: _put_counter,
        FaultEpisodeRow: _put_episode,
        HardwareProfileRow: _put_profile,
        CheckpointRow: _put_checkpoint,
        HealthPolicyRow: _put_policy,
    }
