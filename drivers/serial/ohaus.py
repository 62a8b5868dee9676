"""Ohaus scales, the print formats of the RS232 interface; the line is set on the scale.

    format 1          12.73 g    ?      the weight in 12, right-aligned, blank, the unit in 5, left-aligned, ? or blank
    format 2         0.211 kg ?         the weight in 10 to 12, blank, the unit, blank, ? or blank (Navigator, too)
    then, in some modes, a blank and a word: NET, WET WT, AIR WT …       CR LF
? means that the load moves. PCS and % are no weights, and a weight under water is none of a person. There is no
checksum.

Source: Ohaus RS232 Interface manual p. EN-3 (manualslib.fr 558648 p. 5); G, NET and T: Ohaus Defender 3000 p. EN-35.
Nothing is sent to the scale.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_FRAME = 38
LIMIT = 256

_WORD = rb"(?P<word>[A-Z][ A-Z/]{0,15})"
_FORMAT_1 = re.compile(
    rb"(?P<weight>[ -][-0-9. ]{11}) (?P<unit>[A-Za-z%:][A-Za-z%: ]{4})(?P<moves>[? ])(?: " + _WORD + rb")?\r\n\Z"
)
_FORMAT_2 = re.compile(
    rb"(?P<weight>[ -][-0-9. ]{9,11}) (?P<unit>[A-Za-z%:]{1,5}) (?P<moves>[? ])(?: " + _WORD + rb"?)?\r\n\Z"
)
_NUMBER = re.compile(rb" *(?P<minus>-?) *(?P<digits>[0-9]+(?:\.[0-9]+)?)")
_UNITS = {b"kg": "kg", b"g": "g", b"lb": "[lb_av]", b"oz": "[oz_av]"}
_NOT_A_WEIGHT = {b"PCS", b"pcs", b"PC", b"%"}
_FLAGS = {b"": (), b"G": ("gross",), b"NET": ("net",)}
_OTHER_WORDS = {b"T", b"TOTAL", b"WET WT", b"AIR WT"}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=2 * LONGEST_FRAME, decode=_line)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _line(line: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before a frame, never within it: the frame has the line's end."""
    found = _FORMAT_1.search(line) or _FORMAT_2.search(line)
    if found is None:
        return [Rejected("bad_frame", line)]
    event = _decode(found)
    return [Rejected("noise", line[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    frame, unit, word = found[0], found["unit"].rstrip(b" "), (found["word"] or b"").strip(b" ")
    if unit in _NOT_A_WEIGHT or word in _OTHER_WORDS:
        return Notice("not_a_weight", "the scale counts, compares or adds up: set it to weighing", frame)
    if unit not in _UNITS:
        return Rejected("unknown_units", frame)
    number = _NUMBER.fullmatch(found["weight"])
    if number is None:
        return Rejected("bad_number", frame)
    if word not in _FLAGS:
        return Rejected("unknown_status", frame)
    if found["moves"] == b"?":
        return Notice("unstable", "the load moves", frame)
    weight = Decimal(number["digits"].decode("ascii"))
    if not weight:
        return Notice("zero_weight", "the scale is empty", frame)
    if number["minus"]:
        return Notice(
            "negative_weight", "less than nothing is on the scale: it was tared or zeroed under a load", frame
        )
    return Sample((Measurement("body_weight", weight, _UNITS[unit]),), (*_FLAGS[word], "stable"), raw=frame)
