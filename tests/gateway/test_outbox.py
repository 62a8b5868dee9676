"""The outbox's thread, on real files: what it tells, and when."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway import keeper
from gateway import outbox as outbox_module
from gateway.outbox import Outbox
from gateway.store import Draft, Mark, OutboxUnavailable, Row, Store

READING = "vitals/v1/northside/exam-3/reading"
PATIENCE_S = 20.0
BIG = 20_000  # bytes: needs pages that a full database has not


def draft(ident: UUID | None = None, size: int = 0) -> Draft:
    return Draft(ident or uuid4(), 1, "cuff", READING, lambda _, sequence: b"%d " % sequence + b"x" * size)


class Kept:
    """What the outbox told, and how many rows a stranger saw on disk at that time."""

    def __init__(self, path: Path) -> None:
        self.sequences: list[int] = []
        self.on_disk_when_told: list[int] = []
        self._path = path
        self._more = asyncio.Event()

    def take(self, rows: list[Row]) -> None:
        self.sequences += [row.sequence for row in rows]
        self.on_disk_when_told.append(self.count())
        self._more.set()

    def count(self) -> int:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as stranger:
            return int(stranger.execute("SELECT count(*) FROM reading").fetchone()[0])

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.sequences) < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
async def kept(path: Path) -> Kept:
    return Kept(path)


@pytest.fixture
async def outbox(path: Path, kept: Kept) -> AsyncIterator[Outbox]:
    opened = Outbox(path, kept.take)
    yield opened
    await asyncio.wait_for(opened.close(), PATIENCE_S)


def states(path: Path) -> dict[int, str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as stranger:
        return dict(stranger.execute("SELECT sequence, state FROM delivery"))


class Gate:
    """Holds the outbox's thread before its next commit; `groups` are the drafts and marks of each commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[tuple[int, int]] = []
        self._reached, self._open = threading.Event(), threading.Event()
        write = Store.write

        def wait_and_write(
            store: Store, drafts: Sequence[Draft], marks: Iterable[Mark], *, clock_is_right: bool
        ) -> list[Row]:
            marks = list(marks)
            self.groups.append((len(drafts), len(marks)))
            self._reached.set()
            assert self._open.wait(PATIENCE_S)
            return write(store, drafts, marks, clock_is_right=clock_is_right)

        monkeypatch.setattr(Store, "write", wait_and_write)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE_S)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def fill(store: Store) -> None:
    """Make the database full, as SQLite knows it: SQLITE_FULL from the next page on."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def make_room(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count = 1000000").fetchall()


@pytest.fixture
def quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.02)


# ---- keeping ---------------------------------------------------------------------------------------------------------


async def test_nobody_hears_of_a_reading_before_it_is_on_disk(outbox: Outbox, kept: Kept) -> None:
    for expected in (1, 2, 3):
        done = outbox.keep([draft()])
        await asyncio.wait_for(done, PATIENCE_S)
        assert kept.on_disk_when_told == list(range(1, expected + 1))
        assert kept.count() == expected


async def test_the_future_waits_for_the_commit(outbox: Outbox, kept: Kept, gate: Gate) -> None:
    done = outbox.keep([draft()])
    await gate.reached()
    assert (done.done(), kept.sequences, kept.count()) == (False, [], 0)
    gate.open()
    await asyncio.wait_for(done, PATIENCE_S)
    assert (kept.sequences, kept.count()) == ([1], 1)


async def test_what_comes_together_is_committed_together(outbox: Outbox, kept: Kept, gate: Gate) -> None:
    done = [outbox.keep([draft()])]
    await gate.reached()
    done += [outbox.keep([draft()]) for _ in range(99)]
    gate.open()
    await asyncio.wait_for(asyncio.gather(*done), PATIENCE_S)
    assert [drafts for drafts, _ in gate.groups] == [1, 99]
    assert kept.sequences == list(range(1, 101))


async def test_a_group_is_bounded(outbox: Outbox, kept: Kept, gate: Gate) -> None:
    done = [outbox.keep([draft()])]
    await gate.reached()
    done += [outbox.keep([draft(), draft()]) for _ in range(600)]
    gate.open()
    await asyncio.wait_for(asyncio.gather(*done), PATIENCE_S)
    assert [drafts for drafts, _ in gate.groups] == [1, 500, 500, 200]
    assert kept.sequences == list(range(1, 1202))


async def test_a_reading_kept_before_is_told_once(outbox: Outbox, kept: Kept) -> None:
    ident = uuid4()
    for _ in range(3):
        await asyncio.wait_for(outbox.keep([draft(ident)]), PATIENCE_S)
    await asyncio.wait_for(outbox.keep([draft()]), PATIENCE_S)
    assert kept.sequences == [1, 2]


async def test_marks_reach_the_disk_without_a_reading_to_go_with(outbox: Outbox, path: Path) -> None:
    await outbox.keep([draft(), draft(), draft()])
    outbox.mark(Mark(1, "delivered", "success"))
    outbox.mark(Mark(3, "parked", "packet_too_large"))
    async with asyncio.timeout(PATIENCE_S):
        while states(path) != {1: "delivered", 2: "waiting", 3: "parked"}:  # noqa: ASYNC110 - a file sets no Event
            await asyncio.sleep(0.01)


async def test_marks_wait_for_company(outbox: Outbox, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MARKS_DELAY_S", PATIENCE_S)
    gate.open()
    await outbox.keep([draft() for _ in range(10)])
    for sequence in range(1, 11):
        outbox.mark(Mark(sequence, "delivered", "success"))
    await asyncio.wait_for(outbox.keep([draft()]), PATIENCE_S / 2)  # a reading does not wait for marks
    assert gate.groups == [(10, 0), (1, 10)]


async def test_what_is_asked_sees_all_that_was_handed_in_before(outbox: Outbox) -> None:
    outbox.keep([draft(), draft(), draft()])
    outbox.mark(Mark(2, "delivered", "success"))
    rows = await asyncio.wait_for(outbox.ask(lambda store: store.waiting(0, 10, ())), PATIENCE_S)
    assert [row.sequence for row in rows] == [1, 3]


async def test_what_is_fetched_comes_between_the_rows_before_and_the_rows_after(path: Path) -> None:
    """The publisher's order hangs on it: rows that its query did not see are offered after the query's answer."""
    heard: list[object] = []
    outbox = Outbox(path, lambda rows: heard.append([row.sequence for row in rows]))
    outbox.keep([draft()])
    outbox.fetch(lambda store: [row.sequence for row in store.waiting(0, 10, ())], lambda found: heard.append(found))
    await asyncio.wait_for(outbox.keep([draft()]), PATIENCE_S)
    assert heard == [[1], [1], [2]]
    await outbox.close()


# ---- a disk that takes nothing ---------------------------------------------------------------------------------------


async def test_readings_that_a_full_disk_did_not_take_are_kept_once_and_in_order_when_there_is_room(
    outbox: Outbox, kept: Kept, quick_retry: None, caplog: pytest.LogCaptureFixture
) -> None:
    await outbox.keep([draft()])
    await outbox.ask(fill)
    idents = [uuid4() for _ in range(5)]
    for ident in idents:  # devices are read on: keep() returns
        await asyncio.wait_for(outbox.keep([draft(ident, BIG)]), PATIENCE_S)
    state = await outbox.state()
    assert (state.depth, state.held_back, state.not_kept, kept.sequences) == (1, 5, 0, [1])
    assert state.trouble is not None
    assert "full" in state.trouble
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1  # said once, not with each try
    await outbox.ask(make_room)
    await kept.until(6)
    await asyncio.wait_for(outbox.keep([draft(idents[0])]), PATIENCE_S)
    assert kept.sequences == [1, 2, 3, 4, 5, 6]
    assert await outbox.ask(_idents) == [ident.bytes for ident in idents]
    state = await outbox.state()
    assert (state.depth, state.held_back, state.not_kept, state.trouble) == (6, 0, 0, None)
    assert "5 readings that were held back are kept" in caplog.text


def _idents(store: Store) -> list[bytes]:
    return [row[0] for row in store._db.execute("SELECT id FROM reading WHERE sequence > 1 ORDER BY sequence")]


async def test_what_the_memory_does_not_hold_is_counted_and_said(
    outbox: Outbox, kept: Kept, quick_retry: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "HELD_BACK_LIMIT", 5)
    await outbox.keep([draft()])
    await outbox.ask(fill)
    idents = [uuid4() for _ in range(8)]
    for ident in idents:
        await asyncio.wait_for(outbox.keep([draft(ident, BIG)]), PATIENCE_S)
    state = await outbox.state()
    assert (state.held_back, state.not_kept) == (5, 3)
    assert "5 held back in memory, 3 not kept so far" in caplog.text
    await outbox.ask(make_room)
    await kept.until(6)
    assert await outbox.ask(_idents) == [ident.bytes for ident in idents[:5]]
    assert (await outbox.state()).not_kept == 3


async def test_marks_survive_a_commit_that_failed(outbox: Outbox, path: Path, kept: Kept, quick_retry: None) -> None:
    await outbox.keep([draft()])
    await outbox.ask(fill)
    outbox.mark(Mark(1, "delivered", "success"))
    await asyncio.wait_for(outbox.keep([draft(size=BIG)]), PATIENCE_S)
    assert states(path) == {1: "waiting"}
    await outbox.ask(make_room)
    await kept.until(2)
    assert states(path) == {1: "delivered", 2: "waiting"}


async def test_what_is_delivered_is_not_read_again_while_the_disk_takes_no_word_of_it(
    outbox: Outbox, path: Path, kept: Kept, quick_retry: None
) -> None:
    """With each connection, the publisher reads what waits: a full disk would send one reading again and again."""
    await outbox.keep([draft(), draft()])
    await outbox.ask(fill)
    outbox.mark(Mark(1, "delivered", "success"))
    await asyncio.wait_for(outbox.keep([draft(size=BIG)]), PATIENCE_S)
    assert states(path) == {1: "waiting", 2: "waiting"}
    assert [row.sequence for row in await outbox.ask(lambda store: store.waiting(0, 10, ()))] == [2]
    assert [row.sequence for row in await outbox.ask(lambda store: store.oldest_waiting(READING))] == [2]
    await outbox.ask(make_room)
    await kept.until(3)
    assert [row.sequence for row in await outbox.ask(lambda store: store.waiting(0, 10, ()))] == [2, 3]


async def test_what_is_asked_at_the_start_does_not_wait_for_the_check_of_the_whole_file(
    path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 512 MB on a card, it takes many seconds, and no device is read before the last readings are known."""
    Store(path).close()
    checking, go_on = threading.Event(), threading.Event()

    def check(_: Store) -> None:
        checking.set()
        assert go_on.wait(PATIENCE_S)

    monkeypatch.setattr(keeper, "CHECK_AFTER_S", 0.2)
    monkeypatch.setattr(Store, "what_is_wrong", check)
    outbox = Outbox(path, kept.take)
    assert await asyncio.wait_for(outbox.ask(lambda store: store.last_payloads("cuff", 8)), PATIENCE_S) == []
    assert not checking.is_set()
    assert await asyncio.to_thread(checking.wait, PATIENCE_S), "it is checked, though nobody asks for anything"
    go_on.set()
    await asyncio.wait_for(outbox.close(), PATIENCE_S)


