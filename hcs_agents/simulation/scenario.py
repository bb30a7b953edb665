"""The scenario of one simulated node: its model, its INI form, and its file.

`c/sim/scenario.h` reads what this writes; both sides have the same limits. A file is replaced as a
whole (written beside, then renamed), so a reader sees the old or the new one, never a half. Writers
take the lock file beside it, so that two changes at the same time both count.
"""

import configparser
import contextlib
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hcs_agents.simulation import sysfs
from hcs_bus.events import Count, FaultState
from hcs_bus.names import LinkType, NodeName, Vendor

DEVICES_MAX = 64  # HCS_SIM_DEVICES_MAX
LINKS_MAX = 512  # HCS_SIM_LINKS_MAX
EVENTS_KEPT_MAX = 256  # a reader that polls misses none; the library would take 1024
FAULTS_MAX = 512  # HCS_SIM_FAULTS_MAX
UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1
INT64_MAX = 2**63 - 1

LOCK_WAIT_S = 5.0
LOCK_RETRY_S = 0.01

Text = Annotated[str, msgspec.Meta(max_length=95, pattern=r"^([!-~]([ -~]*[!-~])?)?\Z")]
"""Printable ASCII without blanks at its ends; as long as the library's buffers."""

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=95, pattern=r"^[!-~]+\Z")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_]{1,47}\Z")]
PciAddress = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")
]
Unsigned = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Throttle = Annotated[str, msgspec.Meta(pattern=r"^(|power|thermal|hardware|other)\Z")]
_VENDOR = f"(?:{'|'.join(Vendor)})"
Vendors = Annotated[str, msgspec.Meta(pattern=rf"^(|{_VENDOR}( {_VENDOR})*)\Z")]
Number = Annotated[int, msgspec.Meta(ge=0, lt=DEVICES_MAX)]


class ScenarioError(Exception):
    """The scenario file is missing, malformed, or held by another writer for too long."""


class SimDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated card; its number over the node is its place in `Scenario.devices`."""

    vendor: Vendor
    model: Text  # as the vendor's library reports it
    id: Word  # UUID or serial number
    pci: PciAddress
    numa: Annotated[int, msgspec.Meta(ge=-1, le=1023)] = 0
    vram_bytes: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
    memory_used_bytes: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] = 0
    context_bytes: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] = 0  # each context's own
    memory_bandwidth_gbytes_s: Unsigned = 0  # as its library tells; 0: that does not
    temperature_c: Annotated[int, msgspec.Meta(ge=-273, le=1000)] = 35
    power_mw: Unsigned = 60_000
    memory_temperature_c: Annotated[int, msgspec.Meta(ge=-273, le=1000)] = 40
    utilization_percent: Percent = 0
    memory_utilization_percent: Percent = 0
    core_clock_mhz: Unsigned = 1_400
    core_clock_max_mhz: Unsigned = 1_400
    memory_clock_mhz: Unsigned = 1_600
    throttle: Throttle = ""
    speed_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100  # of what its model can do
    ecc_corrected: Counter = 0
    ecc_uncorrected: Counter = 0
    pcie_replays: Counter = 0
    link_errors: Counter = 0
    pcie_generation: Unsigned = 4
    pcie_generation_max: Unsigned = 4
    pcie_width: Unsigned = 16
    pcie_width_max: Unsigned = 16
    serial: Text = ""  # of the board; empty: the card's id
    firmware: Text = ""
    present: Flag = 1  # 0: fallen off the bus
    hangs: Flag = 0  # 1: calls about this card do not return
    recovery_action: Unsigned = 0  # what NVML's field 230 says


class SimLink(msgspec.Struct, frozen=True, kw_only=True):
    """A fabric connection between two cards; `a < b` are device numbers."""

    a: Number
    b: Number
    type: LinkType
    lanes: Unsigned
    up: Flag = 1


class SimEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a driver tells about once. Numbers start at 1 and grow for ever."""

    number: Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)]
    device: Number
    code: Code
    state: FaultState
    at_ns: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class SimFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault in force."""

    device: Number
    code: Code
    count: Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)] = 1  # how often it was raised


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """All of one node."""

    node: Annotated[NodeName, msgspec.Meta(min_length=1, max_length=95, pattern=r"^[a-z0-9.-]+\Z")]
    generation: Count = 0  # grows with each write
    nvidia_driver: Text = ""
    ascend_driver: Text = ""
    hygon_driver: Text = ""
    cambricon_driver: Text = ""
    mthreads_driver: Text = ""
    rocm_smi_wide: Flag = 0  # 1: the newer library, whose structures grew
    drivers_down: Vendors = ""  # whose driver is not loaded now, e.g. because it restarts
    devices: Annotated[tuple[SimDevice, ...], msgspec.Meta(max_length=DEVICES_MAX)] = ()
    links: Annotated[tuple[SimLink, ...], msgspec.Meta(max_length=LINKS_MAX)] = ()
    events: tuple[SimEvent, ...] = ()
    faults: Annotated[tuple[SimFault, ...], msgspec.Meta(max_length=FAULTS_MAX)] = ()

    def __post_init__(self) -> None:
        """Check what the libraries check too: they refuse a file with a dangling number."""
        count = len(self.devices)
        if any(not link.a < link.b < count for link in self.links):
            raise ValueError(f"[link.A.B]: A and B are device numbers below {count}, A < B")
        named = {event.device for event in self.events} | {fault.device for fault in self.faults}
        if max(named, default=-1) >= count:
            raise ValueError(f"[event.K], [fault.N.CODE]: device is a number below {count}")
        numbers = [event.number for event in self.events]
        if sorted(set(numbers)) != numbers:
            raise ValueError("[event.K]: K grows from event to event")


# --- The INI form --------------------------------------------------------------------------------


def encode(scenario: Scenario) -> str:
    """Return the file's text."""
    parser = _parser()
    parser["node"] = {
        "name": scenario.node,
        "generation": str(scenario.generation),
        "nvidia_driver": scenario.nvidia_driver,
        "ascend_driver": scenario.ascend_driver,
        "hygon_driver": scenario.hygon_driver,
        "cambricon_driver": scenario.cambricon_driver,
        "mthreads_driver": scenario.mthreads_driver,
        "rocm_smi_wide": str(scenario.rocm_smi_wide),
        "drivers_down": scenario.drivers_down,
    }
    for number, device in enumerate(scenario.devices):
        parser[f"device.{number}"] = _texts(device)
    for link in scenario.links:
        parser[f"link.{link.a}.{link.b}"] = _texts(link, without=("a", "b"))
    for event in scenario.events[-EVENTS_KEPT_MAX:]:
        parser[f"event.{event.number}"] = _texts(event, without=("number",))
    for fault in scenario.faults:
        parser[f"fault.{fault.device}.{fault.code}"] = _texts(fault, without=("device", "code"))
    out = io.StringIO()
    parser.write(out)
    return out.getvalue()


