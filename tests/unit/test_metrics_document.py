"""docs/metrics.md lists every metric of every service as the code has it.

After a change that is meant: REWRITE_DOCUMENTS=1 pytest tests/unit/test_metrics_document.py
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase

from hcs_agents.enforcement import Enforcement
from hcs_agents.metrics import AgentMetrics
from hcs_agents.node_view import NodeView
from hcs_agents.quota.server import QuotaCounters
from hcs_bus.memory import MemoryBus
from hcs_bus.names import NodeName
from hcs_bus.spool import Spool
from hcs_bus.spool_publisher import SpoolPublisher
from hcs_control.metrics import ProjectorMetrics
from hcs_control.store.memory import MemoryStore
from hcs_edge.extender.http import ExtenderMetrics
from hcs_edge.extender.view import FleetView
from hcs_edge.webhook.http import WebhookHandlers

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
HEAD = "| metric | labels | what it is |\n|---|---|---|\n"


def registries(spool: Path) -> dict[str, CollectorRegistry]:
    """Return what each service of the document serves."""
    kept = Spool(spool, node=NodeName("node"))
    agent = AgentMetrics(
        spool=kept,
        publisher=SpoolPublisher(kept),
        quota=QuotaCounters(),
        usage=list,
        node=NodeView(()),
        enforcement=Enforcement(),
    )
    projector, extender, webhook = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    ProjectorMetrics(projector)
    ExtenderMetrics(extender, FleetView(MemoryStore(), MemoryBus()))
    WebhookHandlers(webhook)
    kept.close()
    return {
        "Agent": agent.registry,
        "Projector": projector,
        "Extender": extender,
        "Webhook": webhook,
    }


def lines(registry: CollectorRegistry) -> Iterator[str]:
    """Return a line of the table for each metric."""
    for collector in registry._collector_to_names:
        if isinstance(collector, MetricWrapperBase):
            whole = (collector._name, collector._type, collector._documentation)
            yield line(*whole, collector._labelnames)
            continue
        for family in collector.collect():
            assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
            yield line(family.name, family.type, family.documentation, family._labelnames)


def line(name: str, type_: str | None, text: str, labels: Iterable[str]) -> str:
    """Return a line of the table."""
    suffix = "_total" if type_ == "counter" else ""
    return f"| `{name}{suffix}` | {', '.join(f'`{label}`' for label in labels)} | {text} |\n"


def test_the_document_lists_every_metric_of_every_service(tmp_path: Path) -> None:
    document = fresh = DOCUMENT.read_text()
    for service, registry in registries(tmp_path).items():
        table = HEAD + "".join(sorted(lines(registry)))
        section = re.compile(rf"(## {service}\n\n(?:[^|#]+\n\n)?)(?:\|.*\n)+")
        found = section.search(fresh)
        assert found, f"docs/metrics.md has no table of the {service}"
        fresh = fresh[: found.start()] + found[1] + table + fresh[found.end() :]
    if os.environ.get("REWRITE_DOCUMENTS"):
        DOCUMENT.write_text(fresh)
    assert fresh == document
