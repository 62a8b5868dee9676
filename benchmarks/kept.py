"""Outboxes that are full of readings before a contender starts: waiting, or delivered long ago."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

from benchmarks.contenders import OURS
from benchmarks.frames import SAID, frame, number_in
from benchmarks.stage import Stage, perform
from gateway.store import MEGABYTE, Draft, Mark, Store

MAX_MB = 4000
_PORTION = 1000


async def real_row(stage: Stage) -> tuple[str, bytes]:
    """Answer topic and payload of a reading as the gateway keeps it: what else is kept is made after it."""
    async with perform(stage, stage.contender(OURS)) as running:
        await running.listens()
        with closing(sqlite3.connect(f"file:{running.folder / 'outbox.db'}?mode=ro", uri=True)) as db:
            topic, payload = db.execute("SELECT topic, payload FROM reading ORDER BY sequence LIMIT 1").fetchone()
    return str(topic), bytes(payload)


def fill(path: Path, rows: int, topic: str, payload: bytes, *, delivered: bool) -> None:
    """Keep so many readings, each with another weight; what is `delivered` is marked as such."""
    numbers = iter(range(SAID, SAID + rows))
    with closing(Store(path, MAX_MB * MEGABYTE)) as store:
        for drafts in _portions(numbers, rows, topic, payload):
            kept = store.write(drafts, [])
            if delivered:
                store.write([], [Mark(row.sequence, "delivered", "success") for row in kept])


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


def _portions(numbers: Iterator[int], rows: int, topic: str, payload: bytes) -> Iterator[list[Draft]]:
    weight = number_in(payload)
    if weight is None:
        raise RuntimeError("the reading has no weight")
    before, after = payload.split(_weight(frame(weight)), 1)
    for start in range(0, rows, _PORTION):
        portion = []
        for _ in range(min(_PORTION, rows - start)):
            said = frame(next(numbers))
            portion.append(Draft(uuid4(), 1, "scale-0", topic, _answers(before + _weight(said) + after), raw=said))
        yield portion


def _answers(payload: bytes) -> Callable[[UUID, int], bytes]:
    return lambda _stream, _sequence: payload


def _weight(said: bytes) -> bytes:
    return said[4:12]
