"""Mettler-Toledo Standard Interface Command Set (MT-SICS), level 0: a balance or terminal that is polled.

Asked `S CR LF` for a stable weight, it answers one line when the load is at rest, or says why it cannot:
    S S     82.35 kg    stable      S D …  moving      S I  busy, or never at rest      S + / S -  over, under
    S L  wrong parameter            ES  syntax         ET  transmission                 EL  logical error
The number is right-aligned in ten characters; fields are split at blanks. There is no checksum.
A reply "S A" appears in one project's tests and in no manual: it is refused.

Source: MT-SICS reference (command list); frames of instrumentkit/InstrumentKit,
tests/test_mettler_toledo/test_mt_sics.py. Only `S` is ever sent: it reads.
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

REQUEST = b"S\r\n"
LONGEST_REPLY = 40
LIMIT = 256

_WEIGHT = re.compile(
    rb"S (?P<status>[SD]) {1,10}(?P<number>-?[0-9]{1,9}(?:\.[0-9]{1,7})?) (?P<unit>[A-Za-z%]{1,5}) ?\r\n\Z"
)
_STATE = re.compile(rb"(?:S (?P<state>[-+IL])|(?P<error>E[STL]))\r\n\Z")
_ERROR = re.compile(rb"S S +Error [0-9]{1,4}[a-z]?\r\n\Z")  # the device's own fault, sent with a stable status
_UNITS = {b"kg": "kg", b"g": "g", b"lb": "[lb_av]", b"oz": "[oz_av]"}
_NOTICES = {
    b"I": ("busy", "the load did not come to rest, or the scale is busy"),
    b"L": ("parameter_error", "the scale does not understand the request"),
    b"+": ("overload", "the load is above what the scale can measure"),
    b"-": ("underload", "the load is below what the scale can measure"),
    b"ES": ("syntax_error", "the scale does not know the request"),
    b"ET": ("transmission_error", "the request reached the scale garbled: check the line settings"),
    b"EL": ("logical_error", "the scale cannot carry out the request now"),
}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=LONGEST_REPLY, decode=_line)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Polling(Listening(codec(model.quirks)), REQUEST, model.polling), model.settling)


def _line(line: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before a reply, never within it: the reply has the line's end."""
    found = _WEIGHT.search(line) or _STATE.search(line) or _ERROR.search(line)
    if found is None:
        return [Rejected("unknown_reply", line)]
    event = _decode(found)
    return [Rejected("noise", line[: found.start()]), event] if found.start() else [event]


def _decode(found: re.Match[bytes]) -> Event:
    reply, fields = found[0], found.groupdict()
    if found.re is _ERROR:
        return Notice("device_error", "the scale reports a fault of its own: see its display", reply)
    if found.re is _STATE:
        code, detail = _NOTICES[fields["state"] or fields["error"]]
        return Notice(code, detail, reply)
    if fields["unit"] not in _UNITS:
        return Rejected("unknown_units", reply)
    if fields["status"] == b"D":
        return Notice("unstable", "the load moves", reply)
    weight = Decimal(fields["number"].decode("ascii"))
    if not weight:
        return Notice("zero", "the scale is empty", reply)
    if weight < 0:
        return Notice("below_zero", "less than nothing is on the scale: it was tared or zeroed under a load", reply)
    return Sample((Measurement("body_weight", weight, _UNITS[fields["unit"]]),), ("stable",), raw=reply)
