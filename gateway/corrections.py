"""Readings that went out with a time that was wrong: once the clock is right, a higher revision puts it right.

1. A row never changes. The correction is a row and a sequence of its own: same id, next revision, `time_corrected`.
2. When a reading was received is known on the clock that runs since the machine started. So only readings of this
   start can be corrected, over any restart of the service. Those of an earlier one, which was never synchronized, stay
   as they are: nobody knows how long the machine was off.
3. Each reading once: that it is done is committed together with its new row.
4. What went out `unsynced` is always told again, where its time was right by chance too: that it can be believed is
   news. What went out in holdover is told again only if it was off by WORTH_S.
5. A correction corrects the time and nothing else. What was held stays held, and `taken_at` stays null where no clock
   could be believed: whether a record was of now was to be known when it came. A person releases it.
6. A row whose checksum is wrong is not corrected: nobody can say what it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import simplejson

from gateway import payload
from gateway.clock import Clock
from gateway.payload import Origin
from gateway.reading import ClockQuality
from gateway.rows import Draft, Row, Uncertain
from gateway.store import Room, Store

_log = logging.getLogger(__name__)

WORTH_S = 2.0  # less moves no reading from one patient to the next, and is not more than a device's clock is read to
PORTION = 200  # readings in one transaction: others want to be kept between


def correct_times(store: Store, clock: Clock, origin: Origin) -> tuple[list[Row], bool]:
    """Correct some of what is to be corrected, if the clock is right; answer the new rows, and whether that was all.

    On the outbox's thread. Where the bound leaves no room, none is made for now. Raises DatabaseError.
    """
    if store.find_room() is Room.NONE:
        return [], True
    open_rows = store.uncertain(clock.boot, PORTION)
    right = {row.sequence: clock.utc_since_boot(row.instant) for row in open_rows}
    if clock.quality is not ClockQuality.SYNCED:  # asked after: nobody moved it before
        return [], True
    drafts = [draft for row in open_rows if (draft := _correction(row, right[row.sequence], origin)) is not None]
    settled = {sequence: received_at.timestamp() for sequence, received_at in right.items()}
    return store.settle_times(settled, drafts) if settled else [], len(open_rows) < PORTION


def _correction(row: Uncertain, received_at: datetime, origin: Origin) -> Draft | None:
    if row.superseded:
        return None  # what is said of it now was said later
    try:
        if not row.is_intact:
            raise ValueError  # a new row would have a right checksum, over wrong bytes
        off = received_at - _utc(simplejson.loads(row.payload)["received_at"])
        if row.quality != ClockQuality.UNSYNCED and abs(off) < timedelta(seconds=WORTH_S):
            return None
        encode = _encoder(row, off, origin)
    except (ValueError, KeyError, TypeError):
        _log.error("sequence %d cannot be read: the time of that reading stays as it went out", row.sequence)
        return None
    return Draft(row.id, row.revision + 1, row.device, row.topic, encode, row.raw, characteristic=row.characteristic)


def _encoder(row: Uncertain, off: timedelta, origin: Origin) -> Callable[[UUID, int], bytes]:
    """Answer what makes the bytes of the next revision. Raises ValueError, KeyError, TypeError for no reading."""
    # The numbers stay the text that they are: no digit of a value is read and written anew.
    members = simplejson.loads(row.payload, parse_float=simplejson.RawJSON)
    taken_at, time = members["taken_at"], members["time"]
    members["revision"], members["state"] = row.revision + 1, "corrected"
    members["gateway"] = {**members["gateway"], "version": origin.version}
    members["taken_at"] = None if taken_at is None else payload.utc_text(_utc(taken_at) + off)
    members["received_at"] = payload.utc_text(_utc(members["received_at"]) + off)
    time["quality"] = ClockQuality.SYNCED.value
    offset = simplejson.loads(row.payload)["time"]["clock_offset_s"]
    time["clock_offset_s"] = None if offset is None else round(offset + off.total_seconds(), 3)
    members["reasons"] = [*members["reasons"], "time_corrected"]

    def encode(stream: UUID, sequence: int) -> bytes:
        return payload.to_bytes({**members, "stream": str(stream), "sequence": sequence})

    return encode


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text)
