"""The outbox: what is committed here is ours to deliver.

One thread owns the one database connection (store.py). The event loop hands it work through a queue and hears of
results through `call_soon_threadsafe`; no lock is shared. What has arrived together is committed together: one
fsync for all of it, none of it told before.

When a commit fails (full disk, I/O error), when the bound is reached or the disk does not even give the file, readings
stay in memory, bounded, and are tried again every second; devices are read on. Only what does not fit that memory is
not kept, counted, and said loudly. What is to be read back from a disk that cannot be read is asked for again, too:
nobody waits for an answer that never comes.

A file that turns out to be damaged is replaced in the middle of work (salvage.py). The new stream's sequences then
begin behind the old one's: whatever is still said of a row of the old one concerns no row of the new.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from gateway.account import Books, Fate
from gateway.database import is_damage
from gateway.futures import fail, settle
from gateway.outbox_state import MAX_BYTES, OutboxState, worry
from gateway.store import MEGABYTE, Condition, DatabaseError, Draft, Mark, OutboxUnavailable, Room, Row, Store

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

GROUP_LIMIT = 500  # drafts in one commit: bounds how long the first one waits for the last
RETRY_S = 1.0
ANSWER_S = 2.0  # a disk that is asked how full it is and says nothing for so long hangs
HELD_BACK_LIMIT = 1000  # readings in memory while the disk takes none: hours of an exam room, less than 2 MB
MARKS_DELAY_S = 0.5  # delivered marks wait for company: a lost mark only sends a row again, under its old id
MARKS_LIMIT = 500
UNREADABLE_TRIES = 60  # a file that is there and was not read so often is set aside; what can be read is salvaged
CHECK_AFTER_S = 1.0  # after it was opened: what the service asks for before it reads devices does not wait for it
TOLD_AT_ONCE = 1000  # salvaged rows; who hears of so many at once looks on disk for the rest (backlog.py)


@dataclass(frozen=True, slots=True)
class _Keep:
    drafts: Sequence[Draft]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Ask:
    """`failed` hears why it could not be answered; without it, it is asked again."""

    work: Callable[[Store], None]
    failed: Callable[[DatabaseError], None] | None = None


class _Stop:
    """The last thing in the queue."""


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
        self._path, self._max_bytes = path, max_bytes
        self._on_kept = on_kept
        self._on_fates = on_fates
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Keep | Mark | _Ask | _Stop] = queue.SimpleQueue()
        self.clock_is_right: Callable[[], bool] = lambda: False  # asked on the thread, at each commit
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.lost = 0  # readings that the disk had not taken when the thread ended
        # The loop's:
        self._books = Books()
        self._first: int | None = None  # the first sequence of the file; None until one was opened
        self._settled_before = 0  # rows of files before it
        self._damaged: set[int] = set()  # rows that were parked when they were to be read
        # The thread's:
        self._store: Store | None = None
        self._told_stream: UUID | None = None
        self._file_first = self._next_first = 1  # the first sequence of this file; and of one that will replace it
        self._closed: str | None = None  # why it is not open
        self._tries = 0
        self._room = Room.AMPLE
        self._room_is_known = False  # looked for after the last commit, while nobody waited
        self._check_at: float | None = None  # monotonic; of the first file, late or not: what replaces it is new
        self._checked = self._checking = False
        self._held_back: list[Draft] = []
        self._marks: list[Mark] = []
        self._not_kept = 0
        self._trouble: str | None = None
        self._unanswered: list[_Ask] = []
        self._unreadable: str | None = None
        self._open()
        threading.Thread(target=self._live, name="outbox", daemon=True).start()

    @property
    def stream(self) -> UUID | None:
        """The database's own id, within which sequences have no gaps; None until it could be opened."""
        store = self._store
        return None if store is None else store.stream

    def keep(self, drafts: Sequence[Draft]) -> asyncio.Future[None]:
        """Keep readings; the future is done when they are on disk, or when the disk failed and they are held back."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._books.committing += sum(draft.revision == 1 for draft in drafts)
        self._work.put(_Keep(drafts, done))
        return done

    def mark(self, mark: Mark) -> None:
        """Note what became of a row; written with the next commit, soon."""
        waits = mark.sequence not in self._damaged and (self._first is None or mark.sequence >= self._first)
        self._books.settled(mark.state, waits=waits)
        self._work.put(mark)

    def bound(self, max_bytes: int) -> None:
        """Let the file take so much from now on."""
        self._max_bytes = max_bytes
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

        self._work.put(_Ask(ask))

    async def ask(self, work: Callable[[Store], _T]) -> _T:
        """Run `work` on the outbox's thread and answer what it answers. Raises DatabaseError."""
        answer: asyncio.Future[_T] = self._loop.create_future()

        self._work.put(
            _Ask(
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
                bare = OutboxState(books, books.waiting, held_back=len(self._held_back), max_bytes=self._max_bytes)
                settle(answer, then(replace(bare, trouble=trouble, **found)))

        def hear(counts: tuple[int, float | None, int], file: Condition, unwritten: int) -> None:
            depth, oldest, parked = counts
            since = self._books.settled_rows - max(settled, self._settled_before)
            tell(
                self._trouble or self._unreadable or worry(file, self._room, self._max_bytes),
                depth=depth - unwritten - since,
                oldest_kept_at=oldest,
                parked=parked,
                used_bytes=file.used_bytes,
                damaged=file.damaged,
                discarded=file.discarded,
                set_aside=file.set_aside,
            )

        def count(store: Store) -> None:
            unwritten = sum(mark.state != "replayed" for mark in self._marks)
            self._tell(hear, store.depth(), store.condition(), unwritten)

        self._work.put(_Ask(count, lambda error: self._tell(tell, str(error))))
        timer = self._loop.call_later(ANSWER_S, lambda: tell(self._why_silent()))
        try:
            return await answer
        finally:
            timer.cancel()

    def _why_silent(self) -> str:
        return "the file is being checked" if self._checking else "the disk does not answer"

    async def close(self) -> None:
        """Write what is in the queue and close the database. A defect that ended the thread is told by `ended`."""
        store = self._store
        if self._checking and store is not None:
            store.interrupt()
        self._work.put(_Stop())
        await asyncio.wait([self.ended])

    # ---- the outbox's thread -------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            try:
                self._run()
            finally:
                if self._store is not None:
                    self._store.close()
        except Exception as error:  # noqa: BLE001 - the thread's edge: the service stops, and says so
            self._tell(fail, self.ended, error)
        else:
            self._tell(settle, self.ended, None)

    def _open(self, found: str | None = None) -> Store | None:
        """Answer the open database; None if the disk does not give it. Raises OutboxError."""
        first = self._next_first
        try:
            store = Store(self._path, self._max_bytes, found=found, first_sequence=first)
        except OutboxUnavailable as error:
            if str(error) != self._closed:
                _log.error("%s; devices are read, readings wait in memory", error)
            self._closed = str(error)
            self._tries = self._tries + 1 if error.reading else 0
            return None
        if self._closed is not None:
            _log.warning("the outbox can be used again")
        self._store, self._closed, self._tries = store, None, 0
        self._room_is_known = False
        if not self._checked:
            self._check_at = time.monotonic() + CHECK_AFTER_S
        if store.stream != self._told_stream:
            self._marks = [mark for mark in self._marks if mark.sequence >= first]
            self._told_stream, self._file_first = store.stream, first
            self._tell(self._took_up, first, store.waiting_at_start)
        return store

    def _opened(self) -> Store:
        """Answer the database, opened anew if it was not. Raises DatabaseError."""
        if self._store is None:
            unreadable = "it cannot be read" if self._tries >= UNREADABLE_TRIES else None
            if self._open(unreadable) is None:
                raise DatabaseError(self._closed)
        assert self._store is not None  # noqa: S101 - for the type checker
        return self._store

    def _check(self) -> None:
        """Look for damage that no query shows: a row that its index has forgotten would wait for ever."""
        self._check_at = None
        if self._store is None:
            return
        self._checked = self._checking = True
        try:
            found = self._store.what_is_wrong()
        except DatabaseError as error:
            _log.warning("the outbox could not be checked (%s)", error)
            return
        finally:
            self._checking = False
        if found is not None:
            self._replace(found)

    def _replace(self, found: str) -> None:
        """Set the damaged file aside and go on with a new one; what was salvaged is told like what is kept."""
        if self._store is None:
            return
        self._next_first = self._store.next_sequence
        self._store.close()
        self._store = None
        store = self._open(found)
        if store is not None and (rows := store.waiting(0, TOLD_AT_ONCE, ())):
            self._tell(self._on_kept, rows)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            keeps, asks = [], []
            for job in self._next_jobs(waiting=bool(self._marks)):
                if isinstance(job, _Keep):
                    keeps.append(job)
                elif isinstance(job, Mark):
                    if job.sequence >= self._file_first:  # none of the rows of a file before this one is here
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
            if drafts:
                self._look_ahead()
            if self._check_at is not None and time.monotonic() >= self._check_at and not stopping:
                self._check()
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
                    job = self._work.get(timeout=_remaining(deadline, self._check_at))
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
        full: DatabaseError | None = None
        try:
            store = self._opened()
            if drafts and not self._room_is_known:
                self._room = store.find_room()
            self._room_is_known = False
            if self._room is Room.NONE:
                full = DatabaseError(f"it is full: max_mb {self._max_bytes // MEGABYTE}, and nothing in it may go")
            rows = store.write([] if full else drafts, self._marks, clock_is_right=self.clock_is_right())
        except DatabaseError as error:
            self._hold_back(drafts, error)
            if is_damage(error):
                self._replace(str(error))
            return
        self._marks = []
        if full is not None and drafts:
            self._hold_back(drafts, full)
            return
        if self._trouble is not None:
            _log.warning("the outbox works again: %d readings that were held back are kept", len(self._held_back))
        self._held_back, self._trouble = [], None
        if drafts:
            fates = [_fate(draft, kept) for draft, kept in zip(drafts, store.became, strict=True)]
            self._tell(self._committed, rows, fates)

    def _look_ahead(self) -> None:
        """Do now, when all has been told, what the next readings would otherwise have to wait for."""
        if self._store is None or self._held_back:
            return
        with suppress(DatabaseError):  # the next commit meets it again, and tells
            self._room = self._store.find_room()
            self._room_is_known = self._room is Room.AMPLE
            self._store.fold_log()

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
        """Answer whether it needs no further try."""
        try:
            store = self._opened()
            store.unwritten = {mark.sequence for mark in self._marks}
            try:
                ask.work(store)
            finally:
                if damaged := store.take_damaged():
                    self._tell(self._found_damaged, damaged)
        except DatabaseError as error:
            if ask.failed is not None:
                ask.failed(error)
            else:
                if self._unreadable is None:
                    _log.error("the outbox cannot be read (%s): check the disk", error)
                self._unreadable = str(error)
            if is_damage(error):
                self._replace(str(error))
            return ask.failed is not None
        return True

    # ---- what the loop hears of it -------------------------------------------------------------------------------

    def _took_up(self, first: int, waiting: int) -> None:
        """A file is open: the first one, or one in the place of a damaged one."""
        if self._first is None:
            self._books.waiting_at_start = waiting
        else:
            self._books.file_replaced(waiting)
        self._first, self._settled_before = first, self._books.settled_rows

    def _found_damaged(self, sequences: list[int]) -> None:
        self._damaged.update(sequences)
        self._books.damaged += len(sequences)

    def _committed(self, rows: list[Row], fates: list[Fate]) -> None:
        """In one step: the books, the way to the broker, and, while that is under way, the devices' accounts."""
        self._books.answered(fates)
        if rows:
            self._on_kept(rows)
        self._on_fates(fates)

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


def _remaining(*deadlines: float | None) -> float | None:
    """Answer how long it is to the first of them, seconds; None if there is none."""
    first = min((deadline for deadline in deadlines if deadline is not None), default=None)
    return None if first is None else max(0.0, first - time.monotonic())
