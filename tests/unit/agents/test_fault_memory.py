"""The faults in force survive the agent."""

from pathlib import Path

from hcs_agents.detectors.port import ActiveFault
from hcs_agents.fault_memory import FaultMemory, RememberedFault
from hcs_bus.names import DeviceId, Vendor

XID = RememberedFault(vendor=Vendor.NVIDIA, device_id=DeviceId("GPU-1"), code="79")
DCMI = RememberedFault(vendor=Vendor.HUAWEI, device_id=DeviceId("SN-1"), code="80E18402")


def test_a_remembered_fault_is_there_after_a_restart(tmp_path: Path) -> None:
    memory = FaultMemory(tmp_path)
    memory.add(XID)
    memory.add(DCMI)
    memory.add(XID)
    again = FaultMemory(tmp_path)
    assert set(again) == {XID, DCMI}
    assert again.active_of(Vendor.NVIDIA) == (ActiveFault(device_id=XID.device_id, code=XID.code),)


def test_a_forgotten_fault_is_gone_after_a_restart(tmp_path: Path) -> None:
    memory = FaultMemory(tmp_path)
    memory.add(XID)
    memory.remove(XID)
    memory.remove(DCMI)
    assert list(FaultMemory(tmp_path)) == []
