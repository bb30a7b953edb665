"""What the Hygon detector needs of whatever tells about the cards: rocm_smi, or KFD's sysfs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from hcs_agents.detectors.cards import Answer, Found
from hcs_agents.detectors.hygon_models import model_of
from hcs_agents.detectors.port import DeviceProcess, Reading
from hcs_agents.hardware import HardwareProfile, profile_of
from hcs_bus.events import DeviceFingerprint, Link
from hcs_bus.names import DeviceId, LinkType, Vendor


@dataclass(frozen=True, kw_only=True)
class Dcu:
    """One card as its source describes it; what the source does not say is empty."""

    device_id: DeviceId
    index: int
    pci_device: int | None
    name: str
    pci_address: str
    numa_node: int
    vram_bytes: int
    driver_version: str
    links: tuple[Link, ...]  # their bandwidth is what the platform states, 0 when it does not
    serial: str
    pcie_generation_max: int
    pcie_width_max: int
    cpu_affinity: str
    firmware_version: str
    library_version: str = ""


class DcuSource(Protocol):
    """A way to see the cards. The same card has the same identity in each."""

    def cards(self) -> Found[int]:
        """Return the cards that answer and by which number the source knows them."""

    def answers(self, cards: Mapping[DeviceId, int]) -> dict[DeviceId, Answer]:
        """Ask each of `cards` who it is."""

    def describe(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> Dcu | None:
        """Describe one of `cards`; `None` when it does not answer any more."""

    def uncorrectable(self, index: int) -> dict[str, int]:
        """Return a card's uncorrectable errors since its reset, by fault code."""

    def sample(self, cards: Mapping[DeviceId, int]) -> list[Reading]:
        """Return what those of `cards` do now that answer."""

    def processes(self, cards: Mapping[DeviceId, int]) -> list[DeviceProcess]:
        """Return who holds memory of those of `cards` that answer."""

    def close(self) -> None:
        """Give everything back."""


def identity(unique_id: int) -> DeviceId | None:
    """Return a card's identity; `None` for a card without one."""
    return DeviceId(f"{unique_id:016x}") if unique_id else None


def pci_address(domain: int, location: int) -> str:
    """Return a PCI address from the bus, device and function numbers packed in 16 bits."""
    bus, device, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}"


def fingerprint(dcu: Dcu) -> DeviceFingerprint:
    """Return what is told about a card."""
    profile = profile_of(Vendor.HYGON, model_of(dcu.pci_device, dcu.name))
    return DeviceFingerprint(
        device_id=dcu.device_id,
        vendor=Vendor.HYGON,
        model=profile.model,
        index=dcu.index,
        pci_address=dcu.pci_address,
        numa_node=dcu.numa_node,
        vram_bytes=dcu.vram_bytes,
        memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
        fp16_gflops=profile.fp16_gflops,
        fp32_gflops=profile.fp32_gflops,
        driver_version=dcu.driver_version,
        links=tuple(_at_full_speed(link, profile) for link in dcu.links),
        serial=dcu.serial,
        int8_gops=profile.int8_gops,
        pcie_generation_max=dcu.pcie_generation_max,
        pcie_width_max=dcu.pcie_width_max,
        cpu_affinity=dcu.cpu_affinity,
        library_version=dcu.library_version,
        firmware_version=dcu.firmware_version,
    )


def _at_full_speed(link: Link, profile: HardwareProfile) -> Link:
    """Return a wire of xGMI with the data sheet's bandwidth; one without is taken as it is."""
    if link.type is not LinkType.XGMI or not profile.lane_gbytes_s:
        return link
    return msgspec.structs.replace(link, bandwidth_gbytes_s=link.lanes * profile.lane_gbytes_s)
