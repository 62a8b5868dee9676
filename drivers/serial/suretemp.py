"""Welch Allyn SureTemp Plus module, built into other makers' monitors: a thermometer that is polled, 9600 8N1.

A message, either way: 03 02 10, command (big-endian), type, size (little-endian), data, and the byte that brings the
sum of all to zero. Types: 01 command, 02 good response, 03 refused. The temperature record (941C) has 19 or 33 bytes:
    at 0 final temperature, at 4 temperature of the probe (floats, kelvin), at 8 counters
    at 12 method: 0 predict, 1 monitor, 2 clinical       at 13 site: 0 oral, 1 rectal, 2 and 4 axillary (child, adult)
    at 14 state: 6 and 7 final, 8 9 over, 10 11 under range, 12 monitor, 20 error, all others: not yet
    at 15 error · at 17 active · at 18 probe: 0 oral or axillary, 2 rectal; 1 and 3 none for a patient
Only the final temperature of state 6 or 7 is a patient's. That of the probe looks like one and is none.
A float of kelvin has no digits of its own: it is told in hundredths of a degree Celsius, as a display in tenths of
Fahrenheit needs them, and in tenths where that says the same.

Source: Welch Allyn, SureTemp Plus Module OEM Implementation, p. 30-36, 59-64. Sent is 941C without data, which reads.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal

from drivers.checksums import complement8
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import ScannedCodec, sized
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling
from drivers.settling import Settling

REQUEST = bytes.fromhex("030210 941C 01 0000 3A")
LONGEST_DATA = 64

_START = b"\x03\x02\x10"
_HEAD = 8
_RECORD, _RECORD_SIZES = b"\x94\x1c", (19, 33)
_GOOD, _REFUSED = 0x02, 0x03
_MONITOR, _CLINICAL = 1, 2
_FINAL = (6, 7)
_SITES = {0: ("oral",), 1: ("rectal",), 2: ("axillary", "pediatric"), 4: ("axillary", "adult")}
_PROBES = (0, 2)
_NOT_YET = ("no_final_temperature", "the thermometer has no result")
_NO_RESULT = {
    8: ("over_range", "the temperature is above what the thermometer can measure"),
    9: ("over_range", "the temperature is above what the thermometer can measure"),
    10: ("under_range", "the temperature is below what the thermometer can measure"),
    11: ("under_range", "the temperature is below what the thermometer can measure"),
    12: ("monitor_mode_not_final", "the probe is watched, nothing was measured to its end"),
    20: ("device_error", "the thermometer reports an error: see its display"),
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 13), _NOT_YET),
}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return ScannedCodec(sized(_START, _size, head=_HEAD, good=_good), _decode, longest=_HEAD + LONGEST_DATA + 1)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return Settling(Polling(Listening(codec(model.quirks)), REQUEST, model.polling), model.settling)


def _size(head: bytes) -> int:
    data = int.from_bytes(head[6:8], "little")
    return _HEAD + data + 1 if data <= LONGEST_DATA else 0


def _good(message: bytes) -> bool:
    return complement8(message[:-1]) == message[-1]


def _decode(message: bytes) -> Event:
    command, kind, data = message[3:5], message[5], message[_HEAD:-1]
    if kind == _REFUSED:
        return Notice("refused", "the module refused the request", message)
    if kind != _GOOD:
        return Rejected("no_response", message)
    if command == _RECORD:
        return _record(data, message) if len(data) in _RECORD_SIZES else Rejected("length", message)
    if data:
        return Rejected("unknown_response", message)
    return Notice("acknowledged", "the module did what somebody asked of it", message)


def _record(data: bytes, message: bytes) -> Event:
    method, site, state = data[12:15]
    error, probe = int.from_bytes(data[15:17], "little"), data[18]
    if error:
        return Notice(*_NO_RESULT[20], message)
    if state in _NO_RESULT:
        return Notice(*_NO_RESULT[state], message)
    if state not in _FINAL:
        return Rejected("unknown_status", message)
    if site not in _SITES or probe not in _PROBES or method > _CLINICAL:
        return Rejected("not_a_patient", message)
    if method == _MONITOR:
        return Rejected("contradiction", message)
    (kelvin,) = struct.unpack_from("<f", data)
    if not kelvin:
        return Notice(*_NOT_YET, message)
    celsius = _celsius(kelvin)
    if celsius is None:
        return Rejected("bad_number", message)
    where, *whose = _SITES[site]
    flags = ("predicted", where, *whose)
    return Sample((Measurement("body_temperature", celsius, "Cel"),), flags, raw=message, site=where)


def _celsius(kelvin: float) -> Decimal | None:
    """Answer the temperature in hundredths or tenths of a degree; None for what no probe measures."""
    if not math.isfinite(kelvin) or not 273.15 < kelvin < 373.15:
        return None
    celsius = (Decimal(kelvin) - Decimal("273.15")).quantize(Decimal("0.01"))
    if not celsius:
        return None
    tenths = celsius.quantize(Decimal("0.1"))
    return tenths if tenths == celsius else celsius
