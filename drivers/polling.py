"""Asking a device that speaks only when it is asked."""

from __future__ import annotations

from drivers import models
from drivers.contract import Driver, Event, Notice, Rejected, Step

_NO_ANSWER = Notice(
    "no_answer", "the device did not answer: is it on, is this its port, are the line settings its own?"
)


class Polling:
    """Writes `request` at once, then `plan.interval_s` after the last one, but never before the answer is there.

    An answer is any Sample or Notice; noise is none. After `plan.answer_s` without one comes a Notice `no_answer`
    and the device is asked again. `request` only ever reads (the codecs name theirs): nothing here can start,
    erase or calibrate anything.
    """

    def __init__(self, driver: Driver, request: bytes, plan: models.Polling) -> None:
        self._driver = driver
        self._request = request
        self._plan = plan
        self._ask_at: float | None = None
        self._answer_by: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        step = self._driver.feed(data, now)
        if any(not isinstance(event, Rejected) for event in step.events):
            self._answer_by = None
        return self._continue(step, now)

    def tick(self, now: float) -> Step:
        """Ask when it is time to; see Driver."""
        return self._continue(self._driver.tick(now), now)

    def close(self, now: float) -> Step:
        """Ask no more; see Driver."""
        return Step(self._driver.close(now).events)

    def _continue(self, step: Step, now: float) -> Step:
        events: tuple[Event, ...] = step.events
        write = step.write
        if self._answer_by is not None and now >= self._answer_by:
            events += (_NO_ANSWER,)
            self._answer_by = None
            self._ask_at = now
        if self._answer_by is None and (self._ask_at is None or now >= self._ask_at):
            write += self._request
            self._answer_by = now + self._plan.answer_s
            self._ask_at = now + self._plan.interval_s
        own = self._ask_at if self._answer_by is None else self._answer_by
        return Step(events, write, own if step.deadline is None or own is None else min(own, step.deadline))
