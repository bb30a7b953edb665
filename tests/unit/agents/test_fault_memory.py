"""The faults in force survive the agent."""

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("damage", [b"", b'[{"vendor":"nvidia"', b"\xff\xfe", b"{}", b"\0" * 512])
def test_a_damaged_file_is_set_aside_and_the_agent_starts(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_bytes(damage)
    memory = FaultMemory(tmp_path)
    assert list(memory) == []
    assert (tmp_path / "faults.damaged").read_bytes() == damage
    memory.add(XID)
    assert list(FaultMemory(tmp_path)) == [XID]


def test_what_can_be_read_of_a_damaged_file_counts(tmp_path: Path) -> None:
    FaultMemory(tmp_path).add(XID)
    file = tmp_path / "faults.json"
    unknown = b'{"vendor":"amd","device_id":"x","code":"1"}'
    file.write_bytes(file.read_bytes().replace(b"[", b"[" + unknown + b","))
    assert list(FaultMemory(tmp_path)) == [XID]
    assert unknown in (tmp_path / "faults.damaged").read_bytes()


def test_a_good_file_is_not_set_aside(tmp_path: Path) -> None:
    FaultMemory(tmp_path).add(XID)
    FaultMemory(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["faults.json"]
