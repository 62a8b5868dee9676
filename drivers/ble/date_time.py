"""Date Time, 2A08, also the timestamp within other characteristics: what the device's clock shows, without a zone.

    year 16 bits little-endian, month, day, hours, minutes, seconds

Year, month or day 0 is "not known" and legal: such a stamp is no time, but no reason to doubt the rest of its
record. A month 13, an hour 24, a 30th of February are.

Source: Bluetooth GATT Specification Supplement, Date Time.
"""

from __future__ import annotations

import struct
from datetime import datetime

LENGTH = 7
FIRST_YEAR = 1582  # the Gregorian calendar; the last is 9999

_LAYOUT = struct.Struct("<HBBBBB")
_LEAP_YEAR, _LONG_MONTH, _ANY_DAY = 2000, 1, 1  # stand in for what is not known, so that the rest can be checked


def decode(value: bytes) -> datetime | None:
    """Answer the time; None where its date is not known in full. Raises ValueError for no date, or not 7 bytes."""
    if len(value) != LENGTH:
        raise ValueError(f"a date time has {LENGTH} bytes, not {len(value)}")
    year, month, day, *time = _LAYOUT.unpack(value)
    if 0 < year < FIRST_YEAR:
        raise ValueError(f"years begin with {FIRST_YEAR}")
    shown = datetime(year or _LEAP_YEAR, month or _LONG_MONTH, day or _ANY_DAY, *time)  # noqa: DTZ001 - it has no zone
    return shown if year and month and day else None


def encode(at: datetime) -> bytes:
    """Answer the 7 bytes that show `at`; fractions of a second are cut off. Raises ValueError for a zone or a year."""
    if at.tzinfo is not None:
        raise ValueError("a device's clock has no zone: convert to the zone that it shows first")
    if at.year < FIRST_YEAR:
        raise ValueError(f"years begin with {FIRST_YEAR}")
    return _LAYOUT.pack(at.year, at.month, at.day, at.hour, at.minute, at.second)
