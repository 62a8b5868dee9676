"""TaiDoc and FORA, D40 (TD-3261) and IR42: meters with a memory that is read record by record, 19200 8N1 by cable.

A frame: 51, command, d0 d1 d2 d3, end (A3 from the host, A5 from the device), sum of these seven modulo 256. A record
is two frames; what the bytes of the second mean, the second tells by what can be in it, or the row of the device:
    25 time    d1 d0 year 7 bits, month 4, day 5 · d3 hour (low 5 bits) · d2 minute (low 6)
               D40: d2 80 pressure, 40 arrhythmia · d3 80 average, 60 irregular beats
               thermometer: d3 80 Fahrenheit · d3 20 and d2 C0 mode: ear, forehead, rectal, armpit, thing, room, child
    26 value   D40: systolic, d1, diastolic, pulse
               thermometer: low 12 bits of d1 d0 temperature, d3 d2 that of the room, in tenths
Sources read d1 of a pressure as the mean or as the high byte of the systolic: in all captures it is 0, and where it is
not, the record is refused. FF is invalid. A temperature whose unit is not told is read where it can only be Celsius;
one that does not fit its unit is refused. What is measured on things and rooms is no body's.

Source: YentingChia-Ultron/Ultron-esp32BLE gatt_client_myTest/main/foraThermometer.c and .h, gatt_client_fora/main/
foraBPG.c; markchuang56/iOS-Demo h2SyncLib/BLE_VENDOR/FORA_MTI/ForaD40.h; captures of a D40b and an IR42 (by
Bluetooth, the same frames). Sent are 25 and 26 of record 0, which read; 52 would erase the memory, 43 inflate the cuff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from drivers.checksums import sum8
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample, Step
from drivers.framing import ScannedCodec, sized
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.polling import Polling

FRAME = 8
FROM_DEVICE = 0xA5
TIME, VALUE = bytes.fromhex("51 25 00000000 A3 19"), bytes.fromhex("51 26 00000000 A3 1A")
# The time before and after the value: a measurement that comes between them must not get another one's time.
REQUESTS = (TIME, VALUE, TIME)
# Who has not seen the memory for longer cannot know when its newest record was measured.
WATCHED_S = 10.0

_READS_TIME, _READS_VALUE, _ACKNOWLEDGED = 0x25, 0x26, {0x23: "clock", 0x24: "model", 0x2B: "record_count"}
_NONE = 0xFF
_SITES = {0: "ear", 1: "forehead", 2: "rectal", 3: "axillary", 6: None}  # 6: child, where is not told
_THINGS = (4, 5)
_BODY = {"Cel": (Decimal(20), Decimal(46)), "[degF]": (Decimal(68), Decimal("114.8"))}
# What tells the two kinds of value apart: no room has 128 degrees, no pulse is below 20.
_WARMEST_ROOM, _SLOWEST_PULSE = 4, 20

_NO_DATA = ("no_data", "there is no record, or it holds no measurement")
_OTHER_KIND = ("not_a_vital", "a record of another kind, such as glucose")
_OLD_FLAGS = ("stored", "possible_repeat")
_REPEAT = Notice("repeat", "this record was told already")
_UNSETTLED = Notice("unsettled", "a record that was not read whole")


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return codec_of("")


def codec_of(kind: str) -> Codec:
    """Answer the codec of a device of this kind; a kind that is not known is told from what a record can hold."""
    return _Halves(kind)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return _Newest(Polling(Listening(_Halves(model.kind)), REQUESTS, model.polling))


def frames(decode: Callable[[bytes], Event]) -> ScannedCodec:
    """Answer a codec of whole frames; `decode` is handed those whose sum holds."""
    scan = sized(b"\x51", lambda _: FRAME, head=1, good=lambda frame: sum8(frame[:-1]) == frame[-1])
    return ScannedCodec(scan, decode, longest=FRAME)


class _Halves:
    """Reads a value by the time frame before it. `kind` is the device's, where it is known."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._time: bytes | None = None
        self._codec = frames(self._decode)
        self.limit = self._codec.limit

    def feed(self, data: bytes) -> list[Event]:
        """Answer the events that `data` completes; see Codec."""
        return self._codec.feed(data)

    def flush(self) -> list[Event]:
        """Give up half a frame, and half a record; see Codec."""
        events = self._codec.flush()
        self._time = None
        return events

    def _decode(self, frame: bytes) -> Event:
        command = frame[1]
        if frame[6] != FROM_DEVICE:
            return Rejected("unknown_reply", frame)
        if command == _READS_TIME:
            self._time = frame
            if frame[2:6] == bytes([_NONE] * 4):
                return Notice(*_NO_DATA, frame)
            return Notice("record_time", "when the record was measured that is read next", frame)
        if command == _READS_VALUE:
            time, self._time = self._time, None
            return _value(frame, time, self._kind)
        if command in _ACKNOWLEDGED:
            return Notice(_ACKNOWLEDGED[command], "the device answered a question", frame)
        return Rejected("unknown_reply", frame)


def _value(frame: bytes, time: bytes | None, kind: str) -> Event:
    low, high, third, fourth = frame[2:6]
    if low == _NONE and high == _NONE:
        return Notice(*_NO_DATA, frame)
    if kind == "blood_pressure" and time is not None and not time[4] & 0x80:
        return Notice(*_OTHER_KIND, frame)
    try:
        device_time = None if time is None else clock(time)
    except ValueError:
        return Rejected("invalid_timestamp", frame)
    if fourth <= _WARMEST_ROOM or third == fourth == _NONE:
        if kind == "blood_pressure":
            return Notice(*_OTHER_KIND, frame)
        event = _temperature(frame, time)
    elif fourth >= _SLOWEST_PULSE and kind != "thermometer":
        event = _pressure(frame, time)
    else:
        return Rejected("unknown_record", frame)
    return replace(event, device_time=device_time) if isinstance(event, Sample) else event


