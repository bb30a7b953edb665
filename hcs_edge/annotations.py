"""The names that HCS writes on Pods, and what each vendor's runtime wants to be told.

Result annotations are written once, with the Binding; the admission guard lets nobody set them.
The webhook turns them into environment variables by `fieldRef`, so a Pod learns its vendor late.
"""

from collections.abc import Sequence

import msgspec

from hcs_bus.names import Vendor
from hcs_control.fleet import Fleet
from hcs_control.rows import AllocationRow

PREFIX = "hcs.io/"

VENDOR = "hcs.io/vendor"
DEVICES = "hcs.io/devices"
DEVICE_INDICES = "hcs.io/device-indices"
VRAM_QUOTA = "hcs.io/vram-quota"
RUNTIME = "hcs.io/runtime"
ALLOCATION = "hcs.io/allocation"

SCHEDULER_NAME = "hcs-scheduler"


class VendorRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """How one vendor's container runtime learns which cards a container may see."""

    runtime: str  # directory below the node's HCS runtime directory
    visible_annotation: str
    visible_environment: str
    by_index: bool  # the variable wants numbers; otherwise device ids


VENDOR_RUNTIMES = {
    # NVIDIA's container toolkit takes UUIDs; docs.nvidia.com/datacenter/cloud-native.
    Vendor.NVIDIA: VendorRuntime(
        runtime="nvidia",
        visible_annotation="hcs.io/nvidia-visible-devices",
        visible_environment="NVIDIA_VISIBLE_DEVICES",
        by_index=False,
    ),
    # Ascend Docker Runtime takes logical ids.
    Vendor.HUAWEI: VendorRuntime(
        runtime="ascend",
        visible_annotation="hcs.io/ascend-visible-devices",
        visible_environment="ASCEND_VISIBLE_DEVICES",
        by_index=True,
    ),
    # HIP itself takes ordinals, in the order of rocm_smi's indices.
    Vendor.HYGON: VendorRuntime(
        runtime="hygon",
        visible_annotation="hcs.io/hygon-visible-devices",
        visible_environment="HIP_VISIBLE_DEVICES",
        by_index=True,
    ),
    # CNRT itself takes logical ids.
    Vendor.CAMBRICON: VendorRuntime(
        runtime="cambricon",
        visible_annotation="hcs.io/cambricon-visible-devices",
        visible_environment="MLU_VISIBLE_DEVICES",
        by_index=True,
    ),
    # The container runtime `mthreads` takes indices.
    Vendor.MTHREADS: VendorRuntime(
        runtime="mthreads",
        visible_annotation="hcs.io/mthreads-visible-devices",
        visible_environment="MTHREADS_VISIBLE_DEVICES",
        by_index=True,
    ),
}

RESULT_ANNOTATIONS = frozenset(
    {VENDOR, DEVICES, DEVICE_INDICES, VRAM_QUOTA, RUNTIME, ALLOCATION}
    | {runtime.visible_annotation for runtime in VENDOR_RUNTIMES.values()}
)


def result_annotations(fleet: Fleet, rows: Sequence[AllocationRow]) -> dict[str, str]:
    """Return what the Binding writes on the Pod for its reservation, cards in vendor order."""
    devices = sorted((fleet.devices[row.device_id] for row in rows), key=lambda d: d.device_index)
    share_of = {row.device_id: row for row in rows}
    runtime = VENDOR_RUNTIMES[devices[0].vendor]
    visible = [str(d.device_index) if runtime.by_index else d.device_id for d in devices]
    return {
        VENDOR: devices[0].vendor.value,
        DEVICES: ",".join(device.device_id for device in devices),
        DEVICE_INDICES: ",".join(str(device.device_index) for device in devices),
        VRAM_QUOTA: ",".join(str(share_of[d.device_id].vram_bytes) for d in devices),
        RUNTIME: runtime.runtime,
        ALLOCATION: str(max(row.seq for row in rows)),
        runtime.visible_annotation: ",".join(visible),
    }
