"""The folded state in memory, with the few indexes that answers need.

Only live rows are kept: a released allocation or isolation leaves memory, its row stays in the
store. `apply` is the only way to change a fleet.
"""

from collections.abc import Iterable

from hcs_bus.events import AllocationState
from hcs_bus.names import DeviceId, NodeName, PodUid
from hcs_control.rows import (
    AllocationRow,
    AnyRow,
    Change,
    DeviceLinkRow,
    DeviceRow,
    DeviceValidityRow,
    IsolationRow,
    NodeRow,
    QuotaUsageRow,
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
        match row:
            case NodeRow():
                self.nodes[row.node_name] = row
            case SourcePositionRow():
                self.sources[row.key] = row
            case DeviceRow():
                self._put_device(row)
            case DeviceValidityRow():
                if row.valid_to_ns is None:
                    self.validities[row.device_id] = row
            case DeviceLinkRow():
                self.links_of_device.setdefault(row.device_id, {})[row.peer_device_id] = row
            case IsolationRow():
                self._put_isolation(row)
            case AllocationRow():
                self._put_allocation(row)
            case QuotaUsageRow():
                usage = self.usage_of_pod.setdefault(row.pod_uid, {})
                usage[(row.container, row.device_id)] = row

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
        else:
            raise AssertionError(f"rows of {removed.row_type.__name__} are never removed")
