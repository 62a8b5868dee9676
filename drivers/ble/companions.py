"""What goes with every profile: clock, battery, device information, connection preferences. No vital is among it.

1. Each is one notice; its detail says it in words. A text that is empty is one, too.
2. Texts are UTF-8, padded with NUL or spaces by some; what cannot be printed is left out, and they are bounded.
3. A date that is not known (year, month or day 0) is told as such: it is no time, and no reason to refuse.

Sources: Bluetooth GATT Specification Supplement and Assigned Numbers (appearance values); Core Specification, vol. 3,
part C, 12 (2A00, 2A01, 2A04).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from drivers.ble import current_time, date_time, record_access
from drivers.contract import CharacteristicCodec, Event, Notice, Rejected

TEXT_LIMIT = 64  # characters of a device's own words: more than any name plate has

_TEXTS = {
    "2A00": "device_name",
    "2A24": "model_number",
    "2A25": "serial_number",
    "2A26": "firmware_revision",
    "2A27": "hardware_revision",
    "2A28": "software_revision",
    "2A29": "manufacturer_name",
}
_APPEARANCES = {
    0x0300: "thermometer",
    0x0301: "thermometer, ear",
    0x0340: "heart rate sensor",
    0x0341: "heart rate sensor, belt",
    0x0380: "blood pressure",
    0x0381: "blood pressure, arm",
    0x0382: "blood pressure, wrist",
    0x0C40: "pulse oximeter",
    0x0C41: "pulse oximeter, fingertip",
    0x0C42: "pulse oximeter, wrist",
    0x0C80: "weight scale",
}
_INTERVAL_MS, _TIMEOUT_MS, _NO_PREFERENCE = 1.25, 10, 0xFFFF


def decode_current_time(value: bytes) -> Event:
    """2A2B: answer what the device's clock shows, and why it was changed."""
    told = _clock("current_time", current_time.LENGTH, current_time.decode, value)
    if isinstance(told, Rejected):
        return told
    changed = ", ".join(current_time.reasons(value))
    return Notice(told.code, f"{told.detail}; changed: {changed}" if changed else told.detail, value)


def decode_date_time(value: bytes) -> Event:
    """2A08: answer what the device's clock shows."""
    return _clock("date_time", date_time.LENGTH, date_time.decode, value)


def decode_battery(value: bytes) -> Event:
    """2A19, and service data 180F: answer the battery's level in per cent."""
    if len(value) != 1:
        return Rejected("length", value)
    if value[0] > 100:
        return Rejected("above_100_percent", value)
    return Notice("battery", f"{value[0]} %", value)


def decode_appearance(value: bytes) -> Event:
    """2A01: answer what kind of device it says that it is."""
    if len(value) != 2:
        return Rejected("length", value)
    appearance = int.from_bytes(value, "little")
    return Notice("appearance", _APPEARANCES.get(appearance, f"0x{appearance:04X}"), value)


def decode_connection_preferences(value: bytes) -> Event:
    """2A04: answer the connection that the device would like: interval, latency, supervision timeout."""
    if len(value) != 8:
        return Rejected("length", value)
    shortest, longest, latency, timeout = struct.unpack("<4H", value)
    words = (
        f"interval {_preferred(shortest, _INTERVAL_MS)} to {_preferred(longest, _INTERVAL_MS)}",
        f"latency {latency}",
        f"timeout {_preferred(timeout, _TIMEOUT_MS)}",
    )
    return Notice("connection_preferences", ", ".join(words), value)


def decode_text(code: str, value: bytes) -> Event:
    """Answer a device's own words as the notice `code`."""
    return Notice(code, text(value) or "", value)


def text(value: bytes) -> str | None:
    """Answer a device's own words: UTF-8, padding taken off, what cannot be printed left out; None if none is left."""
    words = value.decode("utf-8", "ignore")[: 2 * TEXT_LIMIT]
    printed = "".join(character for character in words if character.isprintable())
    return printed.strip()[:TEXT_LIMIT].rstrip() or None


CODECS: Mapping[str, CharacteristicCodec] = {
    "2A01": decode_appearance,
    "2A04": decode_connection_preferences,
    "2A08": decode_date_time,
    "2A19": decode_battery,
    "2A2B": decode_current_time,
    "2A52": record_access.decode,
    **{uuid: partial(decode_text, code) for uuid, code in _TEXTS.items()},
}


def _clock(code: str, length: int, decode: Callable[[bytes], datetime | None], value: bytes) -> Notice | Rejected:
    if len(value) != length:
        return Rejected("length", value)
    try:
        shown = decode(value)
    except ValueError:
        return Rejected("invalid_date_time", value)
    if shown is None:
        hour, minute, second = value[4:7]
        return Notice(code, f"date not known, {hour:02}:{minute:02}:{second:02}", value)
    return Notice(code, shown.isoformat(" ", "milliseconds" if shown.microsecond else "seconds"), value)


def _preferred(count: int, unit_ms: float) -> str:
    return "any" if count == _NO_PREFERENCE else f"{count * unit_ms:g} ms"
