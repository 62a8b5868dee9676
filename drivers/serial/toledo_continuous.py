"""Indicators in Toledo continuous output, with its checksum: Mettler Toledo, and many that are set to it.

    STX  A B C  six digits of weight  [six of tare]  CR  check      leading zeros may be blanks; no sign, no point
    A  bits 0-2 decimals: 010 none, 011 one, 100 two, 101 three · bits 3-4 the display's step
    B  bit 0 net · 1 negative · 2 out of range, over and under · 3 moves · 4 kg (0: lb) · 6 no zero yet since power-up
    C  bits 0-2 unit: 000 as B says, 001 g, 011 oz · 3 a print was asked for · 4 expanded · 6 tare from the keyboard
Bit 5 of B is 1 or 0, by maker: it is not looked at. Bit 7 is parity, and is not there where the line has seven bits.
Check: the sum of the low seven bits of all bytes, itself included, is 0 in its low seven bits.

Left out: frames without the check, since where one ends could not be told from a cut one; 000 and 001 in A, since
makers differ whether the zeros that they append count among the six digits (Ohaus: yes, Triner: no); tons.

Source: METTLER TOLEDO Wildcat p. 41 (status); Rockwell 57C428 appendix D, KERN FTC p. 42 (check); Ohaus Defender 5000
p. EN-67, EN-68 (blanks, units); Cardinal 225 p. 118 (without tare); Fairbanks FB2550 p. 149. Nothing is sent.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import ScannedCodec, sized
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

WITH_TARE, WITHOUT_TARE = 18, 12
_CR_WITHOUT_TARE = 10  # offset

_FRAME = re.compile(
    rb"\x02(?P<a>[\x20-\x3f])(?P<b>[\x00-\x7f])(?P<c>[\x20-\x3f\x60-\x7f])(?P<weight>[ 0-9]{6})(?P<tare>[ 0-9]{6})?\r.",
    re.DOTALL,
)
_DIGITS = re.compile(rb" *[0-9]+")
_DECIMALS = {0b010: 0, 0b011: 1, 0b100: 2, 0b101: 3}
_NET, _NEGATIVE, _OUT_OF_RANGE, _MOTION, _KG, _NO_ZERO = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40
_EXPANDED = 0x10
_UNITS = {0b001: "g", 0b011: "[oz_av]"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    scan = sized(b"\x02", _size, head=_CR_WITHOUT_TARE + 1, good=_sums_up)
    return ScannedCodec(scan, _decode, longest=WITH_TARE)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _size(head: bytes) -> int:
    return WITHOUT_TARE if head[_CR_WITHOUT_TARE:] == b"\r" else WITH_TARE


def _sums_up(frame: bytes) -> bool:
    return sum(byte & 0x7F for byte in frame) & 0x7F == 0


def _decode(frame: bytes) -> Event:
    found = _FRAME.fullmatch(frame)
    if found is None:
        return Rejected("bad_frame", frame)
    a, b, c = found["a"][0], found["b"][0], found["c"][0]
    decimals = _DECIMALS.get(a & 0b111)
    if decimals is None or not a & 0b11000:
        return Rejected("unknown_status", frame)
    notice = _notice(b, c)
    if notice is not None:
        return Notice(*notice, frame)
    weight, tare = _number(found["weight"], decimals), _number(found["tare"] or b"0", decimals)
    if weight is None or tare is None:
        return Rejected("bad_number", frame)
    if not weight:
        return Notice("zero_weight", "the scale is empty", frame)
    if b & _NEGATIVE:
        return Notice(
            "negative_weight", "less than nothing is on the scale: it was tared or zeroed under a load", frame
        )
    as_b_says = "kg" if b & _KG else "[lb_av]"
    unit = _UNITS.get(c & 0b111) if c & 0b111 else as_b_says
    if unit is None:
        return Rejected("unknown_units", frame)
    net = bool(b & _NET)
    return Sample(
        (Measurement("body_weight", weight, unit),),
        ("net" if net else "gross", "stable"),
        modifiers={"tare": Measurement("tare", tare, unit)} if net and tare else {},
        raw=frame,
    )


def _notice(b: int, c: int) -> tuple[str, str] | None:
    if b & _NO_ZERO:
        return "zero_error", "the scale has not found its zero since it was switched on: empty it"
    if b & _OUT_OF_RANGE:
        return "out_of_range", "the load is above or below what the scale can measure"
    if b & _MOTION:
        return "unstable", "the load moves"
    if c & _EXPANDED:
        return "not_a_weight", "the scale shows ten times as many digits: set it to weighing"
    return None


def _number(digits: bytes, decimals: int) -> Decimal | None:
    return Decimal(int(digits)).scaleb(-decimals) if _DIGITS.fullmatch(digits) else None
