"""Health o meter Professional scales (Pelstar), ESC protocol, scale-initiated, 9600 8N1.

A packet: ESC R, then fields that each begin with ESC and a letter, then ESC E. No CR, no LF, no checksum:
    I ten characters (an ID keyed in; all zeros: none)   W weight   H height   B BMI   T tare   N unit: c or m
"c" is lb and inches, "m" kg and cm; a packet without N has no unit and is refused. 0.0 in H or B: not entered.
Scales with an "L" serial number begin the second and later packets of a stream with "6R" and no ESC.
A host that connects in mid-stream sees the tail of a packet glued to the next: the last start marker counts.

Source: Pelstar, "Communication Protocols" REV20230711, pages 3-20 (PDF in STocidlowski/ScaleReporter,
reference/); STocidlowski/device_reporter, src/drivers/healthometer/. Nothing is ever sent to the scale.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

# The longest packet of the manual is 60 bytes; twice that leaves room for a garbled height.
LONGEST_PACKET = 128
LIMIT = 4 * LONGEST_PACKET

_START = b"\x1bR"
_START_CONTINUED = b"6R\x1b"
_END = b"\x1bE"
_UNITS = {b"c": ("[lb_av]", "[in_i]"), b"m": ("kg", "cm")}
_NUMBER = re.compile(rb"[0-9]{1,4}\.[0-9]{1,3}")
_NUMBER_BESIDE = re.compile(rb"[0-9]{1,4}(?:\.[0-9]{1,3})?")  # a ProPlus manual prints a BMI without a point
_ID = re.compile(rb"[\x20-\x7e]{10}")
_FIELDS = frozenset(b"IWHBTN")


def codec(quirks: Quirks) -> Codec:
    """Answer the codec for a model with these quirks."""
    decode = partial(_packet, trust_height=quirks.trust_height)
    return FramedCodec(_END, limit=LIMIT, keep=LONGEST_PACKET, decode=decode)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _packet(piece: bytes, *, trust_height: bool) -> list[Event]:
    """Answer a piece's events: one a packet, and what stood before it."""
    reason = "missing_start"
    for start, marker, flags in _starts(piece):
        packet = piece[start:]
        answer = _decode(packet, piece[start + marker : -len(_END)], flags, trust_height=trust_height)
        if not isinstance(answer, str):
            before = piece[:start]
            return [Rejected(_reason_before(before), before), answer] if before else [answer]
        reason = answer
    return [Rejected(reason, piece)]


def _decode(packet: bytes, body: bytes, flags: list[str], *, trust_height: bool) -> Sample | Notice | str:
    """Answer the event of a packet, or why it is to be rejected; without height and BMI where they may be garbage."""
    fields: dict[int, bytes] = {}
    if not body.startswith(b"\x1b"):
        return "bad_field"
    for part in body.split(b"\x1b")[1:]:
        letter = part[0] if part else 0
        if letter not in _FIELDS:
            return "unknown_field"
        if letter in fields:
            return "duplicate_field"
        fields[letter] = part[1:]
    if ord("N") not in fields:
        return "missing_units"
    units = _UNITS.get(fields[ord("N")])
    if units is None:
        return "unknown_units"
    if ord("W") not in fields:
        return "missing_weight"
    if ord("I") in fields and not _ID.fullmatch(fields[ord("I")]):
        return "bad_id"
    optional = b"HBT" if trust_height else b"T"
    numbers = {letter: fields[letter] for letter in b"W" + optional if letter in fields}
    if not all((_NUMBER_BESIDE if key in b"HB" else _NUMBER).fullmatch(text) for key, text in numbers.items()):
        return "bad_number"
    weight_unit, height_unit = units
    values = {letter: Decimal(text.decode("ascii")) for letter, text in numbers.items()}
    if not values[ord("W")]:
        return Notice("zero", "the scale is empty", packet)
    measurements = [Measurement("body_weight", values[ord("W")], weight_unit)]
    for letter, kind, unit in ((ord("H"), "body_height", height_unit), (ord("B"), "bmi", "kg/m2")):
        if values.get(letter):
            measurements.append(Measurement(kind, values[letter], unit))
        elif letter in fields:
            flags.append(f"{kind.removeprefix('body_')}_absent")
    user = fields.get(ord("I"), b"").decode("ascii").strip()
    if not user.strip("0"):
        if ord("I") in fields:
            flags.append("patient_id_absent")
        user = ""
    modifiers = {"tare": Measurement("tare", values[ord("T")], weight_unit)} if ord("T") in values else {}
    return Sample(tuple(measurements), tuple(flags), device_user=user or None, modifiers=modifiers, raw=packet)


def _starts(piece: bytes) -> list[tuple[int, int, list[str]]]:
    """Answer where a packet may start, best first: (offset, length of the marker, flags).

    An ID that ends in "6R" looks like the start of a continued packet, so the last ESC R is tried first.
    """
    starts: list[tuple[int, int, list[str]]] = []
    plain = piece.rfind(_START)
    if plain >= 0:
        starts.append((plain, len(_START), []))
    continued = piece.rfind(_START_CONTINUED)
    if continued > plain:
        starts.append((continued, len(_START_CONTINUED) - 1, ["stray_6_prefix"]))
    return starts


def _reason_before(piece: bytes) -> str:
    return "truncated" if _starts(piece) else "noise"
