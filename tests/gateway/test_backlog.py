"""The rows' order and places, whatever the outbox's thread and the loop do in which order.

The store is real; the outbox's thread is cranked by hand, so that every interleaving can be tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import backlog as backlog_module
from gateway.backlog import Backlog
from gateway.outbox import Outbox
from gateway.store import Draft, Mark, Row, Store

A, B = "vitals/v1/northside/exam-3/reading", "vitals/v1/northside/exam-3/quarantine"


class Crank:
    """Outbox's queues without its thread: `work` does the thread's next job, `hear` the loop's next callback."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: deque[Callable[[], None]] = deque()
        self.callbacks: deque[Callable[[], None]] = deque()
        self.backlog = Backlog(cast("Outbox", self), lambda: None)

    def keep(self, topic: str) -> None:
        draft = Draft(uuid4(), 1, "cuff", topic, lambda _, sequence: b"%d" % sequence)

        def commit() -> None:
            rows = self.store.write([draft], [])
            self.callbacks.append(lambda: self.backlog.offer(rows))

        self.jobs.append(commit)

    def mark(self, mark: Mark) -> None:
        self.jobs.append(lambda: cast("None", self.store.write([], [mark])))

    def fetch(self, work: Callable[[Store], Any], then: Callable[[Any], None]) -> None:
        def ask() -> None:
            answer = work(self.store)
            self.callbacks.append(lambda: then(answer))

        self.jobs.append(ask)

    def work(self) -> None:
        if self.jobs:
            self.jobs.popleft()()

    def hear(self) -> None:
        if self.callbacks:
            self.callbacks.popleft()()

    def settle_down(self) -> None:
        while self.jobs or self.callbacks:
            self.work()
            self.hear()


@pytest.fixture
def crank(tmp_path: Path) -> Iterator[Crank]:
    store = Store(tmp_path / "outbox.db")
    yield Crank(store)
    store.close()


def taken(crank: Crank, without: tuple[str, ...] = ()) -> list[int]:
    numbers: list[int] = []
    while True:
        crank.backlog.read_on(without)
        crank.settle_down()
        row = crank.backlog.take(without)
        if row is None:
            return numbers
        numbers.append(row.sequence)


STEPS = ["keep", "keep elsewhere", "work", "hear", "read", "take", "deliver", "refuse", "rewind", "lose", "probe"]


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=60), read_ahead=st.integers(2, 5))
def test_every_row_is_delivered_once_and_none_is_out_twice(
    steps: list[str], read_ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("backlog") / "outbox.db")
    crank = Crank(store)
    out: list[Row] = []
    delivered: list[int] = []
    kept = 0
    connection = 0

    def send(row: Row) -> None:
        assert row.sequence not in delivered
        assert row.sequence not in [other.sequence for other in out]
        out.append(row)

    def probe() -> None:
        asked_by = connection

        def then(_waits: bool, row: Row | None) -> None:
            if row is not None and asked_by == connection:
                send(row)
            elif row is not None:
                crank.backlog.refuse(row)

        crank.backlog.find_oldest(A, then)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog_module, "READ_AHEAD", read_ahead)
        for step in steps:
            if step.startswith("keep"):
                crank.keep(A if step == "keep" else B)
                kept += 1
            elif step == "work":
                crank.work()
            elif step == "hear":
                crank.hear()
            elif step == "read":
                crank.backlog.read_on(())
            elif step == "take" and (row := crank.backlog.take(())):
                send(row)
            elif step == "deliver" and out:
                delivered.append(out[0].sequence)
                crank.backlog.settle(Mark(out.pop(0).sequence, "delivered", "success"))
            elif step == "refuse" and out:
                crank.backlog.refuse(out.pop())
            elif step == "rewind":
                crank.backlog.rewind()
            elif step == "lose":
                connection += 1
                out.clear()
                crank.backlog.start_over()
            elif step == "probe":
                probe()
        crank.settle_down()
        connection += 1
        out.clear()
        crank.backlog.start_over()
        last = taken(crank)
    store.close()
    assert last == sorted(last)
    assert sorted(delivered + last) == list(range(1, kept + 1))


def test_a_row_settled_while_it_is_read_back_is_not_taken_again(crank: Crank) -> None:
    crank.keep(A)
    crank.settle_down()
    crank.backlog.read_on(())
    crank.settle_down()
    row = crank.backlog.take(())
    assert row is not None
    crank.backlog.rewind()
    crank.backlog.read_on(())
    crank.work()  # the query has found it
    crank.backlog.settle(Mark(row.sequence, "delivered", "success"))
    crank.settle_down()
    assert crank.backlog.take(()) is None
    assert crank.backlog.empty


def test_an_answer_from_before_a_rewind_is_not_listened_to(crank: Crank) -> None:
    crank.keep(A)
    crank.keep(A)
    crank.settle_down()
    crank.backlog.read_on(())
    crank.work()
    crank.backlog.rewind()  # a topic is free again
    crank.backlog.read_on(())
    crank.settle_down()
    assert taken(crank) == [1, 2]


def test_what_is_ready_is_bounded_though_nobody_takes_it(crank: Crank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "READ_AHEAD", 10)
    assert taken(crank) == []  # no longer behind: what is committed is offered
    for _ in range(50):
        crank.keep(A)
    crank.settle_down()
    assert len(crank.backlog._ready) <= 20
    assert taken(crank) == list(range(1, 51))


def test_rows_of_a_refused_topic_are_passed_over_until_a_rewind(crank: Crank) -> None:
    for _ in range(3):
        crank.keep(A)
        crank.keep(B)
    crank.settle_down()
    assert taken(crank, (A,)) == [2, 4, 6]
    assert taken(crank) == []
    crank.backlog.rewind()
    assert taken(crank) == [1, 3, 5]


def test_finding_the_oldest_tells_nothing_waits_from_is_out(crank: Crank) -> None:
    heard: list[tuple[bool, int | None]] = []

    def hear(waits: bool, row: Row | None) -> None:
        heard.append((waits, None if row is None else row.sequence))

    crank.backlog.find_oldest(A, hear)
    crank.settle_down()
    crank.keep(A)
    crank.settle_down()
    for _ in range(2):
        crank.backlog.find_oldest(A, hear)
        crank.settle_down()
    assert heard == [(False, None), (True, 1), (True, None)]
