"""Lines of the HBP-9030 that its public tests refuse, and what stands beside the numbers."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Notice, Rejected, Sample
from drivers.models import Quirks

LINE = b"2026,07,11,09,05,12345678901234567890,0,120,080,072,0\r\n"


def decoded(line: bytes) -> Event:
    codec = registry.codec("omron_hbp9030", Quirks())
    (event,) = codec.feed(line) + codec.flush()
    return event


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        (b",120,", b",+20,", "malformed"),
        (b",120,", b", 20,", "malformed"),
        (b",120,", b",12.,", "malformed"),
        (b",120,", b",   ,", "malformed"),
        (b",120,080,072,", b",   ,   ,   ,", "malformed"),
        (b",0\r", b",0,9\r", "malformed"),
        (b",0\r", b",12\r", "malformed"),
        (b"2026,", b"2026;", "malformed"),
        (b"1234567890,", b"123456789,", "malformed"),
        (b"1234567890,", b"12345678901,", "malformed"),
        (b"1234567890,", b"12345\x0067890,", "malformed"),
        (b"1234567890,", b"12345,7890,", "malformed"),
        (b",0,120", b",E,120", "malformed"),
        (b"2026,07", b"2026,13", "invalid_timestamp"),
        (b"2026,", b"0000,", "invalid_timestamp"),
        (b",09,05", b",24,05", "invalid_timestamp"),
        (b",09,05", b",09,60", "invalid_timestamp"),
        (b"\r\n", b"\r", "truncated"),
        (LINE, b"bp,12345678901234567890,2026/07/11,09:05,120,090,080,072,0\r\n", "malformed"),
        (LINE, b"ID99999999B26/07/11/09:05 120 080 072 \r\n", "malformed"),
    ],
)
def test_it_is_refused(was: bytes, now: bytes, reason: str) -> None:
    line = LINE.replace(was, now, 1)
    assert line != LINE
    assert decoded(line) == Rejected(reason, line)


@pytest.mark.parametrize(
    "number", [(b",120,", b",059,"), (b",080,", b",216,"), (b",080,", b",029,"), (b",072,", b",181,")]
)
def test_a_number_that_it_cannot_have_measured_is_none(number: tuple[bytes, bytes]) -> None:
    event = decoded(LINE.replace(*number))
    assert isinstance(event, Notice)
    assert event.code == "out_of_range"


@pytest.mark.parametrize(
    "line", [LINE.replace(b",0,120", b",7,120"), LINE.replace(b",0,120,080,072", b",1,   ,   ,   ")]
)
def test_no_number_counts_beside_an_error(line: bytes) -> None:
    event = decoded(line)
    assert isinstance(event, Notice)
    assert event.code == "measurement_failed"


@pytest.mark.parametrize(
    ("keyed", "user"),
    [
        (b"12345678901234567890", "12345678901234567890"),
        (b"A-0042              ", "A-0042"),
        (b"              004711", "004711"),
        (b" " * 20, None),
        (b"0" * 20, None),
    ],
)
def test_an_id_is_carried_without_its_blanks_and_a_filler_is_none(keyed: bytes, user: str | None) -> None:
    event = decoded(LINE.replace(b"12345678901234567890", keyed))
    assert isinstance(event, Sample)
    assert event.device_user == user


@pytest.mark.parametrize(("moved", "flags"), [(b"0", ()), (b"1", ("movement", "body_movement"))])
def test_movements_are_flagged_in_the_contracts_word_too(moved: bytes, flags: tuple[str, ...]) -> None:
    event = decoded(LINE.replace(b",0\r", b"," + moved + b"\r"))
    assert isinstance(event, Sample)
    assert event.flags == flags
