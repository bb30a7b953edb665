"""An agent's memory while the bus is away: append first, publish later, forget on acknowledgement.

One SQLite file per agent (write-ahead log, every append synced), because a half-written record
after a power cut is a problem that SQLite has solved. The spool gives each event its id,
`<node>/<incarnation>/<n>`: `incarnation` is the spool's own, so ids go on across agent restarts
and start anew, never repeating, when the spool was lost. A full spool drops the oldest events that
the next ones supersede (samples, heartbeats, usage), never faults, and counts what it dropped; so
does one whose disk is full. Its file sets some room aside, so that a disk that others fill does not
keep a fault from the bus.

A spool has one owner: a second would give the same numbers to other events, and forget what the
first has yet to send. The kernel keeps the lock on its directory for as long as the owner lives,
and no longer, however it ends.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from hcs_bus.envelope import Message, encode_fact
from hcs_bus.errors import ConfigError, SpoolFullError
from hcs_bus.events import Fact, Heartbeat, Quota, Samples
from hcs_bus.names import NodeName

DROPPED_FOR_ONE_MAX = 64  # entries given up for the room of one: a fingerprint is that large
RESERVED_BYTES = 1024**2  # about a thousand faults
LOG_PAGES = 128  # of 4 KiB: the write-ahead log begins anew well within what is set aside
SPOOL_ENTRIES_MAX = 100_000  # about 60 MB; three days of heartbeats and usage of a busy node

SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    id TEXT NOT NULL,
    superseded INTEGER NOT NULL,  -- 1: a later event of this kind makes it worthless
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS identity (incarnation TEXT NOT NULL, dropped INTEGER NOT NULL);
"""


class SpoolEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits for its acknowledgement."""

    n: int
    message: Message


class Spool:
    """The queue of one node's events, on disk. Not thread-safe: one event loop owns it.

    Raises:
        ConfigError: another agent has this directory.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node: NodeName,
        entries_max: int = SPOOL_ENTRIES_MAX,
        reserved_bytes: int = RESERVED_BYTES,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(directory)
        self._node = node
        self._entries_max = entries_max
        self._database = sqlite3.connect(directory / "spool.sqlite", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._database.executescript(SCHEMA)
        self._set_room_aside(reserved_bytes)
        self._incarnation = self._load_incarnation()
        self._length: int = self._scalar("SELECT count(*) FROM entry")
        self._dropped: int = self._scalar("SELECT dropped FROM identity")

    @property
    def dropped(self) -> int:
        """Events given up because the spool was full, since it was made."""
        return self._dropped

    def __len__(self) -> int:
        return self._length

    def append(self, fact: Fact) -> Message:
        """Store a fact durably and return its message, id given.

        Raises:
            SpoolFullError: full, and nothing in it may be dropped; or the disk refuses.
        """
        if self._length >= self._entries_max and not self._drop_oldest():
            raise SpoolFullError(
                f"spool of {self._node} holds {self._length} events and none may be dropped"
            )
        for _ in range(DROPPED_FOR_ONE_MAX):
            try:
                return self._insert(fact)
            except SpoolFullError:
                # The disk is full. A fact that is superseded itself is not worth an older one.
                if is_superseded(fact) or not self._drop_oldest():
                    raise
        return self._insert(fact)

    def pending(self, limit: int, *, without: Collection[int] = ()) -> list[SpoolEntry]:
        """Return the oldest entries that are not acknowledged, but for those with some numbers."""
        rows = self._database.execute(
            "SELECT n, subject, id, payload FROM entry ORDER BY n LIMIT ?", (limit + len(without),)
        )
        found = [
            SpoolEntry(n=n, message=Message(subject=subject, id=event_id, payload=payload))
            for n, subject, event_id, payload in rows
            if n not in without
        ]
        return found[:limit]

    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Forget entries: the bus has them.

        Raises:
            SpoolFullError: the disk refuses; they are still here.
        """
        listed = msgspec.json.encode(sorted(numbers)).decode()
        with self._writing() as database:  # one statement: one transaction, one sync
            cursor = database.execute(
                "DELETE FROM entry WHERE n IN (SELECT value FROM json_each(?))", (listed,)
            )
            self._length -= cursor.rowcount

    def close(self) -> None:
        """Close the file; everything appended is on disk already."""
        self._database.close()
        os.close(self._lock)

    def _set_room_aside(self, size_bytes: int) -> None:
        """Let the file and its log grow: neither shrinks again before the spool is closed."""
        with contextlib.suppress(sqlite3.OperationalError):  # a disk that is full already
            self._database.execute("CREATE TABLE IF NOT EXISTS reserved (room BLOB)")
            self._database.execute("INSERT INTO reserved VALUES (zeroblob(?))", (size_bytes,))
            # Before the pages are freed: what is free is not written, and so not given blocks.
            self._database.execute("PRAGMA wal_checkpoint(RESTART)")
            self._database.execute("DELETE FROM reserved")
            self._database.execute("PRAGMA wal_checkpoint(RESTART)")

    def _load_incarnation(self) -> str:
        row = self._database.execute("SELECT incarnation FROM identity").fetchone()
        if row is not None:
            return str(row[0])
        incarnation = secrets.token_hex(6)
        self._database.execute("INSERT INTO identity VALUES (?, 0)", (incarnation,))
        return incarnation

    def _insert(self, fact: Fact) -> Message:
        n = 1 + self._scalar("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
        event_id = f"{self._node}/{self._incarnation}/{n}"
        source = f"/hcs/agent/{self._node}"
        message = encode_fact(fact, node=self._node, event_id=event_id, source=source)
        with self._writing() as database:
            database.execute(
                "INSERT INTO entry (n, subject, id, superseded, payload) VALUES (?, ?, ?, ?, ?)",
                (n, message.subject, message.id, int(is_superseded(fact)), message.payload),
            )
        self._length += 1
        return message

    def _drop_oldest(self) -> bool:
        """Give up the oldest entry that may be; false when none may."""
        with self._writing() as database, database:  # gone and counted, or neither
            database.execute("BEGIN IMMEDIATE")
            cursor = database.execute(
                "DELETE FROM entry WHERE n = (SELECT min(n) FROM entry WHERE superseded = 1)"
            )
            if cursor.rowcount == 0:
                return False
            database.execute("UPDATE identity SET dropped = dropped + 1")
        self._length -= 1
        self._dropped += 1
        return True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write; a statement or transaction that the disk refuses has changed nothing.

        A log that cannot grow is folded into the file, and begins anew in the space it has.
        """
        try:
            yield self._database
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.OperationalError):
                self._database.execute("PRAGMA wal_checkpoint(RESTART)")
            raise SpoolFullError(f"spool of {self._node}: {error}") from error

    def _scalar(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])


def _lock(directory: Path) -> int:
    """Take a directory for this process and return what holds it, an open file.

    Not the database: closing any file of it would let go of SQLite's own locks.
    """
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise ConfigError(
            f"spool {directory} belongs to an agent that runs: each agent needs its own"
        ) from None
    return held


def is_superseded(fact: Fact) -> bool:
    """Say whether a later fact of this kind makes it worthless."""
    return isinstance(fact, Samples | Heartbeat | Quota)
