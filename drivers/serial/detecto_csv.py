"""Detecto solo: its PRINT key sends one record, 9600 8N1 fixed. The ProDoc prints the same as its format 2.

    12:00,08/07/15,21.5,5'03.0",132.3lb CR          time, date, BMI, height (or 160.0cm), weight with its unit
The manual prints typographic quotation marks in the height; which bytes are sent is not known: the usual ones are
read. mm/dd/yy: the ProDoc manual says so. A BMI and a height of zero, blank or dashes were not entered. There is no
checksum, and the sample's BMI does not follow from its weight and height.

Source: Detecto solo manual p. 20 (easymanua.ls detecto/solo, page 24); ProDoc PD300 manual p. 41. Nothing is sent:
LF P CR presses the PRINT key from afar, whoever stands there.
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

LONGEST_RECORD = 64
LIMIT = 256

_RECORD = re.compile(
    rb"(?P<time>[0-9]{1,2}:[0-9]{2}), ?(?P<date>[0-9]{2}/[0-9]{2}/[0-9]{2}), ?(?P<bmi>[-. 0-9]{0,6}), ?"
    rb"(?P<height>[^,\r\n]{0,16}), ?(?P<weight>[^,\r\n]{1,14})\r\Z"
)
_ABSENT = re.compile(rb"[-. ]*")
_NUMBER = re.compile(rb" *([0-9]{1,3}\.[0-9]{1,2})")
_WEIGHT = re.compile(rb" *(-?[0-9]{1,4}(?:\.[0-9]{1,2})?) ?([A-Za-z]{1,3})")
_CENTIMETERS = re.compile(rb" *([0-9]{1,3}(?:\.[0-9])?) ?cm")
# ASCII, grave and acute accent, Windows-1252, UTF-8; an inch mark may be two foot marks.
_FOOT_MARK = rb"(?:['`\x91\x92\xb4]|\xc2\xb4|\xe2\x80[\x98\x99\xb2])"
_INCH_MARK = rb"(?:[\"\x93\x94]|\xe2\x80[\x9c\x9d\xb3]|" + _FOOT_MARK + rb"{2})"
_FEET = re.compile(rb" *([0-9])" + _FOOT_MARK + rb" ?([0-9]{1,2}(?:\.[0-9])?)" + _INCH_MARK)
_UNITS = {b"lb": "[lb_av]", b"kg": "kg"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r", limit=LIMIT, keep=2 * LONGEST_RECORD, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Records(Listening(codec(model.quirks)))


def _piece(piece: bytes) -> list[Event]:
    """Answer a piece's event. Noise may stand before a record, never within it: the record has the piece's end."""
    found = _RECORD.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    event = _decode(found)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    record, weighed = found[0], _WEIGHT.fullmatch(found["weight"])
    if weighed is None:
        return Rejected("bad_number", record)
    unit = _UNITS.get(weighed[2])
    if unit is None:
        return Rejected("unknown_units", record)
    height, bmi = _height(found["height"]), _bmi(found["bmi"])
    if height is None or bmi is None:
        return Rejected("bad_number", record)
    try:
        device_time = _time(found["date"], found["time"])
    except ValueError:
        return Rejected("invalid_timestamp", record)
    weight = Decimal(weighed[1].decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty", record)
    if weight < 0:
        return Notice("negative_weight", "less than nothing is on the scale: it was zeroed under a load", record)
    return Sample((Measurement("body_weight", weight, unit), *height, *bmi), device_time=device_time, raw=record)


def _height(text: bytes) -> tuple[Measurement, ...] | None:
    """Answer the height, () where none was entered, None where it cannot be read."""
    feet, centimeters = _FEET.fullmatch(text), _CENTIMETERS.fullmatch(text)
    if feet is not None and (inches := Decimal(feet[2].decode("ascii"))) < 12:
        return _entered("body_height", 12 * int(feet[1]) + inches, "[in_i]")
    if centimeters is not None:
        return _entered("body_height", Decimal(centimeters[1].decode("ascii")), "cm")
    return () if _ABSENT.fullmatch(text) else None


def _bmi(text: bytes) -> tuple[Measurement, ...] | None:
    """Answer the BMI, () where none was entered, None where it cannot be read."""
    number = _NUMBER.fullmatch(text)
    if number is not None:
        return _entered("bmi", Decimal(number[1].decode("ascii")), "kg/m2")
    return () if _ABSENT.fullmatch(text) else None


def _entered(kind: str, value: Decimal, unit: str) -> tuple[Measurement, ...]:
    return (Measurement(kind, value, unit),) if value else ()


def _time(date: bytes, time: bytes) -> datetime:
    """Answer what the scale's clock showed. Raises ValueError. Its years are of this century."""
    month, day, year = map(int, date.split(b"/"))
    hour, minute = map(int, time.split(b":"))
    return datetime(2000 + year, month, day, hour, minute)  # noqa: DTZ001 - a device's clock has no zone
