"""Whether everything that agents said was counted, and once: told by books that are kept apart.

The spools number what they are given; the log, read here as plain JSON, holds what arrived; the
projection keeps which numbers of which source were folded, and sums to which each sample adds. What
was given to the agents beside, their drivers know: faults that are pushed, each with a code of its
own, of which some may be known to nobody (see `crashes`), and none may be told twice. A
replay says whether the tables follow from the log, and HCS_DECISIONS whether each decision of the
outbox was published, and once.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import Record
from hcs_bus.subjects import DECISIONS_STREAM, FACTS_STREAM
from hcs_control.policy import load_policy
from hcs_control.replay import compare, replay
from hcs_control.rows import DeviceCounterRow, SourcePositionRow
from hcs_control.store.port import Contents
from hcs_control.store.postgres import PostgresStore

FETCH_RECORDS_MAX = 1_000
FETCH_TIMEOUT_S = 5.0


class SpoolBook(msgspec.Struct, frozen=True, kw_only=True):
    """What a spool says of itself."""

    incarnation: str
    numbered: int  # events that it was given
    waiting: int
    dropped: int


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """Faults that a driver told of once, by their codes."""

    codes: list[str]
    due: set[str]  # those that must have been told


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What is left after the kills."""

    kills: dict[str, int]  # by kind of victim
    events: int  # that the spools numbered
    resent: int  # records of the log that repeat one before
    decisions: int
    pushed: int  # faults that the driver told of once
    pushed_due: int  # those of them that must have been told
    pushed_unknown: int  # those that nobody was told of, and had not to be
    lost: int
    twice: int
    replay_equal: bool
    findings: list[str]  # what is wrong, in words


class _Log:
    """The facts that spools sent, by source, and what their samples add up to."""

    def __init__(self, records: list[Record]) -> None:
        self.numbers: dict[tuple[str, str], set[int]] = {}
        self.errors: Counter[str] = Counter()
        self.raised: Counter[str] = Counter()  # faults, by code
        self.resent = 0
        for record in records:
            event = json.loads(record.payload)
            if not event["source"].startswith("/hcs/agent/"):
                continue
            node, incarnation, number = event["id"].split("/")
            seen = self.numbers.setdefault((node, incarnation), set())
            if int(number) in seen:
                self.resent += 1
                continue
            seen.add(int(number))
            if event["type"] == "io.hcs.fact.fault.v1" and event["data"]["state"] == "raised":
                self.raised[event["data"]["code"]] += 1
            if event["type"] == "io.hcs.fact.samples.v1":
                for sample in event["data"]["devices"]:
                    self.errors[sample["device_id"]] += sample.get("ecc_corrected", 0)


def spool_of(directory: Path) -> SpoolBook:
    """Read the book of a spool that nobody writes, or somebody does."""
    with sqlite3.connect(f"file:{directory / 'spool.sqlite'}?mode=ro", uri=True) as database:
        numbered = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        waiting = database.execute("SELECT count(*) FROM entry").fetchone()
        incarnation, dropped = database.execute(
            "SELECT incarnation, dropped FROM identity"
        ).fetchone()
    database.close()
    return SpoolBook(
        incarnation=incarnation, numbered=numbered[0], waiting=waiting[0], dropped=dropped
    )


async def audit(
    bus: JetStreamBus,
    store: PostgresStore,
    spools: Mapping[NodeName, SpoolBook],
    pushed: Pushed,
    *,
    kills: dict[str, int],
) -> Audit:
    """Compare the books; everything must have been folded and published by now."""
    held = await store.contents()
    log = _Log(await _records(bus, FACTS_STREAM, held.position))
    findings: list[str] = []
    lost = twice = 0
    for what, expected, found in [
        *_numbers(spools, log, held),
        *_errors(log, held),
        *_pushed(log, pushed),
        *await _decisions(bus, held),
    ]:
        lost += max(0, expected - found)
        twice += max(0, found - expected)
        if expected != found:
            findings.append(f"{what}: {found}, must be {expected}")
    verdict = compare(
        held, await replay(bus, load_policy(), held.position, progress=lambda _: None)
    )
    return Audit(
        kills=kills,
        events=sum(spool.numbered for spool in spools.values()),
        resent=log.resent,
        decisions=len(held.decisions),
        pushed=len(pushed.codes),
        pushed_due=len(pushed.due.intersection(pushed.codes)),
        pushed_unknown=sum(
            code not in pushed.due and not log.raised[code] for code in pushed.codes
        ),
        lost=lost,
        twice=twice,
        replay_equal=verdict.differing == 0,
        findings=findings + verdict.examples,
    )


def _numbers(
    spools: Mapping[NodeName, SpoolBook], log: _Log, held: Contents
) -> list[tuple[str, int, int]]:
    rows = {row.key: row for row in held.rows if isinstance(row, SourcePositionRow)}
    found: list[tuple[str, int, int]] = []
    for node, spool in spools.items():
        key = (node, spool.incarnation)
        arrived = len(log.numbers.get(key, ()))
        folded = rows[key].last_n - len(rows[key].missing) if key in rows else 0
        found += [
            (
                f"events of {node} that left its spool",
                spool.numbered,
                spool.numbered - spool.waiting,
            ),
            (f"events of {node} in the log", spool.numbered - spool.dropped, arrived),
            (f"events of {node} folded", arrived, folded),
        ]
    known = {(node, spool.incarnation) for node, spool in spools.items()}
    found += [
        (f"events of {key}, which no spool is", 0, len(log.numbers[key]))
        for key in log.numbers.keys() - known
    ]
    return [*found, ("parked events", len(held.parked), 0)]


def _errors(log: _Log, held: Contents) -> list[tuple[str, int, int]]:
    counted = {
        str(row.device_id): row.ecc_corrected
        for row in held.rows
        if isinstance(row, DeviceCounterRow)
    }
    return [
        (f"corrected errors of {card}", log.errors[card], counted.get(card, 0))
        for card in sorted(log.errors.keys() | counted.keys())
    ]


def _pushed(log: _Log, pushed: Pushed) -> list[tuple[str, int, int]]:
    """Return what must be in the log of each: itself, or nothing if that is what there is."""
    told = log.raised
    return [
        (f"Xid {code}", 1 if code in pushed.due else min(1, told[code]), told[code])
        for code in pushed.codes
    ]


async def _decisions(bus: JetStreamBus, held: Contents) -> list[tuple[str, int, int]]:
    end = (await bus.stream_state(DECISIONS_STREAM)).last_seq
    records = await _records(bus, DECISIONS_STREAM, end)
    published = Counter(json.loads(record.payload)["id"] for record in records)
    made = {decision.message.id for decision in held.decisions}
    return [
        (f"decision {one}", int(one in made), published[one]) for one in made | published.keys()
    ]


async def _records(bus: JetStreamBus, stream: str, end: StreamSeq) -> list[Record]:
    follower = await bus.follow(stream, after=StreamSeq(0))
    records: list[Record] = []
    while len(records) < end:
        limit = min(FETCH_RECORDS_MAX, end - len(records))
        fetched = await follower.fetch(limit=limit, timeout_s=FETCH_TIMEOUT_S)
        assert fetched, f"{stream} fell silent at {len(records)} of {end}"
        records += fetched
    await follower.close()
    return records
