"""The outbox's thread: it owns the one database connection, and commits together what has arrived together.

Laws:

1. One fsync for all of a group, none of it told before.
2. When a commit fails (full disk, I/O error), when the bound is reached or the disk does not even give the file,
   readings stay in memory, bounded, and are tried again every RETRY_S. Only what does not fit that memory is not kept,
   counted, and said loudly. What is to be read back from a disk that cannot be read is asked for again, too.
3. A file that turns out to be damaged is replaced in the midst of work (salvage.py). The new stream's sequences begin
   behind the old one's: whatever is still said of a row of the old one concerns no row of the new.

Work comes through a queue, and what came of it goes to the event loop by `tell`: no lock is shared.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from gateway.account import Fate
from gateway.database import is_damage
from gateway.futures import fail, settle
from gateway.store import MEGABYTE, DatabaseError, Draft, Mark, OutboxUnavailable, Room, Row, Store

_log = logging.getLogger(__name__)

GROUP_LIMIT = 500  # drafts and marks in one commit: bounds how long the first one waits for the last
RETRY_S = 1.0
HELD_BACK_LIMIT = 1000  # readings in memory while the disk takes none: hours of an exam room, less than 2 MB
UNREADABLE_TRIES = 60  # a file that is there and was not read so often is set aside; what can be read is salvaged
CHECK_AFTER_S = 1.0  # after it was opened: what the service asks for before it reads devices does not wait for it
TOLD_AT_ONCE = 1000  # salvaged rows; who hears of so many at once looks on disk for the rest (backlog.py)


@dataclass(frozen=True, slots=True)
class Keep:
    """Readings to be kept; `done` is done when they are on disk, or when the disk failed and they are held back."""

    drafts: Sequence[Draft]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Marks:
    """What became of rows."""

    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be asked of the database. `failed` hears why it could not be; without it, it is asked again."""

    work: Callable[[Store], None]
    failed: Callable[[DatabaseError], None] | None = None


class Stop:
    """The last thing in the queue."""


Job = Keep | Marks | Ask | Stop


class Listener(Protocol):
    """Who hears on the event loop, in the order of what happened."""

    def opened(self, first: int, waiting: int) -> None:
        """A file is open, whose first sequence this is: the first file, or one in the place of a damaged one."""
        ...

    def committed(self, rows: list[Row], fates: list[Fate]) -> None:
        """Rows are on disk; and what became of each draft."""
        ...

    def salvaged(self, rows: list[Row]) -> None:
        """Rows of a damaged file are in the new one."""
        ...

    def found_damaged(self, sequences: list[int]) -> None:
        """Rows were parked when they were to be read."""
        ...


