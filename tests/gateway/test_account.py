"""The account adds up at any moment: device, outbox and publisher count on the one loop; the disk fails in between."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import Notice, Rejected
from gateway import keeper
from gateway import outbox as outbox_module
from gateway.account import Account, Books, Counts, Fate
from gateway.catalogue import load_model
from gateway.clock import Clock
from gateway.outbox import Outbox
from gateway.outbox_state import OutboxState
from gateway.reading import Mode
from gateway.settings import Device
from gateway.standing import Standing
from gateway.store import Draft, Mark, Row, Store

MODEL = load_model("and-ua-651ble")
DEVICES = ("cuff", "other-cuff")
TOPIC = "vitals/v1/northside/exam-3/reading"
AT = datetime(2026, 11, 22, tzinfo=UTC)


def draft(device: str, record: UUID | None = None, held: str | None = None, *, known_id: bool = True) -> Draft:
    """A draft as intake.py makes it: under the record's id where its clock is believed, else under one by chance."""
    ident = record if record is not None and known_id else uuid4()

    def repeat(earlier: UUID) -> Draft:
        return Draft(
            ident, 1, device, TOPIC, lambda _, n: b"%d repeats %b" % (n, earlier.bytes), held="possible_repeat"
        )

    again = repeat if record else None
    return Draft(ident, 1, device, TOPIC, lambda _, n: b"%d" % n, b"raw", record, again, held=held)


class Room:
    """Two devices, the outbox, and a publisher of which only the counting is here. `problems`: what did not add up."""

    def __init__(self, path: Path) -> None:
        self.problems: list[str] = []
        self.looks = 0
        self.standings = {
            name: Standing(
                Device(name, "and-ua-651ble", MODEL, MODEL.line, address="C8:1E:8E:00:00:01"),
                Clock(),
                lambda _device: None,
                lambda *_: None,
            )
            for name in DEVICES
        }
        self.rows: list[Row] = []
        self.delivered = self.parked = 0
        self.outbox = Outbox(path, self.rows.extend, self._fates)

    def _fates(self, fates: Sequence[Fate]) -> None:
        for fate in fates:
            self.standings[fate.device].became(fate)

    def account(self, state: OutboxState) -> Account:
        counts = {name: standing.status.counts for name, standing in self.standings.items()}
        return Account(counts, state.books, self.delivered, self.parked, state.depth)

    def look(self, state: OutboxState) -> None:
        self.looks += 1
        self.problems += self.account(state).unbalanced()

    def samples(self, *drafts: Draft) -> None:
        self.outbox.keep(drafts)
        self.standings[drafts[0].device].samples(len(drafts))

    def settle(self, state: str) -> None:
        if not self.rows:
            return
        self.outbox.mark(Mark(self.rows.pop(0).sequence, state, "success"))
        self.delivered += state == "delivered"
        self.parked += state == "parked"

    async def check_all_along(self) -> None:
        """Look again and again: whatever the thread does meanwhile, every step of the loop is a moment."""
        while True:
            await self.outbox.look(self.look)

    async def settled(self) -> None:
        async with asyncio.timeout(20):
            while (await self.outbox.state()).books.committing:  # noqa: ASYNC110 - a count sets no Event
                await asyncio.sleep(0.001)


RECORD = UUID(int=7)


