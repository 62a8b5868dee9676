"""What speed must never buy: synced at each commit, sent after the commit, delivered at the PUBACK.

Each of the three is tested elsewhere too, in its own part; here it is the parts together, at work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from gateway.store import Draft, Mark, Row, Store
from simulators.broker import OwnBroker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
PATIENCE_S = 25.0

NewSender = Callable[..., Any]
BrokerAndChart = Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]
Paused = Callable[[OwnBroker], AbstractContextManager[None]]


@pytest.fixture
def at_the_commit(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Readings wait in front of their COMMIT: the first event says that one does, the second lets it go."""
    reached, go = threading.Event(), threading.Event()
    insert = Store._insert

    def insert_and_wait(store: Store, drafts: Sequence[Draft], now: float) -> list[Row]:
        rows = insert(store, drafts, now)
        if rows:
            reached.set()
            assert go.wait(PATIENCE_S)
        return rows

    monkeypatch.setattr(Store, "_insert", insert_and_wait)
    return reached, go


async def test_nothing_is_sent_before_its_commit(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, at_the_commit: tuple[threading.Event, threading.Event]
) -> None:
    reached, go = at_the_commit
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        await sender.until(lambda state: state.connected_to is not None)
        keeping = asyncio.create_task(sender.keep(3))
        assert await asyncio.to_thread(reached.wait, PATIENCE_S)
        sender.publisher.publish_state(f"{BASE}/gateway", b"{}")  # what was sent before it would arrive before it
        await chart.wait_for(lambda chart: bool(chart.states), PATIENCE_S)
        assert (len(chart.deliveries), sender.rows_in_flight) == (0, 0)
        go.set()
        await keeping
        await chart.wait_for(lambda chart: len(chart.deliveries) == 3, PATIENCE_S)


async def test_the_connection_that_keeps_and_marks_syncs_each_commit(
    new_sender: NewSender, broker_and_chart: BrokerAndChart
) -> None:
    """Asked while it works, and on its own thread. 2 is FULL, in WAL an fsync for each commit."""
    async with broker_and_chart() as (broker, _chart):
        sender = new_sender(broker.port)
        for _ in range(3):
            await sender.keep(10)
            assert await sender.outbox.ask(_pragmas) == ("wal", 2)
        await sender.until_depth(0)
        assert await sender.outbox.ask(_pragmas) == ("wal", 2)


async def test_a_row_is_marked_by_its_own_puback_and_no_other(
    new_sender: NewSender, broker_and_chart: BrokerAndChart, paused: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[tuple[int, str]] = []
    write = Store.write

    def write_and_note(store: Store, drafts: Sequence[Draft], marks: Iterable[Mark], **how: bool) -> list[Row]:
        marks = list(marks)
        marked.extend((mark.sequence, mark.reason) for mark in marks)
        return write(store, drafts, marks, **how)

    monkeypatch.setattr(Store, "write", write_and_note)
    async with broker_and_chart() as (broker, chart):
        sender = new_sender(broker.port)
        await sender.until(lambda state: state.connected_to is not None)
        await sender.keep(2)
        await sender.until_depth(0)
        with paused(broker):
            await sender.keep(3)
            await sender.until_in_flight(3)
            await sender.keep(1)  # a commit, which takes with it all the marks that there are
            assert marked == [(1, "success"), (2, "success")]
            assert await sender.depth() == (4, 0)
        await sender.until_depth(0)
        await chart.wait_for(lambda chart: len(chart.deliveries) == 6, PATIENCE_S)
        assert sorted(marked) == [(sequence, "success") for sequence in range(1, 7)]


def _pragmas(store: Store) -> tuple[str, int]:
    mode, synchronous = (store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))
    return mode, synchronous
