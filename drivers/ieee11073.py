"""SFLOAT and FLOAT: the decimal numbers of medical devices, exact.

value = mantissa × 10^exponent, little-endian, two's complement, the exponent in the high bits:

    SFLOAT  16 bits: exponent  4, mantissa 12       FLOAT  32 bits: exponent 8, mantissa 24

1. The digits are the device's: 6c0100ff is 36.4 and 720100ff is 37.0, never a binary fraction.
2. Five mantissas with the exponent 0 are no numbers. With another exponent they are numbers: f7ff is 204.7.

Source: ISO/IEEE 11073-20601, FLOAT-Type and SFLOAT-Type; Bluetooth SIG, Personal Health Devices Transcoding White
Paper, section 2.2.6. The special values also in rickosborne/foundation-ts, IEEE-11073 tests.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

SFLOAT_BYTES = 2
FLOAT_BYTES = 4


class Special(Enum):
    """What a device sends where it has no number."""

    NAN = "NaN"
    NRES = "NRes"  # not at this resolution
    POSITIVE_INFINITY = "+INF"
    NEGATIVE_INFINITY = "-INF"
    RESERVED = "reserved"


def decode_sfloat(data: bytes) -> Decimal | Special:
    """Answer the number of 2 bytes; that there are 2 is the caller's to check."""
    return _decode(data, mantissa_bits=12)


def decode_float(data: bytes) -> Decimal | Special:
    """Answer the number of 4 bytes; that there are 4 is the caller's to check."""
    return _decode(data, mantissa_bits=24)


def _decode(data: bytes, *, mantissa_bits: int) -> Decimal | Special:
    word = int.from_bytes(data, "little", signed=True)
    exponent = word >> mantissa_bits  # keeps the sign
    mantissa = word & ((1 << mantissa_bits) - 1)
    lowest = 1 << (mantissa_bits - 1)  # as unsigned: what would be the most negative mantissa
    if exponent == 0 and mantissa in range(lowest - 2, lowest + 3):
        return _SPECIALS[mantissa - lowest]
    if mantissa >= lowest:
        mantissa -= 1 << mantissa_bits
    return Decimal(f"{mantissa}E{exponent}")  # from text: exact whatever the decimal context


_SPECIALS = {
    -2: Special.POSITIVE_INFINITY,
    -1: Special.NAN,
    0: Special.NRES,
    1: Special.RESERVED,
    2: Special.NEGATIVE_INFINITY,
}