def _fill(store: Store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def _make_room(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count = 1000000").fetchall()


def _break(store: Store) -> None:
    store._db.set_progress_handler(lambda: 1, 1)


def _mend(store: Store) -> None:
    store._db.set_progress_handler(None, 0)


def _ask(work: Callable[[Store], None]) -> Callable[[Room], None]:
    return lambda room: room.outbox.fetch(work, lambda _: None)


STEPS: dict[str, Callable[[Room], object]] = {
    "usable": lambda room: room.samples(draft("cuff")),
    "big": lambda room: room.samples(replace(draft("cuff"), encode=lambda *_: b"x" * 20_000)),
    "many": lambda room: room.samples(*(draft("other-cuff") for _ in range(9))),
    "held": lambda room: room.samples(draft("other-cuff", held="stored_record")),
    "record": lambda room: room.samples(draft("cuff", RECORD)),
    "record twice": lambda room: room.samples(draft("cuff", RECORD), draft("cuff", RECORD)),
    "record under another id": lambda room: room.samples(draft("cuff", RECORD, known_id=False)),
    "revision": lambda room: room.outbox.keep([replace(draft("cuff"), revision=2)]),
    "notice": lambda room: room.standings["cuff"].notice(Notice("settling"), Mode.REAL),
    "rejected": lambda room: room.standings["cuff"].rejected(Rejected("length", b"")),
    "thrown away": lambda room: room.standings["cuff"].thrown_away(2),
    "deliver": lambda room: room.settle("delivered"),
    "park": lambda room: room.settle("parked"),
    "again": lambda room: room.outbox.mark(Mark(1, "replayed", "success")),
    "disk full": _ask(_fill),
    "disk has room": _ask(_make_room),
    "disk broken": _ask(_break),
    "disk mended": _ask(_mend),
}


@settings(max_examples=60, deadline=None)
@given(
    first=st.lists(st.sampled_from(["thread's turn", "thread's turn", *sorted(STEPS)]), max_size=25),
    second=st.lists(st.sampled_from(["thread's turn", "thread's turn", *sorted(STEPS)]), max_size=25),
)
def test_the_account_adds_up_at_any_moment(
    first: list[str], second: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("account") / "outbox.db"

    async def one_start(steps: list[str]) -> None:
        room = Room(path)
        checking = asyncio.create_task(room.check_all_along())
        for step in steps:
            if step == "thread's turn":
                await room.outbox.look(room.look)
            else:
                STEPS[step](room)
                await asyncio.sleep(0)
        room.outbox.fetch(_mend, lambda _: None)
        room.outbox.fetch(_make_room, lambda _: None)
        await room.settled()
        checking.cancel()
        await room.outbox.look(room.look)
        await room.outbox.close()
        assert not room.problems
        assert room.looks >= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "RETRY_S", 0.005)
        patch.setattr(outbox_module, "MARKS_DELAY_S", 0.002)
        patch.setattr(keeper, "HELD_BACK_LIMIT", 4)
        asyncio.run(one_start(first))
        asyncio.run(one_start(second))  # with what waits, and is remembered, from the first


async def test_a_record_twice_in_one_commit_is_one_reading_and_one_repeat(tmp_path: Path) -> None:
    room = Room(tmp_path / "outbox.db")
    room.samples(draft("cuff", RECORD), draft("cuff", RECORD))
    await room.settled()
    counts = room.standings["cuff"].status.counts
    assert (counts.samples, counts.usable, counts.repeats) == (2, 1, 1)
    await room.outbox.close()


async def test_a_record_that_was_told_before_is_counted_as_what_it_is_kept_as(tmp_path: Path) -> None:
    """It was usable when it was handed in; what is on disk is held."""
    room = Room(tmp_path / "outbox.db")
    room.samples(draft("cuff", RECORD, known_id=False))
    room.samples(draft("cuff", RECORD))
    await room.settled()
    counts = room.standings["cuff"].status.counts
    assert (counts.usable, counts.held) == (1, {"possible_repeat": 1})
    await room.outbox.close()


async def test_a_repeat_that_was_held_back_is_a_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The future of `keep` is done before anybody knows what it was: the account waits."""
    monkeypatch.setattr(keeper, "RETRY_S", 0.005)
    room = Room(tmp_path / "outbox.db")
    room.samples(draft("cuff", RECORD))
    await room.settled()
    await room.outbox.ask(_fill)
    big = replace(draft("cuff"), encode=lambda *_: b"x" * 20_000)
    room.samples(big, draft("cuff", RECORD))
    assert room.standings["cuff"].status.counts.committing == 2
    await room.outbox.ask(_make_room)
    await room.settled()
    counts = room.standings["cuff"].status.counts
    assert (counts.samples, counts.usable, counts.repeats) == (3, 2, 1)
    await room.outbox.close()


async def test_a_mark_that_is_not_written_yet_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.005)
    room = Room(tmp_path / "outbox.db")
    room.samples(draft("cuff"), draft("cuff"))
    await room.settled()
    await room.outbox.ask(_fill)
    room.settle("delivered")
    STEPS["big"](room)  # the commit fails, and the mark with it
    await room.outbox.look(room.look)
    looking = asyncio.ensure_future(room.outbox.look(room.look))
    await asyncio.sleep(0)
    room.settle("delivered")  # the database is asked already
    await looking
    assert not room.problems
    await room.outbox.ask(_make_room)
    await room.settled()
    await room.outbox.look(room.look)
    assert not room.problems
    await room.outbox.close()


async def test_a_row_that_is_damaged_on_disk_is_counted_once_whatever_the_broker_says(tmp_path: Path) -> None:
    """One is damaged before it is read again, one while the broker has it already."""
    room = Room(tmp_path / "outbox.db")
    room.samples(*(draft("cuff") for _ in range(3)))
    await room.settled()
    await room.outbox.ask(_flip_payloads)
    assert await room.outbox.ask(lambda store: store.waiting(0, 10, ())) == []
    await room.outbox.look(room.look)
    room.settle("delivered")
    room.rows.clear()
    room.samples(draft("cuff"))
    await room.settled()
    await room.outbox.look(room.look)
    assert not room.problems
    state = await room.outbox.state()
    assert (state.books.damaged, state.depth, state.damaged) == (3, 1, 3)
    await room.outbox.close()


def _flip_payloads(store: Store) -> None:
    store._db.execute("UPDATE reading SET payload = x'00'")


async def test_the_account_adds_up_over_a_file_that_is_replaced_in_the_middle_of_work(tmp_path: Path) -> None:
    room = Room(tmp_path / "outbox.db")
    room.samples(*(replace(draft("cuff"), encode=_words) for _ in range(5)))
    await room.settled()
    room.settle("delivered")
    old, room.rows[:] = list(room.rows), []
    await room.outbox.ask(lambda store: store.rows("UPDATE reading SET payload = x'00' WHERE sequence > 3"))
    ruined = asyncio.ensure_future(room.outbox.ask(_ruin))
    looking = asyncio.ensure_future(room.outbox.look(room.look))
    await asyncio.sleep(0)  # both are asked; the broker answers for a row before the new file is told of
    room.outbox.mark(Mark(old.pop(0).sequence, "delivered", "success"))
    room.delivered += 1
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        await ruined
    await looking
    room.samples(replace(draft("cuff"), encode=_words))
    await room.settled()
    assert len(room.rows) == 3, "two that were not delivered and not damaged, and the new one"
    for row in old[:2]:  # the broker still answers for rows of the old file
        room.outbox.mark(Mark(row.sequence, "delivered", "success"))
        room.delivered += 1
        await room.outbox.look(room.look)
    for _ in range(3):
        room.settle("delivered")
        await room.outbox.look(room.look)
    assert not room.problems
    assert (await room.outbox.state()).depth == 0
    await room.outbox.close()


def _words(stream: UUID, sequence: int) -> bytes:
    return b'{"stream": "%b", "sequence": %d}' % (str(stream).encode(), sequence)


def _ruin(store: Store) -> None:
    """Damage of which SQLite hears when it looks."""
    raise _damaged()


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


GOOD = Account({"cuff": Counts(frames=3, samples=2, notices=1, usable=2)}, Books(committed=2), 1, 0, 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(GOOD, devices={"cuff": replace(GOOD.devices["cuff"], frames=4)}), "cuff: frames"),
        (replace(GOOD, devices={"cuff": replace(GOOD.devices["cuff"], usable=1)}), "cuff: samples"),
        (replace(GOOD, books=replace(GOOD.books, committing=1)), "committing, as"),
        (replace(GOOD, books=replace(GOOD.books, committed=1)), "committed, as"),
        (replace(GOOD, books=replace(GOOD.books, repeats=1)), "repeats, as"),
        (replace(GOOD, books=replace(GOOD.books, not_kept=1)), "not kept, as"),
        (replace(GOOD, delivered=2), "waiting at start"),
        (replace(GOOD, waiting=0), "waiting at start"),
        (replace(GOOD, books=replace(GOOD.books, damaged=1)), "waiting at start"),
        (replace(GOOD, books=replace(GOOD.books, replaced=-1)), "waiting at start"),
    ],
)
def test_what_does_not_add_up_is_said(wrong: Account, words: str) -> None:
    assert not GOOD.unbalanced()
    assert any(problem.startswith(words) for problem in wrong.unbalanced())
    assert wrong.members()["unbalanced"] == wrong.unbalanced()
