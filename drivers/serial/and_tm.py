"""A&D TM-2655P and TM-2657P, blood pressure monitors of waiting rooms, 2400 8N1 (selectable): each result is sent once.

A frame: 16 16 01 "00" STX, fields that each end in RS (1E), ETX, BCC:
    TM2655 | 1910291429 | RB | M | E00 | S102 | M 87 | D 62 | P 83 | I17 | L139 |
    model, yymmddHHMM, RA automatic or RB requested, mode, error, systolic, mean, diastolic, pulse, then by letter
M stands twice: the fourth field is a mode, the one after S the mean pressure. Numbers are padded with blanks. BCC is
the exclusive or of what stands strictly between STX and ETX; it may be any byte, ETX, LF and CR too.
The TM-2657 adds p, i (irregular beats), m (movement), r, t, c, l, d and the station's h, s, w, f, e, b: not read here.
What error codes other than E00 mean stands in a manual that was not at hand: such a record is no measurement.

Source: soyapi/bpkiosk lib/tm2655.rb and the captures of two public kiosks. Nothing is sent: ST would inflate the cuff.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from functools import reduce
from operator import xor

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import ScannedCodec, delimited
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.records import Records

LONGEST_FRAME = 256

_START, _END, _SEPARATOR = b"\x16\x16\x0100\x02", b"\x03", b"\x1e"
_HEAD = re.compile(
    rb"(?P<model>[A-Z0-9-]{4,12})\x1e(?P<time>[0-9]{10})\x1eR[AB]\x1eM[ -~]{0,4}\x1eE(?P<error>[0-9]{2})\x1e"
)
_VALUES = re.compile(
    rb"S(?P<systolic>[ 0-9]{3})\x1eM(?P<mean>[ 0-9]{3})\x1eD(?P<diastolic>[ 0-9]{3})\x1eP(?P<pulse>[ 0-9]{3})\x1e"
    rb"(?P<rest>(?:[ILpimrtcldhswfeb][ -~]{0,8}\x1e)*)"
)
_NUMBER = re.compile(rb" *[0-9]+")
_COUNTED = {b"i": "irregular_pulse", b"m": "body_movement"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    scan = delimited(_START, _END, after=1, longest=LONGEST_FRAME, good=_good)
    return ScannedCodec(scan, _decode, longest=LONGEST_FRAME)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Records(Listening(codec(model.quirks)))


def _good(frame: bytes) -> bool:
    return reduce(xor, frame[len(_START) : -2], 0) == frame[-1]


def _decode(frame: bytes) -> Event:
    body = frame[len(_START) : -2]
    head = _HEAD.match(body)
    if head is None:
        return Rejected("bad_frame", frame)
    if head["error"] != b"00":
        return Notice("measurement_failed", "the cuff could not measure: see its display", frame)
    fields = _VALUES.fullmatch(body, head.end())
    if fields is None:
        return Rejected("bad_field", frame)
    try:
        device_time = _time(head["time"])
    except ValueError:
        return Rejected("invalid_timestamp", frame)
    measurements = []
    for kind, name, unit, needed in (
        ("systolic", "systolic", "mm[Hg]", True),
        ("diastolic", "diastolic", "mm[Hg]", True),
        ("mean_arterial_pressure", "mean", "mm[Hg]", False),
        ("pulse_rate", "pulse", "/min", False),
    ):
        text = fields[name]
        value = Decimal(text.decode("ascii").strip()) if _NUMBER.fullmatch(text) else None
        if value:
            measurements.append(Measurement(kind, value, unit))
        elif needed or (value is None and text.strip()):
            return Rejected("bad_number", frame)
    letters = [field[:1] for field in fields["rest"].split(_SEPARATOR)]
    if len(set(letters)) != len(letters):
        return Rejected("duplicate_field", frame)
    return Sample(tuple(measurements), _flags(fields["rest"]), device_time=device_time, raw=frame)


def _time(digits: bytes) -> datetime:
    """Answer what the monitor's clock showed. Raises ValueError. Its years are of this century."""
    year, month, day, hour, minute = (int(digits[at : at + 2]) for at in range(0, 10, 2))
    return datetime(2000 + year, month, day, hour, minute)  # noqa: DTZ001 - a device's clock has no zone


def _flags(rest: bytes) -> tuple[str, ...]:
    """Answer what the counts of the TM-2657 say."""
    said = {field[:1]: field[1:].strip() for field in rest.split(_SEPARATOR)}
    return tuple(flag for letter, flag in _COUNTED.items() if said.get(letter, b"").strip(b"0"))
