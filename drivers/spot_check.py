"""Which frames of a streaming sensor make one reading: a spot check.

An oximeter says what it sees once a second or every two, for as long as a finger is in the sensor; a heart rate strap
does the same for as long as it is worn. The chart wants one reading for one finger. `SpotCheck` does it for a driver of
a serial line. A Bluetooth session (gateway/ble_session.py) asks `SpotChecks` itself; its end is a break, too.

Laws:

1. `frames` samples in a row that agree within `spread` make one reading, told on the last of them and with its
   values: the device has averaged already, and the first values after a finger went in are still on their way.
2. Its flags are those of all of them: one that moved makes the reading a doubtful one.
3. Then there is quiet until a break: silence of `silence_s`, or a notice that the model's data names as one (sensor
   off, pulse search). What came before a break never counts with what comes after.
4. A frame that says itself that the sensor is on nobody (flag `no_contact`) is no frame of a reading, whatever number
   it carries: it is the notice `sensor_off`, and a break.
5. One event in, one event out: the frames before the one that was told are notices `settling`, those after it `repeat`,
   those that led to nothing `unsettled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from drivers import models
from drivers.contract import Driver, Event, Notice, Sample, Step

NO_CONTACT = "no_contact"  # of a Sample whose number nobody wears the sensor for

_OFF = Notice("sensor_off", "it has no contact with the skin")
_SETTLING = Notice("settling", "a frame that the next ones confirmed")
_REPEAT = Notice("repeat", "the reading of this finger was told already")
_UNSETTLED = Notice("unsettled", "a frame that the next ones did not confirm")


class SpotChecks:
    """The laws above as a step over events. Who calls it owns bytes and clock; each Sample is a frame of the sensor."""

    def __init__(self, rule: models.SpotCheck) -> None:
        self._rule = rule
        self._row: list[Sample] = []  # at most `frames`, none of them has had its event
        self._told = False
        self._heard_at: float | None = None

    @property
    def silent_at(self) -> float | None:
        """When there will have been silence, if nothing more is heard; None where that was noted, or nothing came."""
        return None if self._heard_at is None else self._heard_at + self._rule.silence_s

    def heard(self, now: float) -> list[Event]:
        """Take note that something arrives; answer what the silence before it broke off."""
        late = self.tick(now)
        self._heard_at = now
        return late

    def tick(self, now: float) -> list[Event]:
        """Take note of silence; answer what it broke off."""
        if self.silent_at is None or now < self.silent_at:
            return []
        self._heard_at = None
        return self.end()

    def take(self, event: Event) -> list[Event]:
        """Answer what is told of this event, and of those that waited for it."""
        if isinstance(event, Sample):
            return [*self.end(), _OFF] if NO_CONTACT in event.flags else self._take(event)
        if isinstance(event, Notice) and event.code in self._rule.breaks:
            return [*self.end(), event]
        return [event]

    def end(self) -> list[Event]:
        """Give up the frames that made no reading: what comes next is another finger."""
        dropped: list[Event] = [_UNSETTLED] * len(self._row)
        self._row.clear()
        self._told = False
        return dropped

    def _take(self, frame: Sample) -> list[Event]:
        if self._told:
            return [_REPEAT]
        self._row.append(frame)
        answer: list[Event] = []
        while not self._agrees():
            del self._row[0]
            answer.append(_UNSETTLED)
        if len(self._row) < self._rule.frames:
            return answer
        flags = dict.fromkeys(flag for one in self._row for flag in one.flags)
        answer += [_SETTLING] * (len(self._row) - 1)
        self._row.clear()
        self._told = True
        return [*answer, replace(frame, flags=tuple(flags))]

    def _agrees(self) -> bool:
        return all(_spread(self._row, kind) <= widest for kind, widest in self._rule.spread.items())


class SpotCheck:
    """Turns the saturations of `driver` into readings by `rule`; samples without one are not its own, and pass."""

    def __init__(self, driver: Driver, rule: models.SpotCheck) -> None:
        self._driver = driver
        self._checks = SpotChecks(rule)

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        late = self._checks.heard(now)
        return self._step(late, self._driver.feed(data, now))

    def tick(self, now: float) -> Step:
        """Take note of silence; see Driver."""
        return self._step(self._checks.tick(now), self._driver.tick(now))

    def close(self, now: float) -> Step:
        """Give up frames that made no reading; see Driver."""
        events = self._all(self._driver.close(now).events)
        return Step((*events, *self._checks.end()))

    def _step(self, late: list[Event], inner: Step) -> Step:
        deadlines = [at for at in (inner.deadline, self._checks.silent_at) if at is not None]
        return Step((*late, *self._all(inner.events)), inner.write, min(deadlines, default=None))

    def _all(self, events: Iterable[Event]) -> list[Event]:
        return [told for event in events for told in ([event] if _is_anothers(event) else self._checks.take(event))]


def _is_anothers(event: Event) -> bool:
    return isinstance(event, Sample) and _value(event, "oxygen_saturation") is None


def _value(sample: Sample, kind: str) -> Decimal | None:
    return next((m.value for m in sample.measurements if m.kind == kind), None)


def _spread(row: Sequence[Sample], kind: str) -> Decimal:
    values = [value for sample in row if (value := _value(sample, kind)) is not None]
    return max(values) - min(values) if values else Decimal(0)
