"""Masimo: exceptions before numbers, both orders of CR and LF, and a trend that is no finger."""

from __future__ import annotations

from datetime import datetime

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model


def line(
    numbers: str = "SPO2=097% BPM=080 PI=04.96%", more: str = "", alarm: str = "0000", exc: str = "000800"
) -> bytes:
    return f"02/24/18 04:48:53 {numbers}{more} ALARM={alarm} EXC={exc}\r\n".encode("ascii")


def decoded(said: bytes) -> list[Event]:
    codec = registry.codec("masimo_ascii1", Quirks())
    return codec.feed(said) + codec.flush()


def word(event: Event) -> str:
    return event.code if isinstance(event, Notice) else event.reason if isinstance(event, Rejected) else "sample"


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        ("000801", "no_sensor"),
        ("000802", "defective_sensor"),
        ("000808", "pulse_search"),
        ("000810", "interference"),
        ("000820", "sensor_off"),
        ("000840", "ambient_light"),
        ("000880", "unrecognized_sensor"),
        ("000828", "sensor_off"),
        ("000900", "exception"),
        ("001800", "exception"),
        ("200800", "exception"),
    ],
)
def test_numbers_beside_an_exception_are_none(exc: str, code: str) -> None:
    (event,) = decoded(line(exc=exc))
    assert word(event) == code


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (line(exc="000000"), ()),
        (line(exc="000804"), ("low_perfusion", "low_signal", "masimo_set")),
        (line(exc="000C00"), ("low_signal_iq", "low_signal", "masimo_set")),
        (line(alarm="57", exc="800"), ("masimo_set", *("saturation_high", "saturation_low", "pulse_high"))),
        (line(alarm="48", exc="800"), ("masimo_set", "pulse_low", "low_battery")),
    ],
)
def test_flags(said: bytes, flags: tuple[str, ...]) -> None:
    (event,) = decoded(said)
    assert isinstance(event, Sample)
    assert event.flags[: len(flags)] == flags
    assert event.device_time == datetime(2018, 2, 24, 4, 48, 53)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("numbers", "kinds"),
    [
        ("SPO2=097% BPM=--- PI=--.--%", ["oxygen_saturation"]),
        ("SPO2=097% BPM=000 PI=00.00%", ["oxygen_saturation"]),
        ("SPO2=097% BPM=080 PI=--.--%", ["oxygen_saturation", "pulse_rate"]),
    ],
)
def test_what_is_absent_is_left_out(numbers: str, kinds: list[str]) -> None:
    (event,) = decoded(line(numbers))
    assert isinstance(event, Sample)
    assert [m.kind for m in event.measurements] == kinds


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (line("SPO2=---% BPM=--- PI=--.--%"), "no_data"),
        (line("SPO2=000% BPM=000 PI=00.00%"), "no_data"),
        (line("SPO2=---% BPM=080 PI=04.96%"), "no_data"),
        (line("SPO2=101% BPM=080 PI=04.96%"), "bad_number"),
        (line("SPO2=97% BPM=080 PI=04.96%"), "bad_frame"),
        (line("SPO2=097 BPM=080 PI=04.96"), "bad_frame"),
        (line("SPO2=097% PI=04.96%"), "bad_frame"),
        (line(more=" SPO2=098%"), "duplicate_field"),
        (line(more=" PVI=027 PVI=028"), "duplicate_field"),
        (line(more=" PVI=0 7"), "bad_frame"),
        (line(exc="00080"), "bad_frame"),
        (line(exc="800"), "bad_frame"),
        (line(alarm="000"), "bad_frame"),
        (line(alarm="20", exc="800"), "sample"),
        (line(exc="G00800"), "bad_frame"),
        (line().replace(b"02/24", b"24/02"), "invalid_timestamp"),
        (line().replace(b" EXC=000800", b""), "bad_frame"),
    ],
)
def test_what_a_line_is(said: bytes, told: str) -> None:
    (event,) = decoded(said)
    assert word(event) == told


def test_lines_that_end_in_lf_cr_are_read_without_noise() -> None:
    one = line()[:-2] + b"\n\r"
    events = decoded(one * 3)
    assert [word(event) for event in events] == ["sample", "sample", "sample", "truncated"]
    assert b"".join(event.raw for event in events) == one * 3
    assert events[-1].raw == b"\r"


TREND = b"09/21/08 09:56:12 SpO2=097 PR=069 PI=04.69 EXC=800:SET\r\n"
TREND_OFF = b"09/21/08 09:56:08 SpO2=000 PR=000 PI=00.00 EXC=820:OffPat,SET\r\n"


def test_a_line_of_a_trend_is_stored() -> None:
    (event,) = decoded(TREND)
    assert isinstance(event, Sample)
    assert "stored" in event.flags


def test_a_printed_trend_is_no_finger_and_no_break() -> None:
    driver = registry.driver(load_model("masimo-rad-8"))
    events: list[Event] = []
    for said in (TREND * 20, line() * 5, TREND_OFF * 3 + TREND * 10, line() * 10):
        events += driver.feed(said, 1.0).events
    samples = [event for event in events if isinstance(event, Sample)]
    assert [event.raw for event in samples] == [line()]
    assert sum(word(event) == "trend" for event in events) == 33
