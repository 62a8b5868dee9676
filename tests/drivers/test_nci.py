"""Adam MDW-300L: each bit of its status, the fields that replace a weight, and a number whose owner has left."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.nci import NciScale


def decoded(data: bytes) -> Event:
    codec = registry.codec("nci", Quirks())
    (event,) = codec.feed(data) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("data", "value", "unit", "flags"),
    [
        (b"\n  079.60kg\r\n0p1\r\x03", "079.60", "kg", ("gross", "stable")),
        (b"\n   184.5lb\r\n0p5\r\x03", "184.5", "[lb_av]", ("net", "stable")),
        (b"\n00079.60kg\r\n0p1\r\x03", "00079.60", "kg", ("gross", "stable")),
        (b"\n    80kg\r\n0p1\r\x03", "80", "kg", ("gross", "stable")),
        (b"\n  080.00kg\r\n0p6\r\x03", "080.00", "kg", ("net", "stable", "hold", "held")),
    ],
)
def test_it_is_a_weight(data: bytes, value: str, unit: str, flags: tuple[str, ...]) -> None:
    event = decoded(data)
    assert isinstance(event, Sample)
    (weight,) = event.measurements
    assert (weight.kind, str(weight.value), weight.unit) == ("body_weight", value.lstrip("0"), unit)
    assert event.flags == flags


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\n^^^^^^^^^kg\r\n0r1\r\x03", "overload"),
        (b"\n^^^^^^kg\r\n0p1\r\x03", "overload"),
        (b"\n  080.00kg\r\n0r1\r\x03", "overload"),
        (b"\n  080.00kg\r\n0q1\r\x03", "underload"),
        (b"\n_________lb\r\n1q2\r\x03", "underload"),
        (b"\n---------kg\r\n0p1\r\x03", "zero_error"),
        (b"\n  080.00kg\r\n8p1\r\x03", "device_error"),
        (b"\n  080.00kg\r\n1p2\r\x03", "unstable"),
        (b"\n  000.00kg\r\n2p1\r\x03", "zero_weight"),
        (b"\n -000.00kg\r\n0p1\r\x03", "zero_weight"),
        (b"\n -015.50kg\r\n0p5\r\x03", "negative_weight"),
        (b"\n-  15.50kg\r\n0p5\r\x03", "negative_weight"),
        (b"\n  080.00kg\r\n2p2\r\x03", "no_data"),
        (b"\n?\r\x03", "syntax_error"),
    ],
)
def test_it_is_a_notice(data: bytes, code: str) -> None:
    event = decoded(data)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\n  080.00kg\r\n2p1\r\x03", "contradiction"),
        (b"\n  080.00oz\r\n0p1\r\x03", "unknown_units"),
        (b"\n  08 .00kg\r\n0p1\r\x03", "bad_number"),
        (b"\n  080.0-kg\r\n0p1\r\x03", "bad_number"),
        (b"\n  080.00kg\r\n0p0\r\x03", "bad_frame"),  # neither weighing nor hold
        (b"\n  080.00kg\r\n0p3\r\x03", "bad_frame"),
        (b"\n  080.00kg\r\n4p1\r\x03", "bad_frame"),  # a bit that is always 0
        (b"\n  080.00kg\r\n0p\r\x03", "bad_frame"),  # two status bytes
        (b"\n  080.00kg\r\n001\r\x03", "bad_frame"),
        (b"\n80.0kg\r\n0p1\r\x03", "bad_frame"),
        (b"\n0p1\r\x03", "bad_frame"),  # the answer to another request
        (b"\n   080.00kgGR\r\x03", "bad_frame"),  # its continuous form
    ],
)
def test_it_is_refused(data: bytes, reason: str) -> None:
    assert decoded(data) == Rejected(reason, data)


def test_a_number_that_is_held_is_told_once_and_marked() -> None:
    scale, driver, now = NciScale(), registry.driver(load_model("adam-mdw-300l")), 0.0
    said, told = driver.tick(now).write, list[tuple[str, tuple[str, ...]]]()

    def wait(seconds: int) -> None:
        nonlocal now, said
        for _ in range(10 * seconds):
            answer = scale.receive(said) + scale.advance(0.1)
            now += 0.1
            step = driver.feed(answer, now) if answer else driver.tick(now)
            said = step.write
            told.extend((str(e.measurements[0].value), e.flags) for e in step.events if isinstance(e, Sample))

    wait(3)
    scale.press("hold")
    scale.step_on(80.0)
    wait(5)
    scale.step_off()
    wait(20)
    scale.step_on(63.5)
    wait(5)
    assert told == [("80.00", ("gross", "stable", "hold", "held"))], "the second person is not seen, and not invented"
    scale.press("hold")
    wait(5)
    assert told[1:] == [("63.50", ("gross", "stable"))]
