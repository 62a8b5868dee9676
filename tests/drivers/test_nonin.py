"""Nonin: lines of several models, and packets of 25 frames in which the status comes first."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks


def decoded(driver: str, said: bytes) -> list[Event]:
    codec = registry.codec(driver, Quirks())
    return codec.feed(said) + codec.flush()


def shown(event: Event) -> object:
    if isinstance(event, Sample):
        return [int(m.value) for m in event.measurements], event.flags
    return event.code if isinstance(event, Notice) else event.reason


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (b"SPO2=097 HR=073*", ([97, 73], ("event_mark",))),
        (b"SPO2=097 HR=073 F*", ([97, 73], ("fast_averaging", "event_mark"))),
        (b"SPO2=097 HR=073 F *", ([97, 73], ("fast_averaging", "event_mark"))),
        (b"23:59:59 SPO2=097 HR=073B", ([97, 73], ())),
        (b"08:15:09 SPO2=097 HR=073", ([97, 73], ())),
        (b"SPO2=100 HR=321", ([100, 321], ())),
        (b"SPO2=097 HR=---", ([97], ())),
        (b"SPO2=097 HR=000", ([97], ())),
        (b"SPO2=--- HR=073", "no_data"),
        (b"SPO2=--- HR=--- F", "no_data"),
        (b"SPO2=--- HR=---*", "no_data"),
        (b"08:15:09 SPO2=--- HR=---", "no_data"),
        (b"SPO2=000 HR=000", "no_data"),
        (b"SPO2=127 HR=511", "bad_number"),
        (b"SPO2=97 HR=73", "bad_frame"),
        (b"SPO2=097 HR=073 X", "bad_frame"),
        (b"SPO2=097 HR=07", "bad_frame"),
        (b"SPO2=097 HR=0733", "bad_frame"),
        (b"SPO2=09SPO2=097", "bad_frame"),
        (b"", "bad_frame"),
    ],
)
def test_a_line(line: bytes, meant: object) -> None:
    (event,) = decoded("nonin_ascii", line + b"\r\n")
    assert shown(event) == meant


def packet(extras: dict[int, int], statuses: dict[int, int] | None = None) -> bytes:
    """Frames with these bytes at these places, counted from 1."""
    out = b""
    for place in range(1, 26):
        status = 0x80 | (place == 1) | (statuses or {}).get(place, 0)
        body = bytes((1, status, 0x64, extras.get(place, 0)))
        out += body + bytes((sum(body) % 256,))
    return out


GOOD = {9: 98, 20: 0, 21: 72}


@pytest.mark.parametrize(
    ("extras", "statuses", "meant"),
    [
        (GOOD, {}, ([98, 72], ())),
        ({9: 98, 20: 1, 21: 22}, {}, ([98, 150], ())),
        ({9: 98, 20: 0x7D, 21: 22}, {}, ([98, 150], ())),
        ({9: 98, 20: 3, 21: 127}, {}, ([98], ())),
        ({9: 98}, {}, ([98], ())),
        (GOOD, {7: 0x02}, ([98, 72], ())),
        (GOOD, {7: 0x06}, ([98, 72], ())),
        (GOOD, {7: 0x04}, ([98, 72], ("weak_pulse", "low_signal"))),
        (GOOD, {7: 0x22}, ([98, 72], ("bad_pulse", "low_signal"))),
        (GOOD, {25: 0x40}, "sensor_disconnected"),
        (GOOD, {1: 0x08}, "sensor_alarm"),
        (GOOD, {12: 0x10}, "out_of_track"),
        (GOOD, {1: 0x10, 2: 0x48}, "sensor_disconnected"),
        ({**GOOD, 9: 127}, {}, "no_data"),
        ({**GOOD, 9: 0}, {}, "no_data"),
        ({**GOOD, 9: 101}, {}, "bad_number"),
        ({**GOOD, 9: 98 | 0x80}, {}, "bad_number"),
    ],
)
def test_a_packet(extras: dict[int, int], statuses: dict[int, int], meant: object) -> None:
    events = decoded("nonin_df2", packet(extras, statuses))
    assert shown(events[0]) == meant


def test_a_frame_that_is_lost_or_hurt_takes_its_packet_with_it() -> None:
    good = packet(GOOD)
    hurt = good[:52] + b"\x00" + good[53:]
    for broken in (hurt, good[:50] + good[55:], good[5:], good + good[:60]):
        events = decoded("nonin_df2", broken + good)
        assert isinstance(events[-1], Sample)
        assert sum(isinstance(event, Sample) for event in events) == 1 + (broken[:125] == good)
        assert b"".join(event.raw for event in events) == broken + good


def test_a_stream_that_is_joined_in_its_middle_is_read_from_the_next_packet_on() -> None:
    events = decoded("nonin_df2", packet(GOOD)[37:] + packet(GOOD) * 2)
    assert [type(event) for event in events] == [Rejected, Sample, Sample]
