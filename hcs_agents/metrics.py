"""The agent's own metrics.

What is known of a card or a container is read when somebody asks: a card that is gone or silent has
no series, nor has a container without processes. A fault has one from when it was told until its
end was, whatever its card says meanwhile; one without an end is only counted.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hcs_agents.enforcement import Enforcement, Strangers
from hcs_agents.node_view import DeviceNow, NodeView
from hcs_agents.quota.server import QuotaCounters
from hcs_agents.worker import Failure
from hcs_bus.events import (
    DetectorReport,
    DetectorState,
    Fault,
    FaultState,
    Quota,
    ThrottleReason,
)
from hcs_bus.names import DeviceId, Vendor
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher

QUOTA_FIGURES = {  # field of `QuotaCounters`: what it is
    "clients": "Processes connected to the quota socket",
    "connections_total": "Connections that the quota socket accepted",
    "refused_total": "Processes turned away because there were too many",
    "malformed_total": "Processes disconnected for what they sent, or did not send",
    "forged_total": "Processes disconnected for another one's pid or another Pod's name",
    "unverified_total": "Processes accepted that had ended before one could look",
    "outside_pods_total": "Processes accepted that no kubelet put into a Pod",
    "messages_total": "Messages of processes",
    "lost_total": "Messages that processes could not send, by their own word",
    "facts_total": "Facts about containers that report",
}
DEVICE_LABELS = ["vendor", "device_id", "index"]
DEVICE_GAUGES = {  # field of a sample: what it is
    "utilization_percent": "Share of the time in which some kernel ran",
    "memory_utilization_percent": "Share of the time in which memory was read or written",
    "vram_used_bytes": "Memory in use",
    "temperature_celsius": "Temperature of the chip",
    "memory_temperature_celsius": "Temperature of the memory",
    "power_watts": "Power drawn",
    "core_clock_mhz": "Clock of the cores",
    "memory_clock_mhz": "Clock of the memory",
    "pcie_generation": "PCIe generation that the link runs at; an idle one may run slower",
    "pcie_width": "PCIe lanes that the link uses",
}
DEVICE_MAXIMA = {  # field of a fingerprint, 0 where the library does not say: what it is
    "pcie_generation_max": "PCIe generation that card and slot can run at",
    "pcie_width_max": "PCIe lanes that card and slot have",
}
STRANGER_GAUGES = {  # field of `Strangers`: name, what it is
    "processes": ("foreign_processes", "Processes on the card that belong to no Pod"),
    "used_bytes": ("foreign_bytes", "Memory of the card that processes of no Pod hold"),
    "unseen": ("unseen_processes", "Processes on the card that this agent's /proc does not show"),
}
CONTAINER_LABELS = ["pod_uid", "container"]
CONTAINER_GAUGES = {  # field of `Quota`: what it is
    "quota_bytes": "What a container may hold of a card's memory",
    "used_bytes": "What a container holds of a card's memory",
    "peak_bytes": "The most that a container has held of a card's memory",
    "enforced": "1: an interceptor holds the container to its quota; 0: nobody does",
}
UNENFORCED_TOO = ("used_bytes", "enforced")  # told of what is not held to a quota as well
# Pairs of container and card that have series. What a container is called, and which cards it has,
# its processes say themselves: nobody may fill the server that keeps the series.
CONTAINER_DEVICES_SHOWN_MAX = 1_024
# Faults in force that have a series: what codes there are, a driver says.
FAULTS_SHOWN_MAX = 512
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
            text = QUOTA_FIGURES[field.name]
            name = f"hcs_agent_quota_{field.name}"
            if field.name.endswith("_total"):
                yield CounterMetricFamily(name.removesuffix("_total"), text, value=value)
            else:
                yield GaugeMetricFamily(name, text, value=value)


class DroppedCollector(Collector):
    """Shows how many facts were given up, wherever on their way, since the agent began."""

    def __init__(self, publisher: SpoolPublisher) -> None:
        self._publisher = publisher
        self._before = publisher.dropped  # a counter that a restart sets back begins with 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return one metric."""
        text = "Facts given up: too old for a full spool, without room, or refused by the bus"
        value = float(self._publisher.dropped - self._before)
        yield CounterMetricFamily("hcs_agent_dropped_facts", text, value=value)


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
        for field, text in DEVICE_MAXIMA.items():
            gauge = GaugeMetricFamily(f"hcs_agent_device_{field}", text, labels=DEVICE_LABELS)
            for one in devices:
                if value := getattr(one.device, field):
                    gauge.add_metric(_labels(one), value)
            yield gauge
        yield _throttled(devices)
        for field, text in DEVICE_COUNTERS.items():
            counter = CounterMetricFamily(f"hcs_agent_device_{field}", text, labels=DEVICE_LABELS)
            for one in devices:
                counter.add_metric(_labels(one), getattr(one.total, field))
            yield counter