def decode(text: str) -> Scenario:
    """Read a file's text.

    Raises:
        ScenarioError: it is not a scenario; the message names the section or field.
    """
    parser = _parser()
    try:
        parser.read_string(text)
        return msgspec.convert(_tree(parser), Scenario, strict=False)
    except (configparser.Error, msgspec.ValidationError, ValueError) as error:
        raise ScenarioError(f"malformed scenario: {error}") from error


def _parser() -> configparser.ConfigParser:
    return configparser.ConfigParser(interpolation=None, delimiters=("=",))


def _texts(struct: msgspec.Struct, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    fields = msgspec.structs.asdict(struct).items()
    return {name: str(value) for name, value in fields if name not in without}


def _tree(parser: configparser.ConfigParser) -> dict[str, Any]:
    """Return the sections as the nested form that `Scenario` is checked against."""
    tree: dict[str, Any] = {"devices": [], "links": [], "events": [], "faults": []}
    for name in parser.sections():
        word, *rest = name.split(".")
        fields: dict[str, Any] = dict(parser[name])
        match word, rest:
            case "node", []:
                tree |= {"node": fields.pop("name", "")} | fields
            case "device", [number]:
                if int(number) != len(tree["devices"]):
                    raise ValueError(f"[{name}]: expected [device.{len(tree['devices'])}]")
                tree["devices"].append(fields)
            case "link", [a, b]:
                tree["links"].append({"a": a, "b": b} | fields)
            case "event", [number]:
                tree["events"].append({"number": number} | fields)
            case "fault", [device, code]:
                tree["faults"].append({"device": device, "code": code} | fields)
            case _:
                raise ValueError(f"[{name}]: no such section")
    return tree


# --- The file ------------------------------------------------------------------------------------


class ScenarioFile:
    """One node's scenario on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Scenario:
        """Return what the file says now.

        Raises:
            ScenarioError: there is none, or it is malformed.
        """
        try:
            return decode(self.path.read_text("ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{self.path}: {error}") from error

    def write(self, scenario: Scenario) -> Scenario:
        """Put a scenario in place of whatever is there; return it as written."""
        with self._locked():
            generation = self.read().generation if self.path.exists() else 0
            return self._replace(scenario, generation)

    def update(self, change: Callable[[Scenario], Scenario]) -> Scenario:
        """Read, change and replace, with no other writer in between; return the result."""
        with self._locked():
            before = self.read()
            return self._replace(change(before), before.generation)

    def _replace(self, scenario: Scenario, generation: int) -> Scenario:
        written = msgspec.structs.replace(
            scenario, generation=generation + 1, events=scenario.events[-EVENTS_KEPT_MAX:]
        )
        text = encode(written)
        if decode(text) != written:  # e.g. a blank at the end of a name would not survive
            raise ScenarioError(f"{self.path}: a value cannot be written as INI")
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        beside.write_text(text, "ascii")
        beside.replace(self.path)
        if written.devices:
            sysfs.write_tree(written, sysfs.tree_of(self.path))
        return written

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_WAIT_S
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ScenarioError(f"{self.path}: another writer holds it") from None
                    time.sleep(LOCK_RETRY_S)
            yield
