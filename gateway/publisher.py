"""Outbox -> broker: every kept row, oldest first, until its PUBACK.

Laws:

1. A row is delivered at its PUBACK and not before. What was in flight when a connection ended is sent again.
2. A sliding window: WINDOW messages are in flight, each PUBACK makes room for the next.
3. Refused is not away. "Nobody subscribed", "not authorized" and "quota exceeded" block the topic that was refused
   (refusals.py), and the other topics go on. What the broker will never take (too large, malformed) is parked, shown,
   and blocks nothing.
4. States and events overtake readings, and are not kept (announcements.py).

Everything here runs on the event loop, in short steps. Which row is next is backlog.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway import failback
from gateway.announcements import Announcements
from gateway.backlog import Backlog
from gateway.broker import (
    SUCCESS,
    UNSPECIFIED_ERROR,
    Address,
    BrokerAway,
    BrokerRefused,
    Echo,
    Ended,
    Inbox,
    Login,
    Message,
    Watch,
)
from gateway.connecting import open_unless, pause
from gateway.mqtt import Connection
from gateway.outbox import Outbox
from gateway.pace import QUIET_S, Pace
from gateway.poison import Poison, is_poisons
from gateway.refusals import Refusals, reason_of
from gateway.replays import Replay, Replays
from gateway.store import Mark, Row

_log = logging.getLogger(__name__)

# In flight at once. Waiting for each PUBACK costs 25 times the throughput; more than 100 slows paho down.
WINDOW = 50

# A broker that acknowledges nothing for so long never will.
UNANSWERED_S = 30.0

# MQTT 5 reason codes (OASIS mqtt-v5.0, 3.4.2.1, 3.14.2.1) that say that no other try will do better.
_NEVER = {0x90: "topic_name_invalid", 0x95: "packet_too_large", 0x99: "payload_format_invalid"}

# A broker that we are to leave, and that does not acknowledge: it is left without a word. Its will speaks for us.
LEAVE_S = 5.0

PACKET_OVERHEAD = 64  # fixed header, properties and packet identifier, with room to spare


@dataclass(frozen=True, slots=True)
class PublisherState:
    """How the way to the broker is: connected to which, else why not; topics that are refused and why.

    `rival`: another gateway of our name, in words. `certificates`: until when that of `broker` and `client` hold.
    `taken`: the topics on which a broker has let us publish, since the start.
    """

    connected_to: str | None = None
    trouble: str | None = "not connected yet"
    rival: str | None = None
    certificates: dict[str, datetime] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
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
        inbox: Inbox | None = None,
    ) -> None:
        self._state = PublisherState()  # without what each reading changes:
        self._delivered = 0
        self._addresses = addresses
        self._login = login
        self._will = will
        self._on_change = on_change
        self._inbox = inbox
        self._connection: Connection | None = None
        self._stopping = asyncio.Event()
        self._called = asyncio.Event()  # from waiting: to stop, or to take another way
        self._idle = asyncio.Event()
        self._announcements = Announcements()
        self._backlog = Backlog(outbox, self._pump)
        self._refusals = Refusals(self._pump)
        self._probes: deque[Row] = deque()
        self.replays = Replays(outbox, self._pump)
        self._in_flight: dict[int, Row | Replay | Message] = {}  # by packet identifier
        self._sent_at: dict[int, float] = {}  # of rows, seconds since 1970, by packet identifier
        self._answers = 0  # PUBACKs so far
        self._poison = Poison()
        self._leaving = False  # rows stay where they are
        self._moving = False  # nothing more goes to this broker: the first is back
        self._return: asyncio.Future[None] | None = None
        self._pace = Pace(login.client_id)
        self._echo: Echo | None = None

    @property
    def state(self) -> PublisherState:
        """How the way to the broker is now."""
        return replace(self._state, delivered=self._delivered)

    # ---- what others hand in -------------------------------------------------------------------------------------

    def offer(self, rows: list[Row]) -> None:
        """Take rows that were just committed, and send them in this step: somebody waits for them."""
        for topic in {row.topic for row in rows}:
            self._refusals.reading_came(topic)
        self._backlog.offer(rows)
        self._pump()
        if self._connection is not None:
            self._connection.flush()

    def publish_state(self, topic: str, payload: bytes) -> None:
        """Send a retained state now and with every new connection."""
        self._announcements.set_state(topic, payload)
        self._pump()

    def clear_state(self, topic: str, then: Callable[[str], None]) -> None:
        """Remove a retained message from the broker; `then` hears the topic once the broker has done so."""
        self._announcements.clear_state(topic, then)
        self._pump()

    def publish_event(self, topic: str, payload: bytes) -> None:
        """Send an event; while the broker is away the newest ones wait, in bounded numbers."""
        self._announcements.add_event(topic, payload)
        self._state = replace(self._state, events_dropped=self._announcements.events_dropped)
        self._pump()

    def tell_will(self, will: Message) -> None:
        """Leave another will, from the next connection on."""
        self._will = will

    def change_watch(self, watch: Watch | None) -> None:
        """Look at other retained messages from now on, on the connection that there is, too."""
        if self._inbox is not None:
            self._inbox = replace(self._inbox, watch=watch)
            if self._connection is not None:
                self._connection.watch(watch)

    def reroute(self, addresses: Sequence[Address], login: Login) -> None:
        """Take another way to the broker: leave the one that serves, with a word, and connect by these."""
        self._addresses, self._login = addresses, login
        self._pace = Pace(login.client_id)
        self._change(rival=None)
        self._called.set()
        if self._connection is not None and self._return is not None and not self._stopping.is_set():
            self._return.cancel()
            self._return = asyncio.ensure_future(self._leave(self._connection, LEAVE_S))

    def listen(self, echo: Echo | None) -> None:
        """Listen to what we publish under these topics, with each connection; to nothing with None."""
        self._echo = echo
        if self._connection is not None and not self._connection.ended.done():
            if echo is None:
                self._connection.listen_no_more()
            else:
                self._connection.listen(echo)

    # ---- connecting ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a connection until `stop`; failing over to the next address, and back to the first when it is there."""
        turn = 0
        while not self._stopping.is_set():
            if self._called.is_set():
                self._called.clear()
                turn = 0
            address = self._addresses[turn]
            turn = (turn + 1) % len(self._addresses)
            try:
                opening = Connection.open(address, self._login, self._will, WINDOW, self._on_pubacks, self._inbox)
                connection = await open_unless(self._called, opening)
            except (BrokerAway, BrokerRefused) as error:
                if self.state.trouble != str(error):
                    _log.warning("%s", error)
                self._change(trouble=str(error))
                await pause(self._called, self._pace.failed())
                continue
            if connection is None:
                continue
            since = asyncio.get_running_loop().time()
            ended = await self._serve(connection, address)
            if self._moving and (ended.code == SUCCESS or self._called.is_set()):
                turn = 0
                continue
            lasted_s = asyncio.get_running_loop().time() - since
            pause_s, ended = self._pace.ended(ended, lasted_s, explained=bool(self.state.blocked))
            self._change(trouble=ended.reason, rival=self._pace.rival)
            if not self._stopping.is_set():
                _log.warning("%s", ended.reason)
                await pause(self._called, pause_s)

    async def stop(self, farewell: Message, grace_s: float) -> None:
        """Send what can still be sent, then the farewell state, and hang up; at most `grace_s` seconds.

        A broker that does not take the farewell in time is left without a word, so that it publishes the will.
        """
        self._stopping.set()
        self._called.set()
        if self._return is not None:
            self._return.cancel()
        self._moving = False
        connection = self._connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(grace_s / 2):
                await self._drained()
        except TimeoutError:
            _log.info("the broker is slow: what it did not acknowledge is kept and goes out at the next start")
        self._leaving = True
        try:
            async with asyncio.timeout(grace_s / 2):
                self.publish_state(farewell.topic, farewell.payload)
                await self._drained()
                connection.close()
                await asyncio.wait([connection.ended])
        except TimeoutError:
            connection.cut()

    async def _serve(self, connection: Connection, address: Address) -> Ended:
        self._connection = connection
        self._moving = False
        self._in_flight.clear()
        self._sent_at.clear()
        self._probes.clear()
        self._announcements.start_over()
        self._refusals.connected()
        self._backlog.start_over()
        self._change(connected_to=str(address), trouble=None, certificates=connection.certificates)
        self._show_refused()
        if self._inbox is not None:
            connection.watch(self._inbox.watch)  # it may be another than when this was opened
        if self._echo is not None:  # before the first row: what comes back is to be heard
            connection.listen(self._echo)
        self._pump()
        self._return = asyncio.ensure_future(self._go_back(connection, address))
        try:
            ended = await self._watch(connection)
        finally:
            self._return.cancel()
        self._connection = None
        self._note_poison(ended)
        self._change(connected_to=None, trouble=ended.reason)
        self._idle.set()
        return ended

    async def _go_back(self, connection: Connection, address: Address) -> None:
        """Leave for the first broker once it is back: with nothing in flight, and a word that we are gone from here."""
        if address == self._addresses[0]:
            return
        await failback.until_it_is_back(self._addresses[0], self._login, self._pace.look_s)
        self._pace.returned()
        await self._leave(connection, None)

    async def _leave(self, connection: Connection, limit_s: float | None) -> None:
        """Go from this broker with nothing in flight, and a word that we are gone; after `limit_s` without."""
        self._moving = True
        try:
            async with asyncio.timeout(limit_s):
                await self._answered()
                # Said by us, not left to the broker: in a cluster its will might come after our next "online".
                self._in_flight[connection.publish(self._will)] = self._will
                await self._answered()
                connection.close()
        except TimeoutError:
            connection.cut()

    async def _watch(self, connection: Connection) -> Ended:
        """Wait for the connection's end; a broker that acknowledges nothing is left, since nothing more goes out."""
        since = asyncio.get_running_loop().time()
        while not connection.ended.done():
            answers = self._answers
            await asyncio.wait([connection.ended], timeout=UNANSWERED_S)
            if self._in_flight and self._answers == answers and not connection.ended.done():
                connection.cut()
                await asyncio.wait([connection.ended])
                return Ended(UNSPECIFIED_ERROR, f"{connection.address} acknowledges nothing: we connect anew")
            if self.state.rival and asyncio.get_running_loop().time() - since >= QUIET_S:
                self._pace.steady()
                self._change(rival=None)
        return connection.ended.result()

    async def _answered(self) -> None:
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    async def _drained(self) -> None:
        while self._connection is not None and (
            self._in_flight or self._announcements.unsent_states or not (self._leaving or self._backlog.empty)
        ):
            self._idle.clear()
            await self._idle.wait()

    # ---- sending -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what there is room for; read on from disk when we are behind."""
        self._idle.set()
        connection = self._connection
        if connection is None or connection.ended.done() or self._moving:
            return
        while self._has_room(connection) and (message := self._announcements.take()):
            self._in_flight[connection.publish(message)] = message
        if self._leaving:
            return
        while self._has_room(connection) and self._probes:
            self._send(connection, self._probes.popleft())
        while self._has_room(connection) and (row := self._backlog.take(without=self._refusals)):
            self._poison.sending(row)
            self._send(connection, row)
        while self._may_replay(connection) and (replay := self.replays.take(without=self._refusals)):
            self._send_again(connection, replay)
        while (topic := self._refusals.take_due()) is not None:
            self._probe(connection, topic)
        self._backlog.read_on(without=self._refusals)

    def _has_room(self, connection: Connection) -> bool:
        return len(self._in_flight) < (1 if self._poison.suspected else connection.receive_maximum)

    def _may_replay(self, connection: Connection) -> bool:
        """Fresh rows first: one goes out again only while none waits that could go, and while we stay."""
        return (
            self._backlog.empty
            and not self._stopping.is_set()
            and not self._poison.suspected
            and self._has_room(connection)
        )

    def _send(self, connection: Connection, row: Row) -> None:
        if _too_large(connection, row):
            self._park(row, "packet_too_large")
            return
        mid = connection.publish(Message(row.topic, row.payload, retain=False))
        self._in_flight[mid], self._sent_at[mid] = row, time.time()

    def _send_again(self, connection: Connection, replay: Replay) -> None:
        if replay.marked and self._login.protocol != 5:  # a reload has changed it since somebody asked
            self.replays.not_sent(replay, "no_mark")
            return
        if _too_large(connection, replay.row):
            self.replays.settle(replay, "packet_too_large", str(connection.address))
            return
        mid = connection.publish(Message(replay.row.topic, replay.row.payload, retain=False, replayed=replay.marked))
        self._in_flight[mid], self._sent_at[mid] = replay, time.time()

    def _probe(self, connection: Connection, topic: str) -> None:
        """Offer the oldest row of a blocked topic: its PUBACK tells whether the way is free again."""

        def send(waits: bool, row: Row | None) -> None:
            if row is not None and connection is not self._connection:
                self._backlog.refuse(row)  # the probe is made anew with the next connection
            elif row is not None:
                self._probes.append(row)
            elif not waits and topic in self._refusals:
                self._free(topic)
            self._pump()

        self._backlog.find_oldest(topic, send)

    # ---- what the broker says ------------------------------------------------------------------------------------

    def _on_pubacks(self, pubacks: Sequence[tuple[int, int]]) -> None:
        for mid, code in pubacks:
            self._answers += 1
            self._on_puback(mid, code)
        self._pump()

    def _on_puback(self, mid: int, code: int) -> None:
        sent, sent_at = self._in_flight.pop(mid, None), self._sent_at.pop(mid, None)
        broker = None if self._connection is None else str(self._connection.address)
        if sent is not None and code < UNSPECIFIED_ERROR:  # below it: taken, if only for nobody
            topic = sent.row.topic if isinstance(sent, Replay) else sent.topic
            if topic not in self._state.taken:
                self._state = replace(self._state, taken=self._state.taken | {topic})
        if isinstance(sent, Row):
            self._settle(sent, code, broker, sent_at)
        elif isinstance(sent, Replay):
            self.replays.settle(sent, "success" if code == SUCCESS else reason_of(code), broker, sent_at)
        elif sent is not None:
            self._announcements.settle(sent, code)
            self._show_refused()

    def _settle(self, row: Row, code: int, broker: str | None, sent_at: float | None) -> None:
        if code == SUCCESS:
            self._backlog.settle(Mark(row.sequence, "delivered", "success", broker, sent_at))
            self._poison.taken(row.topic)
            self._delivered += 1
            if row.topic in self._refusals:
                self._free(row.topic)
        elif code in _NEVER:
            self._park(row, _NEVER[code], broker, sent_at)
        else:
            self._backlog.refuse(row)
            self._block(row.topic, code)

    def _park(self, row: Row, reason: str, broker: str | None = None, sent_at: float | None = None) -> None:
        _log.error("the broker will never take the reading with sequence %d (%s): parked", row.sequence, reason)
        self._backlog.settle(Mark(row.sequence, "parked", reason, broker, sent_at))
        self._change(parked=self._state.parked + 1)
        self._refusals.probe_gone(row.topic)

    def _block(self, topic: str, code: int, reason: str | None = None) -> None:
        if self._refusals.block(topic, code, reason):
            _log.warning("%s: %s. Its readings are kept and offered again", topic, self._refusals.reasons[topic])
            self._show_refused()

    def _free(self, topic: str) -> None:
        self._refusals.free(topic)
        self._show_refused()
        self._backlog.rewind()

    def _show_refused(self) -> None:
        blocked = {**self._announcements.refused, **self._refusals.reasons}
        if blocked != self._state.blocked:
            self._change(blocked=blocked)

    def _note_poison(self, ended: Ended) -> None:
        reason = f"hung_up_{ended.code:#04x}"
        self.replays.lost(reason if is_poisons(ended) else None)
        rows = [sent for sent in self._in_flight.values() if isinstance(sent, Row)]
        row = self._poison.found(ended, rows, len(self._in_flight))
        if row is None:
            return
        if self._poison.is_the_topics(row.topic):
            self._block(row.topic, UNSPECIFIED_ERROR, reason)
        else:
            self._park(row, reason)

    def _change(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]  # the names are this dataclass's own
        self._on_change()


def _too_large(connection: Connection, row: Row) -> bool:
    limit = connection.maximum_packet_size
    return limit is not None and len(row.payload) + len(row.topic) + PACKET_OVERHEAD > limit
