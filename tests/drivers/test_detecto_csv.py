"""The record of a Detecto solo: quotation marks of all kinds, fields that were not entered, PRINT pressed twice."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.detecto_solo import DetectoSolo

FEET = b"12:00,08/07/15,21.5,5'03.0\",132.3lb\r"


def decoded(frame: bytes) -> Event:
    codec = registry.codec("detecto_csv", Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


def numbers(event: Event) -> list[str]:
    assert isinstance(event, Sample)
    return [f"{m.value:f}{m.unit}" for m in event.measurements]


@pytest.mark.parametrize(
    ("foot", "inch"),
    [
        (b"'", b'"'),
        (b"'", b"''"),
        (b"`", b"``"),
        (b"\x92", b"\x94"),
        (b"\x91", b"\x93"),
        (b"\xb4", b"\xb4\xb4"),
        (b"\xc2\xb4", b'"'),
        ("’".encode(), "”".encode()),
        ("′".encode(), "″".encode()),
    ],
)
def test_quotation_marks_of_all_kinds_are_read(foot: bytes, inch: bytes) -> None:
    frame = FEET.replace(b"'", foot).replace(b'"', inch) if foot != b"'" else FEET.replace(b'"', inch)
    assert numbers(decoded(frame)) == ["132.3[lb_av]", "63.0[in_i]", "21.5kg/m2"]


@pytest.mark.parametrize(
    ("bmi", "height", "weight", "said"),
    [
        (b"22.2", b"175.0cm", b"68.0kg", ["68.0kg", "175.0cm", "22.2kg/m2"]),
        (b" 22.2", b" 175.0 cm", b" 68.0 kg", ["68.0kg", "175.0cm", "22.2kg/m2"]),
        (b"0.0", b"0'00.0\"", b"184.5lb", ["184.5[lb_av]"]),
        (b"0.0", b"0.0cm", b"184.5lb", ["184.5[lb_av]"]),
        (b"", b"", b"184.5lb", ["184.5[lb_av]"]),
        (b"--.-", b"-----", b"184.5lb", ["184.5[lb_av]"]),
        (b"21.5", b"6'11.5\"", b"184lb", ["184[lb_av]", "83.5[in_i]", "21.5kg/m2"]),
    ],
)
def test_it_is_a_weight(bmi: bytes, height: bytes, weight: bytes, said: list[str]) -> None:
    assert numbers(decoded(b",".join((b"9:05", b"08/07/15", bmi, height, weight)) + b"\r")) == said


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"132.3", b"0.0", "zero_weight"),
        (b"132.3", b"-1.2", "negative_weight"),
        (b"132.3lb", b"132.3st", "unknown_units"),
        (b"132.3lb", b"132.3", "bad_number"),
        (b"132.3lb", b"-----lb", "bad_number"),
        (b"132.3lb", b"8lb3.2oz", "bad_number"),
        (b"132.3lb", b"132.3lb,", "bad_frame"),
        (b"21.5,", b"", "bad_frame"),
        (b"5'03.0\"", b"5'12.0\"", "bad_number"),
        (b"5'03.0\"", b'5703.0"', "bad_number"),
        (b"5'03.0\"", b"63.0", "bad_number"),
        (b"21.5", b"2 .5", "bad_number"),
        (b"08/07/15", b"25/12/15", "invalid_timestamp"),
        (b"12:00", b"25:00", "invalid_timestamp"),
        (b"12:00", b"12:00 PM", "bad_frame"),
    ],
)
def test_it_is_none(old: bytes, new: bytes, told: str) -> None:
    event = decoded(FEET.replace(old, new))
    assert isinstance(event, Notice | Rejected)
    assert (event.code if isinstance(event, Notice) else event.reason) == told


def test_print_twice_is_one_reading_and_the_next_minute_another() -> None:
    scale, driver = DetectoSolo(), registry.driver(load_model("detecto-solo"))
    scale.step_on(83.7)
    first = driver.feed(scale.advance(2.0), 2.0).events
    scale.press("print")
    again = driver.feed(scale.advance(1.0), 3.0).events
    scale.advance(60.0)
    scale.press("print")
    later = driver.feed(scale.advance(1.0), 64.0).events
    assert [type(event) for event in (*first, *again, *later)] == [Sample, Notice, Sample]
