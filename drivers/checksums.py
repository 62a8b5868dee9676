"""Check sums that several protocols share. Pure; each answers one byte as a number."""

from __future__ import annotations


def sum8(data: bytes) -> int:
    """Answer the sum of the bytes, modulo 256."""
    return sum(data) & 0xFF


def complement8(data: bytes) -> int:
    """Answer the byte that brings the sum of all to zero, modulo 256: the two's complement of the sum."""
    return -sum(data) & 0xFF
