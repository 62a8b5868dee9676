"""New, or the same polled again: by age and counter alone, then with a whole Dinamap. No real time passes."""

from __future__ import annotations

from collections import Counter

import pytest

from drivers import registry
from drivers.ages import Ages, Fate
from drivers.contract import Driver, Event, Notice, Sample
from gateway.catalogue import load_model
from simulators.serial.dinamap import DinamapMonitor, message

MODEL = load_model("ge-carescape-v100")


def test_what_is_there_at_the_first_poll_is_stored_or_old() -> None:
    assert Ages(5400).fate(20, b"", 1000.0) is Fate.STORED
    assert Ages(5400).fate(121, b"", 1000.0) is Fate.OLD


def test_what_comes_after_none_is_new() -> None:
    ages = Ages(5400)
    ages.none_yet()
    assert ages.fate(1, b"", 1000.0) is Fate.NEW
    assert ages.fate(2, b"", 1001.0) is Fate.SAME


def test_a_smaller_age_is_new_and_so_is_one_that_grew_too_little() -> None:
    ages = Ages(5400)
    ages.fate(10, b"", 1000.0)
    assert ages.fate(70, b"", 1060.0) is Fate.SAME
    assert ages.fate(2, b"", 1061.0) is Fate.NEW
    assert ages.fate(150, b"", 1400.0) is Fate.NEW, "measured while nobody could ask"


def test_an_age_that_stands_still_at_its_end_is_never_new() -> None:
    ages = Ages(5400)
    assert ages.fate(5399, b"", 1000.0) is Fate.OLD
    assert {ages.fate(5400, b"", 1001.0 + n) for n in range(0, 9000, 100)} == {Fate.OLD}
    assert ages.fate(3, b"", 20000.0) is Fate.NEW


def test_another_counter_is_new() -> None:
    ages = Ages(99999)
    ages.fate(10, b"4", 1000.0)
    assert ages.fate(11, b"4", 1001.0) is Fate.SAME
    assert ages.fate(11, b"5", 1001.5) is Fate.NEW


class Room:
    """A driver that polls a simulated monitor."""

    def __init__(self, monitor: DinamapMonitor) -> None:
        self.monitor = monitor
        self.driver: Driver = registry.driver(MODEL)
        self.now = 0.0
        self.step = self.driver.tick(0.0)
        self.events = list[Event](self.step.events)

    def run(self, seconds: float) -> list[Event]:
        before, ends = len(self.events), self.now + seconds
        while self.now < ends:
            said = self.monitor.receive(self.step.write)
            self.now += 0.125
            self.monitor.advance(0.125)
            self.step = self.driver.feed(said, self.now) if said else self.driver.tick(self.now)
            self.events += self.step.events
        return self.events[before:]


def readings(events: list[Event]) -> list[tuple[str, ...]]:
    return [tuple(m.kind for m in event.measurements) for event in events if isinstance(event, Sample)]


PRESSURE = ("systolic", "diastolic", "mean_arterial_pressure")


def test_one_determination_is_one_reading_with_the_cuffs_pulse_however_long_it_is_polled() -> None:
    room = Room(DinamapMonitor())
    room.run(3.0)
    room.monitor.press("start")
    assert readings(room.run(6000.0)) == [(*PRESSURE, "pulse_rate")]


def test_two_determinations_with_equal_values_are_two_readings() -> None:
    room = Room(DinamapMonitor())
    room.run(3.0)
    for _ in range(2):
        room.monitor.press("start")
        assert readings(room.run(40.0)) == [(*PRESSURE, "pulse_rate")]


@pytest.mark.parametrize(("waited_s", "told"), [(60.0, 1), (300.0, 0)])
def test_what_was_measured_before_the_port_was_open(waited_s: float, told: int) -> None:
    monitor = DinamapMonitor()
    monitor.press("start")
    monitor.advance(25.0 + waited_s)
    events = Room(monitor).run(20.0)
    stored = [event for event in events if isinstance(event, Sample)]
    assert len(stored) == told
    assert all({"stored", "possible_repeat"} <= set(event.flags) for event in stored)


def test_a_failed_determination_is_told_once() -> None:
    room = Room(DinamapMonitor())
    room.run(3.0)
    room.monitor.attach()
    room.run(2.0)
    room.monitor.detach()
    codes = Counter(event.code for event in room.run(100.0) if isinstance(event, Notice))
    assert codes["determination_failed"] == 1


def test_a_finger_is_one_reading_beside_the_cuff() -> None:
    room = Room(DinamapMonitor())
    room.run(3.0)
    room.monitor.attach()
    told = readings(room.run(60.0))
    assert Counter(told) == {("body_temperature",): 1, ("oxygen_saturation", "pulse_rate"): 1, PRESSURE: 1}


def test_a_pressure_is_not_lost_when_no_rate_follows_or_the_port_goes() -> None:
    driver = registry.driver(MODEL)
    driver.tick(0.0)
    assert readings(list(driver.feed(message("NA1109999000000000"), 0.5).events)) == []
    assert readings(list(driver.feed(message("NA1100001120080093"), 2.0).events)) == []
    assert readings(list(driver.close(2.1).events)) == [PRESSURE]


def test_a_reply_of_the_last_codes() -> None:
    codec = registry.codec("dinamap", MODEL.quirks)
    said = {
        message("NA1100012120080093"): "120 80 93",
        message("NA1100012120080000"): "120 80",
        message("NA1100012000000000"): "none_yet",
        message("NA1109999120080093"): "none_yet",
        message("NA2100012120080093"): "unknown_status",
        message("NA1100012120080093")[:-3] + b"\r": "unknown_reply",
        message("OA0098712"): "standby",
        message("OA1101712"): "bad_number",
        message("OA6000012"): "unplugged",
        message("RA3072"): "72",
        message("RA2000"): "no_data",
        message("RA4072"): "unknown_reply",
        message("TC0040000509860"): "98.6",
        message("TC0040000509861"): "98.6",
        message("TC0140000509860"): "monitor_mode_not_final",
        message("TC1049999900000"): "measuring",
        message("TC5040000509860"): "unknown_status",
    }
    for reply, words in said.items():
        (event,) = codec.feed(reply)
        if isinstance(event, Sample):
            assert " ".join(format(m.value.normalize(), "f") for m in event.measurements) == words
        else:
            assert words in (getattr(event, "code", None), getattr(event, "reason", None)), reply
