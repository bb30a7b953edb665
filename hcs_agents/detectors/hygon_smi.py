"""Hygon cards as rocm_smi tells about them, and what only the kernel knows: wires and CPUs."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

from hcs_agents.detectors import hygon_abi as abi
from hcs_agents.detectors.calls import numbered
from hcs_agents.detectors.cards import Answer, Found, answer_of
from hcs_agents.detectors.hygon_kfd import KfdTopology
from hcs_agents.detectors.hygon_pci import DcuCard
from hcs_agents.detectors.hygon_samples import link_max, read_card
from hcs_agents.detectors.hygon_source import Dcu, identity, pci_address
from hcs_agents.detectors.pci import VENDORS
from hcs_agents.detectors.pcie import way_to
from hcs_agents.detectors.port import DeviceProcess, LibraryBrokenError, Reading
from hcs_bus.events import Link
from hcs_bus.names import DeviceId, LinkType, Vendor

DOMAIN_SHIFT = 32
CODE_SUFFIX = "_UE"  # uncorrectable errors: the driver's own word for them


class RocmSmi:
    """The source that asks the library."""

    def __init__(self, sysfs: Path) -> None:
        """Load and initialise it.

        Raises:
            LibraryMissingError: there is none.
            LibraryBrokenError: it does not work.
        """
        self._rsmi = abi.Rsmi()
        self._sysfs = sysfs
        self._kernel = KfdTopology(sysfs)

    def close(self) -> None:
        """Shut it down; see `DcuSource`."""
        self._rsmi.close()

    def cards(self) -> Found[int]:
        """Enumerate; see `DcuSource`."""
        count = ctypes.c_uint32()
        result = self._rsmi.call("rsmi_num_monitor_devices", ctypes.byref(count))
        if result != abi.OK:
            raise LibraryBrokenError(f"rsmi_num_monitor_devices: {result}")
        found, silent, nameless = {}, 0, []
        for index in numbered(count.value):
            vendor = ctypes.c_uint16()
            result = self._of_card("rsmi_dev_vendor_id_get", index, vendor)
            if result == abi.OK and vendor.value != VENDORS[Vendor.HYGON]:
                continue
            unique_id = ctypes.c_uint64()
            result = result or self._of_card("rsmi_dev_unique_id_get", index, unique_id)
            device_id = identity(unique_id.value)
            if result == abi.OK and device_id is not None:
                found[device_id] = index
            elif result in (abi.OK, abi.NOT_SUPPORTED):
                nameless.append(index)
            else:
                silent += answer_of(result, fine=(), gone=abi.GONE) is Answer.SILENT
        return Found(cards=found, silent=silent, nameless=tuple(nameless))

    def answers(self, cards: Mapping[DeviceId, int]) -> dict[DeviceId, Answer]:
        """Ask for each card's unique id; see `DcuSource`."""
        return {device_id: self._answer(device_id, index) for device_id, index in cards.items()}

    def describe(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> Dcu | None:
        """Describe; see `DcuSource`."""
        rsmi, index = self._rsmi, cards[device_id]
        numa = rsmi.number("rsmi_topo_numa_affinity_get", index, ctypes.c_int32())
        address = self._pci_address(index)
        generation_max, width_max = link_max(rsmi, index)
        return Dcu(
            device_id=device_id,
            index=index,
            pci_device=rsmi.number("rsmi_dev_id_get", index, ctypes.c_uint16()),
            name=rsmi.text("rsmi_dev_name_get", ctypes.c_uint32(index), ctypes.c_size_t),
            pci_address=address,
            numa_node=-1 if numa is None else numa,
            vram_bytes=rsmi.vram_bytes(index) or 0,
            driver_version=rsmi.text("rsmi_version_str_get", abi.COMPONENT_DRIVER),
            links=self._links(device_id, cards),
            serial=rsmi.text("rsmi_dev_serial_number_get", ctypes.c_uint32(index)),
            pcie_generation_max=generation_max,
            pcie_width_max=width_max,
            cpu_affinity=DcuCard(self._sysfs, address).text("local_cpulist"),
            firmware_version=rsmi.text("rsmi_dev_vbios_version_get", ctypes.c_uint32(index)),
            library_version=self._library_version(),
        )

    def uncorrectable(self, index: int) -> dict[str, int]:
        """Read the RAS counters of the blocks that have them; see `DcuSource`."""
        blocks = self._rsmi.number("rsmi_dev_ecc_enabled_get", index, ctypes.c_uint64())
        counts = {}
        for place, name in enumerate(abi.BLOCKS):
            if blocks is not None and not blocks >> place & 1:
                continue
            errors = self._rsmi.errors(index, place)
            if errors is not None:
                counts[name + CODE_SUFFIX] = int(errors.uncorrectable_err)
        return counts

    def sample(self, cards: Mapping[DeviceId, int]) -> list[Reading]:
        """Read what a card's firmware and driver tell; see `DcuSource`."""
        by_index = sorted(cards.items(), key=lambda card: card[1])
        readings = [read_card(self._rsmi, device_id, index) for device_id, index in by_index]
        return [reading for reading in readings if reading is not None]

    def processes(self, cards: Mapping[DeviceId, int]) -> list[DeviceProcess]:
        """Ask of each process and card; see `DcuSource`."""
        asked = [(pid, *card) for pid in self._rsmi.pids() for card in cards.items()]
        found = [
            DeviceProcess(
                device_id=device_id,
                pid=pid,
                used_bytes=self._rsmi.process_vram_bytes(pid, index),
            )
            for pid, device_id, index in asked
        ]
        return [process for process in found if process.used_bytes]

    def _answer(self, device_id: DeviceId, index: int) -> Answer:
        unique_id = ctypes.c_uint64()
        result = self._of_card("rsmi_dev_unique_id_get", index, unique_id)
        if result == abi.OK and identity(unique_id.value) != device_id:
            return Answer.GONE
        return answer_of(result, fine=(abi.OK,), gone=abi.GONE)

    def _of_card(self, name: str, index: int, out: ctypes.c_uint16 | ctypes.c_uint64) -> int:
        return self._rsmi.call(name, ctypes.c_uint32(index), ctypes.byref(out))

    def _pci_address(self, index: int) -> str:
        bdf = self._rsmi.number("rsmi_dev_pci_id_get", index, ctypes.c_uint64())
        return "" if bdf is None else pci_address(bdf >> DOMAIN_SHIFT, bdf & 0xFFFF)

    def _library_version(self) -> str:
        version = abi.Version()
        if self._rsmi.call("rsmi_version_get", ctypes.byref(version)) != abi.OK:
            return ""
        return f"{version.major}.{version.minor}.{version.patch}"

    def _links(self, device_id: DeviceId, cards: Mapping[DeviceId, int]) -> tuple[Link, ...]:
        stated, index = self._kernel.wires(device_id), cards[device_id]
        found = []
        for peer, other in sorted(cards.items()):
            kind, hops = (None, 0) if other == index else self._link_type(index, other)
            if kind == abi.LINK_XGMI and hops == 1:  # without another card between
                wire = Link(peer=peer, type=LinkType.XGMI, lanes=1, bandwidth_gbytes_s=0)
                found.append(stated.get(peer, wire))
            elif kind == abi.LINK_PCIE:
                found.append(way_to(peer))
        return tuple(found)

    def _link_type(self, index: int, other: int) -> tuple[int | None, int]:
        """Return how a card reaches another, and over how many hops; `None`: it does not say."""
        hops, kind = ctypes.c_uint64(), ctypes.c_int()
        result = self._rsmi.call(
            "rsmi_topo_get_link_type",
            ctypes.c_uint32(index),
            ctypes.c_uint32(other),
            ctypes.byref(hops),
            ctypes.byref(kind),
        )
        return (kind.value, hops.value) if result == abi.OK else (None, 0)
