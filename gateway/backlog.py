"""The rows that wait for the broker, as the publisher takes them: oldest first, each in one place at a time.

A row is on disk only, ready, out (with the broker, unanswered) or settled. What is ready is bounded: when more waits
it is on disk only, and we are behind. Laws:

1. While we are behind, rows that were just committed are passed over: reading on finds them in their turn.
2. Commits and answers come from the outbox's thread through one queue, in its order. So what an answer did not hold
   yet is offered after that answer, and what was offered before it is in it: no row is missed, none comes twice.
3. A row may be settled while a query that still found it waiting is under way: such rows are taken out of its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable

from gateway.outbox import Outbox
from gateway.store import Mark, Row, Store

READ_AHEAD = 200


class Backlog:
    """Rows of `outbox`; `on_more` is called when there may be more to take. On the event loop."""

    def __init__(self, outbox: Outbox, on_more: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_more = on_more
        self._ready: deque[Row] = deque()
        self._out: set[int] = set()
        self._cursor = 0  # what is not behind it was read, or offered
        self._behind = True
        self._reading: int | None = None  # the generation of the read that is under way
        self._generation = 0
        self._queries: dict[int, set[int]] = {}  # by query under way: what was settled since it was asked
        self._asked = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left to take, on disk neither."""
        return not self._ready and not self._behind

    def offer(self, rows: list[Row]) -> None:
        """Take rows that were just committed."""
        if self._behind:
            return
        self._ready.extend(rows)
        self._cursor = rows[-1].sequence
        if len(self._ready) > 2 * READ_AHEAD:
            self.rewind()

    def take(self, without: Container[str]) -> Row | None:
        """Answer the next row that is ready, without these topics; it is out now."""
        while self._ready:
            row = self._ready.popleft()
            if row.topic not in without:
                self._out.add(row.sequence)
                return row
        return None

    def settle(self, mark: Mark) -> None:
        """The broker has taken a row (`delivered`), or never will (`parked`)."""
        self._out.discard(mark.sequence)
        self._outbox.mark(mark)
        for settled in self._queries.values():
            settled.add(mark.sequence)

    def refuse(self, row: Row) -> None:
        """The broker does not take the row for now: it is on disk only, until `rewind`."""
        self._out.discard(row.sequence)

    def rewind(self) -> None:
        """Begin again with the oldest undelivered row; what is out is passed over."""
        self._ready.clear()
        self._cursor = 0
        self._behind = True
        self._generation += 1
        self._reading = None

    def start_over(self) -> None:
        """Begin again with the oldest undelivered row: nothing is out any more, its connection is over."""
        self._out.clear()
        self.rewind()

    def read_on(self, without: Iterable[str]) -> None:
        """Read what comes next, without these topics, if we are behind and little is ready."""
        if not self._behind or self._reading is not None or len(self._ready) >= READ_AHEAD // 2:
            return
        generation, after, topics = self._generation, self._cursor, tuple(without)
        self._reading = generation

        def take(rows: list[Row], fresh: list[Row]) -> None:
            if generation != self._generation:
                return  # asked before the last rewind
            self._reading = None
            self._ready.extend(fresh)
            if rows:
                self._cursor = rows[-1].sequence
            self._behind = len(rows) == READ_AHEAD
            self._on_more()

        self._query(lambda store: store.waiting(after, READ_AHEAD, topics), take)

    def find_oldest(self, topic: str, then: Callable[[bool, Row | None], None]) -> None:
        """Tell `then` whether a row of the topic waits, and the oldest; it is out now. None if it was out before."""

        def take(rows: list[Row], fresh: list[Row]) -> None:
            self._out.update(row.sequence for row in fresh)
            then(bool(rows), fresh[0] if fresh else None)

        self._query(lambda store: store.oldest_waiting(topic), take)

    def _query(self, query: Callable[[Store], list[Row]], then: Callable[[list[Row], list[Row]], None]) -> None:
        """Tell `then` of all rows found, and of those that are neither out nor settled since."""
        self._asked += 1
        number = self._asked
        self._queries[number] = set()

        def take(rows: list[Row]) -> None:
            taken = self._queries.pop(number) | self._out
            then(rows, [row for row in rows if row.sequence not in taken])

        self._outbox.fetch(query, take)
