"""A reading on its way: on disk, acknowledged by the broker, come back from it. Asked for by `certify` alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from gateway import kept
from gateway.broker import Echo
from gateway.certificate import Finding
from gateway.kept import Kept
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.publisher import Publisher
from gateway.reading import Reading
from gateway.store import DatabaseError

POLL_S = 0.1
AWAY_S = 10.0  # a broker that is not there after so long is a finding
ASKED_AGAIN_S = 35.0  # a topic that was refused before is offered again by then (refusals.py)
ECHO_S = 3.0
ECHOES = 64


class Following:
    """Follows readings from the outbox to the broker and back."""

    def __init__(self, origin: Origin, outbox: Outbox, publisher: Publisher, *, puback_tells: bool) -> None:
        """`puback_tells`: MQTT 5, whose PUBACK says whether the message was let in."""
        self.puback_tells = puback_tells
        self._base = origin.base
        self._outbox = outbox
        self._publisher = publisher
        self._listeners = 0
        self._echoes: deque[bytes] = deque(maxlen=ECHOES)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the test topics: what comes back is seen, and a broker that has no other subscriber takes it."""
        self._listeners += 1
        if self._listeners == 1:
            topics = tuple(f"{self._base}/test/{leaf}" for leaf in ("reading", "quarantine"))
            self._publisher.listen(Echo(topics, self._echoes.append))
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._publisher.listen(None)
                self._echoes.clear()

    async def row(self, reading: Reading) -> Kept | None:
        """Answer the row that was kept of it; None while it is not on disk, or the disk cannot be read."""
        try:
            rows = await self._outbox.ask(partial(kept.by_id, reading=reading.id))
        except DatabaseError:
            return None
        return next((row for row in rows if row.is_intact), None)

    async def committed(self, reading: Reading) -> Kept:
        """Wait until it is on disk."""
        while (row := await self.row(reading)) is None:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(POLL_S)
        return row

    @property
    def refused(self) -> frozenset[str]:
        """The topics that the broker refuses now."""
        return frozenset(self._publisher.state.blocked)

    async def acknowledged(self, finding: Finding, row: Kept, refused_before: frozenset[str]) -> bool:
        """Wait for the broker's word; answer whether it has it. `finding` is told why not.

        `refused_before`: the topics that were refused before it came. Of these it may be another row's refusal.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            state = self._publisher.state
            found = await self.row(finding.reading) if finding.reading is not None else None
            finding.kept = found or finding.kept
            if found is not None and found.state == "delivered":
                return True
            waited_s = loop.time() - since
            if found is not None and found.state == "parked":
                finding.ended("failed", found.told.reason, "the broker will never take it", "ask the broker's operator")
                return False
            if state.connected_to is None and waited_s > AWAY_S:
                words = "it is on disk and waits: no broker"
                finding.ended("failed", "broker_away", words, state.trouble or "is the broker there?")
                return False
            refused = state.blocked.get(row.topic)
            if refused is not None and (row.topic not in refused_before or waited_s > ASKED_AGAIN_S):
                finding.ended("failed", refused, f"the broker refuses {row.topic} ({refused})", self._right(refused))
                return False
            await asyncio.sleep(POLL_S)

    async def seen(self, row: Kept) -> bool:
        """Answer whether it comes back from the broker, byte for byte."""
        try:
            async with asyncio.timeout(ECHO_S):
                while row.payload not in self._echoes:  # noqa: ASYNC110 - a deque sets no Event
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True

    @property
    def right_to_read(self) -> str:
        """The line of the broker's access rules with which a reading can be seen to come back."""
        return f"topic read {self._base}/test/#"

    def _right(self, refused: str) -> str:
        if refused == "no_matching_subscribers":
            return f"nobody listens there, nor may this gateway. In the broker's access rules: {self.right_to_read}"
        if refused == "not_authorized":
            return f"this gateway's account lacks, in the broker's access rules: topic write {self._base}/test/#"
        return "ask the broker's operator"
