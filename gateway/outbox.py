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
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

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
    """What the outbox says of itself: rows waiting and parked, the oldest waiting one's age, its trouble if any."""

    depth: int = 0
    oldest_kept_at: float | None = None
    parked: int = 0
    held_back: int = 0
    not_kept: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class _Keep:
    drafts: Sequence[Draft]
    done: asyncio.Future[frozenset[UUID]]


@dataclass(frozen=True, slots=True)
class _Ask:
    work: Callable[[Store], None]


class _Stop:
    """The last thing in the queue."""


class Outbox:
    """The loop's side of the outbox. `on_kept` is called on the loop with rows, on disk, in the order of sequence.

    `ended` is done when the thread is at its end; with an exception if that is a defect of ours. While
    `clock_is_right` says no, deliveries are noted without a time: keeping time counts from when it says yes.
    """

    def __init__(self, path: Path, on_kept: Callable[[list[Row]], None]) -> None:
        """Open the database, which may take some time. Raises OutboxError."""
        self._store = Store(path)
        self._on_kept = on_kept
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Keep | Mark | _Ask | _Stop] = queue.SimpleQueue()
        self._held_back: list[Draft] = []
        self._not_kept = 0
        self._trouble: str | None = None
        self.clock_is_right: Callable[[], bool] = lambda: False  # asked on the thread, at each commit
        self.lost = 0  # readings that the disk had not taken when the thread ended
        self._unanswered: list[_Ask] = []
        self._unreadable: str | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._live, name="outbox", daemon=True).start()

    @property
    def stream(self) -> UUID:
        """The database's own id: sequences have no gaps within it."""
        return self._store.stream

    def keep(self, drafts: Sequence[Draft]) -> asyncio.Future[frozenset[UUID]]:
        """Keep readings; the future is done when they are on disk, or when the disk failed and they are held back.

        It answers the ids among them that were kept before, and are no new readings.
        """
        done: asyncio.Future[frozenset[UUID]] = self._loop.create_future()
        self._work.put(_Keep(drafts, done))
        return done

    def mark(self, sequence: int, state: str, reason: str) -> None:
        """Note that a row is `delivered` or `parked`; written with the next commit, soon."""
        self._work.put(Mark(sequence, state, reason))

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
        try:
            async with asyncio.timeout(ANSWER_S):
                depth, oldest, parked = await self.ask(Store.depth)
        except DatabaseError as error:
            return OutboxState(held_back=len(self._held_back), not_kept=self._not_kept, trouble=str(error))
        except TimeoutError:
            return OutboxState(
                held_back=len(self._held_back), not_kept=self._not_kept, trouble="the disk does not answer"
            )
        trouble = self._trouble or self._unreadable
        return OutboxState(depth, oldest, parked, len(self._held_back), self._not_kept, trouble)

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
        marks: list[Mark] = []
        stopping = False
        while not stopping:
            keeps, asks = [], []
            for job in self._next_jobs(waiting=bool(marks)):
                if isinstance(job, _Keep):
                    keeps.append(job)
                elif isinstance(job, Mark):
                    marks.append(job)
                elif isinstance(job, _Ask):
                    asks.append(job)
                else:
                    stopping = True
            drafts = [*self._held_back, *(draft for keep in keeps for draft in keep.drafts)]
            known: frozenset[UUID] | None = frozenset()
            if drafts or marks:
                known = self._commit(drafts, marks)
                marks = marks if known is None else []
            if keeps:
                self._tell(_settle_all, [keep.done for keep in keeps], known or frozenset())
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

    def _commit(self, drafts: list[Draft], marks: list[Mark]) -> frozenset[UUID] | None:
        """Answer the ids that were kept before, None if the disk did not take it."""
        try:
            rows = self._store.write(drafts, marks, clock_is_right=self.clock_is_right())
        except DatabaseError as error:
            self._hold_back(drafts, error)
            return None
        if self._trouble is not None:
            _log.warning("the outbox works again: %d readings that were held back are kept", len(self._held_back))
        self._held_back, self._trouble = [], None
        if rows:
            self._tell(self._on_kept, rows)
        return self._store.repeats

    def _hold_back(self, drafts: list[Draft], error: DatabaseError) -> None:
        self._held_back, lost = drafts[:HELD_BACK_LIMIT], len(drafts[HELD_BACK_LIMIT:])
        self._not_kept += lost
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

    def _tell(self, then: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(then, *arguments)
        except RuntimeError:  # the loop has ended; what is on disk stays there for the next start
            _log.debug("nobody hears of the outbox any more")


def _settle_all(futures: list[asyncio.Future[frozenset[UUID]]], known: frozenset[UUID]) -> None:
    for future in futures:
        settle(future, known)


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
