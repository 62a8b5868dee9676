"""SFLOAT, FLOAT and Date Time: the published vectors, and what holds for all values."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.ble import date_time
from drivers.ieee11073 import FLOAT_BYTES, SFLOAT_BYTES, Special, decode_float, decode_sfloat

VECTORS = Path(__file__).parents[1] / "vectors" / "ble"
SPECIALS = {"NaN", "NRes", "+INF", "-INF", "reserved"}


def vectors(file: str) -> list[Any]:
    rows = [json.loads(line, parse_float=Decimal) for line in (VECTORS / file).read_text(encoding="utf-8").splitlines()]
    return [pytest.param(row, id=f"{row['characteristic']}-{row['hex']}") for row in rows]


def told(number: Decimal | Special) -> Decimal | str:
    return number.value if isinstance(number, Special) else number


@pytest.mark.parametrize("vector", vectors("ieee11073.jsonl"))
def test_a_number_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    short = vector["characteristic"] == "SFLOAT"
    data, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    assert len(data) == (SFLOAT_BYTES if short else FLOAT_BYTES)
    assert told(decode_sfloat(data) if short else decode_float(data)) == expected.get(
        "value", expected.get("temperature")
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("07ff", "NaN"),
        ("0800", "NRes"),
        ("07fe", "+INF"),
        ("0802", "-INF"),
        ("0801", "reserved"),
        ("007fffff", "NaN"),
        ("00800000", "NRes"),
        ("007ffffe", "+INF"),
        ("00800002", "-INF"),
        ("00800001", "reserved"),
    ],
)
def test_the_five_special_values_are_told_apart(word: str, said: str) -> None:
    data = bytes.fromhex(word)[::-1]
    assert told(decode_sfloat(data) if len(data) == SFLOAT_BYTES else decode_float(data)) == said


@pytest.mark.parametrize(
    ("hexadecimal", "digits"),
    [
        ("6c0100ff", "36.4"),
        ("720100ff", "37.0"),
        ("b00e00fe", "37.60"),
        ("000000ff", "0.0"),
        ("fffffffe", "-0.01"),
        ("ff07", "NaN"),
        ("7200", "114"),
        ("88f4", "116.0"),
        ("fff7", "204.7"),  # NaN's mantissa with another exponent is a number
        ("fd07", "2045"),
        ("0308", "-2045"),
        ("0c10", "120"),
    ],
)
def test_the_digits_are_the_devices(hexadecimal: str, digits: str) -> None:
    data = bytes.fromhex(hexadecimal)
    number = told(decode_sfloat(data) if len(data) == SFLOAT_BYTES else decode_float(data))
    assert (number if isinstance(number, str) else format(number, "f")) == digits


def test_every_sfloat_is_mantissa_times_ten_to_the_exponent() -> None:
    specials = []
    for exponent in range(-8, 8):
        for mantissa in range(-2048, 2048):
            number = decode_sfloat(struct.pack("<H", (exponent & 0xF) << 12 | mantissa & 0xFFF))
            if isinstance(number, Special):
                specials.append((exponent, mantissa))
            else:
                assert number.as_tuple().exponent == exponent
                assert Fraction(number) == mantissa * Fraction(10) ** exponent
    assert specials == [(0, -2048), (0, -2047), (0, -2046), (0, 2046), (0, 2047)]


@given(st.integers(-(2**23), 2**23 - 1), st.integers(-128, 127))
@example(8388607, -1)
@example(-8388608, 127)
@example(8388607, 0)
def test_every_float_is_mantissa_times_ten_to_the_exponent(mantissa: int, exponent: int) -> None:
    data = struct.pack("<I", (exponent & 0xFF) << 24 | mantissa & 0xFFFFFF)
    with localcontext(Context(prec=3)):  # whatever the context, no digit is lost
        number = decode_float(data)
    if isinstance(number, Special):
        assert exponent == 0
        assert mantissa >= 2**23 - 2 or mantissa <= -(2**23) + 2
    else:
        assert number.as_tuple().exponent == exponent
        assert Fraction(number) == mantissa * Fraction(10) ** exponent


@pytest.mark.parametrize("vector", vectors("date_time.jsonl"))
def test_a_date_time_is_what_its_vector_says(vector: dict[str, Any]) -> None:
    value, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    if vector.get("expect_reject"):
        with pytest.raises(ValueError, match="7 bytes"):
            date_time.decode(value)
    elif "timestamp" in expected:
        assert date_time.decode(value) == datetime.fromisoformat(expected["timestamp"])
        assert date_time.encode(datetime.fromisoformat(expected["timestamp"])) == value
    else:
        assert (expected["year"], expected["month"], expected["day"]) == (None, None, None)
        assert date_time.decode(value) is None


@pytest.mark.parametrize(
    ("year", "rest"),
    [(0, (4, 17, 20, 41, 59)), (2026, (0, 17, 0, 0, 0)), (2026, (4, 0, 0, 0, 0)), (0, (2, 29, 0, 0, 0))],
)
def test_a_date_that_is_not_known_in_full_is_no_time(year: int, rest: tuple[int, ...]) -> None:
    assert date_time.decode(struct.pack("<H5B", year, *rest)) is None


@pytest.mark.parametrize(
    ("year", "rest"),
    [
        (2025, (13, 1, 0, 0, 0)),
        (2025, (1, 32, 0, 0, 0)),
        (2025, (2, 29, 0, 0, 0)),
        (2025, (1, 1, 24, 0, 0)),
        (2025, (1, 1, 0, 60, 0)),
        (2025, (1, 1, 0, 0, 60)),
        (1581, (1, 1, 0, 0, 0)),
        (10000, (1, 1, 0, 0, 0)),
        (0, (13, 1, 0, 0, 0)),
        (0, (2, 30, 0, 0, 0)),
        (0, (0, 0, 24, 0, 0)),
    ],
)
def test_what_is_no_date_is_refused(year: int, rest: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"year|month|day|hour|minute|second"):
        date_time.decode(struct.pack("<H5B", year, *rest))


@given(st.datetimes(min_value=datetime.fromisoformat("1582-01-01")))
def test_a_date_time_comes_back_without_its_fraction(at: datetime) -> None:
    value = date_time.encode(at)
    assert len(value) == date_time.LENGTH
    assert date_time.decode(value) == at.replace(microsecond=0)


def test_a_time_with_a_zone_or_before_the_calendar_is_not_written() -> None:
    with pytest.raises(ValueError, match="zone"):
        date_time.encode(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="1582"):
        date_time.encode(datetime.fromisoformat("1581-12-31"))
