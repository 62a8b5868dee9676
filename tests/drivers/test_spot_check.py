"""One reading for one finger. The clock is an argument; the frames are what a Nellcor sends."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.spot_check import SpotChecks
from gateway.catalogue import load_model

MODEL = load_model("nellcor-n-560")
OFF = b"29-Dec-17 07:19:57   ---     ---     ---    SO               \r\n"
SEARCH = b"29-Dec-17 07:21:13    96      63     ---    PS               \r\n"
HEADER = b"TIME                 %SpO2   BPM     PA     Status\r\n"


def line(saturation: int, pulse: int = 70, codes: str = "") -> bytes:
    return f"29-Dec-17 07:18:43{saturation:6}{pulse:8}      12    {codes}\r\n".encode()


def play(lines: list[bytes], gap_s: float = 2.0) -> list[Event]:
    driver = registry.driver(MODEL)
    events, now = list(driver.tick(0.0).events), 0.0
    for one in lines:
        now += gap_s
        events += driver.feed(one, now).events
    return [*events, *driver.close(now).events]


def values(events: list[Event]) -> list[int]:
    return [int(event.measurements[0].value) for event in events if isinstance(event, Sample)]


def test_the_last_of_five_is_the_reading_and_then_there_is_quiet() -> None:
    assert values(play([line(n) for n in (95, 96, 96, 97, 97, 96, 95)])) == [97]


def test_four_are_none() -> None:
    events = play([line(97)] * 4)
    assert values(events) == []
    assert [event.code for event in events if isinstance(event, Notice)] == ["unsettled"] * 4


@pytest.mark.parametrize("broken", [OFF, SEARCH])
def test_what_came_before_a_break_counts_with_nothing_after_it(broken: bytes) -> None:
    assert values(play([line(97)] * 4 + [broken] + [line(98)] * 4)) == []
    assert values(play([line(97)] * 5 + [broken] + [line(97)] * 5)) == [97, 97], "two fingers, two readings"


def test_a_header_is_no_break() -> None:
    assert values(play([line(97)] * 3 + [HEADER] + [line(97)] * 9)) == [97]


def test_what_is_counted_without_contact_is_a_break_and_never_part_of_a_reading() -> None:
    checks = SpotChecks(load_model("polar-h10").spot_check)
    worn, off = (Sample((Measurement("heart_rate", Decimal(72), "/min"),), flags) for flags in ((), ("no_contact",)))
    frames = load_model("polar-h10").spot_check.frames
    events = [event for one in [*[worn] * (frames - 1), off, *[worn] * (frames - 1)] for event in checks.take(one)]
    assert not [event for event in events if isinstance(event, Sample)]
    codes = [event.code for event in [*events, *checks.end()] if isinstance(event, Notice)]
    assert Counter(codes) == {"unsettled": 2 * (frames - 1), "sensor_off": 1}


def test_silence_is_a_break_also_where_nobody_ticked() -> None:
    driver = registry.driver(MODEL)
    told: list[Event] = []
    for start in (0.0, 100.0):
        for n in range(5):
            told += driver.feed(line(97), start + 2 * n).events
    assert values(told) == [97, 97]
    assert driver.tick(200.0).deadline is None


def test_numbers_that_jump_wait_until_they_agree() -> None:
    assert values(play([line(97, pulse) for pulse in (119, 103, 92, 91, 88, 83, 77, 72)])) == [97]
    assert values(play([line(90 if n % 2 else 97) for n in range(20)])) == []
    assert values(play([line(9), *[line(97)] * 5])) == [97], "a digit that got lost"


def test_motion_in_any_of_them_marks_the_reading() -> None:
    (sample,) = [e for e in play([line(97), line(97, codes="MO"), *[line(97)] * 3]) if isinstance(e, Sample)]
    assert "body_movement" in sample.flags


def test_a_printed_trend_is_not_now() -> None:
    trend = b"NPB-290    VERSION 1.0.0.1    TREND  SpO2 Limit: 30-100%    PR Limit: 100-180BPM\r\n"
    live = trend.replace(b"TREND", b"CRC:XXXX")
    assert values(play([trend, HEADER, *[line(88)] * 20])) == []
    assert values(play([trend, HEADER, *[line(88)] * 20, b"Output Complete\r\n", *[line(97)] * 5])) == [97]
    assert values(play([trend, HEADER, *[line(88)] * 20, live, HEADER, *[line(97)] * 5])) == [97]


@given(st.lists(st.sampled_from([line(97), line(98), line(80), OFF, SEARCH, HEADER, b"#\r\n"]), max_size=40))
def test_one_event_in_one_event_out(lines: list[bytes]) -> None:
    events = play(lines)
    assert len(events) == len(lines)
    kinds = Counter(type(event) for event in events)
    assert kinds[Rejected] == lines.count(b"#\r\n")


def test_the_deadline_is_the_silence() -> None:
    driver: Driver = registry.driver(MODEL)
    driver.feed(line(97), 100.0)
    assert driver.tick(102.0).deadline == 110.0
