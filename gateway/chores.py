"""The service's own chores: look at the clock, delete what was delivered long ago, feed systemd's watchdog."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from gateway import systemd
from gateway.clock import MOVED_S, Clock
from gateway.corrections import correct_times
from gateway.health import Health
from gateway.outbox import Outbox
from gateway.payload import Origin
from gateway.publisher import Publisher
from gateway.reading import ClockQuality
from gateway.store import DatabaseError, Row, Store

_log = logging.getLogger(__name__)

CLOCK_S = 30.0
CLOCK_MOVED_S = 2.0  # how often we look whether somebody moved the clock: then it is asked at once
PURGE_S = 3600.0
DAY_S = 86400.0
PARKED_DAYS = 30  # at least: for somebody to see what the broker will never take. It is patient data, and goes then


class Chores:
    """What is done every now and then. `origin`, `keep_days` and `status_line` may change at any time."""

    def __init__(
        self,
        clock: Clock,
        outbox: Outbox,
        publisher: Publisher,
        health: Health,
        origin: Origin,
        keep_days: int,
        status_line: str,
    ) -> None:
        self.origin = origin
        self.keep_days = keep_days
        self.status_line = status_line
        self._clock = clock
        self._outbox = outbox
        self._publisher = publisher
        self._health = health
        self._correcting = False
        self._told_quality = ClockQuality.UNSYNCED

    # ---- the clock -----------------------------------------------------------------------------------------------

    async def watch_clock(self) -> None:
        """Ask how right the clock is, every CLOCK_S and when somebody moved it."""
        loop = asyncio.get_running_loop()
        due = loop.time() + CLOCK_S
        while True:
            await asyncio.sleep(CLOCK_MOVED_S)
            moved_by_s = self._clock.moved_by_s
            if abs(moved_by_s) > MOVED_S:
                _log.warning("the clock was moved by %+.1f s", moved_by_s)
            elif loop.time() < due:
                continue
            await self.refresh_clock()
            due = loop.time() + CLOCK_S

    async def refresh_clock(self) -> None:
        """Ask how right the clock is; once it is right, put right what was told before."""
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
        self._outbox.fetch(lambda store: correct_times(store, self._clock, self.origin), self._on_corrected)

    def _on_corrected(self, corrected: tuple[list[Row], bool]) -> None:
        rows, all_done = corrected
        self._correcting = False
        self._outbox.revised(rows)
        if rows:
            _log.info("the clock is right now: the time of %d readings is corrected", len(rows))
            self._publisher.offer(rows)
        if not all_done:
            self._correct_times()

    # ---- what was delivered --------------------------------------------------------------------------------------

    async def purge(self) -> None:
        """Delete what was delivered keep_days ago, or parked long ago; never by a clock that may be wrong by years."""
        while True:
            await asyncio.sleep(PURGE_S)
            now = self._clock.now().utc.timestamp()
            if self._clock.quality is ClockQuality.UNSYNCED:  # asked after: nobody moved it before
                continue
            purge = partial(
                Store.purge,
                delivered_before=now - self.keep_days * DAY_S,
                parked_before=now - max(self.keep_days, PARKED_DAYS) * DAY_S,
            )
            with suppress(DatabaseError):  # the outbox shows its own trouble
                gone = await self._outbox.ask(purge)
                while gone:  # in portions: readings that come meanwhile are kept between them
                    gone = await self._outbox.ask(purge)

    # ---- systemd -------------------------------------------------------------------------------------------------

    async def feed_watchdog(self) -> None:
        """Say that the loop turns. What the broker, the disk or a device does is no reason to be restarted."""
        await self.say_ready()
        while True:
            await asyncio.sleep(systemd.watchdog_interval() or DAY_S)
            systemd.notify("WATCHDOG=1")

    async def say_ready(self) -> None:
        """Tell systemd that we serve, by which configuration: at the start and after a reload."""
        await systemd.say_ready(f"STATUS={self.status_line}")


def _tell_given_up(count: int) -> None:
    if count:
        _log.warning("%d readings of an earlier start of this machine stay unsynced: nobody knows their time", count)
