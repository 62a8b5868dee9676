"""Omron HBP-9030, a monitor that an arm is put into, as a USB serial port: USB output format 5 (function item 32).

    2026,07,11,09,05,12345678901234567890,0,120,080,072,0      53 bytes, CR LF
    year, month, day, hour, minute, ID, error, systolic, diastolic, pulse, movements
The ID has twenty places and is blank if nobody keyed one in. With an error the three numbers are blanks; numbers beside
an error do not count either. The monitor measures 60 to 260, 30 to 215 and 40 to 180: another number is none of its
own, and with no check on the line more likely a damaged one. Formats 1 to 4 look otherwise and are refused.

Source: leon80148/BP_checker test/host/test_hbp9030_protocol.cpp and docs/specs/2026-07-11-clinic-readiness-sdd.md,
which cite Omron 2873643-0F p. 20. Nothing is sent.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.records import Records

LONGEST_FRAME = 55
LIMIT = 256

_RECORD = re.compile(
    rb"(?P<time>[0-9]{4},[0-9]{2},[0-9]{2},[0-9]{2},[0-9]{2}),(?P<id>[ -+\--~]{20}),(?P<error>[0-9]),"
    rb"(?:(?P<systolic>[0-9]{3}),(?P<diastolic>[0-9]{3}),(?P<pulse>[0-9]{3})| {3}, {3}, {3}),(?P<moved>[0-9])\r\n\Z"
)
_NUMBERS = (
    ("systolic", "systolic", "mm[Hg]", 60, 260),
    ("diastolic", "diastolic", "mm[Hg]", 30, 215),
    ("pulse_rate", "pulse", "/min", 40, 180),
)


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=2 * LONGEST_FRAME, decode=_line)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Records(Listening(codec(model.quirks)))


def _line(piece: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before it, never within it: the line has the piece's end."""
    found = _RECORD.search(piece)
    if found is None:
        return [Rejected("malformed", piece)]
    event = _decode(found)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    frame = found[0]
    if found["error"] != b"0":
        return Notice("measurement_failed", "the cuff could not measure: see its display", frame)
    if found["systolic"] is None:
        return Rejected("malformed", frame)
    try:
        device_time = _time(found["time"])
    except ValueError:
        return Rejected("invalid_timestamp", frame)
    measurements = []
    for kind, name, unit, low, high in _NUMBERS:
        value = Decimal(found[name].decode("ascii"))
        if not low <= value <= high:
            return Notice("out_of_range", "a number that the monitor cannot have measured", frame)
        measurements.append(Measurement(kind, value, unit))
    user = found["id"].strip(b" ").decode("ascii")
    return Sample(
        tuple(measurements),
        () if found["moved"] == b"0" else ("movement", "body_movement"),
        device_time=device_time,
        device_user=user if user.strip("0") else None,
        raw=frame,
    )


def _time(text: bytes) -> datetime:
    """Answer what the monitor's clock showed. Raises ValueError."""
    year, month, day, hour, minute = map(int, text.split(b","))
    return datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a device's clock has no zone
