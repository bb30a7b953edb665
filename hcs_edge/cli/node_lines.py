"""What one look at a node shows to people: its libraries, its network cards, and each card.

What the cards do at the moment is a table. What they are is a block of lines per card, because a
card has more to say than a line holds; what its library does not say is left out. Lines are not
broken, whatever the terminal's width: an identity that is cut or folded cannot be searched for.
"""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from hcs_agents.hardware import GFLOPS_PER_TFLOPS
from hcs_bus.events import (
    DetectorReport,
    DeviceFingerprint,
    DeviceSample,
    Fingerprint,
    Link,
    RdmaNic,
    Samples,
)
from hcs_bus.names import DeviceId, LinkType
from hcs_edge.cli.tables import gib

HEADINGS = ("VENDOR", "#", "MODEL", "VRAM FREE", "TEMP", "BUSY", "POWER", "PCIE")


def library_lines(fingerprint: Fingerprint) -> Iterator[str]:
    """Yield a line per vendor's library: how it is and how many cards it told of."""
    for report in fingerprint.detectors:
        count = sum(device.vendor is report.vendor for device in fingerprint.devices)
        yield f"{_state(report)}, {_count(count, 'card')}"


def nic_lines(nics: Sequence[RdmaNic]) -> Iterator[str]:
    """Yield a line per network card."""
    for nic in nics:
        state = "up" if nic.up else "down"
        place = f"PCI {nic.pci_address}{_numa(nic.numa_node)}"
        yield f"{nic.name}: {nic.link_layer}, {nic.rate_gbps:g} Gb/s, {state}, {place}"


def now_table(devices: Sequence[DeviceFingerprint], samples: Samples | None) -> Table:
    """Return a row per card of what it does; "-" stands for what its library does not say."""
    found = {} if samples is None else {one.device_id: one for one in samples.devices}
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    for device in devices:
        table.add_row(*_now(device, found.get(device.device_id)))
    return table


def card_lines(devices: Sequence[DeviceFingerprint]) -> Iterator[str]:
    """Yield a block per card: its identity, and below it what it is."""
    places = {device.device_id: device.index for device in devices}
    for device in devices:
        yield ""
        yield f"{device.vendor} {device.index}: {device.device_id}"
        for name, value in _facts(device, places):
            if value:
                yield f"  {name}: {value}"


# --- What a card does ----------------------------------------------------------------------------


def _now(device: DeviceFingerprint, sample: DeviceSample | None) -> list[str]:
    now = sample or DeviceSample(device_id=device.device_id)
    free_bytes = None if now.vram_used_bytes is None else device.vram_bytes - now.vram_used_bytes
    free = "-" if free_bytes is None else gib(free_bytes)
    return [
        device.vendor,
        str(device.index),
        escape(device.model),
        f"{free}/{gib(device.vram_bytes)} GiB",
        _or_dash(now.temperature_celsius, "°C"),
        _or_dash(now.utilization_percent, "%"),
        _or_dash(now.power_watts, "W"),
        _pcie_now(device, now),
    ]


def _pcie_now(device: DeviceFingerprint, sample: DeviceSample) -> str:
    """Return the link as it is and, where that differs, as it could be: "3x8 of 4x16"."""
    best = ""
    if device.pcie_generation_max or device.pcie_width_max:
        best = f"{device.pcie_generation_max or '?'}x{device.pcie_width_max or '?'}"
    if sample.pcie_generation is None or sample.pcie_width is None:
        return best or "-"
    now = f"{sample.pcie_generation}x{sample.pcie_width}"
    return now if now == best or not best else f"{now} of {best}"


def _or_dash(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


# --- What a card is ------------------------------------------------------------------------------


def _facts(device: DeviceFingerprint, places: dict[DeviceId, int]) -> Iterator[tuple[str, str]]:
    """Yield what to call each fact of a card and the fact; empty where nobody says it."""
    yield "model", device.model
    yield "serial", device.serial
    yield "PCI", f"{device.pci_address}{_numa(device.numa_node)}"
    yield "CPUs", device.cpu_affinity
    yield (
        "memory",
        _listed(
            (f"{gib(device.vram_bytes)} GiB", device.vram_bytes),
            (f"{device.memory_bandwidth_gbytes_s:g} GB/s", device.memory_bandwidth_gbytes_s),
        ),
    )
    yield (
        "compute",
        _listed(
            (f"FP16 {device.fp16_gflops / GFLOPS_PER_TFLOPS:g} TFLOPS", device.fp16_gflops),
            (f"FP32 {device.fp32_gflops / GFLOPS_PER_TFLOPS:g} TFLOPS", device.fp32_gflops),
            (f"INT8 {device.int8_gops / GFLOPS_PER_TFLOPS:g} TOPS", device.int8_gops),
        ),
    )
    yield "matrix cores", _listed((str(device.matrix_cores), device.matrix_cores))
    yield (
        "PCIe",
        _listed(
            (f"generation {device.pcie_generation_max}", device.pcie_generation_max),
            (_count(device.pcie_width_max, "lane"), device.pcie_width_max),
        ),
    )
    yield "driver", device.driver_version
    yield "library", device.library_version
    yield "runtime", device.runtime_version
    yield "firmware", device.firmware_version
    yield from _links(device.links, places)


def _links(links: Sequence[Link], places: dict[DeviceId, int]) -> Iterator[tuple[str, str]]:
    """Yield the links, those together that differ in nothing but whom they lead to."""
    peers: dict[tuple[LinkType, int, float, int], list[str]] = {}
    for link in sorted(links, key=lambda link: places.get(link.peer, len(places))):
        alike = (link.type, link.lanes, link.bandwidth_gbytes_s, link.latency_ns)
        peers.setdefault(alike, []).append(str(places.get(link.peer, link.peer)))
    for (type_, lanes, bandwidth_gbytes_s, latency_ns), of in peers.items():
        figures = _listed(
            (_count(lanes, "lane"), lanes),
            (f"{bandwidth_gbytes_s:g} GB/s", bandwidth_gbytes_s),
            (f"{latency_ns} ns", latency_ns),
        )
        ends = f"to {'each of ' if len(of) > 1 else ''}{' '.join(of)}"
        yield type_, f"{figures} {ends}" if figures else ends


def _numa(numa_node: int) -> str:
    return "" if numa_node < 0 else f", NUMA node {numa_node}"


def _state(report: DetectorReport) -> str:
    detail = f" ({report.detail})" if report.detail else ""
    return f"{report.vendor}: {report.state}{detail}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _listed(*parts: tuple[str, float]) -> str:
    """Join the texts whose figure is known; 0 means that it is not."""
    return ", ".join(text for text, figure in parts if figure)
