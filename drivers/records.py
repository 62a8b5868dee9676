"""Results that are said once: a frame is a reading, and a record that comes again is none.

A monitor sends its result when the measurement is over. Someone presses PRINT, a cable is put in again, and the same
record comes once more, with the time at which it was measured.

1. A record that says its time, and that came before since the port was opened, is a Notice `repeat`: same time, same
   numbers, same person. The device's clock may be wrong for this; it only has to go on.
2. Where one of the three differs it is another reading, however near.
3. A record without a time is a reading each time it comes: nothing in it can tell.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from drivers.contract import Driver, Event, Measurement, Notice, Sample, Step

_REPEAT = Notice("repeat", "this record was told already")
_REMEMBERED = 64  # a memory that is dumped whole is longer on no device that is named here

_Record = tuple[datetime, tuple[Measurement, ...], str | None]


class Records:
    """Lets each record of `driver` through once; see the laws above."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._told: deque[_Record] = deque(maxlen=_REMEMBERED)

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        return self._step(self._driver.feed(data, now))

    def tick(self, now: float) -> Step:
        """Take note of the time; see Driver."""
        return self._step(self._driver.tick(now))

    def close(self, now: float) -> Step:
        """Answer what can still be said; see Driver."""
        return self._step(self._driver.close(now))

    def _step(self, step: Step) -> Step:
        return Step(tuple(map(self._once, step.events)), step.write, step.deadline)

    def _once(self, event: Event) -> Event:
        if not isinstance(event, Sample) or event.device_time is None:
            return event
        record = (event.device_time, event.measurements, event.device_user)
        if record in self._told:
            return _REPEAT
        self._told.append(record)
        return event
