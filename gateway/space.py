"""How much the outbox may take on the card, and what goes when: earliest first, overwritten, never what waits.

Delivered rows go after their keeping time, or when the bound is near. Parked rows, which nobody will ever take, go
after theirs, or at the bound; they are counted, since with each of them a reading is lost for good.
"""

from __future__ import annotations

import sqlite3
import time
from enum import Enum

from gateway.database import transaction

NEAR = 0.9  # of the bound: from here on what was delivered goes early
PORTION = 1000  # rows deleted at once at the end of their time
PORTION_DROPPED = 200  # and to make room


class Room(Enum):
    """Whether the bound leaves room: `scarce` from NEAR on, `none` at the bound."""

    AMPLE = "ample"
    SCARCE = "scarce"
    NONE = "none"


def used_bytes(db: sqlite3.Connection) -> int:
    """Answer how much the database uses of its file."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def find_room(db: sqlite3.Connection, max_bytes: int) -> Room:
    """Answer whether the bound leaves room, after deleting what may go."""
    while (used := used_bytes(db)) >= NEAR * max_bytes and _delete(db, "delivered", "", (), PORTION_DROPPED):
        pass
    while used >= max_bytes and _delete(db, "parked", "", (), PORTION_DROPPED):
        used = used_bytes(db)
    return Room.NONE if used >= max_bytes else Room.SCARCE if used >= NEAR * max_bytes else Room.AMPLE


def purge(db: sqlite3.Connection, delivered_before: float, parked_before: float) -> int:
    """Delete what was delivered or parked before these times (seconds since 1970), in portions; answer how many rows.

    What has no time, since the clock was wrong then, counts from now.
    """
    db.execute("UPDATE delivery SET at = ? WHERE state <> 'waiting' AND at IS NULL", (time.time(),))
    return _delete(db, "delivered", "AND at < ?", (delivered_before,), PORTION) + _delete(
        db, "parked", "AND at < ?", (parked_before,), PORTION
    )


def discarded(db: sqlite3.Connection) -> int:
    """Answer how many parked readings were deleted so far."""
    found = db.execute("SELECT value FROM meta WHERE name = 'discarded'").fetchone()
    return 0 if found is None else int(found[0])


def _delete(db: sqlite3.Connection, state: str, which: str, values: tuple[object, ...], limit: int) -> int:
    """Delete rows, count them where they are lost, and empty the log, which still holds them; answer how many."""
    with transaction(db):
        gone = db.execute(
            "DELETE FROM reading WHERE sequence IN"  # noqa: S608 - our own words
            f" (SELECT sequence FROM delivery WHERE state = ? {which} ORDER BY sequence LIMIT ?)",
            (state, *values, limit),
        ).rowcount
        if gone and state == "parked":
            db.execute("INSERT OR REPLACE INTO meta VALUES ('discarded', ?)", (str(discarded(db) + gone),))
    if gone:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return gone
