"""User Data Service, 181C: whose slot of a scale's memory a session is about. Consent opens it; nothing is changed.

User Control Point (2A9F), written by the host, answered by the device:

    01 code 16 register    02 user 8, code 16 consent    03 delete user data    04 list users    05 user 8 delete user
    20 request 8, result 8, ...: result 1 success, 2 no such request, 3 invalid parameter, 4 failed, 5 not authorized

1. Consent is the only request that is ever made here. Registering, deleting and the user's data change the scale.
2. A consent code opens somebody's measurements: it stands in no detail, no log and no repr.
3. Date of birth (2A85), gender (2A8C) and height (2A8E) are whoever's the slot is: what they say is told to nobody,
   only whether they can be read. The database change increment (2A99) says that a slot was changed.

Source: Bluetooth SIG, User Data Service 1.0 and GATT Specification Supplement. Captures: KristianP26/ble-scale-sync,
tests/scales/beurer-bf720.test.ts and renpho.test.ts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date

from drivers.contract import CharacteristicCodec, Event, Notice, Rejected
from drivers.models import Consent

CONTROL_POINT = "2A9F"

_CONSENT, _RESPONSE, _SUCCESS = 0x02, 0x20, 0x01
_CONSENT_LAYOUT = struct.Struct("<BBH")
# Each request's word, and how long it is.
_REQUESTS = {
    0x01: ("register new user", 3),
    0x02: ("consent", 4),
    0x03: ("delete user data", 1),
    0x04: ("list all users", 1),
    0x05: ("delete user", 2),
}
_RESULTS = {
    0x01: "success",
    0x02: "the request is not supported",
    0x03: "invalid parameter",
    0x04: "operation failed",
    0x05: "user not authorized",
}
_GENDERS = 3  # male, female, unspecified
_YEARS = range(1582, 10000)


def encode_consent(consent: Consent) -> bytes:
    """Answer the 4 bytes that ask for the slot of `consent`."""
    return _CONSENT_LAYOUT.pack(_CONSENT, consent.user, consent.code)


def decode_control_point(value: bytes) -> Event:
    """2A9F: answer what is requested, or what came of it: `consent_accepted`, `consent_refused`, `user_control`."""
    if len(value) >= 3 and value[0] == _RESPONSE:
        return _response(value)
    request = _REQUESTS.get(value[0]) if value else None
    if request is None:
        return Rejected("unknown_request" if value and value[0] != _RESPONSE else "length", value)
    word, length = request
    if len(value) != length:
        return Rejected("length", value)
    if value[0] == _CONSENT:
        return Notice("consent", f"consent to user {value[1]}", value)
    return Notice("user_control", word, value)


def _response(value: bytes) -> Event:
    request, result = value[1], value[2]
    meaning = _RESULTS.get(result, f"result {result}")
    if request != _CONSENT:
        word, _ = _REQUESTS.get(request, (f"request {request}", 0))
        return Notice("user_control", f"{word}: {meaning}", value)
    if len(value) != 3:
        return Rejected("length", value)
    if result == _SUCCESS:
        return Notice("consent_accepted", "the scale knows user and consent code", value)
    return Notice("consent_refused", f"the scale refuses user or consent code: {meaning}", value)


def _private(code: str, length: int, holds: Callable[[bytes], bool]) -> CharacteristicCodec:
    def decode(value: bytes) -> Event:
        if len(value) != length:
            return Rejected("length", value)
        return Notice(code, "", value) if holds(value) else Rejected(f"invalid_{code}", value)

    return decode


def _is_date(value: bytes) -> bool:
    """Whether it is a date, in which year, month or day may be 0: not known."""
    year, month, day = int.from_bytes(value[:2], "little"), value[2], value[3]
    if year and year not in _YEARS:
        return False
    try:
        date(year or 2000, month or 1, day or 1)
    except ValueError:
        return False
    return True


CODECS: Mapping[str, CharacteristicCodec] = {
    CONTROL_POINT: decode_control_point,
    "2A85": _private("date_of_birth", 4, _is_date),
    "2A8C": _private("gender", 1, lambda value: value[0] < _GENDERS),
    "2A8E": _private("user_height", 2, lambda _value: True),
    "2A99": _private("database_change_increment", 4, lambda _value: True),
}
