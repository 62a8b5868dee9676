"""The two public sources of the HBP-9020 end a line otherwise, and disagree on its last digit."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Rejected, Sample
from drivers.models import Quirks
from gateway.catalogue import load_model

CAPTURED = b"bp,99999999999999999999,2023/04/27,15:06,140,098,077,068,3\r\n"
SIMULATED = b"bp,12345678901234567890,2016/01/25,01:05,100,075,050,065,0\r"  # the other source: CR alone


def decoded(stream: bytes) -> list[Event]:
    codec = registry.codec("omron_hbp9020", Quirks())
    return codec.feed(stream) + codec.flush()


def test_a_line_that_ends_in_cr_alone_is_read() -> None:
    (event,) = decoded(SIMULATED)
    assert isinstance(event, Sample)
    assert [int(m.value) for m in event.measurements] == [100, 50, 75, 65]
    assert (event.device_user, event.flags) == ("12345678901234567890", ())


def test_it_is_read_two_seconds_later_and_not_with_the_next_one() -> None:
    driver = registry.driver(load_model("omron-hbp-9020"))
    driver.tick(0.0)
    step = driver.feed(SIMULATED, 10.0)
    assert step.events == ()
    assert step.deadline == 12.0
    assert [type(event) for event in driver.tick(12.0).events] == [Sample]


def test_several_lines_that_end_in_cr_alone_are_all_read() -> None:
    assert [type(event) for event in decoded(SIMULATED * 3 + CAPTURED)] == [Sample] * 4


def test_after_a_line_with_lf_one_without_was_cut_off() -> None:
    events = decoded(CAPTURED + CAPTURED[:-1])
    assert [type(event) for event in events] == [Sample, Rejected]
    assert events[1] == Rejected("truncated", CAPTURED[:-1])


@pytest.mark.parametrize("ident", [b"9" * 20, b"0" * 20, b" " * 20])
def test_a_filler_is_no_id(ident: bytes) -> None:
    (event,) = decoded(CAPTURED.replace(b"9" * 20, ident))
    assert isinstance(event, Sample)
    assert event.device_user is None


@pytest.mark.parametrize(("digit", "flags"), [(b"0", ()), (b"3", ("undocumented_field",))])
def test_the_last_digit_decides_nothing(digit: bytes, flags: tuple[str, ...]) -> None:
    (event,) = decoded(CAPTURED.replace(b",3\r", b"," + digit + b"\r"))
    assert isinstance(event, Sample)
    assert event.flags == flags


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        (b",140,", b",   ,", "malformed"),
        (b",140,", b",---,", "malformed"),
        (b",140,", b",14,", "malformed"),
        (b",140,", b",1400,", "malformed"),
        (b",140,", b",000,", "bad_number"),
        (b",077,", b",000,", "bad_number"),
        (b",3\r", b",3,1\r", "malformed"),
        (b",3\r", b"\r", "malformed"),
        (b"bp,", b"bq,", "malformed"),
        (b"bp,9", b"bp,", "malformed"),
        (b"2023/04/27", b"2023/02/29", "invalid_timestamp"),
        (b"15:06", b"24:00", "invalid_timestamp"),
        (b"2023/04/27", b"2023-04-27", "malformed"),
    ],
)
def test_what_is_not_as_in_the_capture_is_refused(was: bytes, now: bytes, reason: str) -> None:
    line = CAPTURED.replace(was, now)
    assert decoded(line) == [Rejected(reason, line)]


def test_a_mean_or_pulse_of_zeros_is_absent() -> None:
    (event,) = decoded(CAPTURED.replace(b",098,", b",000,").replace(b",068,", b",000,"))
    assert isinstance(event, Sample)
    assert [m.kind for m in event.measurements] == ["systolic", "diastolic"]
