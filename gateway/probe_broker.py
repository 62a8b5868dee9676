"""A look at a broker from beside the service: whether it lets this room's login in, and who else has the room's name.

Laws:

1. Another client id than the service's, whose session would end otherwise; and no will.
2. Nothing is published, not even harmless things: what a broker would take only what was sent can tell
   (docs/decisions/0023). Rights to read are tried for real.
3. One word for each trouble: the one that the service uses, too (mqtt.py).

With MQTT 3.1.1 nothing is looked at behind the login.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from gateway import states
from gateway.broker import Address, BrokerAway, BrokerRefused, Inbox, Login, Watch
from gateway.claims import Claims
from gateway.config import ConfigError, read_password
from gateway.mqtt import Connection
from gateway.payload import Origin
from gateway.settings import Settings

_TIME = re.compile(r"[0-9TZ:.-]{10,24}")

SUBSCRIBED_S = 5.0  # for the broker's word on what we may read
RETAINED_S = 1.0  # after that: what it retains comes at once, and nothing says that it is all
CONNECTIONS_S = 5.0  # for the end of one


@dataclass(slots=True)
class Look:
    """What a look at one broker found. `trouble`: why there is none, in words; `refused`: whether it is IT's.

    `gateway`: the retained state under our name, None where there is none or it may not be read (`not_readable`).
    `claimed_by`: other rooms, by the device of ours that they claim.
    """

    address: str
    trouble: str | None = None
    refused: bool = False
    certificates: dict[str, Any] = field(default_factory=dict)
    gateway: dict[str, Any] | None = None
    not_readable: dict[str, str] = field(default_factory=dict)
    claimed_by: dict[str, tuple[str, ...]] = field(default_factory=dict)


def addresses(settings: Settings) -> list[Address]:
    """Answer the brokers of the configuration, in order."""
    return [Address(url.host, url.port, url.tls) for url in settings.broker.urls]


async def look(settings: Settings, address: Address) -> Look:
    """Log in at one broker and look round. It raises nothing for what the broker or the network does."""
    seen = Look(str(address))
    try:
        login = _login(settings)
        origin = Origin(settings.site, settings.room, version("vitals-gateway"), None)
        await _look_at_name(address, login, origin, seen)
        claims = Claims(origin, settings.devices, lambda _device: None)
        if claims.watch is not None and login.protocol == 5:
            await _look_at_claims(address, login, claims.watch, states.replay_request_topic(origin), seen)
            others = {device.id: claims.others(device.id) for device in settings.devices}
            seen.claimed_by = {device: rooms for device, rooms in others.items() if rooms}
    except (BrokerAway, BrokerRefused, ConfigError) as error:
        seen.trouble, seen.refused = str(error), not isinstance(error, BrokerAway)
    return seen


def is_ours(retained: Mapping[str, Any], status: Mapping[str, Any] | None) -> bool:
    """Whether a retained state of our name is this machine's service's, by the outbox that both name.

    Without a service that runs here (`status` None), one that is online is somebody else's.
    """
    if retained.get("state") != "online":
        return True
    return status is not None and retained.get("stream") == status["gateway"]["stream"]


def since(retained: Mapping[str, Any]) -> str:
    """Answer since when a gateway runs, by its retained state, which others can write: nothing else of it is shown."""
    started = retained.get("started_at")
    known = isinstance(started, str) and _TIME.fullmatch(started)
    return f"since {started}" if known else "since an unknown time"


def _login(settings: Settings) -> Login:
    broker = settings.broker
    return Login(
        f"{settings.site}.{settings.room}.look",  # no room has a dot in its name: this id is nobody's
        5 if broker.protocol == 5 else 4,
        broker.username,
        read_password(broker),
        broker.ca_file,
        broker.client_cert_file,
        broker.client_key_file,
    )


async def _look_at_name(address: Address, login: Login, origin: Origin, seen: Look) -> None:
    topic, asks = states.gateway_topic(origin), states.replay_request_topic(origin)
    heard, retained = _Words(), asyncio.Event()

    def take(_topic: str, payload: bytes) -> None:
        seen.gateway = _members(payload)
        retained.set()

    inbox = Inbox(asks, _leave, heard.of(asks), Watch((topic,), take, heard.of(topic)))
    await _with(address, login, inbox, heard, retained, seen)


async def _look_at_claims(address: Address, login: Login, watch: Watch, asks: str, seen: Look) -> None:
    heard = _Words()
    site_claims = f"{watch.filters[0].rsplit('/', 2)[0]}/#"
    inbox = Inbox(asks, _leave, heard.of(asks), Watch(watch.filters, watch.take, heard.of(site_claims)))
    await _with(address, login, inbox, heard, asyncio.Event(), seen)


def _leave(_payload: bytes, _thrown_away: int) -> None:
    """What is asked of the service is not ours to answer."""


async def _with(address: Address, login: Login, inbox: Inbox, heard: _Words, enough: asyncio.Event, seen: Look) -> None:
    """Connect, and wait until the broker has said whether we may read, and what it retains."""
    connection = await Connection.open(address, login, None, 1, lambda _: None, inbox)
    try:
        seen.certificates |= connection.certificates
        if login.protocol == 5:
            await _passed(heard.complete, SUBSCRIBED_S)
            seen.not_readable |= heard.refusals
            if len(heard.refusals) < 2:
                await _passed(enough, RETAINED_S)
    finally:
        connection.close()
        await asyncio.wait([connection.ended], timeout=CONNECTIONS_S)


async def _passed(event: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return


class _Words:
    """What the broker says to two subscriptions: `complete` once it has spoken of both."""

    def __init__(self) -> None:
        self.complete = asyncio.Event()
        self.refusals: dict[str, str] = {}
        self._said: set[str] = set()

    def of(self, topic: str) -> Callable[[str | None], None]:
        """Answer who hears of this topic."""

        def hear(refused: str | None) -> None:
            self._said.add(topic)
            if refused is not None:
                self.refusals[topic] = refused
            if len(self._said) == 2:
                self.complete.set()

        return hear


def _members(payload: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
