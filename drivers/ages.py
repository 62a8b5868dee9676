"""A new measurement, or the same one polled again? By the age that the device gives it, and by its counter.

A polled device answers with its last result for as long as it has no other, and says how old it is. So:

1. What was measured later than the last known one by more than `TOLERANCE_S` is new, whatever its value: two equal
   measurements are two. So is one with another counter.
2. Else it is the same, however often it is asked for.
3. What is there at the first poll is old: it was measured before anyone listened. It is told as stored while it is
   younger than `STORED_S`, since it may have gone lost with the port, and left out when it is older.
4. An age at its upper end grows no more: nothing can be told from it.
"""

from __future__ import annotations

from enum import Enum, auto

# An answer may come this late, and ages are whole seconds. No cuff measures twice within it.
TOLERANCE_S = 5.0
STORED_S = 120.0


class Fate(Enum):
    """What a result is that was polled."""

    NEW = auto()
    SAME = auto()
    STORED = auto()  # it was there before us, a short while ago
    OLD = auto()


class Ages:
    """When the last known result of one kind was measured, in monotonic seconds. `oldest_s`: where ages stop."""

    def __init__(self, oldest_s: float) -> None:
        self._oldest_s = oldest_s
        self._measured_at: float | None = None
        self._counter = b""

    def none_yet(self) -> None:
        """Take note that the device has no result: the next one is new."""
        self._measured_at = float("-inf")

    def fate(self, age_s: float, counter: bytes, now: float) -> Fate:
        """Answer what a result is that is `age_s` old at `now`, and remember it."""
        before, other = self._measured_at, counter != self._counter
        if age_s >= self._oldest_s and not (before is not None and other):
            return Fate.OLD
        measured_at = now - age_s
        self._measured_at, self._counter = measured_at, counter
        if before is None:
            return Fate.STORED if age_s <= STORED_S else Fate.OLD
        return Fate.NEW if other or measured_at > before + TOLERANCE_S else Fate.SAME
