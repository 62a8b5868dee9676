"""Indicators that stream lines `ST,GS,+  82.35kg`: status, gross or net, sign, weight, unit, CR LF (Triner TS-700, …).

    ST standstill · US not at standstill · OL overload        GS gross · NT net · TR, PT the tare is shown
    sign + or - (some send a blank for +), then the number, right-aligned; blanks may stand before and after it
How wide the number is differs by maker: five to eight characters are read. Under OL the number is nines, or blank.
The tare itself does not stand in the frame. There is no checksum.

Source: Triner TS-700 Series owner's manual v4.0 p. 15 (v2.0 p. A-13); the same table in Selleton SL-7516 p. 16 and
Vestil SCALE-S p. 10; TR and blanks under OL in KERN KXS-TM p. 70. Nothing is sent to the indicator.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_FRAME = 24
LIMIT = 256

_FRAME = re.compile(
    rb"(?P<status>ST|US),(?P<mode>GS|NT|TR|PT),(?P<sign>[-+ ])(?P<number>[0-9. ]{5,8}) {0,3}(?P<unit>[A-Za-z%]{1,3})"
    rb"\r\n\Z"
)
_OVERLOAD = re.compile(rb"OL,(?:GS|NT),(?P<sign>[-+ ])[-0-9. ]{0,12}[A-Za-z%]{0,3}\r\n\Z")
_NUMBER = re.compile(rb" *([0-9]+(?:\.[0-9]+)?) *")
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
    found = _FRAME.search(line) or _OVERLOAD.search(line)
    if found is None:
        return [Rejected("bad_frame", line)]
    event = _decode(found)
    return [Rejected("noise", line[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    frame, sign = found[0], found["sign"]
    if found.re is _OVERLOAD:  # before the number: it is nines, or there is none
        code = "underload" if sign == b"-" else "overload"
        return Notice(code, "the load is outside what the scale can measure", frame)
    mode, unit, number = found["mode"], found["unit"], _NUMBER.fullmatch(found["number"])
    if mode in (b"TR", b"PT") or unit in _NOT_A_WEIGHT:
        return Notice("not_a_weight", "the scale shows its tare, counts or compares: set it to weighing", frame)
    if unit not in _UNITS:
        return Rejected("unknown_units", frame)
    if number is None:
        return Rejected("bad_number", frame)
    if found["status"] == b"US":
        return Notice("unstable", "the load moves", frame)
    weight = Decimal(number[1].decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty", frame)
    if sign == b"-":
        return Notice(
            "negative_weight", "less than nothing is on the scale: it was tared or zeroed under a load", frame
        )
    flags = ("net" if mode == b"NT" else "gross", "stable")
    return Sample((Measurement("body_weight", weight, _UNITS[unit]),), flags, raw=frame)
