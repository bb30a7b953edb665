"""The agent's own metrics.

What is known of a card is read when somebody asks: a card that is gone or silent has no series.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hcs_agents.enforcement import Enforcement, Strangers
from hcs_agents.node_view import DeviceNow, NodeView
from hcs_agents.quota.server import QuotaCounters
from hcs_agents.worker import Failure
from hcs_bus.events import DetectorReport, DetectorState, Fault
from hcs_bus.names import DeviceId
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher

DEVICE_LABELS = ["vendor", "device_id", "index"]
DEVICE_GAUGES = {  # field of a sample: what it is
    "utilization_percent": "Share of the time in which some kernel ran",
    "vram_used_bytes": "Memory in use",
    "temperature_celsius": "Temperature of the chip",
    "memory_temperature_celsius": "Temperature of the memory",
    "power_watts": "Power drawn",
}
STRANGER_GAUGES = {  # field of `Strangers`: name, what it is
    "processes": ("foreign_processes", "Processes on the card that belong to no Pod"),
    "used_bytes": ("foreign_bytes", "What those hold of the card's memory"),
    "unseen": ("unseen_processes", "Processes on the card that this agent's /proc does not show"),
}
DEVICE_COUNTERS = {
    "ecc_corrected": "Memory errors corrected since the agent began",
    "ecc_uncorrected": "Memory errors not corrected since the agent began",
    "pcie_replays": "PCIe packets sent again since the agent began",
    "link_errors": "Errors of the card's fabric since the agent began",
}


class QuotaCollector(Collector):
    """Shows the quota server's counters as they are at the moment."""

    def __init__(self, counters: QuotaCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Return one metric per field."""
        for field in dataclasses.fields(self._counters):
            value = float(getattr(self._counters, field.name))
            text = f"Quota socket: {field.name}"
            name = f"hcs_agent_quota_{field.name}"
            if field.name.endswith("_total"):
                yield CounterMetricFamily(name.removesuffix("_total"), text, value=value)
            else:
                yield GaugeMetricFamily(name, text, value=value)


class DeviceCollector(Collector):
    """Shows what each card does, as it last said."""

    def __init__(self, devices: Callable[[], Iterable[DeviceNow]]) -> None:
        self._devices = devices

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Return one metric per figure, with a series per card that tells it."""
        devices = list(self._devices())
        for field, text in DEVICE_GAUGES.items():
            gauge = GaugeMetricFamily(f"hcs_agent_device_{field}", text, labels=DEVICE_LABELS)
            for one in devices:
                if (value := getattr(one.sample, field)) is not None:
                    gauge.add_metric(_labels(one), value)
            yield gauge
        for field, text in DEVICE_COUNTERS.items():
            counter = CounterMetricFamily(f"hcs_agent_device_{field}", text, labels=DEVICE_LABELS)
            for one in devices:
                counter.add_metric(_labels(one), getattr(one.total, field))
            yield counter


class StrangerCollector(Collector):
    """Shows who is on the cards without a Pod; a card without such processes has no series."""

    def __init__(self, strangers: Callable[[], dict[DeviceId, Strangers]]) -> None:
        self._strangers = strangers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return one metric per figure."""
        found = self._strangers()
        for field, (name, text) in STRANGER_GAUGES.items():
            gauge = GaugeMetricFamily(f"hcs_agent_device_{name}", text, labels=["device_id"])
            for device_id, strangers in found.items():
                gauge.add_metric([device_id], getattr(strangers, field))
            yield gauge


def _labels(one: DeviceNow) -> list[str]:
    return [one.device.vendor, one.device.device_id, str(one.device.index)]


class AgentMetrics:
    """One registry per agent, so that several can live in one process."""

    def __init__(
        self,
        *,
        spool: Spool,
        publisher: SpoolPublisher,
        quota: QuotaCounters,
        node: NodeView,
        enforcement: Enforcement,
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(QuotaCollector(quota))
        self.registry.register(DeviceCollector(node.devices_now))
        self.registry.register(StrangerCollector(enforcement.strangers))
        self.facts = self._counter("facts", "Facts put on their way", ["kind"])
        self.unkept = self._counter("unkept_facts", "Facts lost for want of room", ["kind"])
        self.faults = self._counter(
            "faults", "Faults raised and cleared", ["vendor", "severity", "state"]
        )
        self.failures = self._counter(
            "worker_failures", "Workers that hung, crashed, or cannot be ended", ["vendor", "kind"]
        )
        self.devices = self._gauge("devices", "Cards in the fingerprint", ["vendor"])
        self.detector = self._gauge(
            "detector", "1 for the state that a vendor's library is in", ["vendor", "state"]
        )
        self._show("spooled_facts", "Facts that wait for the bus", lambda: len(spool))
        self._show(
            "waiting_facts",
            "Facts that wait in memory, because the spool has no room",
            lambda: publisher.waiting,
        )
        self._show(
            "malformed_readings", "Samples of a card that cannot be true", lambda: node.malformed
        )

    def note_fault(self, fault: Fault) -> None:
        """Count a fault."""
        self.faults.labels(fault.vendor, fault.severity, fault.state).inc()

    def note_failure(self, failure: Failure) -> None:
        """Count a failed worker."""
        self.failures.labels(failure.vendor, failure.kind).inc()

    def note_detector(self, report: DetectorReport, device_count: int) -> None:
        """Show how a vendor's library is."""
        self.devices.labels(report.vendor).set(device_count)
        for state in DetectorState:
            self.detector.labels(report.vendor, state).set(state is report.state)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"hcs_agent_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        return Gauge(f"hcs_agent_{name}", text, labels, registry=self.registry)

    def _show(self, name: str, text: str, value: Callable[[], int]) -> None:
        self._gauge(name, text, []).set_function(lambda: float(value()))
