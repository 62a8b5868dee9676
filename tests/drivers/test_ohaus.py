"""Ohaus' two print formats: every example of the manual's page, and what is laid out otherwise."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model


def decoded(line: bytes) -> Event:
    codec = registry.codec("ohaus", Quirks())
    (event,) = codec.feed(line) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("line", "value", "unit", "flags"),
    [
        (b"       12.72 g     \r\n", "12.72", "g", ("stable",)),
        (b"      0.4500 oz    \r\n", "0.4500", "[oz_av]", ("stable",)),
        (b"        200 g  \r\n", "200", "g", ("stable",)),
        (b"       0.211 kg  \r\n", "0.211", "kg", ("stable",)),
        (b"      83.700 kg   NET\r\n", "83.700", "kg", ("net", "stable")),
        (b"      83.7 kg   NET\r\n", "83.7", "kg", ("net", "stable")),  # Navigator
        (b"      83.7 kg   \r\n", "83.7", "kg", ("stable",)),
        (b"      83.700 kg     NET\r\n", "83.700", "kg", ("net", "stable")),
        (b"     184.500 lb     G\r\n", "184.500", "[lb_av]", ("gross", "stable")),
    ],
)
def test_it_is_a_weight(line: bytes, value: str, unit: str, flags: tuple[str, ...]) -> None:
    event = decoded(line)
    assert isinstance(event, Sample)
    (weight,) = event.measurements
    assert (weight.kind, str(weight.value), weight.unit, event.flags) == ("body_weight", value, unit, flags)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"       12.73 g    ?\r\n", "unstable"),
        (b"        311 g ?\r\n", "unstable"),
        (b"      0.5950 oz   ?\r\n", "unstable"),
        (b"        0.00 g    ?\r\n", "unstable"),
        (b"        0.00 g     \r\n", "zero_weight"),
        (b"       -0.00 g     \r\n", "zero_weight"),
        (b"      -12.73 g     \r\n", "negative_weight"),
        (b"-      12.73 g     \r\n", "negative_weight"),
        (b"           3 PCS  ?\r\n", "not_a_weight"),
        (b"           3 PCS   \r\n", "not_a_weight"),
        (b"        50.0 %  \r\n", "not_a_weight"),
        (b"        0.85 oz     WET WT\r\n", "not_a_weight"),
        (b"        0.85 oz     AIR WT\r\n", "not_a_weight"),
        (b"      207.80 g   TOTAL\r\n", "not_a_weight"),
        (b"       15.50 kg   T\r\n", "not_a_weight"),
    ],
)
def test_it_is_a_notice(line: bytes, code: str) -> None:
    event = decoded(line)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"       12.73 ozt   \r\n", "unknown_units"),
        (b"     5:12.73 lb:oz \r\n", "bad_frame"),
        (b"       12 73 g     \r\n", "bad_number"),
        (b"       12.7. g     \r\n", "bad_number"),
        (b"             g     \r\n", "bad_number"),
        (b"       12.73 g      QWE\r\n", "unknown_status"),
        (b"       12.73 g      \r\n", "bad_frame"),
        (b"       12.73 g   CHECK\r\n", "unknown_status"),
        (b"       12.7 g    ?\r\n", "bad_frame"),  # a digit of format 1 is gone
        (b"       12.7 g     \r\n", "bad_frame"),
        (b"12.73 g     \r\n", "bad_frame"),  # its beginning was not heard
        (b"   12.73 kg  \r\n", "bad_frame"),  # and no format has so few
        (b"     192.21 g\r\n", "bad_frame"),  # Scout Pro
    ],
)
def test_it_is_refused(line: bytes, reason: str) -> None:
    event = decoded(line)
    assert event == Rejected(reason, line)


@pytest.mark.parametrize("model", ["ohaus-format1", "ohaus-format2"])
def test_a_line_that_comes_alone_is_held_and_two_are_a_reading(model: str) -> None:
    line = b"      83.700 kg    \r\n"
    driver = registry.driver(load_model(model))
    events = [*driver.tick(0.0).events, *driver.tick(20.0).events]
    events += [*driver.feed(line, 21.0).events, *driver.tick(30.0).events]
    for at in (31.0, 31.2, 31.4):
        events += driver.feed(line, at).events
    flags = [event.flags for event in events if isinstance(event, Sample)]
    assert [("stored" in flag) for flag in flags] == [True, False]
