"""Kept rows that go out again because somebody asked: the same bytes on the same topic, marked `replayed`.

1. Fresh rows first. The publisher takes a row from here only while none waits that could go; no more than WINDOW of
   these are unanswered, and no more than PER_S go out a second.
2. What became of a row at first is not touched: not its state, not its place, not the counts of what was delivered.
3. A row whose connection ended goes out once more on the next one; over which the broker hung up does not.
4. A row that the broker refuses is counted by the reason and left: its request is answered, not tried for ever.
5. Requests are in memory. A restart forgets them, and who misses something asks again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from gateway import kept
from gateway.outbox import Outbox
from gateway.store import Mark, Row

WINDOW = 5
PER_S = 50.0
PORTION = 100

# The reason for what was purged between the request and its turn, or is not any more what was kept.
GONE = "gone"


@dataclass(slots=True)
class Job:
    """One request: what is left of it, and what the broker said to the rest, by reason."""

    asked_by: str
    marked: bool
    left: deque[int]
    total: int
    on_done: Callable[[Job], None]
    said: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Replay:
    """A row that goes out again. `marked`: with the user property `replayed`."""

    row: Row
    job: Job = field(repr=False)

    @property
    def marked(self) -> bool:
        """Whether it bears the mark: always, but where somebody asked otherwise."""
        return self.job.marked


class Replays:
    """The requests that are under way, one an asker; `on_more` is called when there may be more to take."""

    def __init__(self, outbox: Outbox, on_more: Callable[[], None]) -> None:
        self.said: Counter[str] = Counter()  # what brokers said, by reason, since the start
        self._outbox = outbox
        self._on_more = on_more
        self._jobs: dict[str, Job] = {}
        self._ready: deque[Replay] = deque()
        self._out: list[Replay] = []
        self._reading = False
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def is_busy(self, asked_by: str) -> bool:
        """Whether a request of this asker is under way."""
        return asked_by in self._jobs

    def left(self) -> dict[str, int]:
        """Answer how many rows each asker still waits for."""
        return {asked_by: job.total - job.said.total() for asked_by, job in self._jobs.items()}

    def start(
        self, asked_by: str, sequences: Sequence[int], on_done: Callable[[Job], None], *, marked: bool = True
    ) -> None:
        """Let these rows go out again, in this order; `on_done` hears when all are answered."""
        job = Job(asked_by, marked, deque(sequences), len(sequences), on_done)
        if not sequences:
            on_done(job)
            return
        self._jobs[asked_by] = job
        self._on_more()

    def take(self, without: Container[str]) -> Replay | None:
        """Answer the next row whose time has come; it is out now. Rows of the topics `without` are refused at once."""
        self._read_on()
        while self._ready and len(self._out) < WINDOW:
            if self._ready[0].row.topic in without:
                self._say(self._ready.popleft(), "topic_refused")
                continue
            if not self._is_time():
                return None
            replay = self._ready.popleft()
            self._out.append(replay)
            return replay
        return None

    def settle(self, replay: Replay, reason: str, broker: str | None, sent_at: float | None = None) -> None:
        """Take note of what the broker said."""
        self._out.remove(replay)
        self._outbox.mark(Mark(replay.row.sequence, "replayed", reason, broker, sent_at))
        self._say(replay, reason)

    def not_sent(self, replay: Replay, reason: str) -> None:
        """Take note that it did not go out, and will not."""
        self._out.remove(replay)
        self._say(replay, reason)

    def lost(self, poison: str | None) -> None:
        """Take note that the connection ended; `poison`: the broker hung up over a packet, perhaps one of these."""
        out, self._out = self._out, []
        if poison is None:
            self._ready.extendleft(reversed(out))
            return
        for replay in out:
            self._say(replay, poison)

    def _say(self, replay: Replay, reason: str) -> None:
        self._count(replay.job, reason)

    def _count(self, job: Job, reason: str, times: int = 1) -> None:
        self.said[reason] += times
        job.said[reason] += times
        if job.said.total() == job.total:
            del self._jobs[job.asked_by]
            job.on_done(job)

    def _is_time(self) -> bool:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now < self._next_at:
            if self._timer is None:
                self._timer = loop.call_at(self._next_at, self._wake)
            return False
        self._next_at = now + 1 / PER_S
        return True

    def _wake(self) -> None:
        self._timer = None
        self._on_more()

    def _read_on(self) -> None:
        job = next((job for _, job in sorted(self._jobs.items(), reverse=True) if job.left), None)
        if job is None or self._reading or len(self._ready) >= PORTION // 2:
            return
        self._reading = True
        some = [job.left.popleft() for _ in range(min(PORTION, len(job.left)))]

        def take(rows: list[Row]) -> None:
            self._reading = False
            self._ready.extend(Replay(row, job) for row in rows)
            if len(rows) < len(some):
                self._count(job, GONE, len(some) - len(rows))
            self._on_more()

        self._outbox.fetch(lambda store: kept.rows(store, some), take)
