"""Outboxes that are full of readings before a contender starts: waiting, or delivered long ago."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from benchmarks.contenders import OURS
from benchmarks.frames import SAID, frame, number_in
from benchmarks.stage import Stage, perform
from gateway.rows import checksum
from gateway.store import MEGABYTE, Store

MAX_MB = 4000


async def real_row(stage: Stage) -> tuple[str, bytes]:
    """Answer topic and payload of a reading as the gateway keeps it: what else is kept is made after it."""
    async with perform(stage, stage.contender(OURS)) as running:
        await running.listens()
        with closing(sqlite3.connect(f"file:{running.folder / 'outbox.db'}?mode=ro", uri=True)) as db:
            topic, payload = db.execute("SELECT topic, payload FROM reading ORDER BY sequence LIMIT 1").fetchone()
    return str(topic), bytes(payload)


def fill(path: Path, rows: int, topic: str, payload: bytes, *, delivered: bool) -> None:
    """Keep so many readings, each with another weight; what is `delivered` is marked as such.

    The tables are the gateway's own. That the rows are put in past it, in one transaction and with nothing synced, is
    what makes a million of them a matter of seconds.
    """
    with closing(Store(path, MAX_MB * MEGABYTE)):
        pass
    before, after = _around_the_weight(payload)
    now, address = time.time(), "127.0.0.1:1883"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF").fetchall()
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -400000")  # KiB: the index of ids, which are in no order, stays in memory
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO reading (sequence, id, revision, device, topic, payload, raw, kept_at, checksum)"
            " VALUES (?, ?, 1, 'scale-0', ?, ?, ?, ?, ?)",
            _readings(rows, topic, before, after, now),
        )
        # In two steps, as at work, and not straight into their last state: the indexes are as full of holes as there.
        db.execute("INSERT INTO delivery (sequence, state) SELECT sequence, 'waiting' FROM reading")
        if delivered:
            db.execute(
                "UPDATE delivery SET state = 'delivered', at = ?, reason = 'success', broker = ?, sent_at = ?",
                (now, address, now),
            )
        db.execute("COMMIT")


def fill_queue(path: Path, rows: int) -> None:
    """Keep so many lines as the script with a queue does."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, topic TEXT, line BLOB)")
        lines = (("vitals/v1/bench/script-0/test/reading", frame(SAID + n)) for n in range(rows))
        db.executemany("INSERT INTO queue (topic, line) VALUES (?, ?)", lines)
        db.commit()


def empty(folder: Path) -> Path:
    """Make the folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _around_the_weight(payload: bytes) -> tuple[bytes, bytes]:
    weight = number_in(payload)
    if weight is None:
        raise RuntimeError("the reading has no weight")
    before, after = payload.split(_weight(frame(weight)), 1)
    return before, after


def _readings(rows: int, topic: str, before: bytes, after: bytes, now: float) -> Iterator[tuple[object, ...]]:
    """Answer the values of so many rows; kept over the last day, the newest now."""
    for place in range(rows):
        said, ident = frame(SAID + place), uuid4().bytes
        payload = before + _weight(said) + after
        kept_at = now - 86_400 * (1 - (place + 1) / rows)
        yield place + 1, ident, topic, payload, said, kept_at, checksum(ident, 1, topic, payload)


def _weight(said: bytes) -> bytes:
    return said[4:12]
