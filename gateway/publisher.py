"""Outbox -> broker: every kept row, oldest first, until its PUBACK.

Laws:

1. A row is delivered at its PUBACK and not before. What was in flight when a connection ended is sent again.
2. A sliding window: WINDOW messages are in flight, each PUBACK makes room for the next.
3. Refused is not away. "Nobody subscribed", "not authorized" and "quota exceeded" block the topic that was refused:
   its oldest row is offered again from time to time, and the other topics go on. What the broker will never take
   (too large, malformed) is parked, shown, and blocks nothing.
4. States and events are not kept: the newest state goes out with each connection, events wait in a bounded queue.

Everything here runs on the event loop, in short steps: rows arrive from the outbox's thread by callback, either
just committed or read back from disk when we are behind, and always in the order of their sequence.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

from gateway.mqtt import (
    NO_MATCHING_SUBSCRIBERS,
    SUCCESS,
    Address,
    BrokerAway,
    BrokerRefused,
    Connection,
    Ended,
    Login,
    Message,
)
from gateway.outbox import Outbox
from gateway.store import Row, Store

_log = logging.getLogger(__name__)

# In flight at once. Waiting for each PUBACK costs 25 times the throughput; more than 100 slows paho down.
WINDOW = 50
READ_AHEAD = 200
EVENTS_LIMIT = 200

# The first minute of an outage is worth quick tries; after it, forty rooms must not hammer a broker that starts.
RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_LATER_S, LATER_AFTER = 0.25, 2.0, 15.0, 30

# MQTT 5 reason codes (OASIS mqtt-v5.0, 3.4.2.1, 3.14.2.1) and what each means for us.
_NOBODY_RETRY_S = 5.0
_BLOCKED = {
    NO_MATCHING_SUBSCRIBERS: ("no_matching_subscribers", _NOBODY_RETRY_S),
    0x80: ("unspecified_error", 10.0),
    0x83: ("implementation_specific_error", 10.0),
    0x87: ("not_authorized", 30.0),
    0x97: ("quota_exceeded", 10.0),
}
_NEVER = {0x90: "topic_name_invalid", 0x95: "packet_too_large", 0x99: "payload_format_invalid"}
_POISON_ENDS = frozenset({0x81, 0x82, 0x90, 0x95, 0x99})

PACKET_OVERHEAD = 64  # fixed header, properties and packet identifier, with room to spare


@dataclass(frozen=True, slots=True)
class PublisherState:
    """How the way to the broker is: connected to which, else why not; topics that are refused and why."""

    connected_to: str | None = None
    trouble: str | None = "not connected yet"
    blocked: dict[str, str] = field(default_factory=dict)
    delivered: int = 0
    parked: int = 0
    events_dropped: int = 0


class Publisher:
    """Sends the rows of `outbox` until `stop`. `on_change` is called when its state changes."""

    def __init__(
        self,
        addresses: Sequence[Address],
        login: Login,
        will: Message,
        outbox: Outbox,
        on_change: Callable[[], None],
    ) -> None:
        self.state = PublisherState()
        self._addresses = addresses
        self._login = login
        self._will = will
        self._outbox = outbox
        self._on_change = on_change
        self._connection: Connection | None = None
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._states: dict[str, bytes] = {}
        self._on_cleared: dict[str, Callable[[str], None]] = {}
        self._unsent_states: dict[str, None] = {}
        self._events: deque[tuple[str, bytes]] = deque()
        self._ready: deque[Row] = deque()
        self._in_flight: dict[int, Row | str] = {}  # packet identifier -> row, or the topic of a state or event
        self._rows_in_flight: set[int] = set()
        self._cursor = 0
        self._behind = True
        self._asked: int | None = None  # the generation of the read that is under way
        self._generation = 0
        self._fetches = 0
        self._settled_meanwhile: dict[int, set[int]] = {}  # by fetch under way: what its answer may hold and is done
        self._blocked: dict[str, asyncio.TimerHandle] = {}
        self._probing: set[str] = set()
        self._cautious = False

    # ---- what others hand in -------------------------------------------------------------------------------------

    def offer(self, rows: list[Row]) -> None:
        """Take rows that were just committed."""
        for row in rows:
            if row.topic in self._blocked and row.topic not in self._probing and self._nobody(row.topic):
                self._probe(row.topic)
        if not self._behind:
            self._ready.extend(rows)
            self._cursor = rows[-1].sequence
            if len(self._ready) > 2 * READ_AHEAD:
                self._rewind()
        self._pump()

    def publish_state(self, topic: str, payload: bytes) -> None:
        """Send a retained state now and with every new connection."""
        self._states[topic] = payload
        self._unsent_states[topic] = None
        self._pump()

    def clear_state(self, topic: str, then: Callable[[str], None]) -> None:
        """Remove a retained message from the broker; `then` hears the topic once the broker has done so."""
        self._on_cleared[topic] = then
        self.publish_state(topic, b"")

    def publish_event(self, topic: str, payload: bytes) -> None:
        """Send an event; while the broker is away the newest EVENTS_LIMIT of them wait."""
        if len(self._events) == EVENTS_LIMIT:
            self._events.popleft()
            self.state = replace(self.state, events_dropped=self.state.events_dropped + 1)
        self._events.append((topic, payload))
        self._pump()

    # ---- connecting ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a connection until `stop`; failing over to the next address, with a growing, jittered delay."""
        failures = 0
        for address in cycle(self._addresses):
            if self._stopping.is_set():
                return
            try:
                connection = await self._open(address)
            except (BrokerAway, BrokerRefused) as error:
                if self.state.trouble != str(error):
                    _log.warning("%s", error)
                self._change(trouble=str(error))
                failures += 1
                await self._pause(failures)
                continue
            failures = 0
            ended = await self._serve(connection, address)
            if not self._stopping.is_set():
                _log.warning("%s", ended.reason)
                await self._pause(1)

    async def stop(self, farewell: Message, grace_s: float) -> None:
        """Send what can still be sent, then the farewell state, and hang up; at most `grace_s` seconds."""
        self._stopping.set()
        connection = self._connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._drained()
                self.publish_state(farewell.topic, farewell.payload)
                await self._drained()
        except TimeoutError:
            _log.info("the broker is slow: what it did not acknowledge is kept and goes out at the next start")
        connection.close()

    async def _open(self, address: Address) -> Connection:
        opening = asyncio.ensure_future(Connection.open(address, self._login, self._will, WINDOW, self._on_puback))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            raise BrokerAway("stopping")
        return await opening

    async def _serve(self, connection: Connection, address: Address) -> Ended:
        _log.info("connected to %s", address)
        self._connection = connection
        self._unsent_states = dict.fromkeys(self._states)
        self._in_flight.clear()
        self._rows_in_flight.clear()
        for timer in self._blocked.values():
            timer.cancel()
        self._blocked.clear()
        self._probing.clear()
        self._change(connected_to=str(address), trouble=None, blocked={})
        self._rewind()
        self._pump()
        ended = await connection.ended
        self._connection = None
        self._note_poison(ended)
        self._change(connected_to=None, trouble=ended.reason)
        self._idle.set()
        return ended

    async def _pause(self, failures: int) -> None:
        cap = RETRY_CAP_S if failures < LATER_AFTER else RETRY_CAP_LATER_S
        longest = min(cap, RETRY_FIRST_S * 2 ** min(failures, 10))
        try:
            await asyncio.wait_for(self._stopping.wait(), random.uniform(RETRY_FIRST_S, longest))  # noqa: S311 - jitter
        except TimeoutError:
            return

    async def _drained(self) -> None:
        while self._connection is not None and (self._in_flight or self._ready or self._behind or self._unsent_states):
            self._idle.clear()
            await self._idle.wait()

    # ---- sending -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what there is room for; read on from disk when we are behind."""
        connection = self._connection
        if connection is None or connection.ended.done():
            return
        window = 1 if self._cautious else connection.receive_maximum
        while len(self._in_flight) < window and self._unsent_states:
            topic = next(iter(self._unsent_states))
            del self._unsent_states[topic]
            self._in_flight[connection.publish(topic, self._states[topic], retain=True)] = topic
        while len(self._in_flight) < window and self._events:
            topic, payload = self._events.popleft()
            self._in_flight[connection.publish(topic, payload)] = topic
        while len(self._in_flight) < window and self._ready:
            row = self._ready.popleft()
            if row.topic not in self._blocked:
                self._send(connection, row)
        if self._behind and self._asked is None and len(self._ready) < READ_AHEAD // 2:
            self._read_on()

    def _send(self, connection: Connection, row: Row) -> None:
        limit = connection.maximum_packet_size
        if limit is not None and len(row.payload) + len(row.topic) + PACKET_OVERHEAD > limit:
            self._park(row, "packet_too_large")
            return
        self._in_flight[connection.publish(row.topic, row.payload)] = row
        self._rows_in_flight.add(row.sequence)

    def _read_on(self) -> None:
        generation, after, blocked = self._generation, self._cursor, tuple(self._blocked)
        self._asked = generation

        def take(rows: list[Row], fresh: list[Row]) -> None:
            if generation != self._generation:
                return  # asked before the last rewind
            self._asked = None
            self._ready.extend(fresh)
            if rows:
                self._cursor = rows[-1].sequence
            self._behind = len(rows) == READ_AHEAD
            self._pump()
            self._idle.set()

        self._fetch(lambda store: store.waiting(after, READ_AHEAD, blocked), take)

    def _fetch(self, query: Callable[[Store], list[Row]], then: Callable[[list[Row], list[Row]], None]) -> None:
        """Read rows; `then` hears of all of them, and of those that are neither in flight nor settled meanwhile."""
        settled: set[int] = set()
        self._fetches += 1
        number = self._fetches
        self._settled_meanwhile[number] = settled

        def take(rows: list[Row]) -> None:
            del self._settled_meanwhile[number]
            taken = settled | self._rows_in_flight
            then(rows, [row for row in rows if row.sequence not in taken])

        self._outbox.fetch(query, take)

    def _rewind(self) -> None:
        """Begin again with the oldest undelivered row; what is in flight is passed over."""
        self._ready.clear()
        self._cursor = 0
        self._behind = True
        self._generation += 1
        self._asked = None

    # ---- what the broker says ------------------------------------------------------------------------------------

    def _on_puback(self, mid: int, code: int) -> None:
        sent = self._in_flight.pop(mid, None)
        if isinstance(sent, Row):
            self._rows_in_flight.discard(sent.sequence)
            self._settle(sent, code)
        elif sent is not None:
            self._settle_state(sent, code)
        self._pump()
        self._idle.set()

    def _settle(self, row: Row, code: int) -> None:
        if code == SUCCESS:
            self._mark(row, "delivered", "success")
            self.state = replace(self.state, delivered=self.state.delivered + 1)
            if row.topic in self._blocked:
                self._unblock(row.topic)
        elif code in _NEVER:
            self._park(row, _NEVER[code])
        else:
            reason, retry_s = _BLOCKED.get(code, (f"reason_code_{code:#04x}", 10.0))
            self._block(row.topic, reason, retry_s)

    def _settle_state(self, topic: str, code: int) -> None:
        if code not in (SUCCESS, NO_MATCHING_SUBSCRIBERS):
            reason, _ = _BLOCKED.get(code, (f"reason_code_{code:#04x}", 0.0))
            if self.state.blocked.get(topic) != reason:
                _log.error("the broker refuses %s (%s): check its access rules", topic, reason)
                self._change(blocked={**self.state.blocked, topic: reason})
        elif topic in self._on_cleared and not self._states.get(topic):
            del self._states[topic]
            self._on_cleared.pop(topic)(topic)

    def _park(self, row: Row, reason: str) -> None:
        _log.error("the broker will never take the reading with sequence %d (%s): parked", row.sequence, reason)
        self._mark(row, "parked", reason)
        self._change(parked=self.state.parked + 1)
        if row.topic in self._blocked:  # it was the probe: the next one is
            self._probing.discard(row.topic)
            self._probe(row.topic)

    def _mark(self, row: Row, state: str, reason: str) -> None:
        self._outbox.mark(row.sequence, state, reason)
        for settled in self._settled_meanwhile.values():
            settled.add(row.sequence)

    def _block(self, topic: str, reason: str, retry_s: float) -> None:
        self._probing.discard(topic)
        if topic in self._blocked:
            self._blocked[topic].cancel()
        self._blocked[topic] = asyncio.get_running_loop().call_later(retry_s, self._probe, topic)
        if self.state.blocked.get(topic) != reason:
            _log.warning("%s: %s. Its readings are kept and offered again", topic, reason)
            self._change(blocked={**self.state.blocked, topic: reason})

    def _probe(self, topic: str) -> None:
        """Offer the oldest row of a blocked topic: its PUBACK tells whether the way is free again."""
        connection = self._connection
        if connection is None or topic in self._probing:
            return
        self._probing.add(topic)

        def send(rows: list[Row], fresh: list[Row]) -> None:
            if connection is not self._connection or topic not in self._blocked:
                return
            if not rows:
                self._unblock(topic)
            for row in fresh:
                self._send(connection, row)

        self._fetch(lambda store: store.oldest_waiting(topic), send)

    def _unblock(self, topic: str) -> None:
        self._blocked.pop(topic).cancel()
        self._probing.discard(topic)
        self._change(blocked={t: reason for t, reason in self.state.blocked.items() if t != topic})
        self._rewind()
        self._pump()

    def _nobody(self, topic: str) -> bool:
        return self.state.blocked.get(topic) == _BLOCKED[NO_MATCHING_SUBSCRIBERS][0]

    def _note_poison(self, ended: Ended) -> None:
        """A broker that hangs up over a packet does not say which: send one at a time, until it is found."""
        rows = [sent for sent in self._in_flight.values() if isinstance(sent, Row)]
        if ended.code not in _POISON_ENDS or not rows:
            return
        if self._cautious or len(rows) == 1:
            self._park(rows[0], f"hung_up_{ended.code:#04x}")
        self._cautious = not self._cautious and len(rows) > 1

    def _change(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]  # the names are this dataclass's own
        self._on_change()
