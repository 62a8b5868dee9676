"""One connection to one broker, from CONNECT to its end: with mqtt_socket.py the only importer of paho.

A connection is used once. When it ends, what was not acknowledged is still in the outbox, and the publisher opens
another: nothing is queued in here, so nothing can be sent twice by two queues or lost between them.

Connecting (DNS, TCP, TLS) runs in a thread of its own, since it blocks; from then on all of it is the event loop's.
Nothing here takes a lock around `publish` that a callback takes too.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway import tls
from gateway.broker import (
    SESSION_TAKEN_OVER,
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
    tls_context,
    why_away,
    why_refused,
)
from gateway.futures import fail, settle
from gateway.mqtt_socket import MqttClient, MqttSocket

KEEPALIVE_S = 20
CONNECT_TIMEOUT_S = 5.0  # of one TCP or TLS step
OPEN_TIMEOUT_S = 12.0  # of all of them: a resolver may hang for longer than a socket

# What others send us is not to fill our memory: a broker sends no larger packet (OASIS mqtt-v5.0, 3.1.2.11.4), and of
# messages that the loop has not looked at, no more than so many are handed over.
PACKET_LIMIT = 64 * 1024
INBOX_LIMIT = 20
WATCHED_LIMIT = 8 * 1024  # bytes of a retained message that is looked at: a claim, or a gateway's state

OnPubacks = Callable[[list[tuple[int, int]]], None]
"""Hears (packet identifier, reason code) of each."""


class Connection:
    """An open connection. `on_pubacks` hears on the loop of those that came together; `ended` is done when it is over.

    `certificates`: until when that of the `broker` and ours, the `client`'s, hold.
    """

    def __init__(
        self,
        address: Address,
        login: Login,
        will: Message | None,
        window: int,
        on_pubacks: OnPubacks,
        inbox: Inbox | None = None,
    ) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.receive_maximum = window
        self.maximum_packet_size: int | None = None
        self.certificates: dict[str, datetime] = {}
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self.address = address
        self._login = login
        self._on_pubacks = on_pubacks
        self._abandoned = False
        self._socket: MqttSocket | None = None  # from when it is connected
        self._pubacks: list[tuple[int, int]] = []  # of the piece that is being read
        self._client = MqttClient(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=MQTTv5 if login.protocol == 5 else MQTTv311,
            clean_session=None if login.protocol == 5 else True,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(0)  # the publisher counts: paho would look through all of them each time
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        if login.username is not None:
            self._client.username_pw_set(login.username, login.password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self.ended.add_done_callback(self._let_go)
        self._properties = _publish_properties() if login.protocol == 5 else None
        self._replayed = _publish_properties(replayed=True) if login.protocol == 5 else None
        self._inbox = inbox if login.protocol == 5 else None
        self._first_subscription: int | None = None  # its packet identifier: the one that has the inbox's own topic
        self._echo: Echo | None = None
        self._echo_subscriptions: set[int | None] = set()  # theirs
        self._handed_over = self._heard = self._thrown_away = 0  # messages
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    @classmethod
    async def open(
        cls,
        address: Address,
        login: Login,
        will: Message | None,
        window: int,
        on_pubacks: OnPubacks,
        inbox: Inbox | None = None,
    ) -> Connection:
        """Connect and be let in. Raises BrokerAway, BrokerRefused."""
        connection = cls(address, login, will, window, on_pubacks, inbox)
        threading.Thread(target=connection._connect, name=f"connect {address}", daemon=True).start()
        is_open = False
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await connection._connected
            is_open = True
        except TimeoutError:
            raise BrokerAway(
                f"{address} does not answer: is it the broker's address, does a firewall drop it?"
            ) from None
        finally:
            if not is_open:  # also where nobody waits any more in the step in which it was let in
                connection._abandoned = True
                connection.close()
        return connection

    def flush(self) -> None:
        """Send what was published at once, not with the loop's next step. PUBACKs may be told before this returns."""
        if self._socket is not None:
            self._socket.write()

    def publish(self, message: Message) -> int:
        """Send a message with the loop's next step; answer the packet identifier that its PUBACK will bear."""
        properties = self._replayed if message.replayed else self._properties
        return self._client.publish(
            message.topic, message.payload, qos=1, retain=message.retain, properties=properties
        ).mid

    def watch(self, watch: Watch | None) -> None:
        """Look at other retained messages than so far; the same ones cost nothing."""
        if self._inbox is None or watch == self._inbox.watch:
            return
        before = frozenset() if self._inbox.watch is None else frozenset(self._inbox.watch.filters)
        after = frozenset() if watch is None else frozenset(watch.filters)
        self._inbox = replace(self._inbox, watch=watch)
        if before - after:
            self._client.unsubscribe(sorted(before - after))
        if after - before:
            self._client.subscribe([(topic, _watched()) for topic in sorted(after - before)])

    def listen(self, echo: Echo) -> None:
        """Subscribe to topics of our own. A broker that does not let us read them may say so, or send nothing."""
        self._echo = echo
        if self._login.protocol == 5:
            options = SubscribeOptions(qos=1, retainHandling=2)
            _, subscription = self._client.subscribe([(topic, options) for topic in echo.topics])
        else:
            _, subscription = self._client.subscribe([(topic, 1) for topic in echo.topics])
        self._echo_subscriptions.add(subscription)

    def listen_no_more(self) -> None:
        """Subscribe to them no longer."""
        echo, self._echo = self._echo, None
        if echo is not None:
            self._client.unsubscribe(list(echo.topics))

    def close(self) -> None:
        """Say DISCONNECT: the broker then keeps the will to itself."""
        self._client.disconnect()

    def cut(self) -> None:
        """Hang up without a word: the broker then publishes the will."""
        connected = self._client.socket()
        if isinstance(connected, socket.socket):
            with suppress(OSError):  # it hung up first
                connected.shutdown(socket.SHUT_RDWR)

    def _let_go(self, _ended: asyncio.Future[Ended]) -> None:
        """paho closes the pair of sockets that wakes its thread when its client goes: none may hold it in a circle."""
        self._client.on_connect = self._client.on_disconnect = self._client.on_publish = None
        self._client.on_subscribe = self._client.on_message = None
        self._socket = None

    # ---- the thread that connects --------------------------------------------------------------------------------

    def _connect(self) -> None:
        login = self._login
        try:
            if self.address.tls:
                self._client.tls_set_context(tls_context(login))
                if login.client_cert_file is not None:
                    self._note_certificate_of_client(login.client_cert_file)
            if login.protocol == 5:
                self._client.connect(
                    self.address.host,
                    self.address.port,
                    KEEPALIVE_S,
                    clean_start=True,
                    properties=_connect_properties(),
                )
            else:
                self._client.connect(self.address.host, self.address.port, KEEPALIVE_S)
        except BrokerRefused as error:
            self._tell(fail, self._connected, error)
        except (OSError, UnicodeError) as error:
            self._tell(fail, self._connected, why_away(self.address, error))
        else:
            self._note_certificate_of_broker()
            if self._abandoned:  # we waited long enough, and may be connected elsewhere by now
                self._client.disconnect()
            else:
                self._tell(self._attend)

    def _note_certificate_of_broker(self) -> None:
        connected = self._client.socket()
        if isinstance(connected, ssl.SSLSocket):
            with suppress(OSError, ValueError):  # it is believed: that its date cannot be read hinders nobody
                self.certificates["broker"] = tls.end_of(connected.getpeercert(binary_form=True) or b"")

    def _note_certificate_of_client(self, file: Path) -> None:
        ends = tls.end_of_file(file)
        if ends is not None:
            self.certificates["client"] = ends

    # ---- the loop, and paho's callbacks on it -----------------------------------------------------------------------

    def _attend(self) -> None:
        self._socket = MqttSocket(self._client, self._tell_pubacks, self._hang_up)
        self._socket.attend()

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._tell(fail, self._connected, why_refused(self.address, code.value, code.getName()))
            return
        receive_maximum = getattr(properties, "ReceiveMaximum", None)
        if receive_maximum is not None:
            self.receive_maximum = min(self.receive_maximum, receive_maximum)
        self.maximum_packet_size = getattr(properties, "MaximumPacketSize", None)
        if self._inbox is not None:
            options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2)
            filters = () if self._inbox.watch is None else self._inbox.watch.filters
            _, self._first_subscription = client.subscribe(
                [(self._inbox.topic, options), *((topic, _watched()) for topic in filters)]
            )
        self._tell(settle, self._connected, None)

    def _on_subscribe(
        self, _client: Client, _data: object, mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refusals = [code.getName() if code.is_failure else None for code in codes]  # in the order of the topics
        self._tell(self._subscribed, mid, refusals)

    def _subscribed(self, subscription: int, refusals: list[str | None]) -> None:
        """On the loop: who subscribed there knows the packet identifier by now."""
        if self._inbox is None or subscription in self._echo_subscriptions:
            return
        if subscription == self._first_subscription and refusals:  # a broker may send an answer without any
            self._inbox.refused(refusals.pop(0))
        if self._inbox.watch is not None and refusals:
            self._inbox.watch.refused(next(filter(None, refusals), None))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        echo = self._echo
        if echo is not None and message.topic in echo.topics:
            self._tell(echo.take, bytes(message.payload))
            return
        if self._inbox is not None and message.topic != self._inbox.topic:
            if self._inbox.watch is not None and len(message.payload) <= WATCHED_LIMIT:
                self._tell(self._inbox.watch.take, message.topic, bytes(message.payload))
            return
        if message.retain:
            return
        if self._handed_over - self._heard >= INBOX_LIMIT:
            self._thrown_away += 1
            return
        self._handed_over += 1
        self._tell(self._hear, bytes(message.payload), self._thrown_away)
        self._thrown_away = 0

    def _hear(self, payload: bytes, thrown_away: int) -> None:
        """On the loop."""
        self._heard += 1
        if self._inbox is not None:
            self._inbox.take(payload, thrown_away)

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            ended = Ended(code.value, f"{self.address} hung up: {code.getName()}")
        else:  # paho's own word: it hangs up over a PUBACK whose reason code it cannot read, such as "too large"
            ended = Ended(code.value, f"the connection to {self.address} is lost ({code.getName()})")
        if code.value == SESSION_TAKEN_OVER and flags.is_disconnect_packet_from_server:
            ended = Ended(
                code.value,
                f"{self.address}: another gateway uses the name {self._login.client_id}: is this one's card a copy,"
                " or do two rooms have one name?",
            )
        early = BrokerAway(f"{self.address} hung up before it let us in: {self._why_early()}")
        self._tell(fail, self._connected, early)
        self._tell(settle, self.ended, ended)

    def _why_early(self) -> str:
        ours = self.certificates.get("client")
        if ours is not None and ours < datetime.now(UTC):
            return f"broker.client_cert_file has expired on {ours:%Y-%m-%d}: it has to be renewed"
        return "does it ask for a client certificate (broker.client_cert_file), is it an MQTT port?"

    def _on_publish(
        self, _client: Client, _data: object, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._pubacks.append((mid, code.value))

    def _tell_pubacks(self) -> None:
        """Tell them when paho is through with what it has read, and holds no lock."""
        pubacks, self._pubacks = self._pubacks, []
        if pubacks:
            self._on_pubacks(pubacks)

    def _hang_up(self, nonsense: str) -> None:
        settle(self.ended, Ended(UNSPECIFIED_ERROR, f"{self.address} sends what is no MQTT ({nonsense})"))
        self.cut()
        self.close()  # which finds that the socket is gone

    def _tell(self, then: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(then, *arguments)
        except RuntimeError:
            return  # the loop has ended: what was not marked as delivered goes out again at the next start


def _watched() -> SubscribeOptions:
    """Also what is retained already."""
    return SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=0)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.MaximumPacketSize = PACKET_LIMIT
    return properties


def _publish_properties(*, replayed: bool = False) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.PayloadFormatIndicator = 1
    properties.ContentType = "application/json"
    if replayed:
        properties.UserProperty = ("replayed", "true")
    packed = properties.pack()  # type: ignore[no-untyped-call]
    object.__setattr__(properties, "pack", lambda: packed)  # else paho packs the same ones anew with each message
    return properties
