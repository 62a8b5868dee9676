"""ST,GS lines: their widths, what is no weight in them, and a clinic's ordinary troubles at a simulated indicator."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model
from simulators.serial.st_gs import StGsIndicator


def decoded(line: bytes) -> Event:
    codec = registry.codec("st_gs", Quirks())
    (event,) = codec.feed(line) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("line", "value", "unit", "flag"),
    [
        (b"ST,GS,+  81.90kg\r\n", "81.90", "kg", "gross"),
        (b"ST,NT,+ 181.55lb\r\n", "181.55", "[lb_av]", "net"),
        (b"ST,GS,   245.6 g\r\n", "245.6", "g", "gross"),
        (b"ST,GS,+012.3456  kg\r\n", "12.3456", "kg", "gross"),
        (b"ST,GS,+00082.35 kg\r\n", "82.35", "kg", "gross"),
        (b"ST,GS,+  4.876kg\r\n", "4.876", "kg", "gross"),
        (b"ST,GS,+12345678 oz\r\n", "12345678", "[oz_av]", "gross"),
    ],
)
def test_it_is_a_weight(line: bytes, value: str, unit: str, flag: str) -> None:
    event = decoded(line)
    assert isinstance(event, Sample)
    (weight,) = event.measurements
    assert (format(weight.value, "f").lstrip("0"), weight.unit, event.flags) == (value, unit, (flag, "stable"))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"OL,GS,+            \r\n", "overload"),
        (b"OL,NT,-999.99lb\r\n", "underload"),
        (b"US,NT,+   0.00kg\r\n", "unstable"),
        (b"ST,GS,+   0.00kg\r\n", "zero_weight"),
        (b"ST,GS,-   0.00kg\r\n", "zero_weight"),
        (b"ST,NT,-   1.90kg\r\n", "negative_weight"),
        (b"ST,TR,+ 12.3456  kg\r\n", "not_a_weight"),
        (b"ST,GS,+     120PCS\r\n", "not_a_weight"),
        (b"US,GS,+   81.9 %\r\n", "not_a_weight"),
    ],
)
def test_it_is_a_notice(line: bytes, code: str) -> None:
    event = decoded(line)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ST,GS,+  81.90 t\r\n", "unknown_units"),
        (b"ST,GS,+  81.90KG\r\n", "unknown_units"),
        (b"ST,GS,+  8 .90kg\r\n", "bad_number"),
        (b"ST,GS,+  81.9.kg\r\n", "bad_number"),
        (b"ST,GS,+        kg\r\n", "bad_number"),
        (b"ST,GS,+  81.90\r\n", "bad_frame"),
        (b"ST,GS,+1.9kg\r\n", "bad_frame"),
        (b"ST,GS,+123456789.0kg\r\n", "bad_frame"),
        (b"ST,GS +  81.90kg\r\n", "bad_frame"),
        (b"ST,XX,+  81.90kg\r\n", "bad_frame"),
        (b"ST,+  81.90kg\r\n", "bad_frame"),
        (b"ST,GS,+  81.90kg\n", "truncated"),
    ],
)
def test_it_is_refused(line: bytes, reason: str) -> None:
    assert decoded(line) == Rejected(reason, line)


def test_three_equal_lines_are_a_reading_and_what_lies_is_none() -> None:
    row = load_model("triner-ts-700")
    indicator, driver, now = StGsIndicator(), registry.driver(row), 0.0
    driver.tick(now)
    told: list[tuple[str, tuple[str, ...]]] = []

    def wait(seconds: int) -> None:
        nonlocal now
        for _ in range(10 * seconds):
            now += 0.1
            events = driver.feed(indicator.advance(0.1), now).events
            told.extend((str(s.measurements[0].value), s.flags) for s in events if isinstance(s, Sample))

    wait(3)
    indicator.step_on(400.0)
    wait(5)
    assert told == [], "nines are no weight"
    indicator.step_off()
    wait(3)
    indicator.step_on(2.0)
    wait(3)
    indicator.press("tare")
    wait(3)
    indicator.step_on(85.7)
    wait(5)
    assert told == [("2.00", ("gross", "stable")), ("83.70", ("net", "stable"))]
