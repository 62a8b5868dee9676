"""The outbox: what is committed here is ours to deliver. The event loop's side of it.

keeper.py's thread does the work. The loop hands it over through a queue and hears of results through
`call_soon_threadsafe`; no lock is shared. Devices are read on, whatever the disk does; nobody waits for an answer that
never comes.
"""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from gateway.account import Books, Fate
from gateway.futures import fail, settle
from gateway.keeper import Ask, Job, Keep, Keeper, Marks, Stop
from gateway.outbox_state import MAX_BYTES, OutboxState, worry
from gateway.store import Condition, Draft, Mark, Row, Store

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

MARKS_DELAY_S = 0.1  # delivered marks wait for company: a lost mark only sends a row again, under its old id
MARKS_LIMIT = 500
ANSWER_S = 2.0  # a disk that is asked how full it is and says nothing for so long hangs


class Outbox:
    """The loop's side of the outbox. `on_kept` is called on the loop with rows, on disk, in the order of sequence.

    `on_fates` hears in the same step of the loop what became of each draft that was handed in.
    `ended` is done when the thread is at its end; with an exception if that is a defect of ours. While
    `clock_is_right` says no, deliveries are noted without a time: keeping time counts from when it says yes.
    """

    def __init__(
        self,
        path: Path,
        on_kept: Callable[[list[Row]], None],
        on_fates: Callable[[Sequence[Fate]], None] = lambda _: None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Open the database, which may take some time; one that the disk does not give is asked for again.

        Raises OutboxError for what no other try will mend.
        """
        self._on_kept = on_kept
        self._on_fates = on_fates
        self._loop = asyncio.get_running_loop()
        self.clock_is_right: Callable[[], bool] = lambda: False  # asked on the thread, at each commit
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._books = Books()
        self._first: int | None = None  # the first sequence of the file; None until one was opened
        self._settled_before = 0  # rows of files before it
        self._damaged: set[int] = set()  # rows that were parked when they were to be read
        self._marks: list[Mark] = []  # that the thread does not have yet
        self._marks_due: asyncio.TimerHandle | None = None
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._keeper = Keeper(path, max_bytes, self._jobs, self._tell, self, self.ended, lambda: self.clock_is_right())

    @property
    def lost(self) -> int:
        """Readings that the disk had not taken when the outbox ended."""
        return self._keeper.lost

    @property
    def stream(self) -> UUID | None:
        """The database's own id, within which sequences have no gaps; None until it could be opened."""
        store = self._keeper.store
        return None if store is None else store.stream

    def keep(self, drafts: Sequence[Draft]) -> asyncio.Future[None]:
        """Keep readings; the future is done when they are on disk, or when the disk failed and they are held back."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._books.committing += sum(draft.revision == 1 for draft in drafts)
        self._put(Keep(drafts, done))
        return done

    def mark(self, mark: Mark) -> None:
        """Note what became of a row; written with the next commit, soon."""
        waits = mark.sequence not in self._damaged and (self._first is None or mark.sequence >= self._first)
        self._books.settled(mark.state, waits=waits)
        self._marks.append(mark)
        if self._marks_due is None:
            self._marks_due = self._loop.call_later(MARKS_DELAY_S, self._put)
        elif len(self._marks) >= MARKS_LIMIT:
            self._put()

    def bound(self, max_bytes: int) -> None:
        """Let the file take so much from now on."""
        self._keeper.max_bytes = max_bytes
        self.fetch(lambda store: store.bound(max_bytes), lambda _: None)

    def revised(self, rows: Sequence[Row]) -> None:
        """Take note of corrections that were kept by what was fetched."""
        self._books.revisions += len(rows)

    def fetch(self, work: Callable[[Store], _T], then: Callable[[_T], None]) -> None:
        """Run `work` on the outbox's thread after all that was handed in before; `then` hears of it on the loop.

        While the database cannot be read, `work` is run again every RETRY_S.
        """

        def ask(store: Store) -> None:
            self._tell(then, work(store))

        self._put(Ask(ask))

    async def ask(self, work: Callable[[Store], _T]) -> _T:
        """Run `work` on the outbox's thread and answer what it answers. Raises DatabaseError."""
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._put(
            Ask(
                lambda store: self._tell(settle, answer, work(store)),
                lambda error: self._tell(fail, answer, error),
            )
        )
        return await answer

    async def state(self) -> OutboxState:
        """Answer how the outbox is."""
        return await self.look(lambda state: state)

    async def look(self, then: Callable[[OutboxState], _T]) -> _T:
        """Answer what `then` makes of the outbox's state, in the one step of the loop in which that is the state."""
        answer: asyncio.Future[_T] = self._loop.create_future()
        settled = self._books.settled_rows  # all these marks are in the queue: the database is asked after them

        def tell(trouble: str | None, **found: Any) -> None:
            if not answer.done():
                books = replace(self._books)
                bare = OutboxState(
                    books, books.waiting, held_back=len(self._keeper.held_back), max_bytes=self._keeper.max_bytes
                )
                settle(answer, then(replace(bare, trouble=trouble, **found)))

        def hear(counts: tuple[int, float | None, int], file: Condition, unwritten: int) -> None:
            depth, oldest, parked = counts
            since = self._books.settled_rows - max(settled, self._settled_before)
            tell(
                self._keeper.trouble or worry(file, self._keeper.room, self._keeper.max_bytes),
                depth=depth - unwritten - since,
                oldest_kept_at=oldest,
                parked=parked,
                used_bytes=file.used_bytes,
                damaged=file.damaged,
                discarded=file.discarded,
                set_aside=file.set_aside,
            )

        def count(store: Store) -> None:
            self._tell(hear, store.depth(), store.condition(), self._keeper.unwritten)

        self._put(Ask(count, lambda error: self._tell(tell, str(error))))
        timer = self._loop.call_later(ANSWER_S, lambda: tell(self._why_silent()))
        try:
            return await answer
        finally:
            timer.cancel()

    def _why_silent(self) -> str:
        return "the file is being checked" if self._keeper.is_checking else "the disk does not answer"

    async def close(self) -> None:
        """Write what is in the queue and close the database. A defect that ended the thread is told by `ended`."""
        store = self._keeper.store
        if self._keeper.is_checking and store is not None:
            store.interrupt()
        self._put(Stop())
        await asyncio.wait([self.ended])

    # ---- what the thread tells -------------------------------------------------------------------------------------

    def opened(self, first: int, waiting: int) -> None:
        """See Listener."""
        if self._first is None:
            self._books.waiting_at_start = waiting
        else:
            self._books.file_replaced(waiting)
        self._first, self._settled_before = first, self._books.settled_rows

    def found_damaged(self, sequences: list[int]) -> None:
        """See Listener."""
        self._damaged.update(sequences)
        self._books.damaged += len(sequences)

    def committed(self, rows: list[Row], fates: list[Fate]) -> None:
        """In one step: the books, the way to the broker, and, while that is under way, the devices' accounts."""
        self._books.answered(fates)
        if rows:
            self._on_kept(rows)
        self._on_fates(fates)

    def salvaged(self, rows: list[Row]) -> None:
        """See Listener."""
        self._on_kept(rows)

    def _put(self, *jobs: Job) -> None:
        """Hand work to the thread, behind all marks so far."""
        if self._marks_due is not None:
            self._marks_due.cancel()
            self._marks_due = None
        if self._marks:
            self._jobs.put(Marks(self._marks))
            self._marks = []
        for job in jobs:
            self._jobs.put(job)

    def _tell(self, then: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(then, *arguments)
        except RuntimeError:  # the loop has ended; what is on disk stays there for the next start
            _log.debug("nobody hears of the outbox any more")
