"""Toledo continuous output: each bit of its status, the short form, blanks for zeros, and what is left out."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Measurement, Notice, Rejected, Sample
from drivers.models import Quirks

KG = 0x30


def frame(a: int = 0x2B, b: int = KG, c: int = 0x20, weight: bytes = b"000827", tare: bytes = b"000000") -> bytes:
    """A frame with its check: METTLER TOLEDO Wildcat p. 41, Rockwell 57C428 appendix D."""
    body = b"\x02" + bytes([a, b, c]) + weight + tare + b"\r"
    return body + bytes([-sum(byte & 0x7F for byte in body) % 0x80])


def decoded(data: bytes) -> Event:
    codec = registry.codec("toledo_continuous", Quirks())
    (event,) = codec.feed(data) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("data", "value", "unit"),
    [
        (frame(0x2A), "827", "kg"),
        (frame(0x2C), "8.27", "kg"),
        (frame(0x2D), "0.827", "kg"),
        (frame(0x33), "82.7", "kg"),  # the display steps by two
        (frame(0x3B), "82.7", "kg"),  # by five
        (frame(b=0x20), "82.7", "[lb_av]"),
        (frame(b=0x10), "82.7", "kg"),  # bit 5 of B as Fairbanks has it
        (frame(b=0x00), "82.7", "[lb_av]"),
        (frame(c=0x21), "82.7", "g"),
        (frame(c=0x23), "82.7", "[oz_av]"),
        (frame(c=0x28), "82.7", "kg"),  # PRINT was pressed
        (frame(weight=b"   827", tare=b"     0"), "82.7", "kg"),
        (frame(tare=b""), "82.7", "kg"),
        (frame(weight=b"001840"), "184.0", "kg"),
    ],
)
def test_it_is_a_weight(data: bytes, value: str, unit: str) -> None:
    event = decoded(data)
    assert isinstance(event, Sample)
    assert [(str(m.value), m.unit) for m in event.measurements] == [(value, unit)]
    assert (event.flags, event.modifiers) == (("gross", "stable"), {})


@pytest.mark.parametrize("c", [0x20, 0x60])
def test_a_net_weight_brings_its_tare(c: int) -> None:
    event = decoded(frame(b=KG | 1, c=c, tare=b"000150"))
    assert isinstance(event, Sample)
    assert event.flags == ("net", "stable")
    (tare,) = event.modifiers.values()
    assert tare == Measurement("tare", tare.value, "kg")
    assert str(tare.value) == "15.0"


def test_a_stored_tare_beside_a_gross_weight_takes_nothing_from_it() -> None:
    event = decoded(frame(tare=b"000150"))
    assert isinstance(event, Sample)
    assert (event.flags, event.modifiers) == (("gross", "stable"), {})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b=KG | 0x08), "unstable"),
        (frame(b=KG | 0x04), "out_of_range"),
        (frame(b=KG | 0x06), "out_of_range"),
        (frame(b=KG | 0x0C, weight=b"      "), "out_of_range"),
        (frame(b=KG | 0x40), "zero_error"),
        (frame(b=KG | 0x02), "negative_weight"),
        (frame(weight=b"000000"), "zero_weight"),
        (frame(b=KG | 0x02, weight=b"     0"), "zero_weight"),
        (frame(c=0x30), "not_a_weight"),
    ],
)
def test_it_is_a_notice(data: bytes, code: str) -> None:
    event = decoded(data)
    assert isinstance(event, Notice)
    assert (event.code, event.raw) == (code, data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(0x28), "unknown_status"),
        (frame(0x29), "unknown_status"),
        (frame(0x2E), "unknown_status"),
        (frame(0x23), "unknown_status"),
        (frame(0x4B), "bad_frame"),
        (frame(c=0x00), "bad_frame"),
        (frame(c=0x22), "unknown_units"),
        (frame(c=0x27), "unknown_units"),
        (frame(weight=b"      "), "bad_number"),
        (frame(weight=b"00 827"), "bad_number"),
        (frame(weight=b"0008.7"), "bad_frame"),
        (frame(b=KG | 0x80), "bad_frame"),
        (frame()[:-1] + b"\x00", "checksum"),
        (frame()[:-1] + bytes([frame()[-1] ^ 0x40]), "checksum"),
        (frame()[:-1], "truncated"),
        (frame(tare=b"")[:-1], "truncated"),
    ],
)
def test_it_is_refused(data: bytes, reason: str) -> None:
    assert decoded(data) == Rejected(reason, data)


def test_frames_without_the_check_are_no_readings() -> None:
    codec = registry.codec("toledo_continuous", Quirks())
    events = codec.feed(frame()[:-1] * 20) + codec.flush()
    assert {type(event) for event in events} == {Rejected}


@pytest.mark.parametrize("weight", [f"{number:06}".encode() for number in range(700, 900)])
def test_a_check_may_be_any_byte(weight: bytes) -> None:
    """STX and CR among them, and what follows is read."""
    codec = registry.codec("toledo_continuous", Quirks())
    events = codec.feed(frame(weight=weight) + frame(weight=weight, tare=b"")) + codec.flush()
    assert [type(event) for event in events] == [Sample, Sample]


def test_those_checks_were_among_them() -> None:
    checks = {frame(weight=f"{number:06}".encode())[-1] for number in range(700, 900)}
    assert len(checks) > 1
