"""The time in which what a device measures is a test's: `certify` opens it, for one device, for five minutes at most.

A patient's measurement must never go to a test topic alone, a test's never to the chart. So:

1. A trial is opened at rest (activity.py): what is under way when somebody asks for it stays a patient's.
2. A record that its device stamped is a test's if it was taken within a trial, whenever it arrives; over a restart,
   too (trial_file.py). What is not stamped counts by its arrival: from opening to end it is a test's.
3. The end puts the device back to `real` at once. A weighing that was under way then, and was not told yet, is a
   test's: its reading comes in a moment. What follows without rest, or within `late_s`, may be either's.
4. What may be either's is a reading of its own mode that is held (`test_overlap`): at either edge of a trial within
   the uncertainty of its stamp; an old or undated record that arrives in a trial; a trial whose end nobody noted.
5. A trial ends by itself, whatever becomes of who opened it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from gateway.activity import Activity
from gateway.clock import Clock
from gateway.reading import ClockQuality, Mode, Reading
from gateway.vocabulary import TEST_OVERLAP

LONGEST_S = 300.0
LATE_S = 10.0  # from a test to a patient's measurement it takes longer (ours)
LATE_PRESSURE_S = 120.0  # a cuff measures for so long, and says its result in the end: of one that said none yet
REMEMBERED = 64  # trials of one device, for what still lies in its memory


class Verdict(Enum):
    """Whose a measurement is."""

    PATIENTS = "patient's"
    TESTS = "test's"
    EITHERS = "either's"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: in seconds since the machine started, which start that was, and in UTC where that was believed.

    `is_sure`: its end was noted. Else it may have ended before `until`: with the service, or with the machine.
    """

    boot: str
    since: float
    until: float
    since_utc: datetime | None
    until_utc: datetime | None
    is_sure: bool


class Taken(Exception):
    """Somebody else certifies this device."""


