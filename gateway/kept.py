"""What is kept, asked for by hand: the rows of `trace` and of what is to go out again. On the outbox's thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway.rows import is_intact
from gateway.selection import Range, Selection, gaps, ranges
from gateway.store import Row, Store

LIMIT = 100  # rows that one trace answers

_TRACE = """
    SELECT reading.sequence, reading.device, reading.topic, reading.payload, reading.raw, reading.kept_at,
        reading.characteristic, delivery.state, delivery.at, delivery.reason, delivery.sent_at, delivery.broker,
        delivery.version, replay.times, replay.sent_at, replay.at, replay.reason, replay.broker, replay.version,
        reading.id, reading.revision, reading.checksum
    FROM reading JOIN delivery USING (sequence) LEFT JOIN replay USING (sequence) WHERE """

# Rows whose clock was wrong, by the time that was the right one: a condition on it, and a bracket, are to follow.
_CORRECTED = "reading.sequence IN (SELECT sequence FROM uncertain_time WHERE utc"


@dataclass(frozen=True, slots=True)
class Told:
    """When a row was handed to a connection, when a broker answered and what; seconds since 1970, None: not known."""

    sent_at: float | None
    at: float | None
    reason: str | None
    broker: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """One row with all that is known of its way. `state`: waiting, delivered or parked; `again`: the last replay.

    `is_intact`: its bytes are those that were kept.
    """

    sequence: int
    device: str
    topic: str
    payload: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    kept_at: float
    characteristic: str | None
    state: str
    told: Told
    times: int
    again: Told | None
    is_intact: bool


def by_id(store: Store, reading: UUID) -> list[Kept]:
    """Answer the revisions of a reading, the oldest first."""
    return _kept(store.rows(_TRACE + "reading.id = ? ORDER BY sequence", reading.bytes))


def by_time(store: Store, device: str, since: float, until: float) -> list[Kept]:
    """Answer what was kept of a device in a time, the oldest first; one more than LIMIT if there are more.

    What was kept under a clock that was wrong is found by the time that was shown, and by the right one.
    """
    where = (
        f"reading.device = ? AND (kept_at BETWEEN ? AND ? OR {_CORRECTED} BETWEEN ? AND ?)) ORDER BY sequence LIMIT ?"
    )
    return _kept(store.rows(_TRACE + where, device, since, until, since, until, LIMIT + 1))


def is_remembered(store: Store, reading: UUID) -> bool:
    """Whether a record was told under that id, though its row may be gone."""
    return bool(store.rows("SELECT 1 FROM record WHERE reading = ?", reading.bytes))


def select_range(store: Store, first: int, last: int) -> Selection:
    """Answer what is to be had of these sequences."""
    newest = _newest(store)
    found = store.rows("SELECT sequence, state FROM delivery WHERE sequence BETWEEN ? AND ? ORDER BY 1", first, last)
    never = (max(first, newest + 1), last) if last > newest else None
    gone = gaps([sequence for sequence, _ in found], first, min(last, newest))
    return _selection(found, gone=gone, never=never)


def select_since(store: Store, kept_at: float) -> Selection:
    """Answer what is there of all that was kept since then, by the time that was shown or by the right one."""
    return _selection(
        store.rows(
            "SELECT sequence, state FROM reading JOIN delivery USING (sequence)"  # noqa: S608 - our own words
            f" WHERE kept_at >= ? OR {_CORRECTED} >= ?) ORDER BY 1",
            kept_at,
            kept_at,
        )
    )


def select_ids(store: Store, readings: Sequence[UUID]) -> Selection:
    """Answer all revisions of these readings."""
    found: set[tuple[int, str]] = set()
    unknown = []
    for reading in readings:
        rows = store.rows(
            "SELECT sequence, state FROM reading JOIN delivery USING (sequence) WHERE id = ?", reading.bytes
        )
        found.update(rows)
        if not rows:
            unknown.append(reading)
    return _selection(sorted(found), unknown=unknown)


def rows(store: Store, sequences: Sequence[int]) -> list[Row]:
    """Answer the rows of these sequences that are still there, and as they were kept, in order."""
    found = store.rows(
        "SELECT sequence, topic, payload, checksum, id, revision FROM reading"
        " WHERE sequence IN (SELECT value FROM json_each(?)) ORDER BY 1",
        json.dumps(list(sequences)),
    )
    return [
        Row(sequence, topic, payload)
        for sequence, topic, payload, check, ident, revision in found
        if is_intact(check, ident, revision, topic, payload)
    ]


def _selection(
    found: Sequence[tuple[Any, ...]],
    *,
    gone: tuple[Range, ...] = (),
    never: Range | None = None,
    unknown: Sequence[UUID] = (),
) -> Selection:
    return Selection(
        tuple(sequence for sequence, state in found if state != "waiting"),
        ranges(sequence for sequence, state in found if state == "waiting"),
        gone,
        never,
        tuple(unknown),
    )


def _newest(store: Store) -> int:
    found = store.rows("SELECT seq FROM sqlite_sequence WHERE name = 'reading'")
    return int(found[0][0]) if found else 0


def _kept(found: Sequence[tuple[Any, ...]]) -> list[Kept]:
    return [_one(*row) for row in found]


def _one(*row: Any) -> Kept:
    sequence, device, topic, payload, raw, kept_at, characteristic, state, at, reason, sent_at, broker, version = row[
        :13
    ]
    again = None if row[13] is None else Told(row[14], row[15], row[16], row[17], row[18])
    told = Told(sent_at, at, reason, broker, version)
    ident, revision, check = row[19:]
    intact = is_intact(check, ident, revision, topic, payload)
    return Kept(
        sequence, device, topic, payload, raw, kept_at, characteristic, state, told, row[13] or 0, again, intact
    )
