"""The outbox: what is committed here is ours to deliver.

One thread owns the one database connection (store.py). The event loop hands it work through a queue and hears of
results through `call_soon_threadsafe`; no lock is shared. What has arrived together is committed together: one
fsync for all of it, none of it told before.

When a commit fails (full disk, I/O error) its readings stay in memory, bounded, and are tried again every second;
devices are read on. Only what does not fit that memory is not kept, counted, and said loudly. What is to be read
back from a disk that cannot be read is asked for again, too: nobody waits for an answer that never comes.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from gateway.account import Books, Fate
from gateway.futures import fail, settle
from gateway.store import DatabaseError, Draft, Mark, Row, Store

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

GROUP_LIMIT = 500  # drafts in one commit: bounds how long the first one waits for the last
RETRY_S = 1.0
ANSWER_S = 2.0  # a disk that is asked how full it is and says nothing for so long hangs
HELD_BACK_LIMIT = 1000  # readings in memory while the disk takes none: hours of an exam room, less than 2 MB
MARKS_DELAY_S = 0.2  # delivered marks wait for company: a lost mark only sends a row again, under its old id
MARKS_LIMIT = 500


@dataclass(frozen=True, slots=True)
class OutboxState:
    """What the outbox says of itself: rows waiting and parked, the oldest waiting one's age, its trouble if any.

    `depth` is the database's own count, less what was settled since and is not written; that of `books` where the
    database does not answer.
    """

    books: Books = field(default_factory=Books)
    depth: int = 0
    oldest_kept_at: float | None = None
    parked: int = 0
    held_back: int = 0
    trouble: str | None = None

    @property
    def not_kept(self) -> int:
        """Readings that were lost since the start."""
        return self.books.not_kept


@dataclass(frozen=True, slots=True)
class _Keep:
    drafts: Sequence[Draft]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Ask:
    work: Callable[[Store], None]


class _Stop:
    """The last thing in the queue."""


class Outbox:
    """The loop's side of the outbox. `on_kept` is called on the loop with rows, on disk, in the order of sequence.

    `on_fates` hears in the same step of the loop what became of each draft that was handed in.
    `ended` is done when the thread is at its end; with an exception if that is a defect of ours. While
    `clock_is_right` is not set, deliveries are noted without a time: keeping time counts from when it is.
    """

    def __init__(
        self,
        path: Path,
        on_kept: Callable[[list[Row]], None],
        on_fates: Callable[[Sequence[Fate]], None] = lambda _: None,
    ) -> None:
        """Open the database, which may take some time. Raises OutboxError."""
        self._store = Store(path)
        self._on_kept = on_kept
        self._on_fates = on_fates
        self._books = Books(waiting_at_start=self._store.waiting_at_start)
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Keep | Mark | _Ask | _Stop] = queue.SimpleQueue()
        self._held_back: list[Draft] = []
        self._marks: list[Mark] = []
        self._not_kept = 0  # as the thread knows it, for its log
        self._trouble: str | None = None
        self.clock_is_right = False
        self.lost = 0  # readings that the disk had not taken when the thread ended
        self._unanswered: list[_Ask] = []
        self._unreadable: str | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._live, name="outbox", daemon=True).start()

    @property
    def stream(self) -> UUID:
        """The database's own id: sequences have no gaps within it."""
        return self._store.stream

    def keep(self, drafts: Sequence[Draft]) -> asyncio.Future[None]:
        """Keep readings; the future is done when they are on disk, or when the disk failed and they are held back."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._books = self._books.handed_in(sum(draft.revision == 1 for draft in drafts))
        self._work.put(_Keep(drafts, done))
        return done

    def mark(self, mark: Mark) -> None:
        """Note what became of a row; written with the next commit, soon."""
        self._books = self._books.settled(mark.state)
        self._work.put(mark)

    def fetch(self, work: Callable[[Store], _T], then: Callable[[_T], None]) -> None:
        """Run `work` on the outbox's thread after all that was handed in before; `then` hears of it on the loop.

        While the database cannot be read, `work` is run again every RETRY_S.
        """

        def ask(store: Store) -> None:
            self._tell(then, work(store))

        self._work.put(_Ask(ask))

    async def ask(self, work: Callable[[Store], _T]) -> _T:
        """Run `work` on the outbox's thread and answer what it answers. Raises DatabaseError."""
        answer: asyncio.Future[_T] = self._loop.create_future()

        def run(store: Store) -> None:
            try:
                value = work(store)
            except DatabaseError as error:
                self._tell(fail, answer, error)
            else:
                self._tell(settle, answer, value)

        self._work.put(_Ask(run))
        return await answer

    async def state(self) -> OutboxState:
        """Answer how the outbox is."""
        return await self.look(lambda state: state)

    async def look(self, then: Callable[[OutboxState], _T]) -> _T:
        """Answer what `then` makes of the outbox's state, in the one step of the loop in which that is the state."""
        answer: asyncio.Future[_T] = self._loop.create_future()
        settled_before = self._books.settled_rows  # all these marks are in the queue: the database is asked after them

        def state(trouble: str | None) -> OutboxState:
            return OutboxState(self._books, self._books.waiting, None, 0, len(self._held_back), trouble)

        def hear(depth: int, oldest: float | None, parked: int, unwritten: int) -> None:
            if not answer.done():
                waiting = depth - unwritten - (self._books.settled_rows - settled_before)
                trouble = self._trouble or self._unreadable
                settle(answer, then(replace(state(trouble), depth=waiting, oldest_kept_at=oldest, parked=parked)))

        def fail(trouble: str) -> None:
            if not answer.done():
                settle(answer, then(state(trouble)))

        def count(store: Store) -> None:
            try:
                found = store.depth()
            except DatabaseError as error:
                self._tell(fail, str(error))
            else:
                self._tell(hear, *found, sum(mark.state != "replayed" for mark in self._marks))

        self._work.put(_Ask(count))
        timer = self._loop.call_later(ANSWER_S, fail, "the disk does not answer")
        try:
            return await answer
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Write what is in the queue and close the database. A defect that ended the thread is told by `ended`."""
        self._work.put(_Stop())
        await asyncio.wait([self.ended])

    # ---- the outbox's thread -------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            try:
                self._run()
            finally:
                self._store.close()
        except Exception as error:  # noqa: BLE001 - the thread's edge: the service stops, and says so
            self._tell(fail, self.ended, error)
        else:
            self._tell(settle, self.ended, None)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            keeps, asks = [], []
            for job in self._next_jobs(waiting=bool(self._marks)):
                if isinstance(job, _Keep):
                    keeps.append(job)
                elif isinstance(job, Mark):
                    self._marks.append(job)
                elif isinstance(job, _Ask):
                    asks.append(job)
                else:
                    stopping = True
            drafts = [*self._held_back, *(draft for keep in keeps for draft in keep.drafts)]
            if drafts or self._marks:
                self._commit(drafts)
            if keeps:
                self._tell(_settle_all, [keep.done for keep in keeps])
            self._unanswered = [ask for ask in (*self._unanswered, *asks) if not self._answer(ask)]
            if not self._unanswered:
                self._unreadable = None
        self.lost = len(self._held_back)
        if self._held_back:
            _log.error("stopping with %d readings that the disk did not take: they are lost", len(self._held_back))

    def _next_jobs(self, *, waiting: bool) -> list[_Keep | Mark | _Ask | _Stop]:
        """Wait for work, then take what else is there, in order, up to a group's limit."""
        timeout = RETRY_S if self._held_back or self._unanswered else MARKS_DELAY_S if waiting else None
        deadline = None if timeout is None else time.monotonic() + timeout
        jobs: list[_Keep | Mark | _Ask | _Stop] = []
        drafts = marks = 0
        while drafts < GROUP_LIMIT and marks < MARKS_LIMIT:
            try:
                if drafts or len(jobs) > marks:  # there is work that should not wait
                    job = self._work.get_nowait()
                else:
                    job = self._work.get(timeout=_remaining(deadline))
            except queue.Empty:
                break
            jobs.append(job)
            if isinstance(job, Mark):
                marks += 1
                deadline = deadline or time.monotonic() + MARKS_DELAY_S
            elif isinstance(job, _Keep):
                drafts += len(job.drafts)
            else:
                break
        return jobs

    def _commit(self, drafts: list[Draft]) -> None:
        """Keep the drafts and write the marks; if the disk does not take them, they are tried again."""
        try:
            rows = self._store.write(drafts, self._marks, clock_is_right=self.clock_is_right)
        except DatabaseError as error:
            self._hold_back(drafts, error)
            return
        if self._trouble is not None:
            _log.warning("the outbox works again: %d readings that were held back are kept", len(self._held_back))
        self._held_back, self._marks, self._trouble = [], [], None
        if drafts:
            fates = [_fate(draft, kept) for draft, kept in zip(drafts, self._store.became, strict=True)]
            self._tell(self._committed, rows, fates)

    def _hold_back(self, drafts: list[Draft], error: DatabaseError) -> None:
        self._held_back, excess = drafts[:HELD_BACK_LIMIT], drafts[HELD_BACK_LIMIT:]
        lost = len(excess)
        self._not_kept += lost
        if excess:
            self._tell(
                self._committed, [], [Fate(draft.device, draft.id, draft.revision, "not_kept") for draft in excess]
            )
        if self._trouble is None or lost:
            _log.error(
                "the outbox takes no reading (%s): free or repair the disk; %d held back in memory, %d not kept so far",
                error,
                len(self._held_back),
                self._not_kept,
            )
        self._trouble = str(error)

    def _answer(self, ask: _Ask) -> bool:
        """Answer whether the database could be read."""
        try:
            ask.work(self._store)
        except DatabaseError as error:
            if self._unreadable is None:
                _log.error("the outbox cannot be read (%s): check the disk", error)
            self._unreadable = str(error)
            return False
        return True

    def _committed(self, rows: list[Row], fates: list[Fate]) -> None:
        """On the loop, in one step: the books, the devices' accounts, and then the way to the broker."""
        self._books = self._books.answered(fates)
        self._on_fates(fates)
        if rows:
            self._on_kept(rows)

    def _tell(self, then: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(then, *arguments)
        except RuntimeError:  # the loop has ended; what is on disk stays there for the next start
            _log.debug("nobody hears of the outbox any more")


def _fate(draft: Draft, kept: Draft | None) -> Fate:
    if kept is None:
        return Fate(draft.device, draft.id, draft.revision, "repeat")
    return Fate(draft.device, draft.id, draft.revision, "kept", kept.held)


def _settle_all(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        settle(future, None)


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
