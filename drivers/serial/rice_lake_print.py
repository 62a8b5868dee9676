"""Rice Lake physician, wheelchair and chair scales, what the PRINT key sends: 9600 8N1, lines that end CR LF.

    `    -10.0 lb  Net   `   weight in nine characters, unit, mode: Gross or Net    (spacing after the unit varies)
With a height keyed in, the BMI mode prints lines that belong together instead, and the 550-10 in any mode:
    GROSS WEIGHT 215.0 LB · TARE WEIGHT 0.0 LB · NET WEIGHT 215.0 LB · PATIENT HEIGHT 6-01.0 FT · PATIENT BMI 28.4
    PATIENT WEIGHT 132.4 LB, alone or with PATIENT HEIGHT 5-07.5 FT (170.0 CM) · PATIENT B M I 20.4
The scale prints only what stands still and is in range. There is no checksum. `6-01.0 FT` is 6 ft 1.0 in.
Older manuals print a minus sign before each of these examples: a misprint, but below zero is refused as it stands.

Source: Rice Lake 350-10 manual p. 10, 550-10 operation manual p. 13 and technical manual p. 19. Nothing is sent.
"""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import TerminatedFrames
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_LINE = 48
LIMIT = 256

_BLOCKS = (
    (b"GROSS WEIGHT", b"TARE WEIGHT", b"NET WEIGHT", b"PATIENT HEIGHT", b"PATIENT BMI"),
    (b"PATIENT WEIGHT", b"PATIENT HEIGHT", b"PATIENT BMI"),
)
_ALONE = _BLOCKS[1][:1]
_WEIGHT = re.compile(rb"(?P<number>[-0-9. ]{9}) (?P<unit>[A-Za-z]{2}) {1,3}(?P<mode>Gross|Net|GROSS|NET) {0,4}\r\n\Z")
_LINE = re.compile(
    rb"(?P<name>(?:GROSS|TARE|NET|PATIENT) WEIGHT|PATIENT HEIGHT|PATIENT (?:BMI|B M I)) {1,12}"
    rb"(?P<value>-?[0-9][0-9.-]{0,7})(?: (?P<unit>[A-Z]{2}))? {0,6}\r\n\Z"
)
_NUMBER = re.compile(rb" *(-?[0-9]{1,4}\.[0-9]{1,2})")
_FEET = re.compile(rb"([0-9])-([0-9]{2}\.[0-9])")
_UNITS = {b"LB": "[lb_av]", b"KG": "kg"}
# Three roundings of a display that steps by 0.2: gross less tare is net within this.
_ROUNDING = Decimal("0.5")
_STABLE = "stable_by_protocol"
# Lines of one print follow at once. A weight that stands alone must be told before a row's silence is over: told after
# it, no break would follow, and the next print of an equal weight would be none.
_GAP_S = 1.0


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return _Prints()


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks), gap_s=_GAP_S), model.settling)


class _Prints:
    """Reads lines; holds those of a block until it is whole, and a weight that may stand alone for what follows."""

    limit = LIMIT + len(_BLOCKS[0]) * LONGEST_LINE

    def __init__(self) -> None:
        self._lines = TerminatedFrames(b"\r\n", limit=LIMIT, keep=2 * LONGEST_LINE)
        self._held: list[re.Match[bytes]] = []

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        events: list[Event] = []
        for piece, complete in self._lines.feed(data):
            events += self._line(piece) if complete else [*self._give_up(), Rejected("noise", piece)]
        return events

    def flush(self) -> list[Event]:
        """Give up half a block and half a line; see Codec."""
        events, rest = self._give_up(), self._lines.flush()
        return [*events, Rejected("truncated", rest)] if rest else events

    def _line(self, piece: bytes) -> list[Event]:
        """Answer a line's events. Noise may stand before a line, never within it: the line has the piece's end."""
        found = _WEIGHT.search(piece) or _LINE.search(piece)
        if found is None:
            return [*self._give_up(), Rejected("bad_frame", piece)]
        events: list[Event] = []
        if found.start():
            events = [*self._give_up(), Rejected("noise", piece[: found.start()])]
        if found.re is _WEIGHT:
            return [*events, *self._give_up(), _weight(found)]
        if not _begins_a_block([*self._held, found]):
            events += self._give_up()
            if not _begins_a_block([found]):
                return [*events, Rejected("bad_frame", found[0])]
        self._held.append(found)
        if _names(self._held) in _BLOCKS:
            events.append(_block(self._held))
            self._held = []
        return events

    def _give_up(self) -> list[Event]:
        held, self._held = self._held, []
        if not held:
            return []
        return [_block(held) if _names(held) == _ALONE else Rejected("truncated", _raw(held))]


