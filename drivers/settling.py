"""Which frames make one reading.

A scale says its weight once when a key is pressed, ten times a second while someone stands on it, or twice and
then not for a minute. The chart wants one reading for one weighing.

Laws:

1. A reading is told on the frame that settles it: the `frames`-th equal one in a row. Then there is quiet.
2. What was told is told again only after a break: silence of `silence_s`, or a notice that the model's data names
   as one (an empty scale). Equal values on both sides of a break are two readings.
3. Without a break, another weight is another reading (a parent, then the parent with the child). The same
   weight with something new beside it (a height keyed in later) tells only what is new.
4. Where it cannot be told whether there was a break, an equal value is told once more with the flag
   `possible_repeat`: after the model's `doubts`; in a stream that was joined in its middle; when we did not listen
   for as long as a silence takes; when a unit or a keyed-in ID changed while the load stayed; after a silence in
   which someone keyed in a height, when the same weight comes with it. Whoever receives it compares it with the last
   reading and holds it if it is equal.
5. One event in, one event out: a frame that is no reading of its own goes out as a notice once its fate is known:
   `settling` (an equal one followed and settled it), `repeat` (told already), `unsettled` (others followed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from drivers import models
from drivers.contract import Driver, Event, Measurement, Notice, Sample, Step

_SETTLING = Notice("settling", "a frame that equal ones confirmed")
_REPEAT = Notice("repeat", "this reading was told already")
_UNSETTLED = Notice("unsettled", "a frame that the next ones did not confirm")


class Settling:
    """Turns the frames of `driver` into readings by `rule`; see the laws above."""

    def __init__(self, driver: Driver, rule: models.Settling) -> None:
        self._driver = driver
        self._rule = rule
        self._candidate: Sample | None = None
        self._unconfirmed = 0  # frames equal to the candidate that have had no event yet
        self._told: Sample | None = None
        self._told_by_kind: Mapping[str, Measurement] = {}
        self._before_silence: Sample | None = None
        self._in_doubt = True  # until the first break: who opens a port may join a stream in its middle
        self._heard_at: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        if self._is_silent(now) and self._told is not None:
            self._in_doubt = True  # nobody ticked: it was not the device that was silent, but we who did not listen
        step = self._driver.feed(data, now)
        self._heard_at = now  # bytes, not events: half a frame is no silence
        return self._step(self._settle_all(step.events), step)

    def tick(self, now: float) -> Step:
        """Take note of silence; see Driver."""
        if self._heard_at is None and self._in_doubt:
            self._heard_at = now
        step = self._driver.tick(now)
        return self._step(self._note_silence(now) + self._settle_all(step.events), step)

    def close(self, now: float) -> Step:
        """Tell what can still be told: the port is gone, which is a break; see Driver."""
        step = self._driver.close(now)
        return Step(tuple(self._settle_all(step.events) + self._break()))

    def _step(self, events: list[Event], inner: Step) -> Step:
        deadline = inner.deadline
        if self._heard_at is not None:
            silent_at = self._heard_at + self._rule.silence_s
            deadline = silent_at if deadline is None else min(deadline, silent_at)
        return Step(tuple(events), inner.write, deadline)

    def _is_silent(self, now: float) -> bool:
        return self._heard_at is not None and now >= self._heard_at + self._rule.silence_s

    def _note_silence(self, now: float) -> list[Event]:
        if not self._is_silent(now):
            return []
        self._heard_at = None
        before = self._told or self._before_silence  # noise within a long silence makes two of it
        events = self._break()
        self._before_silence = before
        return events

    def _settle_all(self, events: Iterable[Event]) -> list[Event]:
        settled: list[Event] = []
        for event in events:
            if isinstance(event, Sample):
                settled += self._settle(event)
                continue
            if isinstance(event, Notice):
                if event.code in self._rule.breaks:
                    settled += self._break()
                elif event.code in self._rule.doubts:
                    settled += self._drop_candidate()
                    self._in_doubt = self._in_doubt or self._told is not None
            settled.append(event)
        return settled

    def _settle(self, frame: Sample) -> list[Event]:
        answer: list[Event] = []
        if self._candidate is None or not _says_the_same(frame, self._candidate):
            answer = self._drop_candidate()
            self._candidate = frame
        elif self._unconfirmed == 0:  # the candidate was settled by earlier frames
            return [self._tell(frame)]
        self._unconfirmed += 1
        if self._unconfirmed < self._rule.frames:
            return answer
        answer += [_SETTLING] * (self._unconfirmed - 1)
        self._unconfirmed = 0
        return [*answer, self._tell(frame)]

    def _tell(self, frame: Sample) -> Event:
        """Answer the reading that this settled frame is, or that it is none."""
        told, in_doubt = self._told, self._in_doubt
        by_kind = {m.kind: m for m in frame.measurements}
        if told is None:
            in_doubt = in_doubt or _completes(frame, self._before_silence)
            self._remember(frame, by_kind)
            return _flagged(frame, "possible_repeat") if in_doubt else frame
        load = frame.measurements[0]
        news = tuple(m for m in frame.measurements if self._told_by_kind.get(m.kind) != m)
        same_load = load not in news and frame.modifiers == told.modifiers
        if same_load and not in_doubt and frame.device_user == told.device_user:
            self._remember(frame, {**self._told_by_kind, **by_kind})
            return replace(frame, measurements=news) if news else _REPEAT
        told_load = self._told_by_kind.get(load.kind)
        unit_changed = told_load is not None and told_load.unit != load.unit
        self._remember(frame, by_kind)
        return _flagged(frame, "possible_repeat") if same_load or unit_changed else frame

    def _remember(self, frame: Sample, by_kind: Mapping[str, Measurement]) -> None:
        self._told, self._told_by_kind, self._in_doubt = frame, by_kind, False

    def _drop_candidate(self) -> list[Event]:
        """Forget frames that were not confirmed before another came; each is answered as a notice."""
        dropped: list[Event] = [_UNSETTLED] * self._unconfirmed
        self._candidate = None
        self._unconfirmed = 0
        return dropped

    def _break(self) -> list[Event]:
        """End the reading; frames that were too few are what the model's data says they are."""
        lone, count = self._candidate, self._unconfirmed
        events = self._drop_candidate()
        if lone is not None and count and self._rule.lone == "recall":
            events = [*[_SETTLING] * (count - 1), _flagged(lone, "stored", "single_packet")]
        self._told = self._before_silence = None
        self._told_by_kind = {}
        self._in_doubt = False
        return events


def _says_the_same(one: Sample, other: Sample) -> bool:
    """Whether two frames differ in nothing that a person would chart; how they were framed does not count."""
    return (
        one.measurements == other.measurements
        and one.modifiers == other.modifiers
        and one.device_user == other.device_user
    )


def _completes(frame: Sample, before: Sample | None) -> bool:
    """Whether a frame says the load of `before` again, with something more beside it."""
    if before is None:
        return False
    same_load = frame.measurements[0] == before.measurements[0] and frame.modifiers == before.modifiers
    return same_load and len(frame.measurements) > len(before.measurements)


def _flagged(sample: Sample, *flags: str) -> Sample:
    return replace(sample, flags=(*sample.flags, *flags))
