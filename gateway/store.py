"""The outbox's tables: the only importer of sqlite3. One connection, used by one thread (outbox.py's).

Laws:

1. WAL and synchronous=FULL: what is committed is on the card before anyone hears of it, power cut or not.
2. Sequence, exact bytes and row are one transaction. A sequence that did not commit was never given.
3. Rows never change. What became of a row stands in a table of its own.
4. secure_delete: a reading that is deleted is overwritten, in the database and, by the checkpoint, in the log.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

_Row = TypeVar("_Row", bound=tuple[object, ...])

# Records are remembered longer than the readings that were made of them: a cuff's memory outlives any keeping time.
# At a hundred a day these are three years, in less than 10 MB.
RECORDS_REMEMBERED = 100_000

_MIGRATIONS = Path(__file__).parent / "migrations"

# Of both: state, at, reason, broker, version, then [[sequence, sent_at], …] as JSON.
_SETTLED = """
    UPDATE delivery SET state = ?1, at = ?2, reason = ?3, broker = ?4, version = ?5, sent_at = mark.value ->> 1
    FROM json_each(?6) AS mark WHERE state = 'waiting' AND sequence = mark.value ->> 0"""
_REPLAYED = """
    INSERT INTO replay (sequence, times, at, reason, broker, version, sent_at)
    SELECT sequence, 1, ?2, ?3, ?4, ?5, mark.value ->> 1
    FROM json_each(?6) AS mark JOIN reading ON sequence = mark.value ->> 0 WHERE ?1 = 'replayed'
    ON CONFLICT (sequence) DO UPDATE SET times = times + 1, at = excluded.at, reason = excluded.reason,
        broker = excluded.broker, version = excluded.version, sent_at = excluded.sent_at"""


DatabaseError = sqlite3.Error  # what Store's methods raise: this file alone imports sqlite3


class OutboxError(Exception):
    """The outbox cannot be used; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A reading that is to be kept. `encode` makes its bytes once its sequence is known.

    `record` names the device's record behind it, if it has one. If that came before under another id, what is kept is
    what `as_repeat_of` makes of the earlier id. `held`: the first of the reasons for which it is held, None if it is
    usable. `characteristic`: which one of a Bluetooth device said it.
    """

    id: UUID
    revision: int
    device: str
    topic: str
    encode: Callable[[int], bytes] = field(repr=False)
    raw: bytes = field(default=b"", repr=False)
    record: UUID | None = None
    as_repeat_of: Callable[[UUID], Draft] | None = field(default=None, repr=False)
    held: str | None = None
    characteristic: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A reading that is kept: what is sent, and in which order."""

    sequence: int
    topic: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a row: `delivered` or `parked`, or `replayed` beside that; the broker's reason, and its address.

    `sent_at`: when it was handed to the connection, seconds since 1970; None if it never was, or while the clock was
    not believed.
    """

    sequence: int
    state: str
    reason: str
    broker: str | None = None
    sent_at: float | None = None


class Store:
    """The open database. Every method may raise sqlite3.Error: the transaction is then rolled back."""

    def __init__(self, path: Path) -> None:
        """Open, and create what is not there. Raises OutboxError."""
        self.became: tuple[Draft | None, ...] = ()  # of the last `write`
        self._version = version("vitals-gateway")
        with _words_for(path):
            self._lock = _lock(path)
            try:
                self._db = _connect(path)
                try:
                    _set_up(self._db, path)
                    _migrate(self._db, path)
                    self.stream = self._load_stream()
                    self._next_sequence = self._load_next_sequence()
                    self.waiting_at_start, _, _ = self.depth()
                except BaseException:
                    self._db.close()
                    raise
            except BaseException:
                os.close(self._lock)
                raise

    def write(self, drafts: Sequence[Draft], marks: Iterable[Mark], *, clock_is_right: bool = True) -> list[Row]:
        """Keep drafts and note marks in one transaction; answer the rows, on disk. A draft kept before has none.

        So has one whose record came before under the same id. `became` then has, draft by draft, what was kept of it,
        None where that is nothing new.
        """
        now = time.time()
        with self._transaction():
            became = self._not_kept_yet(self._resolve_records(drafts))
            rows = self._insert([draft for draft in became if draft is not None], now)
            self._note(marks, now if clock_is_right else None)
        if rows:
            self._next_sequence = rows[-1].sequence + 1
        self.became = tuple(became)
        return rows

    def waiting(self, after: int, limit: int, without: Sequence[str]) -> list[Row]:
        """Answer at most `limit` undelivered rows behind sequence `after`, oldest first, without these topics."""
        found = self._db.execute(
            "SELECT reading.sequence, topic, payload FROM delivery JOIN reading USING (sequence)"
            " WHERE state = 'waiting' AND delivery.sequence > ?"
            " AND topic NOT IN (SELECT value FROM json_each(?)) ORDER BY delivery.sequence LIMIT ?",
            (after, json.dumps(list(without)), limit),
        )
        return [Row(*row) for row in found]

    def oldest_waiting(self, topic: str) -> list[Row]:
        """Answer the oldest undelivered row of one topic, if there is one."""
        found = self._db.execute(
            "SELECT reading.sequence, topic, payload FROM delivery JOIN reading USING (sequence)"
            " WHERE state = 'waiting' AND topic = ? ORDER BY delivery.sequence LIMIT 1",
            (topic,),
        )
        return [Row(*row) for row in found]

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Answer the rows of a SELECT; kept.py has them."""
        return self._db.execute(question, values).fetchall()

    def depth(self) -> tuple[int, float | None, int]:
        """Answer (rows waiting, when the oldest of them was kept as seconds since 1970, rows parked)."""
        waiting, oldest = self._db.execute(
            "SELECT count(*), min(sequence) FROM delivery WHERE state = 'waiting'"
        ).fetchone()
        parked = self._db.execute("SELECT count(*) FROM delivery WHERE state = 'parked'").fetchone()[0]
        kept_at = None
        if oldest is not None:
            kept_at = self._db.execute("SELECT kept_at FROM reading WHERE sequence = ?", (oldest,)).fetchone()[0]
        return waiting, kept_at, parked

    def last_payloads(self, device: str, limit: int) -> list[bytes]:
        """Answer the bytes of the last readings that were kept of this device, the oldest first."""
        found = self._db.execute(
            "SELECT payload FROM reading WHERE device = ? ORDER BY sequence DESC LIMIT ?", (device, limit)
        )
        return [payload for (payload,) in found][::-1]

    def replace_retained(self, topics: Iterable[str]) -> list[str]:
        """Remember the topics that hold a retained message of ours; answer those that were known and are no more."""
        current = set(topics)
        known = {topic for (topic,) in self._db.execute("SELECT topic FROM retained")}
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO retained (topic) VALUES (?)", ((topic,) for topic in current))
        return sorted(known - current)

    def unsure_until(self, hardware: str) -> datetime | None:
        """Answer up to where a device's stamps are unsure, on its own clock, since that was set."""
        found = self._db.execute("SELECT unsure_until FROM device_clock WHERE hardware = ?", (hardware,)).fetchone()
        return None if found is None else datetime.fromisoformat(found[0])

    def note_unsure_until(self, hardware: str, until: datetime | None) -> None:
        """Remember it, or forget it; on disk when this returns."""
        if until is None:
            self._db.execute("DELETE FROM device_clock WHERE hardware = ?", (hardware,))
        else:
            self._db.execute("INSERT OR REPLACE INTO device_clock VALUES (?, ?)", (hardware, until.isoformat()))

    def forget_retained(self, topic: str) -> None:
        """Forget a topic whose retained message was cleared."""
        self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))

    def purge(self, delivered_before: float) -> int:
        """Delete what was delivered before that time (seconds since 1970), overwritten; answer how many rows.

        Only called while the clock is right: what was delivered while it was not counts from now.
        """
        with self._transaction():
            self._db.execute("UPDATE delivery SET at = ? WHERE state = 'delivered' AND at IS NULL", (time.time(),))
            gone = self._db.execute(
                "DELETE FROM reading WHERE sequence IN"
                " (SELECT sequence FROM delivery WHERE state = 'delivered' AND at < ? LIMIT 1000)",
                (delivered_before,),
            ).rowcount
            self._db.execute(
                "DELETE FROM record WHERE number <= (SELECT max(number) FROM record) - ?", (RECORDS_REMEMBERED,)
            )
        if gone:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    def close(self) -> None:
        """Close; SQLite then folds the log into the database."""
        self._db.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    def _note(self, marks: Iterable[Mark], at: float | None) -> None:
        """Note what became of rows; of one that went out again: how often, and the last time. Purged rows: nothing."""
        for (state, reason, broker), some in _by_outcome(marks).items():
            sent = json.dumps([(mark.sequence, mark.sent_at if at is not None else None) for mark in some])
            self._db.execute(
                _REPLAYED if state == "replayed" else _SETTLED, (state, at, reason, broker, self._version, sent)
            )

    def _resolve_records(self, drafts: Sequence[Draft]) -> list[Draft | None]:
        """Answer the drafts; None for one whose record was told under its id, another for one told under another id.

        Records that are new are remembered.
        """
        resolved: list[Draft | None] = []
        for draft in drafts:
            if draft.record is None:
                resolved.append(draft)
                continue
            found = self._db.execute("SELECT reading FROM record WHERE name = ?", (draft.record.bytes,)).fetchone()
            if found is None:
                self._db.execute(
                    "INSERT INTO record (name, reading) VALUES (?, ?)", (draft.record.bytes, draft.id.bytes)
                )
                resolved.append(draft)
            elif (earlier := UUID(bytes=found[0])) == draft.id:
                resolved.append(None)
            else:
                resolved.append(draft.as_repeat_of(earlier) if draft.as_repeat_of is not None else draft)
        return resolved

    def _not_kept_yet(self, drafts: Sequence[Draft | None]) -> list[Draft | None]:
        """Answer the drafts; None for one that was kept before, or stands here for the second time."""
        # Asked first: an INSERT that conflicts would still move sqlite_sequence on, a gap after the next start.
        first: dict[tuple[bytes, int], int] = {}
        for place, draft in enumerate(drafts):
            if draft is not None:
                first.setdefault((draft.id.bytes, draft.revision), place)
        for some in _in_portions(list(first)):
            known = self._db.execute(
                f"SELECT id, revision FROM reading WHERE (id, revision) IN (VALUES {_places(some)})",  # noqa: S608
                list(chain.from_iterable(some)),
            )
            for identity in known.fetchall():
                del first[identity]
        new = set(first.values())
        return [draft if place in new else None for place, draft in enumerate(drafts)]

    def _insert(self, drafts: Sequence[Draft], now: float) -> list[Row]:
        rows, values = [], []
        for sequence, draft in enumerate(drafts, self._next_sequence):
            payload = draft.encode(sequence)
            rows.append(Row(sequence, draft.topic, payload))
            values.append(
                (
                    sequence,
                    draft.id.bytes,
                    draft.revision,
                    draft.device,
                    draft.topic,
                    payload,
                    draft.raw,
                    now,
                    draft.characteristic,
                )
            )
        for some in _in_portions(values):
            self._db.execute(
                "INSERT INTO reading (sequence, id, revision, device, topic, payload, raw, kept_at, characteristic)"  # noqa: S608
                f" VALUES {_places(some)}",
                list(chain.from_iterable(some)),
            )
        if rows:
            self._db.execute(
                "INSERT INTO delivery (sequence, state) SELECT sequence, 'waiting' FROM reading WHERE sequence >= ?",
                (rows[0].sequence,),
            )
        return rows

    def _load_stream(self) -> UUID:
        found = self._db.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone()
        if found:
            return UUID(found[0])
        stream = uuid4()
        self._db.execute("INSERT INTO meta (name, value) VALUES ('stream', ?)", (str(stream),))
        return stream

    def _load_next_sequence(self) -> int:
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'reading'").fetchone()
        return (found[0] if found else 0) + 1


