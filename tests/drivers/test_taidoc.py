"""TaiDoc: a record is two frames, and the newest one in a memory need not be of now."""

from __future__ import annotations

from datetime import datetime

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model

EMPTY = b"\xff\xff\xff\xff"


def frame(command: int, data: bytes, end: int = 0xA5) -> bytes:
    body = bytes((0x51, command)) + data + bytes((end,))
    return body + bytes((sum(body) % 256,))


def time(minute: int = 9, minute_bits: int = 0, hour_bits: int = 0, *, hour: int = 8, month: int = 3) -> bytes:
    date = 26 << 9 | month << 5 | 14
    return frame(0x25, date.to_bytes(2, "little") + bytes((minute | minute_bits, hour | hour_bits)))


def value(*numbers: int) -> bytes:
    return frame(0x26, bytes(numbers))


def warm(tenths: int, room: int = 270) -> bytes:
    return value(*tenths.to_bytes(2, "little"), *room.to_bytes(2, "little"))


def decoded(said: bytes) -> Event:
    codec = registry.codec("taidoc", Quirks())
    return (codec.feed(said) + codec.flush())[-1]


@pytest.mark.parametrize(
    ("said", "value", "unit", "site"),
    [
        (time() + warm(370), "37.0", "Cel", "ear"),
        (time(minute_bits=0x40) + warm(370), "37.0", "Cel", "forehead"),
        (time(minute_bits=0x80) + warm(370), "37.0", "Cel", "rectal"),
        (time(minute_bits=0xC0) + warm(370), "37.0", "Cel", "axillary"),
        (time(minute_bits=0x80, hour_bits=0x20) + warm(370), "37.0", "Cel", None),
        (time(hour_bits=0x80) + warm(986, 806), "98.6", "[degF]", "ear"),
        (time(hour_bits=0x80) + warm(1004, 806), "100.4", "[degF]", "ear"),
        (time() + warm(370, 0xFFFF), "37.0", "Cel", "ear"),
        (warm(0xF000 | 370), "37.0", "Cel", None),
        (bytes.fromhex("51267201EA00A579"), "37.0", "Cel", None),
    ],
)
def test_it_is_a_temperature(said: bytes, value: str, unit: str, site: str | None) -> None:
    event = decoded(said)
    assert isinstance(event, Sample)
    (measurement,) = event.measurements
    assert (measurement.kind, format(measurement.value, "f"), measurement.unit) == ("body_temperature", value, unit)
    assert event.site == site
    assert event.device_time == (datetime(2026, 3, 14, 8, 9) if len(said) > 8 else None)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (time(minute_bits=0x80) + value(104, 0, 79, 97), ()),
        (time(minute_bits=0xC0) + value(104, 0, 79, 97), ("irregular_pulse",)),
        (time(minute_bits=0x80, hour_bits=0x20) + value(104, 0, 79, 97), ("irregular_pulse",)),
        (time(minute_bits=0x80, hour_bits=0x80) + value(104, 0, 79, 97), ("averaged",)),
    ],
)
def test_it_is_a_pressure(said: bytes, flags: tuple[str, ...]) -> None:
    event = decoded(said)
    assert isinstance(event, Sample)
    assert [int(m.value) for m in event.measurements] == [104, 79, 97]
    assert event.flags == flags


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (time(minute_bits=0x00, hour_bits=0x20) + warm(370), "not_body_temperature"),
        (time(minute_bits=0x40, hour_bits=0x20) + warm(370), "not_body_temperature"),
        (time(minute_bits=0xC0, hour_bits=0x20) + warm(370), "unknown_site"),
        (time() + warm(986), "out_of_range"),
        (time(hour_bits=0x80) + warm(370), "out_of_range"),
        (time() + warm(3698), "out_of_range"),
        (warm(986), "no_unit"),
        (warm(0x0FFF), "no_data"),
        (warm(0), "no_data"),
        (warm(0xFFFF), "no_data"),
        (frame(0x26, EMPTY), "no_data"),
        (frame(0x25, EMPTY), "no_data"),
        (frame(0x25, EMPTY) + warm(370), "invalid_timestamp"),
        (time(month=13) + warm(370), "invalid_timestamp"),
        (time(minute=60) + warm(370), "invalid_timestamp"),
        (value(104, 87, 79, 97), "unresolved_mean"),
        (value(4, 1, 179, 97), "unresolved_mean"),
        (value(0, 0, 79, 97), "no_data"),
        (value(104, 0, 255, 97), "no_data"),
        (value(104, 0, 79, 12), "unknown_record"),
        (time() + value(104, 0, 79, 97), "not_a_vital"),
        (frame(0x24, b"\x61\x32\x00\x00"), "model"),
        (frame(0x2B, b"\x07\x00\x00\x00"), "record_count"),
        (frame(0x52, bytes(4)), "unknown_reply"),
        (frame(0x26, bytes((0x72, 1, 14, 1)), end=0xA3), "unknown_reply"),
    ],
)
def test_it_is_none(said: bytes, word: str) -> None:
    event = decoded(said)
    assert not isinstance(event, Sample)
    assert (event.code if isinstance(event, Notice) else event.reason) == word


