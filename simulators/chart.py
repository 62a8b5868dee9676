"""A stand-in for the chart system: it takes what the gateway publishes and keeps book, as a consumer should.

1. It files nothing by itself: there is an inbox, which staff would empty.
2. Of each id it keeps the highest revision; a delivery that comes twice changes nothing, and is counted.
3. All state is touched on the event loop alone. paho's thread only hands over.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

Payload = Mapping[str, Any]

_KEEP_SESSION_S = 86_400
_CONNECT_S = 15.0
_TOPIC_ROOM_LEVELS = 4  # vitals/v1/{site}/{room}
_DISPLAY_UNITS = {"mm[Hg]": "mmHg", "Cel": "°C", "/min": "/min", "[lb_av]": "lb", "[degF]": "°F", "[in_i]": "in"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came. `payload` is None where it was no JSON object; `body` is patient data."""

    topic: str
    body: bytes = field(repr=False)
    payload: Payload | None = field(repr=False)
    retained: bool
    replayed: bool


class Chart:
    """Subscribes by a persistent session (`client_id`); `topic_filter` as vitals/v1/#; `protocol` 5 or 4 (3.1.1).

    `deliveries` are readings in order of arrival, `readings` the highest revision by id, `duplicates` each
    (id, revision) that came again, `gaps` the sequences missing by stream, `disordered` those that came after a later
    one. States and events are kept apart, and so is what could not be read.
    """

    def __init__(
        self,
        host: str,
        port: int,
        topic_filter: str,
        *,
        client_id: str = "chart-stand-in",
        protocol: int = 5,
        keep_session_s: int = _KEEP_SESSION_S,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self.readings: dict[str, Payload] = {}
        self.duplicates: list[tuple[str, int]] = []
        self.disordered: list[tuple[str, int]] = []
        self.events: list[Delivery] = []
        self.states: list[Delivery] = []
        self.unreadable: list[Delivery] = []
        self._sequences: dict[str, set[int]] = defaultdict(set)
        self._seen: set[tuple[str, int]] = set()
        self._address = (host, port)
        self._filter = topic_filter
        self._changed = asyncio.Event()
        self._subscribed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client_id = client_id
        self._protocol = protocol
        self._keep_session_s = keep_session_s
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect and wait for the broker's SUBACK; TimeoutError if it does not come. The broker keeps the session."""
        if self._client is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._subscribed = False
        self._client = self._new_client()
        if self._protocol == 5:
            session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            session.SessionExpiryInterval = self._keep_session_s
            self._client.connect_async(*self._address, clean_start=False, properties=session)
        else:
            self._client.connect_async(*self._address)
        self._client.loop_start()
        try:
            await self._until(lambda: self._subscribed, _CONNECT_S)
        except TimeoutError:
            await self.stop()
            host, port = self._address
            raise TimeoutError(
                f"the chart's stand-in could not subscribe at {host}:{port}: is the broker up?"
            ) from None

    async def stop(self) -> None:
        """Disconnect; the broker goes on keeping what comes for us. `start` may follow."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
        self._subscribed = False

    @property
    def inbox(self) -> list[Payload]:
        """What waits for staff: everything, since nothing is filed unattended."""
        return list(self.readings.values())

    @property
    def gaps(self) -> dict[str, tuple[int, ...]]:
        """By stream: the sequences between the first and the last seen that never came."""
        missing = {
            stream: tuple(sorted(set(range(min(seen), max(seen))) - seen)) for stream, seen in self._sequences.items()
        }
        return {stream: numbers for stream, numbers in missing.items() if numbers}

    async def wait_for(self, predicate: Callable[[Chart], bool], timeout: float) -> None:  # noqa: ASYNC109
        """Wait until `predicate(self)` holds; TimeoutError tells what had come by then."""
        try:
            await self._until(lambda: predicate(self), timeout)
        except TimeoutError:
            raise TimeoutError(
                f"not within {timeout:g} s; came: {len(self.deliveries)} readings, {len(self.events)} events,"
                f" {len(self.states)} states, {len(self.unreadable)} unreadable"
            ) from None

    def take(self, delivery: Delivery) -> None:
        """Enter one delivery in the books. On the event loop."""
        kind = _kind(delivery.topic)
        if delivery.payload is None and delivery.body:
            self.unreadable.append(delivery)
        elif kind == "state":
            self.states.append(delivery)
        elif kind == "event":
            self.events.append(delivery)
        elif kind == "reading" and delivery.payload is not None and _is_reading(delivery.payload):
            self._enter(delivery, delivery.payload)
        else:
            self.unreadable.append(delivery)
        self._changed.set()

    def _enter(self, delivery: Delivery, payload: Payload) -> None:
        self.deliveries.append(delivery)
        ident, revision = payload["id"], payload["revision"]
        stream, sequence = payload["stream"], payload["sequence"]
        if (ident, revision) in self._seen:
            self.duplicates.append((ident, revision))
            return
        self._seen.add((ident, revision))
        if self._sequences[stream] and sequence < max(self._sequences[stream]):
            self.disordered.append((stream, sequence))
        self._sequences[stream].add(sequence)
        kept = self.readings.get(ident)
        if kept is None or kept["revision"] < revision:
            self.readings[ident] = payload

    async def _until(self, holds: Callable[[], bool], limit_s: float) -> None:
        async with asyncio.timeout(limit_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _new_client(self) -> Client:
        # A new one for each start: paho leaves two sockets open when a loop is started again.
        client = (
            Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=MQTTv5)
            if self._protocol == 5
            else Client(CallbackAPIVersion.VERSION2, self._client_id, clean_session=False, protocol=MQTTv311)
        )
        client.reconnect_delay_set(min_delay=1, max_delay=2)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    # What follows runs in paho's thread.

    def _hand_over(self, work: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not reason.is_failure:
            # retainAsPublished: a live state, too, shows whether it was retained.
            if self._protocol == 5:
                client.subscribe(self._filter, options=SubscribeOptions(qos=1, retainAsPublished=True))
            else:
                client.subscribe(self._filter, qos=1)

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, _reason: ReasonCode, _properties: object
    ) -> None:
        self._hand_over(lambda: self._set_subscribed(False))

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if not any(reason.is_failure for reason in reasons):
            self._hand_over(lambda: self._set_subscribed(True))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        user_properties = getattr(message.properties, "UserProperty", [])
        body = bytes(message.payload)
        delivery = Delivery(
            topic=message.topic,
            body=body,
            payload=_object(body),
            retained=bool(message.retain),
            replayed=any(name == "replayed" for name, _ in user_properties),
        )
        self._hand_over(lambda: self.take(delivery))

    def _set_subscribed(self, subscribed: bool) -> None:
        self._subscribed = subscribed
        self._changed.set()


def line(payload: Payload) -> str:
    """One line that a person likes to read: when, where, from what, the vitals, and why not to trust them."""
    device = payload.get("device") or {}
    taken = str(payload.get("taken_at") or "")
    when = f"{taken[11:19]}Z" if taken else "at an unknown time"
    parts = [when, str(payload.get("room")), f"{device.get('id')} ({device.get('model')})", _vitals(payload)]
    marks = []
    if payload.get("mode") != "real":
        marks.append(str(payload.get("mode")))
    if payload.get("revision", 1) > 1:
        marks.append(f"revision {payload['revision']}, {payload.get('state')}")
    told = [*(payload.get("reasons") or ())]
    for vital in payload.get("vitals") or ():
        told += vital.get("reasons") or ()
    reasons = ", ".join(dict.fromkeys(str(reason) for reason in told)) or "no reason given"
    if payload.get("disposition") != "usable":
        marks.append(f"HELD: {reasons}")
    elif payload.get("status") != "valid":
        marks.append(f"{payload.get('status')}: {reasons}")
    flags = [str(flag) for flag in payload.get("flags") or ()]
    if flags:
        marks.append(" ".join(flags))
    text = "  ".join(parts + [f"[{mark}]" for mark in marks])
    # Text of devices is not to be trusted with a terminal.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _vitals(payload: Payload) -> str:
    words = []
    for vital in payload.get("vitals") or ():
        unit = _DISPLAY_UNITS.get(vital.get("unit"), vital.get("unit"))
        value = vital.get("value")
        shown = f"none ({vital.get('absent')})" if value is None else f"{value} {unit}"
        doubt = "" if vital.get("status") == "valid" else " (?)"
        words.append(f"{str(vital.get('kind')).replace('_', ' ')} {shown}{doubt}")
    return ", ".join(words) or "no vitals"


def _kind(topic: str) -> str:
    match topic.split("/")[_TOPIC_ROOM_LEVELS:]:
        case ["reading" | "quarantine"] | ["test", "reading" | "quarantine"]:
            return "reading"
        case ["event"]:
            return "event"
        case ["gateway"] | ["device", _]:
            return "state"
        case _:
            return "unknown"


def _object(body: bytes) -> Payload | None:
    try:
        value = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_reading(payload: Payload) -> bool:
    texts, numbers = ("id", "stream"), ("revision", "sequence")
    return all(isinstance(payload.get(name), str) for name in texts) and all(
        type(payload.get(name)) is int for name in numbers
    )
