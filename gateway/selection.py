"""Which kept rows are meant, and which of them are there: sequences, and ranges of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

Range = tuple[int, int]
"""From the first to the last, both included."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for: sequences that can go out again, those that wait and go out by themselves, what is not there.

    `gone`: purged. `never`: not given yet. `unknown`: ids of which there is no row (any more).
    """

    sequences: tuple[int, ...]
    waiting: tuple[Range, ...] = ()
    gone: tuple[Range, ...] = ()
    never: Range | None = None
    unknown: tuple[UUID, ...] = ()


def ranges(numbers: Iterable[int]) -> tuple[Range, ...]:
    """Answer ascending numbers as ranges."""
    told: list[Range] = []
    for number in numbers:
        if told and told[-1][1] == number - 1:
            told[-1] = (told[-1][0], number)
        else:
            told.append((number, number))
    return tuple(told)


def gaps(found: Sequence[int], first: int, last: int) -> tuple[Range, ...]:
    """Answer what is missing from `first` to `last` where these ascending numbers are there."""
    told, expected = [], first
    for number in (*found, last + 1):
        if number > expected:
            told.append((expected, number - 1))
        expected = number + 1
    return tuple(told)