def test_a_pulse_that_is_invalid_is_left_out() -> None:
    event = decoded(value(104, 0, 79, 255))
    assert isinstance(event, Sample)
    assert [m.kind for m in event.measurements] == ["systolic", "diastolic"]


def test_a_time_belongs_to_the_next_value_alone() -> None:
    codec = registry.codec("taidoc", Quirks())
    codec.feed(time(hour_bits=0x80))
    codec.flush()
    (event,) = codec.feed(warm(370))
    assert isinstance(event, Sample)
    assert (event.device_time, event.measurements[0].unit) == (None, "Cel")


class Meter:
    """A driver that is answered with one record after another, a round every two seconds."""

    def __init__(self, model: str = "fora-ir42") -> None:
        self.driver = registry.driver(load_model(model))
        self.now = 0.0
        self.driver.tick(0.0)

    def round(self, *said: bytes) -> list[Event]:
        self.now += 2.0
        events = list(self.driver.tick(self.now).events)
        for one in said:
            self.now += 0.02
            events += self.driver.feed(one, self.now).events
        return events

    def holds(self, at: bytes, what: bytes) -> list[tuple[str, ...]]:
        return [event.flags for event in self.round(at, what, at) if isinstance(event, Sample)]


STORED = ("stored", "possible_repeat")


def test_what_was_there_before_us_is_stored_and_what_comes_then_is_of_now() -> None:
    meter = Meter()
    assert meter.holds(time(9), warm(370)) == [STORED]
    assert meter.holds(time(9), warm(370)) == []
    assert meter.holds(time(9), warm(371)) == [()], "another one within the same minute"
    assert meter.holds(time(10), warm(371)) == [()], "two equal ones are two"
    assert meter.holds(time(10), warm(371)) == []


def test_the_first_record_of_an_empty_memory_is_of_now() -> None:
    meter = Meter()
    assert meter.holds(frame(0x25, EMPTY), frame(0x26, EMPTY)) == []
    assert meter.holds(time(9), warm(370)) == [()]


def test_what_comes_to_light_when_a_newer_one_is_deleted_is_stored() -> None:
    meter = Meter()
    meter.holds(time(9), warm(370))
    assert meter.holds(time(5), warm(380)) == [STORED]


def test_after_a_silence_another_record_is_stored_and_the_same_one_is_none() -> None:
    meter = Meter()
    meter.holds(time(9), warm(370))
    meter.now += 60.0
    assert meter.holds(time(9), warm(370)) == []
    meter.now += 60.0
    assert meter.holds(time(11), warm(374)) == [STORED]


def test_a_record_that_changes_while_it_is_read_is_read_again() -> None:
    meter = Meter()
    meter.holds(time(9), warm(370))
    events = meter.round(time(9), warm(385), time(12))
    assert not [event for event in events if isinstance(event, Sample)]
    assert [event.code for event in events if isinstance(event, Notice)] == ["record_time", "unsettled", "record_time"]
    assert meter.holds(time(12), warm(385)) == [()]


def test_a_value_without_its_time_is_no_reading() -> None:
    (event,) = Meter().round(warm(370))
    assert event == Rejected("no_record_time", warm(370))


def test_glucose_between_two_pressures_is_told_once_and_is_no_vital() -> None:
    meter = Meter("fora-d40")
    meter.holds(time(9, 0x80), value(104, 0, 79, 97))
    glucose = [time(10), value(104, 0, 250, 0x97), time(10)]
    assert [event.code for event in meter.round(*glucose) if isinstance(event, Notice)][1] == "not_a_vital"
    assert [event.code for event in meter.round(*glucose) if isinstance(event, Notice)][1] == "repeat"
    other = meter.round(time(10), value(104, 0, 250, 12), time(10))[1]
    assert isinstance(other, Notice), "whatever its code is"
    assert other.code == "not_a_vital"
    assert meter.holds(time(10, 0x80), value(120, 0, 80, 70)) == [()]


def test_a_device_that_measures_pressure_has_no_temperature_and_the_other_way_round() -> None:
    assert Meter("fora-d40").holds(time(9, 0x80), warm(370)) == []
    assert Meter("fora-ir42").holds(time(9, 0x80), value(104, 0, 79, 97)) == []