def _names(lines: list[re.Match[bytes]]) -> tuple[bytes, ...]:
    return tuple(line["name"].replace(b"B M I", b"BMI") for line in lines)


def _raw(lines: list[re.Match[bytes]]) -> bytes:
    return b"".join(line[0] for line in lines)


def _begins_a_block(lines: list[re.Match[bytes]]) -> bool:
    return any(_names(lines) == block[: len(lines)] for block in _BLOCKS)


def _weight(found: re.Match[bytes]) -> Event:
    number, unit = _NUMBER.fullmatch(found["number"]), _UNITS.get(found["unit"].upper())
    if number is None:
        return Rejected("bad_number", found[0])
    if unit is None:
        return Rejected("unknown_units", found[0])
    weight = Decimal(number[1].decode("ascii"))
    flags = (found["mode"].decode("ascii").lower(), _STABLE)
    return _not_a_weight(weight, found[0]) or Sample((Measurement("body_weight", weight, unit),), flags, raw=found[0])


def _block(lines: list[re.Match[bytes]]) -> Event:
    """Answer what a whole block says, or a weight that stands alone."""
    raw, fields = _raw(lines), dict(zip(_names(lines), lines, strict=True))
    weights = {name: line for name, line in fields.items() if name.endswith(b"WEIGHT")}
    unit = _UNITS.get(lines[0]["unit"])
    if unit is None:
        return Rejected("unknown_units", raw)
    if len({line["unit"] for line in weights.values()}) != 1:
        return Rejected("contradiction", raw)
    if not all(_NUMBER.fullmatch(line["value"]) for line in weights.values()):
        return Rejected("bad_number", raw)
    kg_or_lb = {name: Decimal(line["value"].decode("ascii")) for name, line in weights.items()}
    weight = kg_or_lb[b"NET WEIGHT" if b"NET WEIGHT" in fields else b"PATIENT WEIGHT"]
    tare = kg_or_lb.get(b"TARE WEIGHT")
    flags: tuple[str, ...] = (_STABLE,)
    if tare is not None:
        if tare < 0 or abs(kg_or_lb[b"GROSS WEIGHT"] - tare - weight) > _ROUNDING:
            return Rejected("contradiction", raw)
        flags = ("net" if tare else "gross", _STABLE)
    measurements = [Measurement("body_weight", weight, unit)]
    try:
        measurements += _height(fields.get(b"PATIENT HEIGHT")) + _bmi(fields.get(b"PATIENT BMI"))
    except ValueError:
        return Rejected("bad_number", raw)
    modifiers = {"tare": Measurement("tare", tare, unit)} if tare else {}
    return _not_a_weight(weight, raw) or Sample(tuple(measurements), flags, modifiers=modifiers, raw=raw)


def _not_a_weight(weight: Decimal, raw: bytes) -> Notice | None:
    if not weight:
        return Notice("zero_weight", "the scale is empty", raw)
    if weight < 0:
        return Notice("negative_weight", "less than nothing is on the scale: it was tared under a load", raw)
    return None


def _height(line: re.Match[bytes] | None) -> list[Measurement]:
    """Answer the height, none where there is none. Raises ValueError where it cannot be read."""
    if line is None:
        return []
    feet, centimeters = _FEET.fullmatch(line["value"]), _NUMBER.fullmatch(line["value"])
    if line["unit"] == b"FT" and feet is not None and Decimal(feet[2].decode("ascii")) < 12:
        value, unit = 12 * int(feet[1]) + Decimal(feet[2].decode("ascii")), "[in_i]"
    elif line["unit"] == b"CM" and centimeters is not None:
        value, unit = Decimal(centimeters[1].decode("ascii")), "cm"
    else:
        raise ValueError(line["value"])
    return _present("body_height", value, unit)


def _bmi(line: re.Match[bytes] | None) -> list[Measurement]:
    """Answer the BMI, none where there is none. Raises ValueError where it cannot be read."""
    if line is None:
        return []
    number = _NUMBER.fullmatch(line["value"])
    if number is None or line["unit"] is not None:
        raise ValueError(line["value"])
    return _present("bmi", Decimal(number[1].decode("ascii")), "kg/m2")


def _present(kind: str, value: Decimal, unit: str) -> list[Measurement]:
    if value < 0:
        raise ValueError(kind)
    return [Measurement(kind, value, unit)] if value else []
