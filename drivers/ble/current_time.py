"""Current Time, 2A2B: what the device's clock shows, finer than Date Time, and why it was last changed.

    date time 7 bytes, day of week 8, fractions of a second in 1/256 8, adjust reason 8      day of week 1 is Monday
    adjust reason: bit 0 by hand, 1 external reference, 2 time zone, 3 daylight saving; the others reserved

A day of the week that does not go with the date is seen in practice and means nothing: the date stands.

Source: Bluetooth SIG, Current Time Service 1.1 and GATT Specification Supplement. A phone's write, with reason 1:
KristianP26/ble-scale-sync#168.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from drivers.ble import date_time

LENGTH = 10

_REASONS = ("by hand", "external reference", "time zone", "daylight saving")
_BY_HAND = 1
_DAY, _FRACTIONS, _REASON = 7, 8, 9


def decode(value: bytes) -> datetime | None:
    """Answer the time; None where its date is not known in full. Raises ValueError for no date, or not 10 bytes."""
    if len(value) != LENGTH:
        raise ValueError(f"a current time has {LENGTH} bytes, not {len(value)}")
    shown = date_time.decode(value[: date_time.LENGTH])
    return None if shown is None else shown + timedelta(seconds=value[_FRACTIONS] / 256)


def reasons(value: bytes) -> tuple[str, ...]:
    """Answer, in words, why the clock was last changed; `value` is one that `decode` takes."""
    return tuple(word for bit, word in enumerate(_REASONS) if value[_REASON] >> bit & 1)


def encode(at: datetime) -> bytes:
    """Answer the 10 bytes that set a clock to `at`, to 1/256 s. Raises ValueError for a zone or a year."""
    return date_time.encode(at) + bytes([at.isoweekday(), at.microsecond * 256 // 1_000_000, _BY_HAND])
