"""Masimo Rad-8, Rad-5, Radical-7, Rad-87: an oximeter that writes ASCII 1, a line a second, 9600 8N1.

    02/24/18 04:48:53 SN=0000145838 SPO2=097% BPM=080 PI=04.96% SPCO=--.-% … ALARM=0000 EXC=000800
    09/21/08 09:56:12 SpO2=097 PR=069 PI=04.69 EXC=800:SET          a trend, printed from memory
Month, day, year. A line ends in CR LF or in LF CR: it is cut at LF, and a CR before the next line is its own. Dashes:
none. SN may be absent; what stands between PI and ALARM differs between models and is not read. There is no checksum.
EXC says what is wrong, and numbers stay beside it: 98 % and 240 with "sensor off". Of its bits only 800 (SET runs), 400
(low signal IQ) and 004 (low perfusion) leave a measurement; zeros beside 800 occur and are none. ALARM is about limits.
The two have four and six digits, or two and three: a digit that got lost would be another exception.
A trend is what was measured earlier: its samples are `stored`, and the driver leaves the whole of it out.

Source: Masimo Rad-8 manual p. 49, Rad-87 p. 93; MD PnP poxrad_discrete.h (examples, bits above 800); lines of a Rad-8
in yahnatan/pulseox. Nothing is sent.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample, Step
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.spot_check import SpotCheck

LONGEST_LINE = 256
LIMIT = 1024

_CLOCK = rb"(?P<time>[0-9]{2}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})"
_WHOLE, _PERFUSION = rb"[0-9]{3}|---", rb"[0-9]{2}\.[0-9]{2}|--\.--"
_OTHERS = rb"(?P<others>(?: [A-Za-z][A-Za-z0-9]{1,7}=[-+0-9.]{1,8}%?)*)"
_LIVE = re.compile(
    _CLOCK + rb"(?: SN=[0-9A-Za-z-]{1,16})? SPO2=(?P<saturation>%b)%% BPM=(?P<pulse>%b) PI=(?P<perfusion>%b)%%%b"
    rb" ALARM=(?P<alarm>[0-9A-F]{2}|[0-9A-F]{4}) EXC=(?P<exception>[0-9A-F]{3}|[0-9A-F]{6})\r?\n\Z"
    % (_WHOLE, _WHOLE, _PERFUSION, _OTHERS)
)
_TREND = re.compile(
    _CLOCK + rb" SpO2=(?P<saturation>%b)%b PR=(?P<pulse>%b) PI=(?P<perfusion>%b)"
    rb" EXC=(?P<exception>[0-9A-F]{3}):[A-Za-z,]*\r?\n\Z" % (_WHOLE, _OTHERS, _WHOLE, _PERFUSION)
)
_READ = {b"SPO2", b"BPM", b"PR", b"PI", b"SN", b"ALARM", b"EXC"}

_NO_MEASUREMENT = {
    0x001: ("no_sensor", "no sensor is plugged in"),
    0x002: ("defective_sensor", "the sensor is broken"),
    0x080: ("unrecognized_sensor", "it does not know this sensor"),
    0x020: ("sensor_off", "the sensor is on no finger; numbers beside that are held ones"),
    0x008: ("pulse_search", "it looks for the pulse; numbers beside that are held ones"),
    0x010: ("interference", "something disturbs the signal"),
    0x040: ("ambient_light", "there is too much light at the sensor"),
}
_OTHER_EXCEPTION = ("exception", "it reports something that makes its numbers doubtful: see its display")
_QUALITY = {0x004: ("low_perfusion", "low_signal"), 0x400: ("low_signal_iq", "low_signal"), 0x800: ("masimo_set",)}
_ALARMS = {
    0x01: "saturation_high",
    0x02: "saturation_low",
    0x04: "pulse_high",
    0x08: "pulse_low",
    0x10: "alarm_active",
    0x20: "alarm_silenced",
    0x40: "low_battery",
}
_PRINTED = Notice("trend", "a printed trend: what was measured earlier")


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\n", limit=LIMIT, keep=LONGEST_LINE, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return SpotCheck(_Now(Listening(codec(model.quirks))), model.spot_check)


class _Now:
    """Lets through what is measured now: a trend's line is no finger in the sensor."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        return self._step(self._driver.feed(data, now))

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._driver.tick(now))

    def close(self, now: float) -> Step:
        """Answer what can still be said; see Driver."""
        return self._step(self._driver.close(now))

    def _step(self, step: Step) -> Step:
        return replace(step, events=tuple(_PRINTED if _is_printed(event) else event for event in step.events))


def _is_printed(event: Event) -> bool:
    """Whether a line is of a trend: only there SpO2 is written so."""
    return not isinstance(event, Rejected) and b" SpO2=" in event.raw


def _piece(piece: bytes) -> list[Event]:
    """Answer a line's event. Noise may stand before it, never within it: the line has the piece's end."""
    found = _LIVE.search(piece) or _TREND.search(piece)
    if found is None:
        return [Rejected("bad_frame", piece)]
    begin = found.start()
    if piece[:begin] == b"\r" and not piece.endswith(b"\r\n"):
        begin = 0  # the line before ended in LF CR
    event = _decode(found, piece[begin:])
    return [Rejected("noise", piece[:begin]), event] if begin else [event]


def _decode(found: re.Match[bytes], line: bytes) -> Event:
    names = [field.split(b"=")[0].upper() for field in found["others"].split()]
    if len(set(names) | _READ) != len(names) + len(_READ):
        return Rejected("duplicate_field", line)
    if found.re is _LIVE and 3 * len(found["alarm"]) != 2 * len(found["exception"]):
        return Rejected("bad_frame", line)
    exception = int(found["exception"], 16)
    for bit, notice in _NO_MEASUREMENT.items():
        if exception & bit:
            return Notice(*notice, line)
    if exception & ~sum(_QUALITY):
        return Notice(*_OTHER_EXCEPTION, line)
    try:
        device_time = datetime.strptime(found["time"].decode("ascii"), "%m/%d/%y %H:%M:%S")  # noqa: DTZ007
    except ValueError:
        return Rejected("invalid_timestamp", line)
    saturation, pulse, perfusion = (_number(found[name]) for name in ("saturation", "pulse", "perfusion"))
    if not saturation:
        return Notice("no_data", "it shows no saturation", line)
    if saturation > 100:
        return Rejected("bad_number", line)
    measurements = [Measurement("oxygen_saturation", saturation, "%")]
    if pulse:
        measurements.append(Measurement("pulse_rate", pulse, "/min"))
    if perfusion:
        measurements.append(Measurement("perfusion_index", perfusion, "%"))
    flags = [flag for bit, names in _QUALITY.items() if exception & bit for flag in names]
    if found.re is _TREND:
        flags.append("stored")
    else:
        flags += [flag for bit, flag in _ALARMS.items() if int(found["alarm"], 16) & bit]
    return Sample(tuple(measurements), tuple(dict.fromkeys(flags)), device_time=device_time, raw=line)


def _number(text: bytes) -> Decimal | None:
    return None if text.startswith(b"-") else Decimal(text.decode("ascii"))