class Trials:
    """One device's trials. `on_change` is called with until when it is in test, None when it is not."""

    def __init__(
        self, clock: Clock, activity: Activity, on_change: Callable[[datetime | None], None], *, is_pressure: bool
    ) -> None:
        self.is_taken = False
        self.past: deque[Trial] = deque(maxlen=REMEMBERED)
        self._clock = clock
        self._activity = activity
        self._on_change = on_change
        self._hear: Callable[[Reading, Verdict], None] | None = None
        self._since: float | None = None  # monotonic, as all below; None while none is open
        self._limit = self._ended_at = self._late_until = float("-inf")
        self._owed = False  # the trial ended in the midst of a measurement that was not told yet
        self._is_told = False  # of the last trial, a reading was
        self._is_pressure = is_pressure
        self._timer: asyncio.TimerHandle | None = None

    def succeed(self, earlier: Trials) -> None:
        """Know what another attendant of the same device knew; what was under way there is over."""
        self.past.extend(earlier.past)
        self._ended_at, self._late_until, self._is_told = earlier._ended_at, earlier._late_until, earlier._is_told
        self._activity.rested_at = earlier._activity.rested_at

    @property
    def is_at_rest(self) -> bool:
        """Whether one could be opened now."""
        return self._activity.is_at_rest(self._now)

    @property
    def is_open(self) -> bool:
        """Whether what is measured now is a test's."""
        if self._since is not None and self._now >= self._limit:
            self.end()
        return self._since is not None

    @property
    def running(self) -> Trial | None:
        """The open one, as it is to be on disk while it is open."""
        return None if self._since is None else self._trial(self._since, self._limit, is_sure=False)

    @contextmanager
    def taken(self, hear: Callable[[Reading, Verdict], None]) -> Iterator[None]:
        """Let `hear` have each reading, and whose it is, until the end, when an open trial ends, too. Raises Taken."""
        if self.is_taken:
            raise Taken
        self.is_taken, self._hear = True, hear
        try:
            yield
        finally:
            self.is_taken, self._hear = False, None
            self.end()

    def planned(self, for_s: float) -> Trial:
        """Answer the trial that would be opened now: to be on disk before it is."""
        now = self._clock.now()
        return self._trial(now.monotonic, now.monotonic + min(for_s, LONGEST_S), is_sure=False)

    def open(self, for_s: float) -> datetime:
        """Open one; answer until when, in UTC. To be called at rest, in the step of the loop that found it so."""
        now, for_s = self._now, min(for_s, LONGEST_S)
        self._since, self._limit, self._owed, self._is_told = now, now + for_s, False, False
        self._timer = asyncio.get_running_loop().call_later(for_s, self.end)
        until = self._clock.now().utc + timedelta(seconds=for_s)
        self._on_change(until)
        return until

    def end(self) -> None:
        """End the open one, if there is one."""
        if self._since is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = min(self._now, self._limit)
        self.past.append(self._trial(self._since, now, is_sure=True))
        late_s = LATE_PRESSURE_S if self._is_pressure and not self._is_told else LATE_S
        self._since, self._ended_at, self._late_until = None, now, now + late_s
        self._owed = self._activity.is_untold(now)
        self._on_change(None)

    def mode(self, mode: Mode) -> Mode:
        """Answer the mode of what the device says now that is no reading."""
        return Mode.TEST if self.is_open and mode is Mode.REAL else mode

    def settle(self, reading: Reading, at: float, hold: Callable[[Reading, str], Reading]) -> Reading:
        """Answer the reading, that arrived at `at`, as what it is by the laws above; `hold` holds one for a reason."""
        verdict = self._verdict(reading, at)
        if verdict is Verdict.TESTS:
            self._is_told = True
            reading = replace(reading, mode=Mode.TEST if reading.mode is Mode.REAL else reading.mode)
        elif verdict is Verdict.EITHERS:
            reading = hold(reading, TEST_OVERLAP)
        if self._hear is not None:
            self._hear(reading, verdict)
        return reading

    @property
    def _now(self) -> float:
        return self._clock.now().monotonic

    # ---- whose it is ---------------------------------------------------------------------------------------------

    def _verdict(self, reading: Reading, at: float) -> Verdict:
        times = reading.times
        if times.source == "device" and times.taken_at is not None:
            taken_at = at - (times.received_at - times.taken_at).total_seconds()
            return self._of_stamped(taken_at, times.taken_at, times.uncertainty_s or 0.0)
        return self._of_arrived(at, is_of_now=times.taken_at is not None and "stored" not in reading.flags)

    def _of_arrived(self, at: float, *, is_of_now: bool) -> Verdict:
        if self.is_open:
            return Verdict.TESTS if is_of_now else Verdict.EITHERS
        if self._activity.rested_at < self._ended_at:
            owed, self._owed = self._owed, False
            return Verdict.TESTS if owed and is_of_now else Verdict.EITHERS
        return Verdict.EITHERS if at < self._late_until else Verdict.PATIENTS

    def _of_stamped(self, taken_at: float, taken_utc: datetime, unsure_s: float) -> Verdict:
        is_open = self.is_open
        open_since = self._since if is_open and self._since is not None else float("inf")
        spans = [(open_since, float("inf"), True), *self._spans(taken_at, taken_utc)]
        verdict = Verdict.PATIENTS
        for since, until, is_sure in spans:
            if is_sure and since + unsure_s <= taken_at <= until - unsure_s:
                return Verdict.TESTS
            if since - unsure_s <= taken_at <= until + unsure_s:
                verdict = Verdict.EITHERS
        return verdict

    def _spans(self, taken_at: float, taken_utc: datetime) -> Iterable[tuple[float, float, bool]]:
        """Answer past trials on the monotonic clock of now; those of an earlier start of the machine by UTC."""
        offset = self._clock.since_boot(taken_at) - taken_at
        for past in self.past:
            if past.boot == self._clock.boot:
                yield past.since - offset, past.until - offset, past.is_sure
            elif past.since_utc is not None and past.until_utc is not None:
                until = min(past.until_utc, self._clock.utc_since_boot(0.0))  # it ended with that start, at the latest
                yield (
                    taken_at - (taken_utc - past.since_utc).total_seconds(),
                    taken_at - (taken_utc - until).total_seconds(),
                    past.is_sure,
                )

    def _trial(self, since: float, until: float, *, is_sure: bool) -> Trial:
        clock = self._clock
        utc = [clock.utc_at(since), clock.utc_at(until)]
        believed = clock.quality is not ClockQuality.UNSYNCED  # asked after: nobody moved it before
        return Trial(
            clock.boot,
            clock.since_boot(since),
            clock.since_boot(until),
            utc[0] if believed else None,
            utc[1] if believed else None,
            is_sure,
        )
