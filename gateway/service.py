"""The service: the only file that knows all the parts. It starts them, watches them and stops them.

What is alive: one task a device (attendants.py), one for the broker (publisher.py), the outbox's thread, and the
service's own chores. If one of them ends by itself the service stops with an error, and systemd starts it anew:
nothing looks healthy while a part of it is dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from drivers.contract import Notice
from gateway import changes, states, systemd
from gateway.account import Fate
from gateway.attendants import Attendants, House, Roster
from gateway.broker import Inbox
from gateway.certify import Certify
from gateway.chores import Chores
from gateway.claims import Claims
from gateway.clock import Clock
from gateway.config import Loaded
from gateway.control import Control
from gateway.glance import Glance
from gateway.health import Health
from gateway.in_force import InForce, running
from gateway.outbox import Outbox
from gateway.parts import Parts, cancel, ended_by_itself, within
from gateway.payload import Origin
from gateway.prepared import Prepared, prepare
from gateway.publisher import Publisher
from gateway.reading import ClockQuality, Mode
from gateway.reload import Refused, Reloader
from gateway.requests import Requests
from gateway.settings import Device, Settings
from gateway.store import MEGABYTE, DatabaseError, Row
from gateway.traces import Tracer

_log = logging.getLogger(__name__)

# Within the 5 s that stopping may take.
STOP_DEVICES_S, STOP_BROKER_S, STOP_OUTBOX_S = 0.7, 1.8, 1.5
GRACE_S = 1.5  # of STOP_BROKER_S: for rows and farewell, before the broker is left without a word
CLOCK_AT_START_S = 0.5  # for the first word on the clock; readings that come before it are marked unsynced
_SENDER, _METRICS = "publisher", "metrics"


class ServiceFailed(Exception):
    """A part of the service ended by itself; `str()` says which and why."""


class Service:
    """The gateway of one room. `demo`: its readings are marked as a demonstration's.

    `read`: reads the configuration again, for a reload; in a thread. `in_force`: told of it, where it is not the file
    on disk that runs. `on_good` hears, in a thread, what runs: after the start (None: these settings) and each reload.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        control: Path,
        demo: bool = False,
        clock: Clock | None = None,
        read: Callable[[], Loaded] | None = None,
        in_force: InForce | None = None,
        on_good: Callable[[Loaded | None], None] = lambda _: None,
    ) -> None:
        """Open the outbox and put the parts together. Raises OutboxError, ConfigError, CatalogueError."""
        prepared = self._running = prepare(settings)
        settings, zone, route = prepared.settings, ZoneInfo(settings.timezone), prepared.route
        self._clock = clock if clock is not None else Clock()
        self._outbox = Outbox(settings.outbox.path, self._on_kept, self._on_fates, settings.outbox.max_mb * MEGABYTE)
        self._outbox.clock_is_right = lambda: self._clock.quality is not ClockQuality.UNSYNCED
        origin = Origin(
            settings.site, settings.room, version("vitals-gateway"), self._outbox.stream, settings.publish_raw
        )
        self._origin = origin
        self._health = Health(origin, in_force or running(settings), self._clock, self._outbox, settings.left_out)
        self._claims = Claims(origin, settings.devices, self._health.device_changed)
        self._publisher = Publisher(
            route.addresses,
            route.login,
            self._health.farewell("connection_lost"),
            self._outbox,
            self._health.gateway_changed,
            Inbox(
                states.replay_request_topic(origin),
                lambda payload, thrown_away: self._requests.take(payload, thrown_away),
                lambda refused: self._requests.listening(refused),
                self._claims.watch,
            ),
        )
        self._requests = Requests(
            origin, self._outbox, self._publisher, self._clock, zone, can_mark=settings.broker.protocol == 5
        )
        self._tracer = Tracer(self._outbox, settings.devices, settings.models_dir, zone)
        self._chores = Chores(
            self._clock,
            self._outbox,
            self._publisher,
            self._health,
            origin,
            settings.outbox.keep_days,
            _status_line(settings),
        )
        self._parts = Parts()
        self._attendants = Attendants(
            self._parts, self._outbox, self._clock, self._health.device_changed, self._on_event, demo=demo
        )
        self._certify = Certify(origin, settings, self._clock, self._outbox, self._publisher, self._attendants.by_id)
        self._roster = self._attendants.prepare(settings.devices, House(origin, prepared.ranges, zone))
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reloader = Reloader(prepared, read, on_good, self._apply, self._refused, self._chores.say_ready)
        self._control = Control(
            control,
            {
                "status": Glance(self._health, self._outbox).answer,
                "trace": lambda question: self._tracer.answer(question),
                "resend": self._requests.resend,
                "reload": self._reloader.answer,
            },
            {"pair": self._attendants.pair, "certify": self._certify.converse},
        )

    def reload(self) -> None:
        """Have the configuration read again, soon; what came of it stands in the log and in the state."""
        self._reloader.ask()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises ServiceFailed."""
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        refreshed = asyncio.create_task(self._chores.refresh_clock())
        await self._attendants.remember(self._roster)
        self._attendants.adopt(self._roster)
        self._certify.remember(self._roster.strangers)
        self._health.attach(
            self._publisher, self._attendants.standings, self._attendants.gone, self._requests, self._claims
        )
        with suppress(DatabaseError):
            await self._clear_what_is_gone()
        await self._control.start()
        await asyncio.wait([refreshed], timeout=CLOCK_AT_START_S)
        self._attendants.start(self._roster)
        self._parts.start(_SENDER, self._publisher.run())
        self._parts.start("clock", self._chores.watch_clock())
        self._parts.start("health", self._health.run())
        self._parts.start("purge", self._chores.purge())
        self._parts.start("watchdog", self._chores.feed_watchdog())
        self._start_metrics()
        self._parts.start("reload", self._reloader.run())
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            watched: set[asyncio.Future[Any]] = {stopping, self._parts.failed, self._outbox.ended, self._broken}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            failed = self._what_failed()
        finally:
            systemd.notify("STOPPING=1")
            await self._control.stop()
            await within(
                STOP_DEVICES_S, self._stop_all_but_sender([stopping, refreshed]), "a part did not stop in time"
            )
            self._health.stop()
            farewell = self._health.farewell("stopped", self._clock.now().utc)
            self._parts.let_end(_SENDER)
            await within(STOP_BROKER_S, self._publisher.stop(farewell, GRACE_S), "the broker did not let go")
            await within(STOP_DEVICES_S, self._parts.stop(_SENDER), "the publisher did not stop in time")
            closing = asyncio.gather(self._outbox.close(), self._certify.saved())
            kept = await within(STOP_OUTBOX_S, closing, "the disk did not answer in time")
        if failed is None and not kept:
            failed = "the disk did not answer: readings that it did not take are lost; check the disk"
        if failed is None and self._outbox.lost:
            failed = f"{self._outbox.lost} readings are lost: the disk did not take them; check the disk"
        if failed is not None:
            raise ServiceFailed(failed)

    async def _stop_all_but_sender(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        await cancel(tasks)
        await self._parts.stop(*(name for name in self._parts.names if name != _SENDER))

    def _on_kept(self, rows: list[Row]) -> None:
        self._publisher.offer(rows)

    def _on_event(self, device: Device, notice: Notice, mode: Mode) -> None:
        self._health.event(device, notice, mode)
        self._certify.told(device, notice)

    def _on_fates(self, fates: Sequence[Fate]) -> None:
        self._attendants.became(fates)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback that failed is a part that failed: it has no task that could tell."""
        loop.default_exception_handler(context)
        error = context.get("exception")
        if "handle" in context and error is not None and not self._broken.done():
            self._broken.set_exception(error)

    def _what_failed(self) -> str | None:
        """Answer which part ended by itself, or None."""
        if self._parts.failed.done():
            return self._parts.failed.result()
        for name, part in {"outbox": self._outbox.ended, "loop": self._broken}.items():
            if part.done():
                error = part.exception()
                _log.error("%s ended", name, exc_info=error)
                return ended_by_itself(name, error)
        return None

    # ---- reloading -----------------------------------------------------------------------------------------------

    async def _apply(self, prepared: Prepared) -> list[str]:
        """Let this configuration take the place of the one that runs; answer what changed. Raises Refused."""
        before, settings = self._running, prepared.settings
        if problems := changes.impossible(before.settings, settings):
            raise Refused(problems)
        self._origin = replace(self._origin, publish_raw=settings.publish_raw)
        zone = ZoneInfo(settings.timezone)
        roster = self._attendants.prepare(settings.devices, House(self._origin, prepared.ranges, zone))
        if (busy := self._attendants.busy_with(roster)) is not None:
            raise Refused([f"device {busy} now: reload when that is done"])
        # From here on nothing is refused.
        self._attendants.let_go(roster)
        self._running = prepared
        self._chores.origin, self._chores.keep_days = self._origin, settings.outbox.keep_days
        self._chores.status_line = _status_line(settings)
        self._requests.change(zone, can_mark=settings.broker.protocol == 5)
        self._certify.change(settings)
        self._tracer = Tracer(self._outbox, settings.devices, settings.models_dir, zone)
        if settings.outbox.max_mb != before.settings.outbox.max_mb:
            self._outbox.bound(settings.outbox.max_mb * MEGABYTE)
        await self._attendants.remember(roster)
        await self._attendants.retire(roster)
        self._exchange(roster)
        self._health.in_force = running(settings)
        self._publisher.tell_will(self._health.farewell("connection_lost"))
        if prepared.route != before.route:
            self._publisher.reroute(prepared.route.addresses, prepared.route.login)
        if settings.metrics != before.settings.metrics:
            await self._parts.stop(_METRICS)
            self._start_metrics()
        return changes.told(before, prepared, roster.added, roster.removed)

    def _exchange(self, roster: Roster) -> None:
        """In one step of the loop: the new attendants are in their places, told of, and run."""
        topics_before, claims_before = set(self._health.topics), self._claims.states
        self._attendants.adopt(roster)
        self._certify.remember(roster.strangers)
        self._health.leave_out(self._running.settings.left_out)
        self._claims.change(roster.devices.values())
        for device in roster.new:
            self._health.device_replaced(device)
        for topic, payload in self._claims.states.items():
            if claims_before.get(topic) != payload:
                self._publisher.publish_state(topic, payload)
        self._publisher.change_watch(self._claims.watch)
        topics = self._health.topics
        self._clear(topics_before)  # now, whatever the disk does
        self._outbox.fetch(lambda store: store.replace_retained(topics), self._clear)
        self._attendants.start(roster)

    def _refused(self, problems: tuple[str, ...]) -> None:
        self._health.in_force = self._health.in_force.refusing(problems)

    def _start_metrics(self) -> None:
        """Serve metrics, where a site asked: prometheus-client costs memory, which others should not pay."""
        settings = self._running.settings.metrics
        if settings is not None:
            from gateway.metrics import Metrics

            self._parts.start(_METRICS, Metrics(settings, self._health).run())

    # ---- retained states of what is gone -------------------------------------------------------------------------

    async def _clear_what_is_gone(self) -> None:
        """A retained state of a device that the YAML names no more would stand at the broker for ever."""
        topics = self._health.topics
        self._clear(await self._outbox.ask(lambda store: store.replace_retained(topics)))

    def _clear(self, topics: Iterable[str]) -> None:
        for topic in set(topics).difference(self._health.topics):  # who was gone may be here again
            self._publisher.clear_state(topic, self._forget_retained)

    def _forget_retained(self, topic: str) -> None:
        self._outbox.fetch(lambda store: store.forget_retained(topic), lambda _: None)


def _status_line(settings: Settings) -> str:
    return f"{len(settings.devices)} devices, outbox {settings.outbox.path}"
