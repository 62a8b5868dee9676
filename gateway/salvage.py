"""A damaged outbox: what is intact goes into a new one, and the file is set aside.

Laws:

1. The damaged file is read as a copy, renamed, and otherwise left alone. It is never deleted.
2. A new database is a new stream: rows that were not delivered get new sequences there, without a gap, and keep id and
   revision, by which a consumer knows them. What was delivered stays in the file that is set aside.
3. A row whose checksum is wrong, or that is no JSON any more, is not taken over: nobody can say what it was.
4. In doubt whether a row was delivered it was not: it is sent again, under its old id.
5. Whatever moment it is killed at, the next start finds the damaged file, or the new one complete.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from gateway import payload
from gateway.database import create, sync_folder, with_suffix
from gateway.rows import checksum

_log = logging.getLogger(__name__)

DAMAGED = ".damaged-"  # outbox.db.damaged-20261124T070000Z
_BLOCK = 1 << 20

# Tables that are taken over as they are, as far as they can be read. Those of rows, and `meta`, are not.
_ALIKE = ("record", "device_clock", "retained")

# What stands in the header of each of our databases (https://www.sqlite.org/fileformat2.html#the_database_header):
# the name, pages of 4096 bytes, WAL, no reserved bytes, the fractions; schema format 4; UTF-8, no vacuum.
_HEADER = ((0, b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20"), (44, b"\0\0\0\4"), (52, bytes(4) + b"\0\0\0\1"))
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """What became of a damaged outbox: `salvaged` readings were taken over, at least `lost` were not."""

    file: str
    found: str
    salvaged: int
    lost: int


def replace_damaged(path: Path, found: str, first_sequence: int = 1) -> Damage:
    """Put a new outbox in the damaged one's place. Raises OSError, sqlite3.Error; the damaged one is then in place."""
    aside = path.name + DAMAGED + f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    copy, salvaged = path.with_name(path.name + ".copy"), path.with_name(path.name + ".salvaged")
    for leftover in (salvaged, with_suffix(salvaged, "-wal"), with_suffix(salvaged, "-shm")):
        leftover.unlink(missing_ok=True)
    damage = Damage(aside, found, 0, 0)

    def fill(new: sqlite3.Connection) -> None:
        nonlocal damage
        _copy(path, copy)
        with suppress(sqlite3.Error), closing(_open_copy(copy)) as old:
            _mend_schema(old, new)
        with suppress(sqlite3.Error), closing(_open_copy(copy)) as old:
            damage = Damage(aside, found, *_take_over(old, new, first_sequence))
        new.execute("INSERT INTO meta (name, value) VALUES ('damage', ?)", (json.dumps(asdict(damage)),))

    try:
        create(salvaged, first_sequence, fill)
    finally:
        for file in (copy, with_suffix(copy, "-wal"), with_suffix(copy, "-shm"), with_suffix(copy, "-journal")):
            _shred(file)
    path.rename(path.with_name(aside))
    finish(path, aside)
    _log.error(
        "%s is damaged (%s): set aside as %s; %d readings taken over, at least %d lost",
        *(path, found, aside, damage.salvaged, damage.lost),
    )
    return damage


def finish(path: Path, aside: str | None = None) -> bool:
    """Put a salvaged outbox in its place, if one stands ready and the place is free; answer whether it does."""
    salvaged = path.with_name(path.name + ".salvaged")
    if path.exists() or not salvaged.exists():
        return False
    set_log_aside(path, aside)
    salvaged.rename(path)
    sync_folder(path.parent)
    return True


def set_log_aside(path: Path, aside: str | None = None) -> None:
    """Keep the log of a database that is not there any more: SQLite would delete it, or take it for the next one's."""
    log = with_suffix(path, "-wal")
    if log.exists() and log.stat().st_size:
        name = aside or path.name + DAMAGED + f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        log.rename(path.with_name(name + "-wal"))
    log.unlink(missing_ok=True)
    with_suffix(path, "-shm").unlink(missing_ok=True)


