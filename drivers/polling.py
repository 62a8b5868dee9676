"""Asking a device that speaks only when it is asked."""

from __future__ import annotations

from drivers import models
from drivers.contract import Driver, Event, Notice, Rejected, Step

_NO_ANSWER = Notice(
    "no_answer", "the device did not answer: is it on, is this its port, are the line settings its own?"
)


class Polling:
    """Writes its requests in turn, each when the one before is answered; then anew, `plan.interval_s` after it began.

    An answer is any Sample or Notice; noise is none. What is not answered within `plan.answer_s` is passed over; where
    nothing of a round was answered comes a Notice `no_answer`, and the next round begins at once. Requests only ever
    read (the codecs name theirs): nothing here can start, erase or calibrate anything. What holds frames back
    (Settling, SpotCheck) stands around it: held back, an answer would look like none.
    """

    def __init__(self, driver: Driver, request: bytes | tuple[bytes, ...], plan: models.Polling) -> None:
        self._driver = driver
        self._requests = (request,) if isinstance(request, bytes) else request
        self._plan = plan
        self._turn = 0  # of the request that is asked next, or waits for its answer
        self._answered = False  # something of this round
        self._ask_at: float | None = None
        self._answer_by: float | None = None

    def feed(self, data: bytes, now: float) -> Step:
        """Take what has just arrived; see Driver."""
        step = self._driver.feed(data, now)
        if any(not isinstance(event, Rejected) for event in step.events):
            self._answered = True
            self._pass_on()
        return self._continue(step, now)

    def tick(self, now: float) -> Step:
        """Ask when it is time to; see Driver."""
        return self._continue(self._driver.tick(now), now)

    def close(self, now: float) -> Step:
        """Ask no more; see Driver."""
        return Step(self._driver.close(now).events)

    def _pass_on(self) -> None:
        if self._answer_by is not None:
            self._answer_by = None
            self._turn += 1

    def _continue(self, step: Step, now: float) -> Step:
        events: tuple[Event, ...] = step.events
        write = step.write
        if self._answer_by is not None and now >= self._answer_by:
            self._pass_on()
            if self._turn == len(self._requests) and not self._answered:
                events += (_NO_ANSWER,)
                self._ask_at = now
        if self._turn == len(self._requests):
            self._turn = 0
        if self._answer_by is None and (self._turn or self._ask_at is None or now >= self._ask_at):
            if not self._turn:
                self._ask_at = now + self._plan.interval_s
                self._answered = False
            write += self._requests[self._turn]
            self._answer_by = now + self._plan.answer_s
        own = self._ask_at if self._answer_by is None else self._answer_by
        return Step(events, write, own if step.deadline is None or own is None else min(own, step.deadline))
