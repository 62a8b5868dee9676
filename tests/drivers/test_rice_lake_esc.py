"""Rice Lake's replies: where its manuals contradict themselves, and a reading of replies that never say "still"."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model, model_names
from simulators.serial.rice_lake import RiceLakeScale


def decoded(frame: bytes) -> Event:
    codec = registry.codec("rice_lake_esc", Quirks())
    (event,) = codec.feed(frame) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x1bW0200.5\x1bNc", [("body_weight", "200.5", "[lb_av]")]),
        (b"\x1bW082.35\x1bNm", [("body_weight", "82.35", "kg")]),
        (
            b"\x1bW0082.5\x1bH180.0\x1bB25.4\x1bNm",
            [("body_weight", "82.5", "kg"), ("body_height", "180.0", "cm"), ("bmi", "25.4", "kg/m2")],
        ),
        (b"\x1bW0182.5\x1bH071.5\x1bNc", [("body_weight", "182.5", "[lb_av]"), ("body_height", "71.5", "[in_i]")]),
        (b"\x1bW0082.5\x1bH000.0\x1bB00.0\x1bNm", [("body_weight", "82.5", "kg")]),
    ],
)
def test_it_is_a_weight(body: bytes, said: list[tuple[str, str, str]]) -> None:
    event = decoded(b"\x1bR" + body + b"\x1bE")
    assert isinstance(event, Sample)
    assert [(m.kind, format(m.value, "f"), m.unit) for m in event.measurements] == said
    assert ("height_absent" in event.flags) == (b"H000.0" in body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x1bW999.9\x1bNm", "overload"),
        (b"\x1bW0999.9\x1bNc", "overload"),
        (b"\x1bW999.99\x1bNc", "overload"),
        (b"\x1bW0000.0\x1bNm", "zero_weight"),
        (b"\x1bW-010.5\x1bNm", "negative_weight"),
    ],
)
def test_it_is_a_notice(body: bytes, code: str) -> None:
    event = decoded(b"\x1bR" + body + b"\x1bE")
    assert isinstance(event, Notice)
    assert event.code == code


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x1bW02000\x1bNm", "bad_number"),  # one manual says that this is 200.0
        (b"\x1bW0200.5\x1bH6-01.0\x1bNc", "bad_number"),
        (b"\x1bW0200.5", "missing_units"),
        (b"\x1bW0200.5\x1bNx", "unknown_units"),
        (b"\x1bNm", "missing_weight"),
        (b"", "missing_weight"),  # our own request, sent back
        (b"\x1bZ000", "unknown_field"),
        (b"\x1bW0200.5\x1bW0200.5\x1bNm", "duplicate_field"),
        (b"W0200.5\x1bNm", "bad_field"),
        (b"\x1bW0200.5\x1bNm\r\n", "unknown_units"),
    ],
)
def test_it_is_refused(body: bytes, reason: str) -> None:
    frame = b"\x1bR" + body + b"\x1bE"
    assert decoded(frame) == Rejected(reason, frame)


def test_a_reply_that_half_of_one_is_glued_to_is_read() -> None:
    codec, reply = registry.codec("rice_lake_esc", Quirks()), b"\x1bR\x1bW0200.5\x1bNm\x1bE"
    events = codec.feed(reply[:7] + reply)
    assert events == [Rejected("noise", reply[:7]), decoded(reply)]


def test_a_load_that_moves_is_no_reading_and_equal_replies_are_one() -> None:
    model = load_model("rice-lake-140-10-7-esc")
    scale, driver = RiceLakeScale("rice-lake-140-10-7-esc"), registry.driver(model)
    events, now, step = list[Event](), 0.0, driver.tick(0.0)
    for tenth in range(300):
        if tenth == 50:
            scale.step_on(83.7)
        if tenth == 150:
            scale.step_off()
        said = scale.receive(step.write) + scale.advance(0.1)
        now += 0.1
        step = driver.feed(said, now) if said else driver.tick(now)
        events += step.events
    [sample] = [event for event in events if isinstance(event, Sample)]
    assert format(sample.measurements[0].value, "f") == "83.7"
    assert "unsettled" in [event.code for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("name", [name for name in model_names() if load_model(name).driver == "rice_lake_esc"])
def test_the_site_pins_the_unit_and_the_reply_keeps_its_own(name: str) -> None:
    """The manuals call a reply with m pounds: what the site wrote is compared with the reply, and never put for it."""
    model = load_model(name)
    assert model.unit == "pinned"
    codec = registry.codec("rice_lake_esc", replace(model.quirks, unit="[lb_av]"))
    [sample] = codec.feed(b"\x1bR\x1bW0200.5\x1bNm\x1bE")
    assert isinstance(sample, Sample)
    assert sample.measurements[0].unit == "kg"
