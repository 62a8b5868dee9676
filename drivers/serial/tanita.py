"""Tanita scales and body composition analyzers: one message when the reading has settled, 9600 8N1, CR LF at its end.

    {0,16,~0,1,MO,"PW-650",Da,"30/04/2020",TI,"20:02",Wk,58.1,Pt,2.0,Ta,0.0,CS,D6          keys and values in turn
CS is the sum of all bytes before it, modulo 256, as two upper-case hexadecimal digits. The blanks that manuals print
are not sent. Some devices close with `}`, one published message with a quotation mark.
Weight: Wk kg, Wp lb, Ws `st.lb` as 12.05.4; without the tares Pt, Pa, Pb, Ta (PW-650 manual). Hm cm, MI BMI, FW fat %.
Da is dd/mm/yyyy, DT that or yyyy/mm/dd; ID all zeros: none. St other than 0: the measurement went wrong. Where ~0 or ~1
is 3, the keys of kg and cm hold lb and inches (BC-601 files): refused. Hf is feet and inches, in a form that no source
shows: left out. All other keys are not read here.

Source: Tanita PW-650MA manual p. 25, PW-630MA p. 28, SC-240 p. 24, SC-330 p. 47, MC-980MA "Output data format" p. 13,
HD-351BT p. 5 (Ws), WB-3000 p. 10; a public Java reader (SC-330), public JavaScript readers (MC-780, BC-601). Nothing is
sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from drivers.checksums import sum8
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.settling import Settling

LONGEST_MESSAGE = 2048
LIMIT = 4 * LONGEST_MESSAGE

_START = b"{0,16,"
_MESSAGE = re.compile(rb'(?P<summed>\{0,16,(?P<body>[ -~]+,))CS,(?P<sum>[0-9A-F]{2})(?P<closed>[}"]?)\r\n')
_KEY = re.compile(rb"~[0-9]|[A-Za-z]{2}")
_NUMBER = re.compile(rb"-?[0-9]{1,3}(?:\.[0-9]{1,2})?")
_STONES = re.compile(rb"([0-9]{1,2})\.([0-9]{2}\.[0-9])")
_WEIGHTS = {b"Wk": "kg", b"Wp": "[lb_av]", b"Ws": "[lb_av]"}
_TARES = (b"Pt", b"Pa", b"Pb", b"Ta")
_BESIDE = ((b"Hm", "body_height", "cm"), (b"MI", "bmi", "kg/m2"), (b"FW", "body_fat", "%"))
_DATES = ((b"Da", "%d/%m/%Y"), (b"DT", "%Y/%m/%d"), (b"DT", "%d/%m/%Y"))
_POUNDS_A_STONE = 14


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=LONGEST_MESSAGE, decode=_line)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Listening(codec(model.quirks)), model.settling)


def _line(line: bytes) -> list[Event]:
    """Answer a line's event: the last start in it counts, what stands before is noise."""
    start = line.rfind(_START)
    if start < 0:
        return [Rejected("bad_frame", line)]
    event = _decode(line[start:])
    return [Rejected("noise", line[:start]), event] if start else [event]


def _decode(message: bytes) -> Event:
    found = _MESSAGE.fullmatch(message)
    if found is None:
        return Rejected("bad_frame", message)
    if sum8(found["summed"]) != int(found["sum"], 16):
        return Rejected("checksum", message)
    words = found["body"][:-1].split(b",")
    fields = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or not all(_KEY.fullmatch(key) for key in fields):
        return Rejected("bad_field", message)
    if 2 * len(fields) != len(words):
        return Rejected("duplicate_field", message)
    if not {fields.get(b"~0"), fields.get(b"~1", fields.get(b"~0"))} <= {b"1", b"2"}:
        return Rejected("unknown_units", message)
    weights = [key for key in _WEIGHTS if key in fields]
    if len(weights) != 1:
        return Rejected("contradiction" if weights else "missing_weight", message)
    if fields.get(b"St", b"0") != b"0":
        return Notice("measurement_failed", "the measurement went wrong: see the display", message)
    unit = _WEIGHTS[weights[0]]
    try:
        weight = _pounds(fields[b"Ws"]) if b"Ws" in fields else _number(fields[weights[0]])
        tares = [tare for key in _TARES if key in fields and (tare := _number(fields[key]))]
        beside = [Measurement(kind, _number(fields[key]), what) for key, kind, what in _BESIDE if key in fields]
    except ValueError:
        return Rejected("bad_number", message)
    if not weight:
        return Notice("zero_weight", "the scale is empty", message)
    if weight < 0:
        return Notice("negative_weight", "less than nothing is on the scale: it was tared under a load", message)
    if any(number < 0 for number in (*tares, *(one.value for one in beside))):
        return Rejected("bad_number", message)
    flags = ["stable_by_protocol"]
    if found["closed"] == b"}":
        flags.append("trailing_brace")
    modifiers = {}
    if tares:
        flags.append("net")
        if unit == "kg":  # beside pounds, no source tells the unit of a tare
            modifiers["tare"] = Measurement("tare", sum(tares, Decimal()), "kg")
    return Sample(
        (Measurement("body_weight", weight, unit), *(one for one in beside if one.value)),
        tuple(flags),
        device_time=_time(fields),
        device_user=_user(fields.get(b"ID", b"")),
        modifiers=modifiers,
        raw=message,
    )


def _number(text: bytes) -> Decimal:
    """Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return Decimal(text.decode("ascii"))


def _pounds(text: bytes) -> Decimal:
    """Answer stones and pounds as pounds. Raises ValueError."""
    found = _STONES.fullmatch(text)
    if found is None or (pounds := Decimal(found[2].decode("ascii"))) >= _POUNDS_A_STONE:
        raise ValueError(text)
    return _POUNDS_A_STONE * int(found[1]) + pounds


def _time(fields: Mapping[bytes, bytes]) -> datetime | None:
    """Answer what the device's clock showed; the sum held, so what is no date is a clock that was not set."""
    time = _text(fields.get(b"TI", fields.get(b"Ti", b"")))
    for key, order in _DATES:
        for clock in ("%H:%M", "%H:%M:%S"):
            try:
                return datetime.strptime(f"{_text(fields.get(key, b''))} {time}", f"{order} {clock}")  # noqa: DTZ007
            except ValueError:
                continue
    return None


def _user(quoted: bytes) -> str | None:
    user = _text(quoted).strip()
    return user if user.strip("0") else None


def _text(quoted: bytes) -> str:
    return quoted.decode("ascii").strip('"')
