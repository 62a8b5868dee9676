"""What the outbox may take: delivered rows go first, parked ones later and counted, waiting ones never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway import keeper
from gateway.outbox import Outbox
from gateway.store import Draft, Mark, Room, Row, Store

READING = "vitals/v1/northside/exam-3/reading"
BOUND = 1_000_000
SIZE = 10_000


def drafts(count: int) -> list[Draft]:
    return [
        Draft(uuid4(), 1, "cuff", READING, lambda _, sequence: b"%d " % sequence + b"x" * SIZE) for _ in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "outbox.db", BOUND)
    yield opened
    opened.close()


def sequences(store: Store, state: str) -> list[int]:
    found = store._db.execute("SELECT sequence FROM delivery WHERE state = ? ORDER BY sequence", (state,))
    return [sequence for (sequence,) in found]


def test_near_the_bound_the_earliest_delivered_rows_go_and_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.space.PORTION_DROPPED", 5)
    store.write(drafts(60), [])
    store.write([], [Mark(number, "delivered", "success") for number in range(1, 21)])
    store.write([], [Mark(30, "parked", "packet_too_large")])
    assert store.find_room() is Room.AMPLE
    assert len(sequences(store, "delivered")) == 20
    store.write(drafts(25), [])
    assert store.find_room() is Room.AMPLE
    left = sequences(store, "delivered")
    assert left == list(range(21 - len(left), 21))
    assert 0 < len(left) < 20
    assert (len(sequences(store, "waiting")), sequences(store, "parked")) == (64, [30])


def test_at_the_bound_parked_rows_go_counted_and_waiting_ones_never(store: Store) -> None:
    store.write(drafts(93), [])
    store.write([], [Mark(30, "parked", "packet_too_large")])
    assert store.find_room() is Room.NONE
    assert sequences(store, "parked") == []
    assert store.condition().discarded == 1
    assert len(sequences(store, "waiting")) == 92


def test_parked_rows_go_after_their_time_counted_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Store(path)) as store:
        secret = Draft(uuid4(), 1, "cuff", READING, lambda *_: b"PAYLOAD-OF-A-PATIENT")
        store.write([secret, *drafts(2)], [])
        store.write([], [Mark(1, "parked", "packet_too_large"), Mark(2, "delivered", "success")])
        assert store.purge(0.0, time.time() - 1) == 0
        assert store.purge(0.0, time.time() + 1) == 1
        assert not any(b"PAYLOAD-OF-A-PATIENT" in file.read_bytes() for file in tmp_path.iterdir())
    with closing(Store(path)) as store:
        assert (store.condition().discarded, sequences(store, "delivered")) == (1, [2])


async def test_past_the_bound_new_readings_wait_in_memory_then_are_not_kept_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "HELD_BACK_LIMIT", 5)
    monkeypatch.setattr(keeper, "RETRY_S", 0.02)
    kept: list[Row] = []
    outbox = Outbox(tmp_path / "outbox.db", kept.extend, max_bytes=BOUND)
    for _ in range(100):
        await outbox.keep(drafts(1))
    state = await outbox.state()
    assert state.held_back == 5
    assert len(kept) + state.held_back + state.not_kept == 100
    assert state.not_kept > 0
    assert state.trouble is not None
    assert "it is full: max_mb 1" in state.trouble
    before = len(kept)
    for sequence in range(1, 41):  # marks are still taken: the broker is back, and what it has makes room
        outbox.mark(Mark(sequence, "delivered", "success"))
    async with asyncio.timeout(20):
        while (state := await outbox.state()).held_back:  # noqa: ASYNC110 - a thread sets no Event
            await asyncio.sleep(0.01)
    assert len(kept) == before + 5
    assert state.trouble is None
    assert [row.sequence for row in kept] == list(range(1, len(kept) + 1))
    await outbox.close()


async def test_a_bound_that_is_raised_in_the_midst_of_work_lets_in_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.02)
    kept: list[Row] = []
    outbox = Outbox(tmp_path / "outbox.db", kept.extend, max_bytes=BOUND)
    for _ in range(100):
        await outbox.keep(drafts(1))
    assert (await outbox.state()).held_back > 0
    outbox.bound(2 * BOUND)
    async with asyncio.timeout(20):
        while (state := await outbox.state()).held_back:  # noqa: ASYNC110 - a thread sets no Event
            await asyncio.sleep(0.01)
    assert (len(kept), state.trouble, state.max_bytes) == (100, None, 2 * BOUND)
    await outbox.close()


async def test_near_the_bound_the_state_says_so(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", lambda _: None, max_bytes=BOUND)
    await outbox.keep(drafts(82))
    for _ in range(2):
        await outbox.keep(drafts(1))
    state = await outbox.state()
    await outbox.close()
    assert state.trouble is not None
    assert "nearly full" in state.trouble
    assert state.used_bytes is not None
    assert 0.9 * BOUND <= state.used_bytes < BOUND


def test_what_was_purged_and_left_in_the_log_by_a_kill_is_gone_with_the_next_start(tmp_path: Path) -> None:
    path, copy = tmp_path / "outbox.db", tmp_path / "killed" / "outbox.db"
    copy.parent.mkdir()
    with closing(Store(path)) as store:
        secret = Draft(UUID(int=1), 1, "cuff", READING, lambda *_: b"PAYLOAD-OF-A-PATIENT")
        store.write([secret], [])
        store.write([], [Mark(1, "delivered", "success")])
        store._db.execute("DELETE FROM reading")
        for suffix in ("", "-wal"):  # as a kill between the deletion and the checkpoint leaves it
            copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    assert any(b"PAYLOAD-OF-A-PATIENT" in file.read_bytes() for file in copy.parent.iterdir())
    with closing(Store(copy)):
        assert not any(b"PAYLOAD-OF-A-PATIENT" in file.read_bytes() for file in copy.parent.iterdir())
