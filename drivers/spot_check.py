"""Which frames of a streaming oximeter make one reading: a spot check.

An oximeter says what it sees once a second or every two, for as long as a finger is in the sensor. The chart wants one
reading for one finger.

Laws:

1. `frames` samples in a row that agree within `spread` make one reading, told on the last of them and with its
   values: the device has averaged already, and the first values after a finger went in are still on their way.
2. Its flags are those of all of them: one that moved makes the reading a doubtful one.
3. Then there is quiet until a break: silence of `silence_s`, or a notice that the model's data names as one (sensor
   off, pulse search). What came before a break never counts with what comes after.
4. Samples without a saturation are not this wrapper's and pass.
5. One event in, one event out: the frames before the one that was told are notices `settling`, those after it `repeat`,
   those that led to nothing `unsettled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from drivers import models
from drivers.contract import Driver, Event, Notice, Sample, Step

_SETTLING = Notice("settling", "a frame that the next ones confirmed")
_REPEAT = Notice("repeat", "the reading of this finger was told already")
_UNSETTLED = Notice("unsettled", "a frame that the next ones did not confirm")


class SpotCheck:
    """Turns the saturations of `driver` into readings by `rule`; see the laws above."""

    def __init__(self, driver: Driver, rule: models.SpotCheck) -> None:
        self._driver = driver
        self._rule = rule
        self._row: list[Sample] = []  # at most `frames`, none of them has had its event
        self._told = False
        self._heard_at: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        late = self._note_silence(now)
        step = self._driver.feed(data, now)
        self._heard_at = now
        return self._step(late, step)

    def tick(self, now: float) -> Step:
        """Take note of silence; see Driver."""
        return self._step(self._note_silence(now), self._driver.tick(now))

    def close(self, now: float) -> Step:
        """Give up frames that made no reading; see Driver."""
        events = self._all(self._driver.close(now).events)
        return Step((*events, *self._break()))

    def _step(self, late: list[Event], inner: Step) -> Step:
        events = late + self._all(inner.events)
        deadline = inner.deadline
        if self._heard_at is not None:
            silent_at = self._heard_at + self._rule.silence_s
            deadline = silent_at if deadline is None else min(deadline, silent_at)
        return Step(tuple(events), inner.write, deadline)

    def _note_silence(self, now: float) -> list[Event]:
        if self._heard_at is None or now < self._heard_at + self._rule.silence_s:
            return []
        self._heard_at = None
        return self._break()

    def _all(self, events: Iterable[Event]) -> list[Event]:
        answer: list[Event] = []
        for event in events:
            if isinstance(event, Sample) and _value(event, "oxygen_saturation") is not None:
                answer += self._take(event)
                continue
            if isinstance(event, Notice) and event.code in self._rule.breaks:
                answer += self._break()
            answer.append(event)
        return answer

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

    def _break(self) -> list[Event]:
        dropped: list[Event] = [_UNSETTLED] * len(self._row)
        self._row.clear()
        self._told = False
        return dropped


def _value(sample: Sample, kind: str) -> Decimal | None:
    return next((m.value for m in sample.measurements if m.kind == kind), None)


def _spread(row: Sequence[Sample], kind: str) -> Decimal:
    values = [value for sample in row if (value := _value(sample, kind)) is not None]
    return max(values) - min(values) if values else Decimal(0)
