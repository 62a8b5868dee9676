"""Records of a Terumo monitor: the check may be any byte, and what is not explained is said."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.contract import Event, Rejected, Sample
from drivers.models import Quirks

FIELDS = b"R1,000000000,260429,103800,119,090,076,083,0000,0000,00000,000"


def record(fields: bytes) -> bytes:
    said = b"\x02" + fields + b"\x03"
    return said + bytes([sum(said) % 256])


def decoded(stream: bytes) -> list[Event]:
    codec = registry.codec("terumo", Quirks())
    return codec.feed(stream) + codec.flush()


@pytest.mark.parametrize("check", [0x02, 0x03, 0x0A, 0x0D, 0x2C, 0x00, 0xFF])
def test_the_check_may_be_any_byte(check: int) -> None:
    frame = _with_check(check)
    assert frame[-1] == check
    assert [type(event) for event in decoded(frame + record(FIELDS))] == [Sample, Sample]


def _with_check(check: int) -> bytes:
    """A record with this check: printable characters of the ID make up the difference."""
    missing = (check - record(FIELDS)[-1]) % 256
    ident = bytearray(b"0" * 9)
    for place in range(9):
        step = min(missing, ord("~") - ord("0"))
        ident[place] += step
        missing -= step
    return record(FIELDS.replace(b"000000000", bytes(ident)))


@pytest.mark.parametrize(
    ("keyed", "user"), [(b"000000000", None), (b"         ", None), (b"", None), (b"000004711", "000004711")]
)
def test_a_filler_is_no_id(keyed: bytes, user: str | None) -> None:
    (event,) = decoded(record(FIELDS.replace(b"000000000", keyed)))
    assert isinstance(event, Sample)
    assert event.device_user == user


@pytest.mark.parametrize("rest", [b"0000,0000,00000,001", b"0000,0000,09877,000", b"0002,0000,00000,000"])
def test_a_field_that_nobody_explains_is_flagged_where_it_says_something(rest: bytes) -> None:
    (event,) = decoded(record(FIELDS.replace(b"0000,0000,00000,000", rest)))
    assert isinstance(event, Sample)
    assert event.flags == ("undocumented_field",)


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        (b"R1,", b"R2,", "malformed"),
        (b",119,", b",   ,", "malformed"),
        (b",119,", b",1l9,", "malformed"),
        (b",119,", b",19,", "malformed"),
        (b",119,", b",000,", "bad_number"),
        (b",076,", b",000,", "bad_number"),
        (b",000", b"", "malformed"),
        (b",260429,", b",260431,", "invalid_timestamp"),
        (b",103800,", b",103860,", "invalid_timestamp"),
    ],
)
def test_it_is_refused(was: bytes, now: bytes, reason: str) -> None:
    frame = record(FIELDS.replace(was, now))
    assert decoded(frame) == [Rejected(reason, frame)]
