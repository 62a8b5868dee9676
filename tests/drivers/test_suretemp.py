"""SureTemp Plus: what a record says besides the vectors, and one reading for one probe that was put back."""

from __future__ import annotations

import struct

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model


def message(command: int, kind: int, data: bytes = b"") -> bytes:
    body = b"\x03\x02\x10" + struct.pack(">HB", command, kind) + struct.pack("<H", len(data)) + data
    return body + bytes([-sum(body) % 256])


def record(
    kelvin: float = 310.15, *, method: int = 0, site: int = 0, state: int = 6, error: int = 0, probe: int = 0
) -> bytes:
    return message(0x941C, 2, struct.pack("<ffI3BHBB", kelvin, 309.0, 78, method, site, state, error, 1, probe))


def decoded(frame: bytes) -> Event:
    codec = registry.codec("suretemp", Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


@pytest.mark.parametrize("state", [0, 1, 2, 3, 4, 5, 13])
def test_before_the_end_there_is_no_temperature_whatever_stands_there(state: int) -> None:
    event = decoded(record(state=state))
    assert isinstance(event, Notice)
    assert event.code == "no_final_temperature"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (record(state=9), "over_range"),
        (record(state=10), "under_range"),
        (record(state=11), "under_range"),
        (record(state=12, method=1), "monitor_mode_not_final"),
        (record(state=20), "device_error"),
        (record(state=6, error=3), "device_error"),
        (record(0.0), "no_final_temperature"),
        (message(0x941C, 3), "refused"),
    ],
)
def test_it_is_a_notice(frame: bytes, code: str) -> None:
    event = decoded(frame)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, frame)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (record(state=14), "unknown_status"),
        (record(method=1), "contradiction"),
        (record(method=3), "not_a_patient"),
        (record(site=3), "not_a_patient"),
        (record(probe=1), "not_a_patient"),
        (record(probe=3), "not_a_patient"),
        (record(float("nan")), "bad_number"),
        (record(float("inf")), "bad_number"),
        (record(37.0), "bad_number"),
        (record(-310.0), "bad_number"),
        (message(0x941C, 2, bytes(18)), "length"),
        (message(0x941C, 2), "length"),
        (message(0x941C, 1), "no_response"),
        (message(0x2900, 2, b"12345"), "unknown_response"),
    ],
)
def test_it_is_refused(frame: bytes, reason: str) -> None:
    assert decoded(frame) == Rejected(reason, frame)


@pytest.mark.parametrize(
    ("frame", "value", "site", "flags"),
    [
        (record(310.15), "37.0", "oral", ("predicted", "oral")),
        (record(310.2055, state=7), "37.06", "oral", ("predicted", "oral")),
        (record(312.0, site=1, probe=2), "38.85", "rectal", ("predicted", "rectal")),
        (record(309.65, site=2), "36.5", "axillary", ("predicted", "axillary", "pediatric")),
        (record(309.65, site=4, method=2), "36.5", "axillary", ("predicted", "axillary", "adult")),
    ],
)
def test_it_is_a_temperature(frame: bytes, value: str, site: str, flags: tuple[str, ...]) -> None:
    event = decoded(frame)
    assert isinstance(event, Sample)
    assert [(m.kind, format(m.value, "f"), m.unit) for m in event.measurements] == [("body_temperature", value, "Cel")]
    assert (event.site, event.flags) == (site, flags)


def test_the_record_as_the_manual_misprints_it_is_refused() -> None:
    printed = "030210941c0221000000000076af99434e00230000000200000100ef9e52465d4d944351123d4643bd0159"
    codec = registry.codec("suretemp", Quirks())
    events = codec.feed(bytes.fromhex(printed)) + codec.flush()
    assert all(isinstance(event, Rejected) for event in events)


def told(said: list[tuple[float, bytes | None]]) -> list[Event]:
    """What the driver tells when the module answers so; None: it is silent until then."""
    driver = registry.driver(load_model("suretemp-plus-module"))
    events = list(driver.tick(0.0).events)
    for now, frame in said:
        events += (driver.tick(now) if frame is None else driver.feed(frame, now)).events
    return events


def test_a_final_temperature_that_stays_is_one_reading() -> None:
    idle, final = record(0.0, state=0), record()
    events = told([(0.1, idle), (0.6, final), (1.1, final), (1.6, final), (2.1, idle), (2.6, final)])
    flags = [event.flags for event in events if isinstance(event, Sample)]
    assert flags == [("predicted", "oral")] * 2, "two equal measurements with the probe put back between are two"


def test_a_final_temperature_that_was_there_before_us_may_be_a_repeat() -> None:
    (sample,) = [event for event in told([(0.1, record())]) if isinstance(event, Sample)]
    assert "possible_repeat" in sample.flags


def test_after_a_silence_an_equal_final_temperature_may_be_a_repeat() -> None:
    said = [(0.1, record(0.0, state=0)), (0.6, record()), *((n / 2, None) for n in range(2, 20)), (10.0, record())]
    first, second = [event for event in told(said) if isinstance(event, Sample)]
    assert "possible_repeat" not in first.flags
    assert "possible_repeat" in second.flags