@contextmanager
def _words_for(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutboxError(
            f"{path} cannot be written ({error.strerror}): give its folder to the service's user"
        ) from error
    except sqlite3.Error as error:
        raise OutboxError(f"{path} cannot be used as an outbox ({error}): check the disk and the file") from error


def _by_outcome(marks: Iterable[Mark]) -> dict[tuple[str, str, str | None], list[Mark]]:
    outcomes: dict[tuple[str, str, str | None], list[Mark]] = {}
    for mark in marks:
        outcomes.setdefault((mark.state, mark.reason, mark.broker), []).append(mark)
    return outcomes


# Each statement gives the interpreter's lock away and has to win it back: many rows a statement, not a statement a row.
_PORTION = 64


def _in_portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), _PORTION):
        yield rows[start : start + _PORTION]


def _places(rows: Sequence[tuple[object, ...]]) -> str:
    """Answer the places of these rows' values in a statement: nothing but question marks."""
    return ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))


def _lock(path: Path) -> int:
    """Hold the outbox for this process alone: two writers would give one sequence twice."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise OutboxError(f"{path} is in use by another vitals-gateway: stop that one first") from None
        raise
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # SQLite's own files take this mode
    os.close(descriptor)
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)


def _set_up(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA secure_delete = ON").fetchall()
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise OutboxError(f"{path} lies on a disk that cannot hold a write-ahead log: use a local disk")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one numbered file after the other, each in its own transaction."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    steps = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    if found > len(steps):
        raise OutboxError(
            f"{path} was written by a newer vitals-gateway (schema {found}, this one knows {len(steps)}):"
            " install that one again"
        )
    for number, step in enumerate(steps[found:], found + 1):
        db.executescript(f"BEGIN IMMEDIATE;\n{step.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
