"""What a projector counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ProjectorMetrics:
    """Counters since the process started, and the position reached."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.folded = Counter(
            "hcs_projector_events", "Facts folded, by kind", ["kind"], registry=registry
        )
        self.parked = Counter(
            "hcs_projector_parked", "Malformed or impossible facts parked", registry=registry
        )
        self.unknown = Counter(
            "hcs_projector_unknown", "Facts of an unknown type, skipped", registry=registry
        )
        self.duplicates = Counter(
            "hcs_projector_duplicates", "Facts folded before, ignored", registry=registry
        )
        self.fenced = Counter(
            "hcs_projector_fenced", "Commits that another projector forestalled", registry=registry
        )
        self.decisions = Counter(
            "hcs_projector_decisions", "Decisions published", registry=registry
        )
        self.position = Gauge(
            "hcs_projector_position", "Position in HCS_FACTS that is committed", registry=registry
        )
