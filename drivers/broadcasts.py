"""What a device says to everybody around, over and over: which of it is a reading, and which is of now. Pure.

A scale that is only heard says its weight while somebody stands on it, says it on when they have left, and may say it
again hours later, when somebody moves it. One weighing is one reading, and an old one is none of now.

Laws:

1. A weighing is of now if it was heard to become: a frame that is not stable, and at most `window_s` later a stable
   one. That one is the reading.
2. After it each frame with the same load is a `repeat`, whatever stands beside it: until a frame that is not stable is
   heard. So an impedance that comes later is not told.
3. A stable frame that was not heard to become (we came too late, did not hear it rise, or nobody is on it any more) is
   told all the same, once, as one that is not of now. `removed` among its flags says that the load is off: it is
   flagged `stored`.
4. Load off, or silence for longer than `window_s`: who says the same load then may be another person. It is a `repeat`
   only if its stamp, too, was told before.
5. One event in, one event out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

from drivers.contract import Event, Measurement, Notice, Sample

REMEMBERED = 16  # weighings by which a broadcast is known again

_NOT_STABLE = frozenset({"unstable", "zero"})
_REPEAT = Notice("repeat", "this reading was told already")

_Load = tuple[tuple[Measurement, ...], bool]  # what was weighed, and whether as a thing
_Weighing = tuple[datetime | None, _Load]


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, and whether a Sample is of now."""

    event: Event
    is_live: bool = False


class Broadcasts:
    """Turns the frames of one device into readings. `at` is monotonic seconds and never goes back."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._heard_at: float | None = None
        self._rising_at: float | None = None  # the last frame that was not stable, if nothing else came since
        self._last: _Load | None = None  # what was said last, without a break since
        self._is_off = False  # and nobody is on it any more
        self._told: deque[_Weighing] = deque(maxlen=REMEMBERED)

    def take(self, event: Event, at: float) -> Heard:
        """Answer what `event`, heard at `at`, comes to."""
        if self._heard_at is not None and at - self._heard_at > self._window_s:
            self._last = None
        if self._rising_at is not None and at - self._rising_at > self._window_s:
            self._rising_at = None
        self._heard_at = at
        if isinstance(event, Sample):
            return self._weighed(event)
        if isinstance(event, Notice):
            self._rising_at = at if event.code in _NOT_STABLE else None
            self._last = None
        return Heard(event)

    def _weighed(self, frame: Sample) -> Heard:
        load, is_off = (frame.measurements, "object" in frame.flags), "removed" in frame.flags
        is_live = self._rising_at is not None and not is_off
        goes_on = load == self._last and (is_off or not self._is_off)
        is_known = goes_on or (not is_live and (frame.device_time, load) in self._told)
        self._rising_at, self._last, self._is_off = None, load, is_off
        if is_known:
            return Heard(_REPEAT)
        self._told.append((frame.device_time, load))
        return Heard(replace(frame, flags=(*frame.flags, "stored")) if is_off else frame, is_live)
