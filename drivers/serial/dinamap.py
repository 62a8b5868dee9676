"""GE Dinamap PRO and ProCare, CARESCAPE V100: host communications, polled, 9600 8N1. Pressure, temperature, oximetry.

A message, either way: unit ID (a blank), two letters, data, two check characters, CR. Replies:
    NA a b c dddd eee fff ggg     a status, b 1 adult 2 neonate, c 1 stat, d age in s, systolic, diastolic, mean
    OA a bbb c dd                 a status, b %SpO2, c signal 0 to 9, d averaging
    RA a bbb                      a 2 oximeter 3 cuff, b pulse; 0 or -99: none
    TC a b c ddddd eeee f         a status, b 0 predictive 1 monitor, c counter, d age in s, e tenths of a degree
A temperature is in Fahrenheit, whatever the display shows (f): the public driver that looks at f is wrong by the manual
that it quotes. Ages say 9999 and 99999 where there is none. Check: t = sum of (byte - 1F), then the characters
20 + (t >> 6) and 20 + (t & 3F).

Source: a public C# driver that quotes GE 2010566, a Ruby driver for the V100. No raw reply was ever published: that a
reply carries the check characters is taken from the commands, and a reply without them is refused.
Sent are NA, OA, RA and TC, which read. NC would inflate the cuff, ND would stop it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from drivers.ages import Ages, Fate
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample, Step
from drivers.framing import FramedCodec
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling
from drivers.spot_check import SpotCheck

# The rate after the pressure, since it may be the cuff's; before the saturation, since it may be the oximeter's.
REQUESTS = (b" NA!2\r", b" RA!6\r", b" OA!3\r", b" TC!:\r")
LONGEST_MESSAGE = 32
LIMIT = 256

_VALUE = rb"[0-9]{3}|-99|---| {3}"
_PRESSURE = re.compile(
    rb" NA(?P<status>[0-9])(?P<patient>[12])[01](?P<age>[0-9]{4})"
    rb"(?P<systolic>%b)(?P<diastolic>%b)(?P<mean>%b)[ -`]{2}\r\Z" % (_VALUE, _VALUE, _VALUE)
)
_SATURATION = re.compile(rb" OA(?P<status>[0-9])(?P<value>%b)(?P<signal>[0-9])[0-9]{2}[ -`]{2}\r\Z" % _VALUE)
_RATE = re.compile(rb" RA(?P<source>[23])(?P<value>%b)[ -`]{2}\r\Z" % _VALUE)
_TEMPERATURE = re.compile(
    rb" TC(?P<status>[0-9])(?P<mode>[01])(?P<counter>[0-9A-Z])(?P<age>[0-9]{5})(?P<value>[0-9]{4})[0-9][ -`]{2}\r\Z"
)
_REPLIES = (_PRESSURE, _SATURATION, _RATE, _TEMPERATURE)

_NO_PRESSURE = {
    b"0": ("busy", "the cuff is at work"),
    b"3": ("determination_failed", "the cuff could not measure"),
    b"4": ("pump_up_timeout", "the cuff did not fill in time: is it on the arm, is its hose whole?"),
    b"6": ("total_timeout", "the measurement took too long"),
    b"7": ("one_pressure_timeout", "the measurement took too long at one pressure: the arm moved"),
    b"8": ("overpressure_or_air_in_cuff", "the pressure in the cuff was too high, or air was left in it"),
    b"9": ("unknown_failure", "the monitor does not know why it failed"),
}
_NO_SATURATION = {
    b"0": ("standby", "the oximeter rests"),
    b"3": ("no_data", "the oximeter sees no pulse"),
    b"6": ("unplugged", "no sensor is plugged in"),
}
_NO_TEMPERATURE = {
    b"1": ("measuring", "the thermometer is at work"),
    b"2": ("timeout", "the thermometer found no temperature in time"),
    b"3": ("tissue_contact_or_probe", "the probe lost its contact, or it is broken"),
    b"4": ("aborted", "the measurement was ended"),
}
_OXIMETER = b"2"
_AGE_NONE = {b"9999", b"99999"}
_NO_RESULT = {"busy", "measuring", "none_yet"}

_REPEAT = Notice("repeat", "this reading was told already")
_OLD = Notice("old_record", "a reading from before the port was opened")
_COMPANION = Notice("companion", "a rate that belongs to a reading beside it")


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return FramedCodec(b"\r", limit=LIMIT, keep=2 * LONGEST_MESSAGE, decode=_piece)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    polled = Polling(Listening(codec(model.quirks)), REQUESTS, model.polling)
    return SpotCheck(_Monitor(polled), model.spot_check)


def _piece(piece: bytes) -> list[Event]:
    """Answer a message's event. Noise may stand before it, never within it: the message has the piece's end."""
    found = next((found for reply in _REPLIES if (found := reply.search(piece))), None)
    if found is None:
        return [Rejected("unknown_reply", piece)]
    event = _decode(found) if _check(found[0][:-3]) == found[0][-3:-1] else Rejected("checksum", found[0])
    return [Rejected("noise", piece[: found.start()]), event] if found.start() else [event]


def _check(message: bytes) -> bytes:
    total = sum(byte - 0x1F for byte in message)
    return bytes((0x20 + (total >> 6), 0x20 + (total & 0x3F)))


def _decode(found: re.Match[bytes]) -> Event:
    if found.re is _PRESSURE:
        return _pressure(found)
    if found.re is _SATURATION:
        return _saturation(found)
    if found.re is _TEMPERATURE:
        return _temperature(found)
    rate = _number(found["value"])
    if not rate:
        return Notice("no_data", "there is no pulse rate", found[0])
    return Sample((Measurement("pulse_rate", rate, "/min"),), raw=found[0])


def _pressure(found: re.Match[bytes]) -> Event:
    message, status = found[0], found["status"]
    if status != b"1":
        notice = _NO_PRESSURE.get(status)
        return Notice(*notice, message) if notice else Rejected("unknown_status", message)
    systolic, diastolic, mean = (_number(found[name]) for name in ("systolic", "diastolic", "mean"))
    if not systolic or not diastolic or found["age"] in _AGE_NONE:
        return Notice("none_yet", "there is no pressure", message)
    measurements = [Measurement("systolic", systolic, "mm[Hg]"), Measurement("diastolic", diastolic, "mm[Hg]")]
    if mean:
        measurements.append(Measurement("mean_arterial_pressure", mean, "mm[Hg]"))
    return Sample(tuple(measurements), ("neonate",) if found["patient"] == b"2" else (), raw=message)


def _saturation(found: re.Match[bytes]) -> Event:
    message, status = found[0], found["status"]
    if status != b"1":
        notice = _NO_SATURATION.get(status)
        return Notice(*notice, message) if notice else Rejected("unknown_status", message)
    saturation = _number(found["value"])
    if not saturation:
        return Notice("no_data", "the oximeter shows no saturation", message)
    if saturation > 100:
        return Rejected("bad_number", message)
    flags = ("low_signal",) if found["signal"] == b"0" else ()
    return Sample((Measurement("oxygen_saturation", saturation, "%"),), flags, raw=message)


def _temperature(found: re.Match[bytes]) -> Event:
    message, status = found[0], found["status"]
    if status != b"0":
        notice = _NO_TEMPERATURE.get(status)
        return Notice(*notice, message) if notice else Rejected("unknown_status", message)
    tenths = Decimal(found["value"].decode("ascii"))
    if not tenths or found["age"] in _AGE_NONE:
        return Notice("none_yet", "there is no temperature", message)
    if found["mode"] == b"1":
        return Notice("monitor_mode_not_final", "the probe is watched, nothing was measured to its end", message)
    return Sample((Measurement("body_temperature", tenths.scaleb(-1), "[degF]"),), ("predicted",), raw=message)


def _number(text: bytes) -> Decimal | None:
    return Decimal(text.decode("ascii")) if text.isdigit() else None


class _Monitor:
    """Lets each determination of `driver` through once (drivers/ages.py), and puts the pulse beside what it belongs to.

    A pressure waits for the next reply, which is the rate: where the cuff counted it, it goes out with the pressure.
    A failed determination is told once, as a measured one is.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._ages = {b"NA": Ages(5400), b"TC": Ages(99999)}
        self._waiting: Sample | None = None  # a pressure, for the cuff's pulse
        self._pulse: Sample | None = None  # the oximeter's, of this round

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        step = self._driver.feed(data, now)
        return replace(step, events=tuple(out for event in step.events for out in self._take(event, now)))

    def tick(self, now: float) -> Step:
        """Take note of the time; a round without a rate ends here. See Driver."""
        step = self._driver.tick(now)
        return replace(step, events=(*self._release(), *step.events))

    def close(self, now: float) -> Step:
        """Answer what still waits; see Driver."""
        events = [out for event in self._driver.close(now).events for out in self._take(event, now)]
        return Step((*events, *self._release()))

    def _take(self, event: Event, now: float) -> list[Event]:
        if isinstance(event, Rejected):
            return [event]
        name = event.raw[1:3]
        if name == b"RA":
            return self._take_rate(event)
        if name == b"OA":
            if isinstance(event, Sample) and self._pulse is not None:
                return [replace(event, measurements=event.measurements + self._pulse.measurements)]
            return [event]
        released = self._release()
        found = (_PRESSURE if name == b"NA" else _TEMPERATURE).search(event.raw)
        if found is None:
            return [*released, event]
        if name == b"NA":
            self._pulse = None
        return [*released, *self._judge(event, found, self._ages[name], now)]

    def _judge(self, event: Event, found: re.Match[bytes], ages: Ages, now: float) -> list[Event]:
        """Answer what a determination is: new, the one before, or from before us."""
        if isinstance(event, Notice) and event.code == "none_yet":
            ages.none_yet()
        if (isinstance(event, Notice) and event.code in _NO_RESULT) or found["age"] in _AGE_NONE:
            return [event]
        fate = ages.fate(int(found["age"]), found.groupdict().get("counter", b""), now)
        if fate in (Fate.SAME, Fate.OLD):
            return [_REPEAT if fate is Fate.SAME else _OLD]
        if not isinstance(event, Sample):
            return [event if fate is Fate.NEW else _OLD]
        if fate is Fate.STORED:
            event = replace(event, flags=(*event.flags, "stored", "possible_repeat"))
        if found.re is _TEMPERATURE:
            return [event]
        self._waiting = event
        return []

    def _take_rate(self, event: Event) -> list[Event]:
        if not isinstance(event, Sample):
            return [*self._release(), _COMPANION]
        if event.raw[3:4] == _OXIMETER:
            self._pulse = event
        elif self._waiting is not None:
            measurements = self._waiting.measurements + event.measurements
            self._waiting = replace(self._waiting, measurements=measurements, raw=self._waiting.raw + event.raw)
        return [*self._release(), _COMPANION]

    def _release(self) -> list[Event]:
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]