class ContainerCollector(Collector):
    """Shows what each container uses of each card; beyond a bound the newest are only counted."""

    def __init__(self, usage: Callable[[], list[Quota]], node: NodeView) -> None:
        self._usage = usage
        self._node = node

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Return one metric per figure."""
        usage = self._usage()
        shown = [(self._labels(one), one) for one in usage[:CONTAINER_DEVICES_SHOWN_MAX]]
        enforced = [(labels, one) for labels, one in shown if one.enforced]
        labels = ["vendor", "device_id", *CONTAINER_LABELS]
        for field, text in CONTAINER_GAUGES.items():
            gauge = GaugeMetricFamily(f"hcs_agent_container_{field}", text, labels=labels)
            for values, one in shown if field in UNENFORCED_TOO else enforced:
                gauge.add_metric(values, float(getattr(one, field)))
            yield gauge
        text = "Allocations refused at the quota"
        refusals = CounterMetricFamily("hcs_agent_container_refusals", text, labels=labels)
        for values, one in enforced:
            refusals.add_metric(values, one.refusals)
        yield refusals
        # They are the container's, whatever the card: one series, so that a sum counts them once.
        text = "Kernels and graphs that a container launched, on all its cards"
        launches = CounterMetricFamily(
            "hcs_agent_container_launches", text, labels=CONTAINER_LABELS
        )
        for of, count in {
            (one.pod_uid, one.container): one.launches for _, one in enforced
        }.items():
            launches.add_metric(of, count)
        yield launches
        text = "Pairs of container and card that have no series, because there are too many"
        unshown = len(usage) - len(shown)
        yield GaugeMetricFamily("hcs_agent_container_devices_unshown", text, value=unshown)

    def _labels(self, one: Quota) -> list[str]:
        vendors = (
            vendor
            for vendor in Vendor
            for device in self._node.devices_of(vendor)
            if device.device_id == one.device_id
        )
        return [next(vendors, ""), one.device_id, one.pod_uid, one.container]


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


class FaultCollector(Collector):
    """Shows the faults in force; beyond a bound the newest are only counted."""

    def __init__(self) -> None:
        self._in_force: dict[tuple[DeviceId, str], Fault] = {}

    def note(self, fault: Fault) -> None:
        """Take in that a fault began or ended; one without an end is not in force."""
        if fault.state is FaultState.CLEARED:
            self._in_force.pop((fault.device_id, fault.code), None)
        elif fault.lasting:
            self._in_force[fault.device_id, fault.code] = fault

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return one series per fault."""
        text = "1: the fault was told and its end was not"
        labels = ["vendor", "device_id", "code", "severity"]
        gauge = GaugeMetricFamily("hcs_agent_device_fault", text, labels=labels)
        for fault in itertools.islice(self._in_force.values(), FAULTS_SHOWN_MAX):
            gauge.add_metric([fault.vendor, fault.device_id, fault.code, fault.severity], 1)
        yield gauge
        text = "Faults in force that have no series, because there are too many"
        unshown = max(0, len(self._in_force) - FAULTS_SHOWN_MAX)
        yield GaugeMetricFamily("hcs_agent_device_faults_unshown", text, value=unshown)


def _throttled(devices: Iterable[DeviceNow]) -> GaugeMetricFamily:
    """Return a series per reason that holds: of one that does not, some libraries cannot say so."""
    text = "1: the card runs below the clock that it could have, for this reason"
    labels = [*DEVICE_LABELS, "reason"]
    gauge = GaugeMetricFamily("hcs_agent_device_throttled", text, labels=labels)
    for one in devices:
        for reason in ThrottleReason:
            if reason in one.sample.throttle_reasons:
                gauge.add_metric([*_labels(one), reason], 1)
    return gauge


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
        usage: Callable[[], list[Quota]],
        node: NodeView,
        enforcement: Enforcement,
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(QuotaCollector(quota))
        self.registry.register(DroppedCollector(publisher))
        self.registry.register(DeviceCollector(node.devices_now))
        self.registry.register(ContainerCollector(usage, node))
        self.registry.register(StrangerCollector(enforcement.strangers))
        self._faults_in_force = FaultCollector()
        self.registry.register(self._faults_in_force)
        self.facts = self._counter("facts", "Facts put on their way", ["kind"])
        self.unkept = self._counter("unkept_facts", "Facts lost for want of room", ["kind"])
        self.clock_steps = self._counter(
            "clock_steps", "Times that this machine's clock was set, by more than a second", []
        )
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
        """Count a fault, and show it while it is in force."""
        self._faults_in_force.note(fault)
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