async def test_a_file_that_the_disk_gives_late_is_checked_too(
    path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, quick_retry: None
) -> None:
    Store(path).close()
    checked = threading.Event()
    monkeypatch.setattr(keeper, "CHECK_AFTER_S", 0.0)
    monkeypatch.setattr(Store, "what_is_wrong", lambda _: checked.set())
    with monkeypatch.context() as late:
        late.setattr(keeper, "Store", _unavailable)
        outbox = Outbox(path, kept.take)
        assert outbox.stream is None
    await asyncio.wait_for(outbox.keep([draft()]), PATIENCE_S)
    assert await asyncio.to_thread(checked.wait, PATIENCE_S)
    await asyncio.wait_for(outbox.close(), PATIENCE_S)


def _unavailable(*_: object, **__: object) -> Store:
    raise OutboxUnavailable("no disk yet")


async def test_a_disk_that_gives_no_row_is_asked_again(outbox: Outbox, quick_retry: None) -> None:
    """The publisher asks once and waits: an answer that never came would stop it for ever."""
    await outbox.keep([draft()])
    answer: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
    await outbox.ask(lambda store: store._db.set_progress_handler(lambda: 1, 1))  # SQLITE_INTERRUPT for every query
    outbox.fetch(lambda store: store.waiting(0, 10, ()), answer.set_result)
    state = await outbox.state()
    assert state.trouble == "interrupted"
    assert not answer.done()
    await outbox.ask(lambda store: store._db.set_progress_handler(None, 0))
    assert [row.sequence for row in await asyncio.wait_for(answer, PATIENCE_S)] == [1]
    assert (await outbox.state()).trouble is None


