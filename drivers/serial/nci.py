"""Adam MDW-300L in its NCI mode (parameter S.F. 3): it answers a request with its weight and three status bytes.

    LF    80.00kg CR LF  H1 H2 H3  CR ETX       the weight's field has six to nine characters: the sources differ
    H1 0011e0zu  u moves · z at zero · e EEPROM error      over capacity: all ^ · under: all _ · zero error: all -
    H2 011100ou  u under capacity · o over capacity
    H3 00110nmm  mm 01 weighing, 10 hold · n net
Bits that are always so are asked for: other scales that speak NCI say other things in them, and are refused. In hold
the number may be one whose owner has left: it is flagged, and beside "at zero" it is no measurement. There is no
checksum. A request that is not known is answered LF ? CR ETX.

Source: Adam Equipment MDW manual p. 12-14 (manualsonline.com mdw300l p. 15). Only W CR is sent: it reads the weight.
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

REQUEST = b"W\r"
LONGEST_FRAME = 19
LIMIT = 256

_FRAME = re.compile(
    rb"\n(?P<weight>[-0-9. ]{6,9}|\^{6,9}|_{6,9})(?P<unit>[A-Za-z]{2})\r\n"
    rb"(?P<h1>[0-38-;])(?P<h2>[p-s])(?P<h3>[1256])\r\x03\Z"
)
_UNKNOWN_REQUEST = re.compile(rb"\n\?\r\x03\Z")
_NUMBER = re.compile(rb" *(?P<minus>-?) *(?P<digits>[0-9]+(?:\.[0-9]+)?)")
_DASHES = re.compile(rb"-{6,9}")
_UNITS = {b"kg": "kg", b"lb": "[lb_av]"}
_MOVES, _AT_ZERO, _EEPROM = 0x01, 0x02, 0x08  # H1
_UNDER, _OVER = 0x01, 0x02  # H2
_HOLD, _NET = 0x02, 0x04  # H3


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\x03", limit=LIMIT, keep=2 * LONGEST_FRAME, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Polling(Listening(codec(model.quirks)), REQUEST, model.polling), model.settling)


def _piece(piece: bytes) -> list[Event]:
    """Answer a piece's event. Noise may stand before an answer, never within it: the answer has the piece's end."""
    found = _FRAME.search(piece) or _UNKNOWN_REQUEST.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    event = _decode(found)
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    frame = found[0]
    if found.re is _UNKNOWN_REQUEST:
        return Notice("syntax_error", "the scale does not know the request", frame)
    h1, h2, h3, field = found["h1"][0], found["h2"][0], found["h3"][0], found["weight"]
    notice = _notice(h1, h2, field)
    if notice is not None:
        return Notice(*notice, frame)
    number = _NUMBER.fullmatch(field)
    if number is None:
        return Rejected("bad_number", frame)
    weight = Decimal(number["digits"].decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty", frame)
    if number["minus"]:
        return Notice(
            "negative_weight", "less than nothing is on the scale: it was tared or zeroed under a load", frame
        )
    if h1 & _AT_ZERO:
        if not h3 & _HOLD:
            return Rejected("contradiction", frame)
        return Notice("no_data", "the scale is empty and holds an old weight: end the hold", frame)
    unit = _UNITS.get(found["unit"])
    if unit is None:
        return Rejected("unknown_units", frame)
    flags = ("net" if h3 & _NET else "gross", "stable", *(("hold", "held") if h3 & _HOLD else ()))
    return Sample((Measurement("body_weight", weight, unit),), flags, raw=frame)


def _notice(h1: int, h2: int, field: bytes) -> tuple[str, str] | None:
    if h1 & _EEPROM:
        return "device_error", "the scale reports a fault of its own: its memory"
    if h2 & _OVER or field.startswith(b"^"):
        return "overload", "the load is above what the scale can measure"
    if h2 & _UNDER or field.startswith(b"_"):
        return "underload", "the load is below what the scale can measure"
    if _DASHES.fullmatch(field):
        return "zero_error", "the scale cannot find its zero: empty it and switch it on again"
    if h1 & _MOVES:
        return "unstable", "the load moves"
    return None
