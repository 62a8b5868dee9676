"""Ten characters with no start, end or check: only numbers that agree are a result."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model

RESULT = b"804C4C4960"


def decoded(stream: bytes) -> list[Event]:
    codec = registry.codec("and_ua767", Quirks())
    return codec.feed(stream) + codec.flush()


def numbers(event: Event) -> list[int]:
    assert isinstance(event, Sample)
    return [int(measurement.value) for measurement in event.measurements]


@pytest.mark.parametrize("length", range(1, 10))
def test_half_a_result_before_a_whole_one_makes_no_other_numbers(length: int) -> None:
    (told,) = [event for event in decoded(RESULT[:length] + RESULT) if isinstance(event, Sample)]
    systolic, diastolic, mean, pulse = numbers(told)
    assert (systolic, diastolic, pulse) == (152, 76, 73)
    assert mean == 96 or length > 7, "the mean alone may be the next result's first characters"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"804C4C494C", "the mean is the diastolic"),
        (b"804C4C4998", "the mean is the systolic"),
        (b"8000504958", "the diastolic is the systolic"),
        (b"804C004930", "no diastolic"),
        (b"8000000000", "nothing"),
    ],
)
def test_numbers_that_do_not_agree_are_none(said: bytes, why: str) -> None:
    assert not [event for event in decoded(said) if isinstance(event, Sample)], why


@pytest.mark.parametrize("status", [b"81", b"82", b"83"])
def test_another_status_is_no_measurement_whatever_the_numbers(status: bytes) -> None:
    (event,) = decoded(status + RESULT[2:])
    assert isinstance(event, Notice)
    assert event.code == "measurement_failed"


@pytest.mark.parametrize(
    "said", [b"844C4C4960", b"904C4C4960", b"00" + RESULT[2:], b"804C4C496", b"80 4C4C4960", b"804c4c4960"]
)
def test_what_is_not_ten_characters_of_its_kind_is_noise(said: bytes) -> None:
    assert all(isinstance(event, Rejected) for event in decoded(said))


def test_a_pulse_of_zero_is_absent_and_sums_above_a_byte_are_sums() -> None:
    (event,) = decoded(b"80A06400A0")
    assert isinstance(event, Sample)
    assert [(m.kind, int(m.value)) for m in event.measurements] == [
        ("systolic", 260),
        ("diastolic", 100),
        ("mean_arterial_pressure", 160),
    ]


def test_packets_of_a_session_are_no_results() -> None:
    events = decoded(b"\x0170PC\x06" + RESULT + b"\x0170PC\x15")
    assert [event.code for event in events if isinstance(event, Notice)] == ["acknowledged", "refused"]
    assert len([event for event in events if isinstance(event, Sample)]) == 1


def test_each_result_that_comes_is_a_reading_since_none_has_a_time() -> None:
    model = load_model("and-ua-767pc")
    driver = registry.driver(model)
    told = [driver.feed(RESULT, at).events for at in (10.0, 70.0)]
    assert [[type(event) for event in events] for events in told] == [[Sample], [Sample]]
    assert model.memory == "unfenced", "so the gateway holds them"
