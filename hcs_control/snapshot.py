"""The whole projection at one position, in a file: for tables that are lost behind a cut log.

The facts behind a snapshot's position are not needed any more: restored into an empty database,
the projector goes on behind that position, and a replay may start there as well. The file is gzip
over lines of JSON, written and read line by line:

    {"hcs_snapshot": 1, "position": 812, "policy_version": null, "rows": {"node": 2, …},
     "decisions": 3, "parked": 0}
    ["node", {"seq": 800, "node_name": "gpu-0", …}]        one line per row, under its table's name
    ["decision", {"fact_seq": 7, "message": {…}, "published_seq": 5}]
    ["parked", {"stream_seq": 9, …}]
    {"sha256": "…"}                                        of every byte before this line

Bytes are base64. The same projection gives the same file, byte for byte. A file that was cut or
changed is refused: the last line is missing or tells another sum, or a count does not add up. So is
one whose rows have other fields than this release's: its fold would go on from another past.
"""

import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hcs_bus.envelope import Message
from hcs_bus.names import StreamSeq
from hcs_control.rows import AnyRow, HealthPolicyRow
from hcs_control.store.port import Contents, OutboxDecision, ParkedEvent, SnapshotError
from hcs_control.store.tables import TABLE_OF_ROW

VERSION = 1
COMPRESSION_LEVEL = 6  # gzip's own default; 9 takes three times as long for 2 % less
DECISION, PARKED = "decision", "parked"

Progress = Callable[[int], None]  # hears how many lines are done


class SnapshotDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and where in HCS_DECISIONS it is; null while it waits in the outbox."""

    fact_seq: StreamSeq
    message: Message
    published_seq: StreamSeq | None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    hcs_snapshot: int  # the format's version
    position: StreamSeq  # in HCS_FACTS
    policy_version: str | None  # of the policy that the log put in force; null: of none
    rows: dict[str, int]  # by table
    decisions: int
    parked: int

    @property
    def items(self) -> int:
        """How many lines lie between the first and the last one."""
        return sum(self.rows.values()) + self.decisions + self.parked


class Trailer(msgspec.Struct, frozen=True):
    """The last line."""

    sha256: str


class _Version(msgspec.Struct, frozen=True):
    hcs_snapshot: int


Item = AnyRow | SnapshotDecision | ParkedEvent

NAME_OF_ROW = {row_type: str(table.name) for row_type, table in TABLE_OF_ROW.items()}
ENCODER = msgspec.json.Encoder()
ITEM_DECODERS: dict[str, msgspec.json.Decoder[Item]] = {
    **{name: msgspec.json.Decoder(row_type) for row_type, name in NAME_OF_ROW.items()},
    DECISION: msgspec.json.Decoder(SnapshotDecision),
    PARKED: msgspec.json.Decoder(ParkedEvent),
}
VERSION_DECODER = msgspec.json.Decoder(_Version)
HEADER_DECODER = msgspec.json.Decoder(Header)
LINE_DECODER = msgspec.json.Decoder(tuple[str, msgspec.Raw])
TRAILER_DECODER = msgspec.json.Decoder(Trailer)


def header_of(contents: Contents) -> Header:
    """Return what the first line says of a projection."""
    policies = [row for row in contents.rows if isinstance(row, HealthPolicyRow)]
    newest = max(policies, key=lambda row: row.policy_seq, default=None)
    counts = Counter(NAME_OF_ROW[type(row)] for row in contents.rows)
    return Header(
        hcs_snapshot=VERSION,
        position=contents.position,
        policy_version=None if newest is None else newest.policy_version,
        rows={name: counts[name] for name in NAME_OF_ROW.values() if counts[name]},
        decisions=len(contents.decisions),
        parked=len(contents.parked),
    )


def save(path: Path, contents: Contents, *, progress: Progress) -> Header:
    """Write a projection to a file, in place of what is there only once all of it is written.

    Raises:
        SnapshotError: the file cannot be written.
    """
    header = header_of(contents)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with beside.open("xb") as raw:
            # Without a name or a time of its own: the bytes say nothing but the projection.
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as file:
                digest = hashlib.sha256()
                for number, line in enumerate(_lines(header, contents)):
                    digest.update(line)
                    file.write(line)
                    progress(number)
                file.write(ENCODER.encode(Trailer(digest.hexdigest())) + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        beside.replace(path)
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return header


def load(path: Path, *, progress: Progress) -> Contents:
    """Read a file that `save` has written.

    Raises:
        SnapshotError: no such file, or no whole snapshot of this release's.
    """
    try:
        with gzip.open(path, "rb") as file:
            return _read(file, progress)
    except OSError as error:  # gzip's own complaints are some, too
        raise SnapshotError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error, SnapshotError) as error:
        raise SnapshotError(f"{path}: {error}") from error


def _lines(header: Header, contents: Contents) -> Iterator[bytes]:
    yield ENCODER.encode(header) + b"\n"
    places = {row_type: place for place, row_type in enumerate(NAME_OF_ROW)}
    for row in sorted(contents.rows, key=lambda row: (places[type(row)], row.key)):
        yield _line(NAME_OF_ROW[type(row)], row)
    for each in sorted(contents.decisions, key=lambda each: (each.fact_seq, each.message.id)):
        decision = SnapshotDecision(
            fact_seq=each.fact_seq,
            message=each.message,
            published_seq=contents.published.get(each.message.id),
        )
        yield _line(DECISION, decision)
    for parked in sorted(contents.parked, key=lambda parked: parked.stream_seq):
        yield _line(PARKED, parked)


def _line(name: str, item: Item) -> bytes:
    return ENCODER.encode((name, item)) + b"\n"


def _read(file: gzip.GzipFile, progress: Progress) -> Contents:
    first = file.readline()
    header = _decode_header(first)
    digest = hashlib.sha256(first)
    contents = Contents(position=header.position, rows=[], decisions=[], parked=[], published={})
    for number in range(1, header.items + 1):
        line = file.readline()
        digest.update(line)
        try:
            _take(contents, line)
        except (msgspec.DecodeError, SnapshotError) as error:
            raise SnapshotError(f"line {number + 1}: {error}") from error
        progress(number)
    _check_end(file, digest.hexdigest())
    if header_of(contents) != header:
        raise SnapshotError("the first line tells of other contents than those that follow")
    return contents


def _decode_header(line: bytes) -> Header:
    try:
        version = VERSION_DECODER.decode(line).hcs_snapshot
        if version == VERSION:
            return HEADER_DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"no snapshot of HCS: {error}") from error
    raise SnapshotError(f"a snapshot in format {version}; this release reads {VERSION}")


def _take(contents: Contents, line: bytes) -> None:
    name, raw = LINE_DECODER.decode(line)
    decoder = ITEM_DECODERS.get(name)
    if decoder is None:
        raise SnapshotError(f"{name!r} is nothing that this release keeps")
    item = decoder.decode(raw)
    if _line(name, item) != line:
        raise SnapshotError(f"a row of {name!r} has other fields than this release's")
    match item:
        case SnapshotDecision():
            contents.decisions.append(OutboxDecision(fact_seq=item.fact_seq, message=item.message))
            if item.published_seq is not None:
                contents.published[item.message.id] = item.published_seq
        case ParkedEvent():
            contents.parked.append(item)
        case _:
            contents.rows.append(item)


def _check_end(file: gzip.GzipFile, sha256: str) -> None:
    try:
        told = TRAILER_DECODER.decode(file.readline()).sha256
    except msgspec.DecodeError as error:
        raise SnapshotError(f"the last line is missing: {error}") from error
    if told != sha256:
        raise SnapshotError("its checksum differs: the file was changed")
    if file.read(1):
        raise SnapshotError("something follows the last line")
