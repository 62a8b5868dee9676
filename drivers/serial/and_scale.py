"""A&D scales and indicators, standard format, device-initiated or by the PRINT key; the line is set on the device.

A frame: header, comma, signed number right-aligned with leading zeros, unit right-aligned, CR LF:
    ST,+00082.35 kg     ST stable · US unstable · QT counting · OL out of range: all nines, so the header decides
The number has 9 characters with its sign and the unit 3; in format 2 of the HV-WP and HW-WP they have 7 and 2.
ST stands before % and pieces too: the unit decides whether it is a weight. There is no checksum.

Source: A&D EK-L manual section 9-2; A&D HV-WP/HW-WP manual section 16. Nothing is sent to the scale.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_FRAME = 17
LIMIT = 256

_FRAME = re.compile(
    rb"(?P<header>ST|US|QT),"
    rb"(?:(?P<number>[+-][0-9.]{8})(?P<unit>[ A-Za-z%]{3})|(?P<number2>[+-][0-9.]{6})(?P<unit2>[ A-Za-z%]{2}))"
    rb"\r\n\Z"
)
_OUT_OF_RANGE = re.compile(rb"OL,[+-](?:[0-9.]{6,8}[ A-Za-z%]{0,3}|[0-9]{7}E\+[0-9]{2})\r\n\Z")  # some: +9999999E+19
_NUMBER = re.compile(rb"[+-][0-9]+(?:\.[0-9]+)?")
_UNITS = {b"kg": "kg", b"g": "g", b"lb": "[lb_av]", b"oz": "[oz_av]"}
_NOT_A_WEIGHT = {b"PC", b"pc", b"pcs", b"PCS", b"%"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=2 * LONGEST_FRAME, decode=_line)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _line(line: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before a frame, never within it: the frame has the line's end."""
    found = _FRAME.search(line) or _OUT_OF_RANGE.search(line)
    if found is None:
        return [Rejected("bad_frame", line)]
    event = _decode(found)
    return [Rejected("noise", line[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    frame, fields = found[0], found.groupdict()
    if frame.startswith(b"OL"):  # before the number: it is all nines, or has an exponent and no unit
        code = "underload" if frame.startswith(b"OL,-") else "overload"
        return Notice(code, "the load is outside what the scale can measure", frame)
    header, number = fields["header"], fields["number"] or fields["number2"]
    unit = (fields["unit"] or fields["unit2"]).lstrip(b" ")
    if header == b"QT" or unit in _NOT_A_WEIGHT:
        return Notice("not_a_weight", "the scale counts or compares; set it to weighing", frame)
    if unit not in _UNITS:
        return Rejected("unknown_units", frame)
    if not _NUMBER.fullmatch(number):
        return Rejected("bad_number", frame)
    if header == b"US":
        return Notice("unstable", "the load moves", frame)
    weight = Decimal(number.decode("ascii"))
    if not weight:
        return Notice("zero", "the scale is empty", frame)
    if weight < 0:
        return Notice("below_zero", "less than nothing is on the scale: it was tared or zeroed under a load", frame)
    return Sample((Measurement("body_weight", weight, _UNITS[unit]),), ("stable",), raw=frame)
