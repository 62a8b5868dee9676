"""Scales that speak the SMA protocol (Detecto APEX, 758C, 750; Cardinal indicators): polled or continuous, 9600 8N1.

A frame: LF, [W01,] status, range, mode, motion, one reserved character, ten of weight, two or three of unit, CR:
    ` 1G       184.6lb `    status: blank well · Z center of zero · O over · U under · E zero error · e not displayed
    mode G gross, N net, T tare (g, n, t: high resolution) · motion: M moves, blank stands still
The 758C puts `W01,` before it. Under E the weight is dashes, and E stands in place of Z, O, U. There is no checksum.
The manual does not settle how the unit is padded: two and three characters are read.

Source: Detecto APEX manual p. 34, APEX-RI manual p. 32; Cardinal Detecto 758C manual p. 36. Only LF W CR is sent: it
reads the weight. A frame whose unit is blank is read only where the model's row or the site's YAML says the unit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling
from drivers.settling import Settling

REQUEST = b"\nW\r"
LONGEST_FRAME = 23
LIMIT = 256

_FRAME = re.compile(
    rb"\n(?:W01,)?(?P<status>[ ZOUEe])[1-3](?P<mode>[GNTgnt])(?P<motion>[M ])[\x20-\x7e]"
    rb"(?P<weight>[-0-9. ]{10})(?P<unit>[A-Za-z ]{2,3})\r\Z"
)
_NUMBER = re.compile(rb" *(-?[0-9]{1,8}(?:\.[0-9]{1,5})?)")
_UNITS = {b"kg": "kg", b"g": "g", b"lb": "[lb_av]", b"oz": "[oz_av]"}
_STATUS = {
    b"E": ("zero_error", "the scale cannot find its zero: empty it and switch it on again"),
    b"e": ("not_displayed", "the scale shows no weight now"),
    b"O": ("overload", "the load is above what the scale can measure"),
    b"U": ("underload", "the load is below what the scale can measure"),
}


def codec(quirks: Quirks) -> Codec:
    """Answer the codec for a model with these quirks."""
    return FramedCodec(b"\r", limit=LIMIT, keep=2 * LONGEST_FRAME, decode=partial(_frame, pinned=quirks.unit))


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Polling(Listening(codec(model.quirks)), REQUEST, model.polling), model.settling)


def _frame(piece: bytes, *, pinned: str | None) -> list[Event]:
    """Answer a piece's event. Noise may stand before a frame, never within it: the frame has the piece's end."""
    found = _FRAME.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    event = _decode(found, pinned)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes], pinned: str | None) -> Event:
    frame, status, mode = found[0], found["status"], found["mode"]
    if status in _STATUS:
        return Notice(*_STATUS[status], frame)
    number = _NUMBER.fullmatch(found["weight"])
    if number is None:
        return Rejected("bad_number", frame)
    if found["motion"] == b"M":
        return Notice("unstable", "the load moves", frame)
    if mode in b"Tt":
        return Notice("not_a_weight", "the scale shows its tare: set it to weighing", frame)
    weight = Decimal(number[1].decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty", frame)
    if status == b"Z":
        return Rejected("contradiction", frame)
    if weight < 0:
        return Notice(
            "negative_weight", "less than nothing is on the scale: it was tared or zeroed under a load", frame
        )
    word = found["unit"].strip(b" ")
    unit = _UNITS.get(word) if word else pinned
    if unit is None:
        return Rejected("unknown_units" if word else "no_unit", frame)
    flags = ("net" if mode in b"Nn" else "gross", "stable")
    return Sample((Measurement("body_weight", weight, unit),), flags, raw=frame)
