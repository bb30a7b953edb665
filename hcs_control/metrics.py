"""What a projector counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from hcs_bus.envelope import KIND_OF_FACT


class ProjectorMetrics:
    """Counters since the process started, and the position reached."""

    def __init__(self, registry: CollectorRegistry) -> None:
        folded = Counter(
            "hcs_projector_events", "Facts folded, by kind", ["kind"], registry=registry
        )
        # Looked up once: asking for a label's counter costs more than counting.
        self.folded = {struct: folded.labels(kind=kind) for struct, kind in KIND_OF_FACT.items()}
        self.parked = Counter(
            "hcs_projector_parked", "Malformed or impossible facts parked", registry=registry
        )
        self.unknown = Counter(
            "hcs_projector_unknown", "Facts of an unknown type, skipped", registry=registry
        )
        self.duplicates = Counter(
            "hcs_projector_duplicates", "Facts folded before, ignored", registry=registry
        )
        self.stale = Counter(
            "hcs_projector_stale", "Facts that a later word had overtaken", registry=registry
        )
        self.fenced = Counter(
            "hcs_projector_fenced", "Commits that another projector forestalled", registry=registry
        )
        self.decisions = Counter(
            "hcs_projector_decisions", "Decisions published", registry=registry
        )
        self.refused = Counter(
            "hcs_projector_refused", "Decisions that the bus will never take", registry=registry
        )
        self.interrupted = Counter(
            "hcs_projector_interrupted",
            "Times that projecting began anew because bus or database failed",
            registry=registry,
        )
        self.ticks_unpublished = Counter(
            "hcs_projector_ticks_unpublished",
            "Ticks that the bus did not acknowledge: it is away, or full",
            registry=registry,
        )
        self.clock_steps = Counter(
            "hcs_projector_clock_steps",
            "Times that this machine's clock was set, by more than a second",
            registry=registry,
        )
        self.position = Gauge(
            "hcs_projector_position", "Position in HCS_FACTS that is committed", registry=registry
        )
