"""The agent's own metrics."""

import dataclasses
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hcs_agents.quota.server import QuotaCounters
from hcs_bus.events import DetectorReport, DetectorState, Fault


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


class AgentMetrics:
    """One registry per agent, so that several can live in one process."""

    def __init__(self, *, spooled: Callable[[], int], quota: QuotaCounters) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(QuotaCollector(quota))
        self.facts = Counter(
            "hcs_agent_facts", "Facts put into the spool", ["kind"], registry=self.registry
        )
        self.unkept = Counter(
            "hcs_agent_unkept_facts", "Facts that a full spool refused", registry=self.registry
        )
        self.faults = Counter(
            "hcs_agent_faults",
            "Faults raised and cleared",
            ["vendor", "severity", "state"],
            registry=self.registry,
        )
        self.spooled = Gauge(
            "hcs_agent_spooled_facts", "Facts that wait for the bus", registry=self.registry
        )
        self.spooled.set_function(lambda: float(spooled()))
        self.devices = Gauge(
            "hcs_agent_devices", "Cards that answer", ["vendor"], registry=self.registry
        )
        self.detector = Gauge(
            "hcs_agent_detector",
            "1 for the state that a vendor's library is in",
            ["vendor", "state"],
            registry=self.registry,
        )

    def note_fault(self, fault: Fault) -> None:
        """Count a fault."""
        self.faults.labels(fault.vendor, fault.severity, fault.state).inc()

    def note_detector(self, report: DetectorReport, device_count: int) -> None:
        """Show how a vendor's library is."""
        self.devices.labels(report.vendor).set(device_count)
        for state in DetectorState:
            self.detector.labels(report.vendor, state).set(state is report.state)
