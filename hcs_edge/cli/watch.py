"""`hcs watch`: events as they happen, or as they happened since some time."""

import asyncio
import shutil
import sys
from collections.abc import Sequence

import click
import msgspec

from hcs_bus import jetstream
from hcs_bus.envelope import decode_envelope, decode_fact
from hcs_bus.errors import PoisonEventError
from hcs_bus.events import DECISION_KINDS, FACT_KINDS, Event
from hcs_bus.names import NANOSECONDS_PER_SECOND, NodeName, Severity, StreamSeq
from hcs_bus.port import Bus, Record
from hcs_bus.subjects import CLUSTER_NODE, DECISIONS_STREAM, FACTS_STREAM, fact_subject, node_token
from hcs_edge.cli.event_lines import line
from hcs_edge.cli.options import LOCAL_NATS_URL, OUTPUT, MomentType, NodeNameType, reader_bus
from hcs_edge.cli.runtime import run_live

KINDS = (*FACT_KINDS, *DECISION_KINDS)
DULL_KINDS = ("tick", "heartbeat", "samples", "fingerprint", "quota")  # many, and alike
KINDS_SHOWN = tuple(kind for kind in KINDS if kind not in DULL_KINDS)
FAULT = "fault"
FETCH_RECORDS_MAX = 100
FETCH_TIMEOUT_S = 1.0
EVENT_DECODER = msgspec.json.Decoder(Event)

TICKS = fact_subject("tick", CLUSTER_NODE)
CLOCKS_APART_MAX_NS = 600 * NANOSECONDS_PER_SECOND
"""How far a node's clock may be ahead of the projector's for `--since` to miss nothing."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to show."""

    kinds: tuple[str, ...]
    severities: tuple[str, ...] = ()  # none: any
    node: NodeName | None = None  # none: any
    since_ns: int | None = None  # none: from now on

    @property
    def subjects(self) -> dict[str, list[str]]:
        """The subjects to follow, by stream."""
        node = "*" if self.node is None else node_token(self.node)
        facts, decisions = [], []
        for kind in self.kinds:
            if kind == FAULT:
                severities = self.severities or ("*",)
                facts += [f"hcs.fact.fault.{node}.{severity}" for severity in severities]
            elif kind in FACT_KINDS:
                facts.append(f"hcs.fact.{kind}.{node}")
            else:
                decisions.append(f"hcs.decision.{kind}.{node}")
        return {FACTS_STREAM: facts, DECISIONS_STREAM: decisions}


@click.command()
@LOCAL_NATS_URL
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help=f"May be given more than once. [default: all but {', '.join(DULL_KINDS)}]",
)
@click.option(
    "--severity",
    "severities",
    multiple=True,
    type=click.Choice([severity.value for severity in Severity]),
    help="Only faults that are this bad, and nothing that has no severity; may be given more than "
    "once. [default: any, and whatever has none]",
)
@click.option("--node", type=NodeNameType(), help="Only this node. [default: any]")
@click.option(
    "--since",
    type=MomentType(),
    help="First what happened since this time, or for this long, such as 10m. [default: now]",
)
@click.option("--all", "from_start", is_flag=True, help="First everything that the log holds.")
@OUTPUT
def watch(
    *,
    nats_url: str | None,
    kinds: tuple[str, ...],
    severities: tuple[str, ...],
    node: NodeName | None,
    since: int | None,
    from_start: bool,
    output: str,
) -> None:
    """Show events as they happen; with `--output json`, one CloudEvent a line.

    Example: hcs watch --kind fault --kind isolate --output json

    Example: hcs watch --severity fatal --since 2h
    """
    if from_start and since is not None:
        raise click.UsageError("--all and --since: one of them says where to begin")
    if severities and set(kinds) - {FAULT}:
        raise click.UsageError("--severity: only faults have one, so --kind can be fault alone")
    wanted = Wanted(
        kinds=(FAULT,) if severities else kinds or KINDS_SHOWN,
        severities=severities,
        node=node,
        since_ns=0 if from_start else since,
    )
    run_live("watch", _watch(reader_bus(nats_url), wanted, as_json=output == "json"))


async def _watch(url: str, wanted: Wanted, *, as_json: bool) -> None:
    bus = await jetstream.connect(url, name="watch")
    async with asyncio.TaskGroup() as tasks:
        for stream, subjects in wanted.subjects.items():
            if subjects:
                tasks.create_task(_follow(bus, stream, subjects, wanted.since_ns, as_json=as_json))


async def _follow(
    bus: Bus, stream: str, subjects: list[str], since_ns: int | None, *, as_json: bool
) -> None:
    after = await position_before(bus, stream, since_ns)
    follower = await bus.follow(stream, after=after, subjects=subjects)
    while True:
        records = await follower.fetch(limit=FETCH_RECORDS_MAX, timeout_s=FETCH_TIMEOUT_S)
        shown = [record for record in records if since_ns is None or is_since(record, since_ns)]
        show(shown, as_json=as_json)


def show(records: Sequence[Record], *, as_json: bool) -> None:
    """Print events, line by line: another program may be reading."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for record in records:
        if not as_json:
            click.echo(line(record)[:columns])
        elif is_event(record):
            click.echo(msgspec.json.format(record.payload, indent=-1))
        sys.stdout.flush()


def is_event(record: Record) -> bool:
    """Say whether a message is an event at all; `hcs parked` shows the others."""
    try:
        decode_envelope(record.payload)
    except PoisonEventError:
        return False
    return True


def is_since(record: Record, since_ns: int) -> bool:
    """Say whether an event happened at a moment or later; what cannot be read has no time."""
    try:
        return EVENT_DECODER.decode(decode_envelope(record.payload).data).at_ns >= since_ns
    except (PoisonEventError, msgspec.DecodeError):
        return since_ns == 0


async def position_before(bus: Bus, stream: str, since_ns: int | None) -> StreamSeq:
    """Return a position behind which is all that happened since a moment; none: all that will.

    Ticks are the log's clock: each is written at once, where an agent may have spooled for hours.
    So the last tick before the moment is looked for by halving. Decisions are few: they are read
    from the start.
    """
    state = await bus.stream_state(stream)
    if since_ns is None:
        return state.last_seq
    low = StreamSeq(max(0, state.first_seq - 1))
    if stream != FACTS_STREAM or since_ns == 0:
        return low
    high = max(low, await bus.last_seq(FACTS_STREAM, TICKS) - 1)
    while low < high:
        middle = StreamSeq((low + high) // 2)
        tick_ns = await _next_tick_ns(bus, middle)
        if tick_ns is not None and tick_ns < since_ns - CLOCKS_APART_MAX_NS:
            low = StreamSeq(middle + 1)
        else:
            high = middle
    return low


async def _next_tick_ns(bus: Bus, after: StreamSeq) -> int | None:
    follower = await bus.follow(FACTS_STREAM, after=after, subjects=[TICKS])
    try:
        found = await follower.fetch(limit=1, timeout_s=FETCH_TIMEOUT_S)
    finally:
        await follower.close()
    return decode_fact(decode_envelope(found[0].payload)).at_ns if found else None