class Keeper:
    """Does the work of `jobs` in a thread of its own. What is public may be read on the loop, too.

    `ended` is done, on the loop, when the thread is at its end; with an exception if that is a defect of ours.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        jobs: queue.SimpleQueue[Job],
        tell: Callable[..., None],
        listener: Listener,
        ended: asyncio.Future[None],
        clock_is_right: Callable[[], bool],
    ) -> None:
        """Open the database, which may take some time; one that the disk does not give is asked for again.

        Raises OutboxError for what no other try will mend. `clock_is_right` is asked on the thread, at each commit.
        """
        self._path = path
        self.max_bytes = max_bytes
        self._jobs = jobs
        self._tell = tell
        self._listener = listener
        self._ended = ended
        self._clock_is_right = clock_is_right
        self.store: Store | None = None
        self.held_back: list[Draft] = []
        self.is_checking = False
        self.room = Room.AMPLE
        self.lost = 0  # readings that the disk had not taken when the thread ended
        self._told_stream: UUID | None = None
        self._file_first = self._next_first = 1  # the first sequence of this file; and of one that will replace it
        self._closed: str | None = None  # why it is not open
        self._tries = 0
        self._room_is_known = False  # looked for after the last commit, while nobody waited
        self._check_at: float | None = None  # monotonic; of the first file, late or not: what replaces it is new
        self._checked = False
        self._marks: list[Mark] = []
        self._not_kept = 0
        self._not_taken: str | None = None  # why the disk takes no reading
        self._unanswered: list[Ask] = []
        self._unreadable: str | None = None
        self._open()
        threading.Thread(target=self._live, name="outbox", daemon=True).start()

    @property
    def trouble(self) -> str | None:
        """Why readings are not kept, or cannot be read back."""
        return self._not_taken or self._unreadable

    @property
    def unwritten(self) -> int:
        """Rows that were settled, and wait on disk still. On the thread, within an Ask."""
        return sum(mark.state != "replayed" for mark in self._marks)

    def _live(self) -> None:
        try:
            try:
                self._run()
            finally:
                if self.store is not None:
                    self.store.close()
        except Exception as error:  # noqa: BLE001 - the thread's edge: the service stops, and says so
            self._tell(fail, self._ended, error)
        else:
            self._tell(settle, self._ended, None)

    def _open(self, found: str | None = None) -> Store | None:
        """Answer the open database; None if the disk does not give it. Raises OutboxError."""
        first = self._next_first
        try:
            store = Store(self._path, self.max_bytes, found=found, first_sequence=first)
        except OutboxUnavailable as error:
            if str(error) != self._closed:
                _log.error("%s; devices are read, readings wait in memory", error)
            self._closed = str(error)
            self._tries = self._tries + 1 if error.reading else 0
            return None
        if self._closed is not None:
            _log.warning("the outbox can be used again")
        self.store, self._closed, self._tries = store, None, 0
        self._room_is_known = False
        if not self._checked:
            self._check_at = time.monotonic() + CHECK_AFTER_S
        if store.stream != self._told_stream:
            self._marks = [mark for mark in self._marks if mark.sequence >= first]
            self._told_stream, self._file_first = store.stream, first
            self._tell(self._listener.opened, first, store.waiting_at_start)
        return store

    def _opened(self) -> Store:
        """Answer the database, opened anew if it was not. Raises DatabaseError."""
        if self.store is None:
            unreadable = "it cannot be read" if self._tries >= UNREADABLE_TRIES else None
            if self._open(unreadable) is None:
                raise DatabaseError(self._closed)
        assert self.store is not None  # noqa: S101 - for the type checker
        return self.store

    def _check(self) -> None:
        """Look for damage that no query shows: a row that its index has forgotten would wait for ever."""
        self._check_at = None
        if self.store is None:
            return
        self._checked = self.is_checking = True
        try:
            found = self.store.what_is_wrong()
        except DatabaseError as error:
            _log.warning("the outbox could not be checked (%s)", error)
            return
        finally:
            self.is_checking = False
        if found is not None:
            self._replace(found)

    def _replace(self, found: str) -> None:
        """Set the damaged file aside and go on with a new one; what was salvaged is told like what is kept."""
        if self.store is None:
            return
        self._next_first = self.store.next_sequence
        self.store.close()
        self.store = None
        store = self._open(found)
        if store is not None and (rows := store.waiting(0, TOLD_AT_ONCE, ())):
            self._tell(self._listener.salvaged, rows)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            keeps, asks = [], []
            for job in self._next_jobs():
                if isinstance(job, Keep):
                    keeps.append(job)
                elif isinstance(job, Marks):  # none of the rows of a file before this one is here
                    self._marks += [mark for mark in job.marks if mark.sequence >= self._file_first]
                elif isinstance(job, Ask):
                    asks.append(job)
                else:
                    stopping = True
            drafts = [*self.held_back, *(draft for keep in keeps for draft in keep.drafts)]
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
        self.lost = len(self.held_back)
        if self.held_back:
            _log.error("stopping with %d readings that the disk did not take: they are lost", len(self.held_back))

    def _next_jobs(self) -> list[Job]:
        """Wait for work, then take what else is there, in order, up to a group's limit."""
        jobs: list[Job] = []
        size = 0
        while size < GROUP_LIMIT:
            try:
                job = self._jobs.get_nowait() if jobs else self._jobs.get(timeout=self._wait_s())
            except queue.Empty:
                break
            jobs.append(job)
            if isinstance(job, Keep):
                size += len(job.drafts)
            elif isinstance(job, Marks):
                size += len(job.marks)
            else:
                break
        return jobs

    def _wait_s(self) -> float | None:
        """Answer how long to wait for work: until something is to be tried again, or checked."""
        again_s = RETRY_S if self.held_back or self._marks or self._unanswered else None
        if self._check_at is None:
            return again_s
        check_s = max(0.0, self._check_at - time.monotonic())
        return check_s if again_s is None else min(again_s, check_s)

    def _commit(self, drafts: list[Draft]) -> None:
        """Keep the drafts and write the marks; if the disk does not take them, they are tried again."""
        full: DatabaseError | None = None
        try:
            store = self._opened()
            if drafts and not self._room_is_known:
                self.room = store.find_room()
            self._room_is_known = False
            if self.room is Room.NONE:
                full = DatabaseError(f"it is full: max_mb {self.max_bytes // MEGABYTE}, and nothing in it may go")
            rows = store.write([] if full else drafts, self._marks, clock_is_right=self._clock_is_right())
        except DatabaseError as error:
            self._hold_back(drafts, error)
            if is_damage(error):
                self._replace(str(error))
            return
        self._marks = []
        if full is not None and drafts:
            self._hold_back(drafts, full)
            return
        if self._not_taken is not None:
            _log.warning("the outbox works again: %d readings that were held back are kept", len(self.held_back))
        self.held_back, self._not_taken = [], None
        if drafts:
            fates = [_fate(draft, kept) for draft, kept in zip(drafts, store.became, strict=True)]
            self._tell(self._listener.committed, rows, fates)

    def _look_ahead(self) -> None:
        """Do now, when all has been told, what the next readings would otherwise have to wait for."""
        if self.store is None or self.held_back:
            return
        with suppress(DatabaseError):  # the next commit meets it again, and tells
            self.room = self.store.find_room()
            self._room_is_known = self.room is Room.AMPLE
            self.store.fold_log()

    def _hold_back(self, drafts: list[Draft], error: DatabaseError) -> None:
        self.held_back, excess = drafts[:HELD_BACK_LIMIT], drafts[HELD_BACK_LIMIT:]
        lost = len(excess)
        self._not_kept += lost
        if excess:
            fates = [Fate(draft.device, draft.id, draft.revision, "not_kept") for draft in excess]
            self._tell(self._listener.committed, [], fates)
        if self._not_taken is None or lost:
            _log.error(
                "the outbox takes no reading (%s): free or repair the disk; %d held back in memory, %d not kept so far",
                error,
                len(self.held_back),
                self._not_kept,
            )
        self._not_taken = str(error)

    def _answer(self, ask: Ask) -> bool:
        """Answer whether it needs no further try."""
        try:
            store = self._opened()
            store.unwritten = {mark.sequence for mark in self._marks}
            try:
                ask.work(store)
            finally:
                if damaged := store.take_damaged():
                    self._tell(self._listener.found_damaged, damaged)
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


def _fate(draft: Draft, kept: Draft | None) -> Fate:
    if kept is None:
        return Fate(draft.device, draft.id, draft.revision, "repeat")
    return Fate(draft.device, draft.id, draft.revision, "kept", kept.held)


def _settle_all(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        settle(future, None)