async def test_the_state_is_answered_while_the_disk_cannot_be_read(outbox: Outbox) -> None:
    await outbox.ask(lambda store: store._db.set_progress_handler(lambda: 1, 1))
    assert (await outbox.state()).trouble == "interrupted"
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        await outbox.ask(Store.depth)
    await outbox.ask(lambda store: store._db.set_progress_handler(None, 0))


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_close_writes_what_was_handed_in(path: Path, kept: Kept) -> None:
    outbox = Outbox(path, kept.take)
    for _ in range(1000):
        outbox.keep([draft()])
    outbox.mark(Mark(1, "delivered", "success"))
    await asyncio.wait_for(outbox.close(), PATIENCE_S)
    assert kept.sequences == list(range(1, 1001))
    with closing(Store(path)) as store:  # the lock is let go, the log folded in
        assert store.depth()[0] == 999


async def test_close_says_how_many_readings_the_disk_never_took(
    path: Path, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(path, kept.take)
    await outbox.ask(fill)
    await asyncio.wait_for(outbox.keep([draft(size=BIG), draft(size=BIG)]), PATIENCE_S)
    await asyncio.wait_for(outbox.close(), PATIENCE_S)
    assert "2 readings that the disk did not take" in caplog.text


@pytest.mark.parametrize("defect", [ValueError("a time without a zone"), KeyError("kind")])
async def test_a_defect_in_encode_ends_the_outbox_and_is_told(path: Path, kept: Kept, defect: Exception) -> None:
    def encode(_stream: UUID, _sequence: int) -> bytes:
        raise defect

    outbox = Outbox(path, kept.take)
    await outbox.keep([draft()])
    outbox.keep([Draft(uuid4(), 1, "cuff", READING, encode)])
    with pytest.raises(type(defect)):
        await asyncio.wait_for(asyncio.shield(outbox.ended), PATIENCE_S)
    await asyncio.wait_for(outbox.close(), PATIENCE_S)  # ends, and hides nothing: `ended` has told
    assert outbox.ended.exception() is defect
    with closing(Store(path)) as store:  # the lock is let go
        assert [row.sequence for row in store.waiting(0, 10, ())] == [1]


async def test_a_loop_that_is_gone_stops_nobody_from_writing(path: Path) -> None:
    """`asyncio.run` ended, say by an error: the thread must not die of it in the middle of a reading."""
    threads: list[threading.Thread] = []

    def other_program() -> None:
        async def main() -> Outbox:
            return Outbox(path, lambda _rows: None)

        outbox = asyncio.run(main())
        threads.extend(thread for thread in threading.enumerate() if thread.name == "outbox")
        outbox._jobs.put(keeper.Keep([draft()], outbox._loop.create_future()))
        outbox._jobs.put(keeper.Stop())

    await asyncio.to_thread(other_program)
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE_S)
        assert not thread.is_alive()
    with closing(Store(path)) as store:
        assert store.depth()[0] == 1
