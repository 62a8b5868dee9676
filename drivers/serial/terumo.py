"""Terumo BP-500, BR-500: a monitor that an arm is put into, 9600 8N1; each result is sent once.

A record: STX, fields with a comma between them, ETX, check:
    R1,000000000,260429,103800,119,090,076,083,0000,0000,00000,000
    record, ID, yymmdd, HHMMSS, systolic, mean, diastolic, pulse, then four fields that no source explains
The check is the sum of all bytes from STX to ETX, modulo 256; it may be any byte, STX, ETX, LF and CR too. The last
four fields are zeros in all that was published: where one is not, the sample says `undocumented_field`. An ID of zeros
or blanks is none.

Source: a record in a public C# driver's comment (BP-500), one in a public Python kiosk's test (BR-500), and the example
02 44 31 2C 03 -> A6 beside it. That kiosk can answer a record (ACK, or a record D1); nothing is sent here.
"""

from __future__ import annotations

import re
from datetime import datetime

from drivers.checksums import sum8
from drivers.contract import Codec, Driver, Event, Rejected, Sample
from drivers.framing import ScannedCodec, delimited
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.pressures import measurements
from drivers.records import Records

LONGEST_FRAME = 96

_START, _END = b"\x02", b"\x03"
_RECORD = re.compile(
    rb"R1,(?P<id>[ -+\--~]{0,20}),(?P<time>[0-9]{6},[0-9]{6}),(?P<systolic>[0-9]{3}),(?P<mean>[0-9]{3}),"
    rb"(?P<diastolic>[0-9]{3}),(?P<pulse>[0-9]{3}),(?P<rest>[0-9]{4},[0-9]{4},[0-9]{5},[0-9]{3})"
)


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    scan = delimited(_START, _END, after=1, longest=LONGEST_FRAME, good=_good)
    return ScannedCodec(scan, _decode, longest=LONGEST_FRAME)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Records(Listening(codec(model.quirks)))


def _good(frame: bytes) -> bool:
    return sum8(frame[:-1]) == frame[-1]


def _decode(frame: bytes) -> Event:
    found = _RECORD.fullmatch(frame[1:-2])
    if found is None:
        return Rejected("malformed", frame)
    try:
        device_time = _time(found["time"])
    except ValueError:
        return Rejected("invalid_timestamp", frame)
    told = measurements(found)
    if told is None:
        return Rejected("bad_number", frame)
    user = found["id"].strip(b" ").decode("ascii")
    return Sample(
        told,
        ("undocumented_field",) if found["rest"].strip(b"0,") else (),
        device_time=device_time,
        device_user=user if user.strip("0") else None,
        raw=frame,
    )


def _time(text: bytes) -> datetime:
    """Answer what the monitor's clock showed. Raises ValueError. Its years are of this century."""
    year, month, day, hour, minute, second = (int(text[at : at + 2]) for at in (0, 2, 4, 7, 9, 11))
    return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001 - a device's clock has no zone
