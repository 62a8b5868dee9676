"""Rice Lake physician, wheelchair and chair scales, escape protocol: polled, 9600 8N1.

Asked ESC R ESC E, the scale answers with what it shows:
    ESC R, ESC W0200.5, [ESC H height], [ESC B BMI], ESC N and m or c, ESC E        no CR, no LF, no checksum
"m" is metric (kg, cm), "c" constitutional (lb, in). 999.9, on later models 999.99, stands for a load that is too high
or too low. Whether the load is still does not stand in it: equal answers make a reading.
The manuals contradict themselves: they call `W0200.5` beside `Nm` pounds, and one says that W02000 means 200.0. Here
the unit is what N says, the row asks the site to pin it, and a number without a point is refused.

Source: Rice Lake 140-10-7 manual p. 20, 150-10-6 and 160-10-7N manuals section 5.2.1. Only ESC R ESC E is sent: it
reads.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling
from drivers.settling import Settling

REQUEST = b"\x1bR\x1bE"
LONGEST_PACKET = 48
LIMIT = 256

_START = b"\x1bR"
_END = b"\x1bE"
_UNITS = {b"c": ("[lb_av]", "[in_i]"), b"m": ("kg", "cm")}
_NUMBERS = {
    b"W": re.compile(rb"-?[0-9]{1,4}\.[0-9]{1,2}"),
    b"H": re.compile(rb"[0-9]{1,4}\.[0-9]{1,2}"),
    b"B": re.compile(rb"[0-9]{1,3}\.[0-9]{1,2}"),
}
_OUT_OF_RANGE = (Decimal("999.9"), Decimal("999.99"))


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(_END, limit=LIMIT, keep=2 * LONGEST_PACKET, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Polling(Listening(codec(model.quirks)), REQUEST, model.polling), model.settling)


def _piece(piece: bytes) -> list[Event]:
    """Answer a piece's event: the last start in it counts, what stands before is noise."""
    start = piece.rfind(_START)
    if start < 0:
        return [Rejected("missing_start", piece)]
    event = _decode(piece[start:])
    return [Rejected("noise", piece[:start]), event] if start else [event]


def _decode(packet: bytes) -> Event:
    fields: dict[bytes, bytes] = {}
    first, *parts = packet[len(_START) : -len(_END)].split(b"\x1b")
    if first:
        return Rejected("bad_field", packet)
    for part in parts:
        letter = part[:1]
        if letter != b"N" and letter not in _NUMBERS:
            return Rejected("unknown_field", packet)
        if letter in fields:
            return Rejected("duplicate_field", packet)
        fields[letter] = part[1:]
    if b"W" not in fields:
        return Rejected("missing_weight", packet)
    if b"N" not in fields:
        return Rejected("missing_units", packet)
    units = _UNITS.get(fields.pop(b"N"))
    if units is None:
        return Rejected("unknown_units", packet)
    if not all(_NUMBERS[letter].fullmatch(text) for letter, text in fields.items()):
        return Rejected("bad_number", packet)
    values = {letter: Decimal(text.decode("ascii")) for letter, text in fields.items()}
    weight = values[b"W"]
    if weight in _OUT_OF_RANGE:
        return Notice("overload", "the load is above or below what the scale can measure", packet)
    if not weight:
        return Notice("zero_weight", "the scale is empty", packet)
    if weight < 0:
        return Notice("negative_weight", "less than nothing is on the scale: it was tared under a load", packet)
    measurements = [Measurement("body_weight", weight, units[0])]
    flags = ["stability_not_on_wire"]
    for letter, kind, unit in ((b"H", "body_height", units[1]), (b"B", "bmi", "kg/m2")):
        if values.get(letter):
            measurements.append(Measurement(kind, values[letter], unit))
        elif letter in values:
            flags.append(f"{kind.removeprefix('body_')}_absent")
    return Sample(tuple(measurements), tuple(flags), raw=packet)
