"""Nellcor N-560, N-395, NPB-290, NPB-295: an oximeter that writes a line every two seconds, CR LF at its end.

    29-Dec-17 07:18:43    99      66      12                     date, time, %SpO2, pulse, amplitude, then codes
    29-Dec-17 07:21:13    96      63     ---    PS               numbers that are held while it looks for the pulse
`*` after a number: a limit is violated; `---`: none. Columns differ between models: fields are split at blanks. A
header of two or three lines comes every 25 lines. There is no checksum. The clock is often wrong, by years.
A trend that someone prints has the same lines, hours old: from a header with TREND in it until "Output Complete" or a
header without it no number is one of now.
Codes: SD sensor disconnected, SO sensor off, PS pulse search, LP loss of pulse: then no number counts. MO motion, LB
low battery, AO alarms off, AS alarms silenced, PH PL SH SL a limit of pulse or saturation.

Source: NPB-290 manual p. 64-69 (table B2, trend printout); captures in konz/cosmopusher, demo_stream.py and
n560reader_tests.py, and of a public Java reader. Nothing is sent.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.spot_check import SpotCheck

LONGEST_LINE = 128
LIMIT = 512

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LINE = re.compile(
    rb"(?P<day>[0-9]{2})-(?P<month>[A-Za-z]{3})-(?P<year>[0-9]{2}) (?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2}) +"
    rb"(?P<saturation>[0-9]{1,3}|---)(?P<star>\*?) +(?P<pulse>[0-9]{1,3}|---)(?P<star2>\*?) +(?:[0-9]{1,3}|---)\*?"
    rb"(?P<codes>(?: +[A-Z]{2})*) *\r\n\Z"
)
_HEADER = re.compile(rb"[ -~]*(?:VERSION .*LIMIT|TIME +%SPO2|(?:ADULT|NEO[A-Z]*) )[ -~]*\r\n\Z", re.IGNORECASE)
_TREND_ENDS = re.compile(rb" *Output Complete *\r\n\Z", re.IGNORECASE)
_TREND = ("trend", "a printed trend: what was measured earlier")
_NO_MEASUREMENT = {
    b"SD": ("sensor_disconnected", "no sensor is plugged in"),
    b"SO": ("sensor_off", "the sensor is on no finger"),
    b"LP": ("loss_of_pulse", "the pulse was lost"),
    b"PS": ("pulse_search", "it looks for the pulse; numbers beside that are held ones"),
}
_FLAGS = {
    b"MO": ("motion", "body_movement"),
    b"LB": ("low_battery",),
    b"AO": ("alarm_off",),
    b"AS": ("alarm_silenced",),
    b"PH": ("pulse_high",),
    b"PL": ("pulse_low",),
    b"SH": ("saturation_high",),
    b"SL": ("saturation_low",),
}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r\n", limit=LIMIT, keep=LONGEST_LINE, decode=_Lines().read)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return SpotCheck(Listening(codec(model.quirks)), model.spot_check)


class _Lines:
    """Reads lines, and knows whether a trend is being printed."""

    def __init__(self) -> None:
        self._trend = False

    def read(self, piece: bytes) -> list[Event]:
        """Answer a line's event. Noise may stand before it, never within it: the line has the piece's end."""
        found = _LINE.search(piece)
        if found is None:
            return [self._other(piece)]
        event = Notice(*_TREND, found[0]) if self._trend else _decode(found)
        return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]

    def _other(self, piece: bytes) -> Event:
        if _TREND_ENDS.fullmatch(piece):
            self._trend = False
            return Notice(*_TREND, piece)
        if not _HEADER.fullmatch(piece):
            return Rejected("bad_frame", piece)
        if b"VERSION" in piece.upper():
            self._trend = b"TREND" in piece.upper()
        return Notice("header", "model and limits, no measurement", piece)


def _decode(found: re.Match[bytes]) -> Event:
    line, codes = found[0], found["codes"].split()
    if not all(code in _NO_MEASUREMENT or code in _FLAGS for code in codes):
        return Rejected("unknown_status", line)
    for code, notice in _NO_MEASUREMENT.items():
        if code in codes:
            return Notice(*notice, line)
    try:
        device_time = _time(found)
    except ValueError:
        return Rejected("invalid_timestamp", line)
    saturation, pulse = _number(found["saturation"]), _number(found["pulse"])
    if not saturation:
        return Notice("no_data", "it shows no saturation", line)
    if saturation > 100:
        return Rejected("bad_number", line)
    measurements = [Measurement("oxygen_saturation", saturation, "%")]
    if pulse:
        measurements.append(Measurement("pulse_rate", pulse, "/min"))
    flags = [flag for code in codes for flag in _FLAGS[code]]
    if found["star"] or found["star2"]:
        flags.append("limit_violated")
    return Sample(tuple(measurements), tuple(dict.fromkeys(flags)), device_time=device_time, raw=line)


def _number(text: bytes) -> Decimal | None:
    return None if text == b"---" else Decimal(text.decode("ascii"))


def _time(found: re.Match[bytes]) -> datetime:
    """Answer what the oximeter's clock showed. Raises ValueError. Two-digit years are of 1970 to 2069."""
    month = found["month"].decode("ascii").lower()
    if month not in _MONTHS:
        raise ValueError(month)
    year = int(found["year"])
    hour, minute, second = map(int, found["time"].split(b":"))
    century = 1900 if year >= 70 else 2000
    return datetime(century + year, _MONTHS.index(month) + 1, int(found["day"]), hour, minute, second)  # noqa: DTZ001
