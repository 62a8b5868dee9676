"""The service: the only file that knows all the parts. It starts them, watches them and stops them.

What is alive: one task a device (supervisor.py), one for the broker (publisher.py), the outbox's thread, and the
service's own chores. If one of them ends by itself the service stops with an error, and systemd starts it anew:
nothing looks healthy while a part of it is dead.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from drivers import registry
from gateway import states, systemd
from gateway.account import Fate
from gateway.catalogue import load_ranges
from gateway.claims import Claims
from gateway.clock import MOVED_S, Clock
from gateway.config import read_password, with_consent
from gateway.control import Control, Converse, Dialog
from gateway.corrections import correct_times
from gateway.health import Health
from gateway.intake import Intake
from gateway.mqtt import Address, Inbox, Login
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.publisher import Publisher
from gateway.reading import ClockQuality
from gateway.requests import Requests
from gateway.settings import Device, Settings
from gateway.settings import Metrics as MetricsSettings
from gateway.store import MEGABYTE, DatabaseError, Row, Store
from gateway.supervisor import Supervisor
from gateway.traces import Tracer

if TYPE_CHECKING:
    from drivers.links.radio import Radio
    from gateway.advert_supervisor import AdvertSupervisor
    from gateway.ble_supervisor import BleSupervisor
    from gateway.metrics import Metrics

_log = logging.getLogger(__name__)

CLOCK_S = 30.0
CLOCK_MOVED_S = 2.0  # how often we look whether somebody moved the clock: then it is asked at once
PURGE_S = 3600.0
DAY_S = 86400.0
PARKED_DAYS = 30  # at least: for somebody to see what the broker will never take. It is patient data, and goes then
REMEMBERED = 8  # how many of a device's last readings are looked at for repeats after a start

# Within the 5 s that stopping may take.
STOP_DEVICES_S, STOP_BROKER_S, STOP_OUTBOX_S = 0.7, 1.8, 1.5
GRACE_S = 1.5  # of STOP_BROKER_S: for rows and farewell, before the broker is left without a word
CLOCK_AT_START_S = 0.5  # for the first word on the clock; readings that come before it are marked unsynced
READY_TRIES = 100


class ServiceFailed(Exception):
    """A part of the service ended by itself; `str()` says which and why."""


class Service:
    """The gateway of one room. `demo`: its readings are marked as a demonstration's."""

    def __init__(self, settings: Settings, *, control: Path, demo: bool = False, clock: Clock | None = None) -> None:
        """Open the outbox and put the parts together. Raises OutboxError, ConfigError, CatalogueError."""
        password = read_password(settings.broker)
        settings = replace(settings, devices=tuple(with_consent(device) for device in settings.devices))
        ranges = load_ranges(settings.ranges)
        self._settings = settings
        self._clock = clock if clock is not None else Clock()
        self._outbox = Outbox(settings.outbox.path, self._on_kept, self._on_fates, settings.outbox.max_mb * MEGABYTE)
        origin = Origin(
            settings.site, settings.room, version("vitals-gateway"), self._outbox.stream, settings.publish_raw
        )
        self._origin = origin
        self._correcting = False
        self._told_quality = ClockQuality.UNSYNCED
        self._outbox.clock_is_right = lambda: self._clock.quality is not ClockQuality.UNSYNCED
        self._health = Health(origin, settings.config_hash, self._clock, self._outbox)
        broker = settings.broker
        self._claims = Claims(origin, settings.devices, self._health.device_changed)
        self._publisher = Publisher(
            [Address(url.host, url.port, url.tls) for url in broker.urls],
            Login(
                f"{settings.site}.{settings.room}",  # no dot can stand in either: no two rooms share a client id
                5 if broker.protocol == 5 else 4,
                broker.username,
                password,
                broker.ca_file,
                broker.client_cert_file,
                broker.client_key_file,
            ),
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
        zone = ZoneInfo(settings.timezone)
        self._requests = Requests(
            origin, self._outbox, self._publisher, self._clock, zone, can_mark=broker.protocol == 5
        )
        tracer = Tracer(self._outbox, settings.devices, settings.models_dir, zone)
        self._intakes = {device.id: Intake(device, origin, ranges, self._clock, zone) for device in settings.devices}
        self._demo = demo
        self._radio = _radio(settings.devices, self._radio_changed)
        self._supervisors = {device.id: self._attendant(device, zone) for device in settings.devices}
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._control = Control(
            control,
            {
                "status": lambda _question: self._health.status(),
                "trace": tracer.answer,
                "resend": self._requests.resend,
            },
            {"pair": self._pairing()},
        )
        self._metrics = None if settings.metrics is None else _metrics(settings.metrics, self._health)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises ServiceFailed."""
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        refreshed = asyncio.create_task(self._refresh_clock())
        with suppress(DatabaseError):  # the outbox shows its own trouble; reading does not wait for it
            await self._remember()
        standings = {id_: s.standing for id_, s in self._supervisors.items()}
        self._health.attach(self._publisher, standings, self._requests, self._claims)
        with suppress(DatabaseError):
            await self._clear_what_is_gone()
        await self._control.start()
        await asyncio.wait([refreshed], timeout=CLOCK_AT_START_S)
        devices = [asyncio.create_task(s.run(), name=f"device {id_}") for id_, s in self._supervisors.items()]
        if self._radio is not None:
            from gateway.ble_supervisor import attend_radio

            devices.append(asyncio.create_task(attend_radio(self._radio), name="radio"))
        sender = asyncio.create_task(self._publisher.run(), name="publisher")
        chores = [
            asyncio.create_task(self._watch_clock(), name="clock"),
            asyncio.create_task(self._health.run(), name="health"),
            asyncio.create_task(self._purge(), name="purge"),
            asyncio.create_task(self._feed_watchdog(), name="watchdog"),
        ]
        if self._metrics is not None:
            chores.append(asyncio.create_task(self._metrics.run(), name="metrics"))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            watched: set[asyncio.Future[Any]] = {stopping, sender, self._outbox.ended, self._broken, *devices, *chores}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            failed = _what_failed([sender, *devices, *chores], {"outbox": self._outbox.ended, "loop": self._broken})
        finally:
            systemd.notify("STOPPING=1")
            await self._control.stop()
            await _within(
                STOP_DEVICES_S, _cancel([stopping, refreshed, *chores, *devices]), "a part did not stop in time"
            )
            self._health.stop()
            farewell = self._health.farewell("stopped", self._clock.now().utc)
            await _within(STOP_BROKER_S, self._publisher.stop(farewell, GRACE_S), "the broker did not let go")
            await _within(STOP_DEVICES_S, _cancel([sender]), "the publisher did not stop in time")
            kept = await _within(STOP_OUTBOX_S, self._outbox.close(), "the disk did not answer in time")
        if failed is None and not kept:
            failed = "the disk did not answer: readings that it did not take are lost; check the disk"
        if failed is None and self._outbox.lost:
            failed = f"{self._outbox.lost} readings are lost: the disk did not take them; check the disk"
        if failed is not None:
            raise ServiceFailed(failed)

    def _attendant(self, device: Device, zone: ZoneInfo) -> Supervisor | BleSupervisor | AdvertSupervisor:
        intake, outbox, clock = self._intakes[device.id], self._outbox, self._clock
        on_change, on_event = self._health.device_changed, self._health.event
        if device.address is None or self._radio is None:
            return Supervisor(
                device,
                device.port or "",
                intake,
                outbox,
                clock,
                demo=self._demo,
                on_change=on_change,
                on_event=on_event,
            )
        if registry.is_only_heard(device.model.driver):
            from gateway.advert_supervisor import AdvertSupervisor

            return AdvertSupervisor(
                device,
                device.address,
                intake,
                outbox,
                clock,
                self._radio,
                demo=self._demo,
                on_change=on_change,
                on_event=on_event,
            )
        from gateway.ble_supervisor import BleSupervisor

        return BleSupervisor(
            device,
            device.address,
            intake,
            outbox,
            clock,
            self._radio,
            zone=zone,
            demo=self._demo,
            on_change=on_change,
            on_event=on_event,
        )

    def _pairing(self) -> Converse:
        """Answer what goes through a pairing, where there is a radio."""
        if self._radio is None:
            return _no_radio
        from gateway.advert_supervisor import AdvertSupervisor
        from gateway.ble_supervisor import BleSupervisor
        from gateway.pairing import Pairing

        attendants = self._supervisors.values()
        by_address = {s.address: s for s in attendants if isinstance(s, BleSupervisor)}
        only_heard = {s.address for s in attendants if isinstance(s, AdvertSupervisor)}
        return Pairing(self._radio, by_address, only_heard).converse

    def _radio_changed(self) -> None:
        for supervisor in self._supervisors.values():
            if not isinstance(supervisor, Supervisor):
                supervisor.radio_changed()

    def _on_kept(self, rows: list[Row]) -> None:
        self._publisher.offer(rows)

    def _on_fates(self, fates: Sequence[Fate]) -> None:
        for fate in fates:
            self._supervisors[fate.device].standing.became(fate)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback that failed is a part that failed: it has no task that could tell."""
        loop.default_exception_handler(context)
        error = context.get("exception")
        if "handle" in context and error is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _remember(self) -> None:
        for device, intake in self._intakes.items():
            for kept in await self._outbox.ask(_last_payloads(device)):
                try:
                    self._supervisors[device].standing.last_reading(intake.remember(kept))
                except (ValueError, KeyError, TypeError, ArithmeticError):
                    _log.warning("%s: a kept reading cannot be read again: repeats of it will not be found", device)

    async def _clear_what_is_gone(self) -> None:
        """A retained state of a device that the YAML names no more would stand at the broker for ever."""
        topics = self._health.topics
        for topic in await self._outbox.ask(lambda store: store.replace_retained(topics)):
            self._publisher.clear_state(topic, self._forget_retained)

    def _forget_retained(self, topic: str) -> None:
        self._outbox.fetch(lambda store: store.forget_retained(topic), lambda _: None)

    # ---- chores --------------------------------------------------------------------------------------------------

    async def _watch_clock(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + CLOCK_S
        while True:
            await asyncio.sleep(CLOCK_MOVED_S)
            moved_by_s = self._clock.moved_by_s
            if abs(moved_by_s) > MOVED_S:
                _log.warning("the clock was moved by %+.1f s", moved_by_s)
            elif loop.time() < due:
                continue
            await self._refresh_clock()
            due = loop.time() + CLOCK_S

    async def _refresh_clock(self) -> None:
        before = self._told_quality
        await asyncio.to_thread(self._clock.refresh)
        self._told_quality = self._clock.quality
        if self._told_quality is not before:
            _log.info("the clock is %s", self._told_quality)
            self._health.gateway_changed()
        if self._told_quality is ClockQuality.SYNCED:
            if before is not ClockQuality.SYNCED:
                self._outbox.fetch(lambda store: store.give_up_times(self._clock.boot), _tell_given_up)
            if not self._correcting:  # while the disk cannot be read, the last one is still tried
                self._correct_times()

    def _correct_times(self) -> None:
        self._correcting = True
        self._outbox.fetch(lambda store: correct_times(store, self._clock, self._origin), self._on_corrected)

    def _on_corrected(self, corrected: tuple[list[Row], bool]) -> None:
        rows, all_done = corrected
        self._correcting = False
        self._outbox.revised(rows)
        if rows:
            _log.info("the clock is right now: the time of %d readings is corrected", len(rows))
            self._publisher.offer(rows)
        if not all_done:
            self._correct_times()

    async def _purge(self) -> None:
        """Delete what was delivered keep_days ago, or parked long ago; never by a clock that may be wrong by years."""
        while True:
            await asyncio.sleep(PURGE_S)
            now = self._clock.now().utc.timestamp()
            if self._clock.quality is ClockQuality.UNSYNCED:  # asked after: nobody moved it before
                continue
            days = self._settings.outbox.keep_days
            purge = partial(
                Store.purge,
                delivered_before=now - days * DAY_S,
                parked_before=now - max(days, PARKED_DAYS) * DAY_S,
            )
            with suppress(DatabaseError):  # the outbox shows its own trouble
                gone = await self._outbox.ask(purge)
                while gone:  # in portions: readings that come meanwhile are kept between them
                    gone = await self._outbox.ask(purge)

    async def _feed_watchdog(self) -> None:
        """Say that the loop turns. What the broker, the disk or a device does is no reason to be restarted."""
        status = f"STATUS={len(self._supervisors)} devices, outbox {self._settings.outbox.path}"
        ready, tries = False, 0
        while True:
            if not ready:  # systemd's queue may be full while forty services start
                ready = "NOTIFY_SOCKET" not in os.environ or systemd.notify("READY=1", status) or tries > READY_TRIES
                tries += 1
            else:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep((systemd.watchdog_interval() or DAY_S) if ready else 0.1)


def _radio(devices: Iterable[Device], on_change: Callable[[], None]) -> Radio | None:
    """Answer the radio, where a device needs one: bleak costs 20 MB and 0.1 s, which serial devices should not pay."""
    addresses = {device.address for device in devices if device.address is not None}
    if not addresses:
        return None
    from drivers.links.radio import Radio

    return Radio(addresses, on_change)


async def _no_radio(_question: dict[str, Any], dialog: Dialog) -> None:
    await dialog.tell(error="the configuration has no Bluetooth device: add it, restart the service, and pair then")


def _metrics(settings: MetricsSettings, health: Health) -> Metrics:
    """Answer the metrics: prometheus-client costs memory, which a site that has not asked should not pay."""
    from gateway.metrics import Metrics

    return Metrics(settings, health)


def _tell_given_up(count: int) -> None:
    if count:
        _log.warning("%d readings of an earlier start of this machine stay unsynced: nobody knows their time", count)


def _last_payloads(device: str) -> Callable[[Store], list[bytes]]:
    return lambda store: store.last_payloads(device, REMEMBERED)


def _what_failed(tasks: Iterable[asyncio.Task[None]], others: Mapping[str, asyncio.Future[None]]) -> str | None:
    """Answer which part ended by itself, or None."""
    parts = {**{task.get_name(): task for task in tasks}, **others}
    for name, part in parts.items():
        if part.done():
            error = part.exception()
            _log.error("%s ended", name, exc_info=error)
            return f"{name} ended by itself ({type(error).__name__}): a defect in the gateway"
    return None


async def _cancel(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel and wait; cancel once more, without waiting, when we are cancelled: gather would wait all the same."""
    for task in tasks:
        task.cancel()
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    finally:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # seen: what failed while it was stopped is no news


async def _within(limit_s: float, work: Awaitable[None], complaint: str) -> bool:
    """Answer whether the work was done in time."""
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        _log.warning("%s", complaint)
        return False
    return True
