"""The outbox's tables: what is kept, what became of it, and what is remembered besides.

One connection, used by one thread (keeper.py's). database.py opens the file, salvage.py replaces a damaged one.

Laws:

1. Sequence, exact bytes and row are one transaction. A sequence that did not commit was never given.
2. Rows never change. What became of a row stands in a table of its own.
3. A row whose checksum is wrong is never sent: it is parked as damaged.
4. secure_delete: a reading that is deleted (space.py) is overwritten, in the database and, by the checkpoint, in the
   log.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from gateway import database, salvage, space
from gateway.database import DatabaseError, OutboxError, OutboxTooNew, OutboxUnavailable
from gateway.rows import Draft, Mark, Row, Uncertain, checksum, is_intact
from gateway.salvage import Damage
from gateway.space import Room

__all__ = [
    "MEGABYTE",
    "Condition",
    "Damage",
    "DatabaseError",
    "Draft",
    "Mark",
    "OutboxError",
    "OutboxTooNew",
    "OutboxUnavailable",
    "Room",
    "Row",
    "Store",
]

_Row = TypeVar("_Row", bound=tuple[object, ...])

# Records are remembered longer than the readings that were made of them: a cuff's memory outlives any keeping time.
# At a hundred a day these are three years, in less than 10 MB.
RECORDS_REMEMBERED = 100_000

MEGABYTE = 1_000_000

# Commits after which the log is folded into the database. One reading's writes some 14 pages, and SQLite folds after
# 1000 of them, two fsyncs for whoever just waits.
FOLD_AFTER = 50

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


@dataclass(frozen=True, slots=True)
class Condition:
    """How the file is: bytes in use, rows parked as damaged, parked rows deleted unsent, what was set aside."""

    used_bytes: int
    damaged: int
    discarded: int
    set_aside: tuple[Damage, ...]


class Store:
    """The open database. Every method may raise DatabaseError: the transaction is then rolled back."""

    def __init__(
        self, path: Path, max_bytes: int = 512 * MEGABYTE, *, found: str | None = None, first_sequence: int = 1
    ) -> None:
        """Open, and create what is not there. Raises OutboxError.

        A damaged file is replaced, what is intact in it salvaged, from `first_sequence` on; so is one of which `found`
        says what is wrong with it.
        """
        path = Path(os.path.realpath(path))  # what is renamed is the file, not a link to it
        self.became: tuple[Draft | None, ...] = ()  # of the last `write`
        self._commits = 0  # since the log was folded
        self._parked_as_damaged: list[int] = []
        self._version = version("vitals-gateway")
        self._path, self._max_bytes = path, max_bytes
        self.unwritten: set[int] = set()  # rows that were settled, which the disk has not taken yet: they do not wait
        self._spoiled: set[int] = set()  # rows whose checksum is wrong, whether that could be noted or not
        with database.words_for(path):
            self._lock = database.lock(path)
            try:
                self._db = _open(path, found, first_sequence)
                try:
                    self.stream = UUID(self._meta("stream") or "")
                    self.next_sequence = self._load_next_sequence()
                    self.waiting_at_start = database.waiting(self._db)
                except BaseException:
                    self._db.close()
                    raise
            except BaseException:
                os.close(self._lock)
                raise

    def what_is_wrong(self) -> str | None:
        """Answer what is wrong with tables and indexes, None if nothing; reads the whole file."""
        return database.what_is_wrong(self._db)

    def interrupt(self) -> None:
        """End what is running with DatabaseError. From any thread."""
        self._db.interrupt()

    def write(self, drafts: Sequence[Draft], marks: Iterable[Mark], *, clock_is_right: bool = True) -> list[Row]:
        """Keep drafts and note marks in one transaction; answer the rows, on disk. A draft kept before has none.

        So has one whose record came before under the same id. `became` then has, draft by draft, what was kept of it,
        None where that is nothing new.
        """
        now = time.time()
        with database.transaction(self._db):
            became = self._not_kept_yet(self._resolve_records(drafts))
            rows = self._insert([draft for draft in became if draft is not None], now)
            self._note(marks, now if clock_is_right else None)
        if rows:
            self.next_sequence = rows[-1].sequence + 1
        self.became = tuple(became)
        self._commits += 1
        return rows

    def fold_log(self) -> None:
        """Fold the log into the database if it is near where SQLite would do so, within a commit."""
        if self._commits >= FOLD_AFTER:
            self._commits = 0
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def waiting(self, after: int, limit: int, without: Sequence[str]) -> list[Row]:
        """Answer at most `limit` undelivered rows behind sequence `after`, oldest first, without these topics."""
        return self._intact(
            "state = 'waiting' AND delivery.sequence > ? AND topic NOT IN (SELECT value FROM json_each(?))",
            (after, json.dumps(list(without))),
            limit,
        )

    def oldest_waiting(self, topic: str) -> list[Row]:
        """Answer the oldest undelivered row of one topic, if there is one."""
        return self._intact("state = 'waiting' AND topic = ?", (topic,), 1)

    def take_damaged(self) -> list[int]:
        """Answer which rows were parked as damaged since this was asked last."""
        taken, self._parked_as_damaged = self._parked_as_damaged, []
        return taken

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
            kept_at = self._db.execute(
                "SELECT coalesce(utc, kept_at) FROM reading LEFT JOIN uncertain_time USING (sequence)"
                " WHERE sequence = ?",
                (oldest,),
            ).fetchone()[0]
        return waiting, kept_at, parked

    def condition(self) -> Condition:
        """Answer how the file is."""
        damaged = self._db.execute(
            "SELECT count(*) FROM delivery WHERE state = 'parked' AND reason = 'damaged'"
        ).fetchone()[0]
        set_aside = salvage.damages(self._path, self._meta("damage"))
        return Condition(space.used_bytes(self._db), damaged, space.discarded(self._db), tuple(set_aside))

    def bound(self, max_bytes: int) -> None:
        """Let the file take so much from now on."""
        self._max_bytes = max_bytes

    def find_room(self) -> Room:
        """Answer whether the bound leaves room, after deleting what may go."""
        return space.find_room(self._db, self._max_bytes)

    def last_payloads(self, device: str, limit: int) -> list[bytes]:
        """Answer the bytes of the last readings that were kept of this device, the oldest first; first revisions.

        Without those whose checksum is wrong.
        """
        found = self._db.execute(
            "SELECT checksum, id, revision, topic, payload FROM reading WHERE device = ? AND revision = 1"
            " ORDER BY sequence DESC LIMIT ?",
            (device, limit),
        ).fetchall()
        return [row[-1] for row in found if is_intact(*row)][::-1]

    def uncertain(self, boot: str, limit: int) -> list[Uncertain]:
        """Answer at most `limit` rows of this start of the machine whose time was not corrected yet, oldest first."""
        found = self._db.execute(
            "SELECT sequence, instant, quality, id, revision, device, topic, payload, raw, characteristic,"
            " revision < (SELECT max(revision) FROM reading AS other WHERE other.id = reading.id), checksum"
            " FROM uncertain_time JOIN reading USING (sequence) WHERE utc IS NULL AND boot = ?"
            " ORDER BY sequence LIMIT ?",
            (boot, limit),
        )
        return [_uncertain(*row) for row in found]

    def settle_times(self, settled: Mapping[int, float], drafts: Sequence[Draft]) -> list[Row]:
        """Note when rows (by sequence) were received, seconds since 1970, and keep their corrections: both or none."""
        with database.transaction(self._db):
            rows = self._insert(drafts, time.time())
            self._db.executemany(
                "UPDATE uncertain_time SET utc = ? WHERE sequence = ?", ((u, s) for s, u in settled.items())
            )
        if rows:
            self.next_sequence = rows[-1].sequence + 1
        return rows

    def give_up_times(self, boot: str) -> int:
        """Forget the rows of other starts of the machine; answer how many were unsynced, and stay so for ever."""
        with database.transaction(self._db):
            gone = self._db.execute(
                "DELETE FROM uncertain_time WHERE utc IS NULL AND boot <> ? RETURNING quality", (boot,)
            ).fetchall()
        return sum(quality == "unsynced" for (quality,) in gone)

    def replace_retained(self, topics: Iterable[str]) -> list[str]:
        """Remember the topics that hold a retained message of ours; answer those that were known and are no more."""
        current = set(topics)
        known = {topic for (topic,) in self._db.execute("SELECT topic FROM retained")}
        with database.transaction(self._db):
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

    def purge(self, delivered_before: float, parked_before: float = 0.0) -> int:
        """Delete, overwritten, what was delivered or parked before these times (seconds since 1970); answer how many.

        Only called while the clock is right: what was delivered while it was not counts from now.
        """
        gone = space.purge(self._db, delivered_before, parked_before)
        self._db.execute(
            "DELETE FROM record WHERE number <= (SELECT max(number) FROM record) - ?", (RECORDS_REMEMBERED,)
        )
        return gone

    def close(self) -> None:
        """Close; SQLite then folds the log into the database."""
        self._db.close()
        os.close(self._lock)

    def _intact(self, which: str, values: tuple[object, ...], limit: int) -> list[Row]:
        """Answer rows as they were kept. One whose checksum is wrong is parked, and the next is looked for."""
        while True:
            found = self._db.execute(
                "SELECT reading.sequence, topic, payload, id, revision, checksum"  # noqa: S608 - our own words
                f" FROM delivery JOIN reading USING (sequence) WHERE {which}"
                " AND delivery.sequence NOT IN (SELECT value FROM json_each(?)) ORDER BY delivery.sequence LIMIT ?",
                (*values, json.dumps(sorted(self._spoiled | self.unwritten)), limit),
            ).fetchall()
            spoiled = [
                sequence
                for sequence, topic, payload, ident, revision, check in found
                if not is_intact(check, ident, revision, topic, payload)
            ]
            if not spoiled:
                return [Row(*row[:3]) for row in found]
            self._spoiled.update(spoiled)
            with suppress(DatabaseError):  # a disk that takes no word of it must not stop the rows behind
                # Without a time: whether the clock is right is not known here, and keeping time counts from when it is.
                self.write([], [Mark(sequence, "parked", "damaged") for sequence in spoiled], clock_is_right=False)
                self._parked_as_damaged += spoiled

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
            elif (earlier := UUID(bytes=found[0])) == draft.id or draft.as_repeat_of is None:
                resolved.append(None)
            else:
                resolved.append(draft.as_repeat_of(earlier))
        return resolved

    def _not_kept_yet(self, drafts: Sequence[Draft | None]) -> list[Draft | None]:
        """Answer the drafts; None for one that was kept before, or stands here for the second time."""
        # Asked first: an INSERT that conflicts would still move sqlite_sequence on, a gap after the next start.
        first: dict[tuple[bytes, int], int] = {}
        for place, draft in enumerate(drafts):
            if draft is not None:
                first.setdefault((draft.id.bytes, draft.revision), place)
        for some in _in_portions(list(first)):
            # Joined, and in this order: of "(id, revision) IN (VALUES …)" with two rows SQLite makes a scan of all that
            # is kept.
            known = self._db.execute(
                f"WITH new (id, revision) AS (VALUES {_places(len(some), 2)})"  # noqa: S608 - our own words
                " SELECT id, revision FROM new CROSS JOIN reading USING (id, revision)",
                list(chain.from_iterable(some)),
            )
            for identity in known.fetchall():
                del first[identity]
        new = set(first.values())
        return [draft if place in new else None for place, draft in enumerate(drafts)]

    def _insert(self, drafts: Sequence[Draft], now: float) -> list[Row]:
        rows, values = [], []
        for sequence, draft in enumerate(drafts, self.next_sequence):
            payload = draft.encode(self.stream, sequence)
            rows.append(Row(sequence, draft.topic, payload))
            check = checksum(draft.id.bytes, draft.revision, draft.topic, payload)
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
                    check,
                    draft.characteristic,
                )
            )
        for some in _in_portions(values):
            self._db.execute(
                "INSERT INTO reading"  # noqa: S608 - our own words
                " (sequence, id, revision, device, topic, payload, raw, kept_at, checksum, characteristic)"
                f" VALUES {_places(len(some), len(some[0]))}",
                list(chain.from_iterable(some)),
            )
        captured = [
            (row.sequence, draft.captured.boot, draft.captured.instant, draft.captured.quality)
            for row, draft in zip(rows, drafts, strict=True)
            if draft.captured is not None
        ]
        if captured:
            self._db.executemany(
                "INSERT INTO uncertain_time (sequence, boot, instant, quality) VALUES (?, ?, ?, ?)", captured
            )
        if rows:
            self._db.execute(
                "INSERT INTO delivery (sequence, state) SELECT sequence, 'waiting' FROM reading WHERE sequence >= ?",
                (rows[0].sequence,),
            )
        return rows

    def _meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _load_next_sequence(self) -> int:
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'reading'").fetchone()
        return (found[0] if found else 0) + 1


def _open(path: Path, found: str | None, first_sequence: int) -> sqlite3.Connection:
    """Answer the open database, a new one in place of what is missing or damaged."""
    salvage.finish(path)  # which may have been killed
    if found is not None:
        salvage.replace_damaged(path, found, first_sequence)
    if not path.exists():
        salvage.set_log_aside(path)
        database.create(path, first_sequence, lambda _: None)
    try:
        return database.open_existing(path)
    except database.OutboxDamaged as damage:
        salvage.replace_damaged(path, str(damage), first_sequence)
        return database.open_existing(path)


def _uncertain(
    sequence: int,
    instant: float,
    quality: str,
    ident: bytes,
    revision: int,
    device: str,
    topic: str,
    payload: bytes,
    raw: bytes,
    characteristic: str | None,
    superseded: int,
    check: int | None,
) -> Uncertain:
    intact = is_intact(check, ident, revision, topic, payload)
    return Uncertain(
        *(sequence, instant, quality, UUID(bytes=ident), revision, device, topic, payload, raw),
        characteristic,
        bool(superseded),
        intact,
    )


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


@lru_cache(maxsize=2 * _PORTION)
def _places(rows: int, columns: int) -> str:
    """Answer the places of so many rows' values in a statement: nothing but question marks."""
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)
