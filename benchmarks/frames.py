"""The frames that every contender reads, and how one is recognized in whatever a contender makes of it.

A&D standard format, marked stable, each with another weight: nothing settles away, nothing is taken for a repeat, and
a payload that holds the weight holds the number of its frame.
"""

from __future__ import annotations

import re

MODEL = "and-standard-scale"
MOST = 8_000_000  # weights between 20 and 100 kg, in steps of 10 mg
SAID = 4_000_000  # numbers below are said to a port; those from here on are kept beforehand (kept.py)

_WEIGHT = re.compile(rb"(?<![\d.])([2-9]\d)\.(\d{5})(?!\d)")


def frame(number: int) -> bytes:
    """Answer frame `number`, of MOST."""
    kilograms, rest = divmod(2_000_000 + number % MOST, 100_000)
    return b"ST,+%02d.%05d kg\r\n" % (kilograms, rest)


def number_in(payload: bytes) -> int | None:
    """Answer the number of the frame whose weight stands in a payload; None where there is no such weight."""
    found = _WEIGHT.search(payload)
    return None if found is None else int(found[1]) * 100_000 + int(found[2]) - 2_000_000