def damages(path: Path, noted: str | None) -> list[Damage]:
    """Answer what lies beside the outbox that was set aside, until somebody takes it away."""
    known = Damage(**json.loads(noted)) if noted else None
    names = sorted(file.name for file in path.parent.glob(path.name + DAMAGED + "*"))
    return [
        known if known is not None and known.file == name else Damage(name, "set aside earlier", 0, 0)
        for name in names
        if not name.endswith("-wal") or name.removesuffix("-wal") not in names
    ]


def _copy(path: Path, copy: Path) -> None:
    """Copy database and log, as far as they can be read, and give the header what stands in each of ours."""
    for suffix in ("", "-wal"):
        target = with_suffix(copy, suffix)
        target.unlink(missing_ok=True)
        source = with_suffix(path, suffix)
        if not source.exists():
            continue
        with source.open("rb") as old, open(target, "wb", opener=_private) as new:
            _copy_readable(old.fileno(), new.fileno(), source.stat().st_size)
    size = copy.stat().st_size
    copied = os.open(copy, os.O_RDWR)
    try:
        for offset, constant in _HEADER:
            os.pwrite(copied, constant, offset)
        # How many pages there are, and that this is believed: the number of changes stands in both places.
        os.pwrite(copied, (size // _PAGE).to_bytes(4, "big"), 28)
        os.pwrite(copied, os.pread(copied, 4, 24), 92)
    finally:
        os.close(copied)


def _open_copy(copy: Path) -> sqlite3.Connection:
    """Open it; tables whose description cannot be read are not there, and all others are."""
    old = sqlite3.connect(copy, isolation_level=None)
    old.execute("PRAGMA writable_schema = ON")
    return old


def _mend_schema(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Give the copy our own description of each table, whose place alone is its own: one bit in it hides all rows.

    A row of an older schema has NULL in newer columns.
    """
    ours = {words[1].encode(): words for words in new.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")}
    old.execute("BEGIN")  # all of it, or none
    old.text_factory = bytes
    for rowid, name in old.execute("SELECT rowid, name FROM sqlite_schema").fetchall():
        nearest = min(ours, key=partial(_differing, name if isinstance(name, bytes) else b""))
        old.execute(
            "UPDATE sqlite_schema SET type = ?, name = ?, tbl_name = ?, sql = ? WHERE rowid = ?",
            (*ours[nearest], rowid),
        )
    old.execute("COMMIT")


def _differing(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))


def _copy_readable(old: int, new: int, size: int) -> None:
    """Copy; a page that the disk does not read becomes zeros, which no row has."""
    for start in range(0, size, _BLOCK):
        try:
            os.pwrite(new, os.pread(old, _BLOCK, start), start)
        except OSError:
            for page in range(start, min(start + _BLOCK, size), _PAGE):
                with suppress(OSError):
                    os.pwrite(new, os.pread(old, _PAGE, page), page)
    os.ftruncate(new, max(size, _PAGE))


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _shred(file: Path) -> None:
    """Overwrite and delete our copy of patients' data."""
    with suppress(FileNotFoundError):
        with file.open("r+b") as opened, suppress(OSError):
            for _ in range(0, os.fstat(opened.fileno()).st_size, _BLOCK):
                opened.write(bytes(_BLOCK))
            os.fsync(opened.fileno())
        file.unlink()


def _take_over(old: sqlite3.Connection, new: sqlite3.Connection, sequence: int) -> tuple[int, int]:
    """Answer how many readings were taken over, and at least how many were not."""
    stream = UUID(new.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone()[0])
    top = _top(old)
    outcome = {number: _outcome(*words) for number, *words in _scan(old, _DELIVERIES, top)}
    columns = {row[1] for row in old.execute("PRAGMA table_info(reading)")}
    select = _READINGS
    for column in {"checksum", "characteristic"} - columns:  # of an older schema
        select = select.replace(column, "NULL")
    moved: dict[int, int] = {}
    seen = set()
    for number, ident, revision, device, topic, body, raw, kept_at, check, characteristic in _scan(old, select, top):
        seen.add(number)
        state, at, reason = outcome.get(number, ("waiting", None, None))
        if state == "delivered":
            continue
        try:
            if check is not None and check != checksum(ident, revision, topic, body):
                raise ValueError
            words = payload.moved(body, stream, sequence)
            row = (sequence, ident, revision, device, topic, words, raw, kept_at)
            new.execute(_INSERT, (*row, checksum(ident, revision, topic, words), characteristic))
        except (ValueError, TypeError, AttributeError, sqlite3.Error):  # bits in any of it
            seen.discard(number)
            continue
        new.execute(_INSERT_DELIVERY, (sequence, state, at, reason))
        moved[number] = sequence
        sequence += 1
    if old.execute("PRAGMA table_info(uncertain_time)").fetchall():
        for number, *times in _scan(old, _UNCERTAIN, top):
            if number in moved:
                with suppress(sqlite3.Error):  # bits in it
                    new.execute("INSERT INTO uncertain_time VALUES (?, ?, ?, ?, ?)", (moved[number], *times))
    for table in _ALIKE:
        _copy_table(old, new, table)
    return len(moved), sum(state != "delivered" and number not in seen for number, (state, _, _) in outcome.items())


def _outcome(state: object, at: object, reason: object) -> tuple[str, float | None, str | None]:
    """Answer what became of a row, without what a bit has made another type of: no table takes that."""
    return (
        state if isinstance(state, str) and state in ("delivered", "parked") else "waiting",
        at if isinstance(at, float) else None,
        reason if isinstance(reason, str) else None,
    )


_READINGS = (
    "SELECT sequence, id, revision, device, topic, payload, raw, kept_at, checksum, characteristic"
    " FROM reading NOT INDEXED"
)
_DELIVERIES = "SELECT sequence, state, at, reason FROM delivery NOT INDEXED"
_UNCERTAIN = "SELECT sequence, boot, instant, quality, utc FROM uncertain_time NOT INDEXED"
_INSERT = (
    "INSERT INTO reading (sequence, id, revision, device, topic, payload, raw, kept_at, checksum, characteristic)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_DELIVERY = "INSERT INTO delivery (sequence, state, at, reason) VALUES (?, ?, ?, ?)"


def _top(old: sqlite3.Connection) -> int:
    """Answer the highest sequence that any table knows."""
    top = 0
    for query in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'reading'",
        "SELECT max(sequence) FROM reading NOT INDEXED",
        "SELECT max(sequence) FROM delivery NOT INDEXED",
    ):
        with suppress(sqlite3.Error, TypeError):
            found = old.execute(query).fetchone()[0]
            top = max(top, min(found, _TOP_LIMIT))
    return top


_TOP_LIMIT = 10_000_000  # a flipped bit in the highest sequence must not let us look for ever


def _scan(old: sqlite3.Connection, select: str, top: int, key: str = "sequence") -> Iterator[tuple[Any, ...]]:
    """Answer the rows that can be read. Behind a page that cannot, the next number is tried, and the next."""
    at = 0
    while at <= top:
        try:
            for row in old.execute(f"{select} WHERE {key} > ? ORDER BY {key}", (at,)):
                yield row
                at = row[0]
        except sqlite3.Error:
            at += 1
        else:
            return


def _copy_table(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    """Take over what columns the two schemas share, row by row, until one cannot be read."""
    names = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    with suppress(sqlite3.Error):
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
        columns = [name for name in names if name in there]
        if not columns:
            return
        select = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608 - names of our own schema
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - ours, too
        if columns[0] == "number":
            top = old.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
            found = _scan(old, select, min(top[0], _TOP_LIMIT) if top else 0, key="number")
        else:
            found = iter(old.execute(select))
        for row in found:
            with suppress(sqlite3.Error):
                new.execute(insert, row)