def _temperature(frame: bytes, time: bytes | None) -> Event:
    tenths = int.from_bytes(frame[2:4], "little") & 0x0FFF
    if tenths in (0, 0x0FFF):
        return Notice(*_NO_DATA, frame)
    unit, mode = "Cel", None
    if time is not None:
        unit = "[degF]" if time[5] & 0x80 else "Cel"
        mode = (time[5] & 0x20) >> 3 | time[4] >> 6
        if mode in _THINGS:
            return Notice("not_body_temperature", "it was set to measure a thing or the room", frame)
        if mode not in _SITES:
            return Rejected("unknown_site", frame)
    value = Decimal(tenths).scaleb(-1)
    lowest, highest = _BODY[unit]
    if not lowest <= value <= highest:
        return Rejected("out_of_range" if time is not None else "no_unit", frame)
    site = None if mode is None else _SITES[mode]
    return Sample((Measurement("body_temperature", value, unit),), raw=frame, site=site)


def _pressure(frame: bytes, time: bytes | None) -> Event:
    systolic, mean, diastolic, pulse = frame[2:6]
    if time is not None and not time[4] & 0x80:
        return Notice(*_OTHER_KIND, frame)
    if mean:
        return Rejected("unresolved_mean", frame)
    if systolic in (0, _NONE) or diastolic in (0, _NONE):
        return Notice(*_NO_DATA, frame)
    measurements = [
        Measurement("systolic", Decimal(systolic), "mm[Hg]"),
        Measurement("diastolic", Decimal(diastolic), "mm[Hg]"),
    ]
    if pulse != _NONE:
        measurements.append(Measurement("pulse_rate", Decimal(pulse), "/min"))
    flags = []
    if time is not None and (time[4] & 0x40 or time[5] & 0x60):
        flags.append("irregular_pulse")
    if time is not None and time[5] & 0x80:
        flags.append("averaged")
    return Sample(tuple(measurements), tuple(flags), raw=frame)


def clock(time: bytes) -> datetime:
    """Answer the minute that a frame tells, of a record (25) or of the clock (23). Raises ValueError."""
    date = int.from_bytes(time[2:4], "little")
    day = (2000 + (date >> 9), date >> 5 & 0x0F, date & 0x1F)
    return datetime(*day, time[5] & 0x1F, time[4] & 0x3F)  # noqa: DTZ001 - a device's clock has no zone


class _Newest:
    """Lets the newest record of `driver` through once, and tells whether it can have been measured just now.

    1. A record is what its two frames say; it counts only where its time stood the same before and after its value.
    2. The same record is the same measurement, however often it is asked for.
    3. Another one, not earlier by the device's clock, is of now if the memory was looked at in the last `WATCHED_S`.
    4. All else is told as stored: what was there before us, or is earlier since somebody deleted what was newer.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._time = b""  # the frame before, of this round
        self._waiting: Sample | Notice | None = None  # what was read between two times
        self._known: tuple[bytes, bytes] | None = None
        self._latest = datetime.min  # noqa: DTZ901 - a device's clock has no zone
        self._seen_at: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        return self._step(self._driver.feed(data, now), now)

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._driver.tick(now), now)

    def close(self, now: float) -> Step:
        """Give up a record that was not read whole; see Driver."""
        step = self._step(self._driver.close(now), now)
        return Step((*step.events, *self._give_up()))

    def _step(self, step: Step, now: float) -> Step:
        return replace(step, events=tuple(out for event in step.events for out in self._take(event, now)))

    def _take(self, event: Event, now: float) -> list[Event]:
        command = event.raw[1:2]
        if isinstance(event, Rejected) or command not in (TIME[1:2], VALUE[1:2]):
            return [event]
        if command == VALUE[1:2]:
            return self._take_value(event)
        if event == Notice(*_NO_DATA, event.raw):
            self._time, self._known, self._seen_at = b"", None, now
            return [*self._give_up(), event]
        waiting, before, self._time = self._waiting, self._time, event.raw
        if waiting is None or event.raw != before:
            return [*self._give_up(), event]
        self._waiting = None
        return [self._judge(waiting, now), event]

    def _take_value(self, event: Sample | Notice) -> list[Event]:
        dropped = self._give_up()
        if isinstance(event, Notice) and event.code == _NO_DATA[0]:
            return [*dropped, event]
        if not self._time or (isinstance(event, Sample) and event.device_time is None):
            return [*dropped, Rejected("no_record_time", event.raw)]
        self._waiting = event
        return dropped

    def _give_up(self) -> list[Event]:
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [_UNSETTLED]

    def _judge(self, event: Sample | Notice, now: float) -> Event:
        """Answer what a record is, of a vital or of something else: told, new or stored."""
        watched = self._seen_at is not None and now - self._seen_at <= WATCHED_S
        self._seen_at = now
        record = (self._time, event.raw)
        if record == self._known:
            return _REPEAT
        at = clock(self._time)
        is_new = watched and at >= self._latest
        self._known, self._latest = record, at
        return event if is_new or isinstance(event, Notice) else replace(event, flags=(*event.flags, *_OLD_FLAGS))
