"""A monitor that an arm is put into, measures for half a minute and says its result once: what several makers' share.

What one says, and how it lies, stands in the file of its protocol, as a function from one measurement to its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

SIMULATED_ID = "SIM-000001"  # the marker by which nothing simulated can look real
PRESSURES = ("systolic", "diastolic", "mean_arterial_pressure", "pulse_rate")

_BEAT_S = 0.1
_MEASURES_S = 30.0
_KEYS = ("start", "stop")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a monitor would say of: when by its clock, the vitals, whether it failed, and the settings of its kind."""

    at: datetime
    vitals: Vitals
    failed: bool
    settings: Mapping[str, str]


class Cuff:
    """One monitor. `say` makes its bytes, or raises ValueError; `settings` are what `set` takes beside vitals."""

    def __init__(
        self, say: Callable[[Measured], bytes], settings: Mapping[str, str], kinds: tuple[str, ...] = PRESSURES
    ) -> None:
        self.kinds = kinds
        self._say = say
        self._settings = dict(settings)
        self._beat = Beat(_BEAT_S)
        self._clock = Clock()
        self._vitals = Vitals(kinds)
        self._done_at_us: int | None = None
        self._failed = False

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the monitor sends in that time."""
        out = b""
        for at_us in self._beat.advance(dt_s):
            if self._done_at_us is not None and at_us >= self._done_at_us:
                self._done_at_us = None
                out += self._say(Measured(self._clock.at(at_us), self._vitals, self._failed, self._settings))
        return out

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: it only speaks."""
        return b""

    def attach(self) -> None:
        """An arm is put in and START is pressed."""
        self.press("start")

    def detach(self) -> None:
        """The arm is taken out: what was being measured fails."""
        if self._done_at_us is not None:
            self._failed, self._done_at_us = True, self._beat.now_us

    def press(self, key: str) -> None:
        """Press start or stop; ValueError for another key."""
        if key == "start":
            self._failed, self._done_at_us = False, self._beat.now_us + round(_MEASURES_S * US)
        elif key == "stop":
            self._done_at_us = None
        else:
            raise ValueError(f"this monitor has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, clock (an ISO time) or one of its settings; ValueError if it cannot."""
        if kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        elif kind in self._settings:
            tried = {**self._settings, kind: value}
            self._say(Measured(self._clock.at(0), self._vitals, False, tried))
            self._settings = tried
        else:
            self._vitals.set(kind, value, unit)
