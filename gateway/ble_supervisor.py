"""One Bluetooth device's life: hear it, connect, attend the session, let it hang up, begin again.

Laws:

1. The radio's trouble is every device's; a device's trouble is its own.
2. Who does not let us in, or wants a person, is asked seldom; whoever has something to tell is asked soon.
3. Who is observed (paired) is tried at once, and again without delay.

What is said and taken on a connection: ble_session.py.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo

from drivers.errors import LinkError, LinkFault
from drivers.links.radio import Radio
from gateway import settings
from gateway.activity import Activity
from gateway.ble_session import Attended, BleSession, Observer
from gateway.clock import Clock
from gateway.clock_frames import ClockFrames
from gateway.intake import Intake
from gateway.log import place_of
from gateway.outbox import Outbox
from gateway.reading import ClockQuality, Mode
from gateway.standing import OnChange, OnEvent, Standing
from gateway.trials import Trials

_log = logging.getLogger(__name__)

# A cuff advertises for half a minute: the next try comes soon. Who does not let us in is no reason to keep the radio
# from the others.
RADIO_RETRY_S = 10.0
RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_REFUSED_S = 0.5, 8.0, 30.0
REST_S = 1.0  # after a session: a device that goes on advertising is not connected again at once

_NEEDS_A_PERSON = frozenset(
    {
        LinkFault.PAIRING_REFUSED,
        LinkFault.BOND_LOST,
        LinkFault.DEVICE_REFUSED,
        LinkFault.NOT_THIS_MODEL,
        LinkFault.CONSENT_REFUSED,
    }
)
_RADIO_FAULTS = frozenset(
    {
        LinkFault.NO_BLUETOOTH,
        LinkFault.NO_ADAPTER,
        LinkFault.ADAPTER_OFF,
        LinkFault.SCAN_FAILED,
        LinkFault.RADIO_DEAF,
    }
)


async def attend_radio(radio: Radio) -> None:
    """Keep the radio going until cancelled; a defect in it must not stop the devices on serial ports."""
    while True:
        try:
            await radio.run()
        except Exception as error:  # noqa: BLE001 - the supervisor's edge
            _log.error("a defect in the gateway's Bluetooth (%s); it is started anew", place_of(error))
        await asyncio.sleep(RADIO_RETRY_S)


class BleSupervisor:
    """Attends the Bluetooth device at `address` for ever; `standing` is its account."""

    def __init__(
        self,
        device: settings.Device,
        address: str,
        intake: Intake,
        outbox: Outbox,
        clock: Clock,
        radio: Radio,
        *,
        zone: tzinfo,
        demo: bool,
        on_change: OnChange,
        on_event: OnEvent,
    ) -> None:
        """`zone`: what the device's clock shows."""
        self.address = address
        self.standing = Standing(device, clock, on_change, on_event)
        self._clock = clock
        self._zone = zone
        self._radio = radio
        self._demo = demo
        self._activity = Activity()
        self.trials = Trials(
            clock, self._activity, self.standing.in_test, is_pressure=device.model.kind == "blood_pressure"
        )
        self._attended = Attended(
            device.model,
            self.standing,
            intake,
            outbox,
            ClockFrames(address, outbox),
            self._local_time,
            self.trials,
            self._activity,
        )
        self._observed = asyncio.Event()

    def succeed(self, earlier: BleSupervisor) -> None:
        """Know when the same device's `earlier` attendant was observed: what was measured then stays a test."""
        self._attended.observed = earlier._attended.observed

    @property
    def is_at_rest(self) -> bool:
        """Whether a trial may begin: nobody is connected, or its records say themselves when they were taken."""
        return self._attended.model.memory in ("stamped", "kept") or self.trials.is_at_rest

    @property
    def is_observed(self) -> bool:
        """Whether somebody pairs it."""
        return self._attended.observer is not None

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Let `observer` hear how it goes; the device is tried at once, and again without delay."""
        self._attended.observer = observer
        since = time.monotonic()
        self._attended.observed = (since, math.inf)
        self._observed.set()
        try:
            yield
        finally:
            self._attended.observer = None
            self._attended.observed = (since, time.monotonic())
            self._observed.clear()

    async def run(self) -> None:
        """Attend the device until cancelled."""
        failures = 0
        while True:
            self.radio_changed()
            cap, rest = RETRY_CAP_S, RETRY_FIRST_S
            try:
                session = await self._attend()
            except LinkError as error:
                failures += 1
                if self._attended.observer is not None:
                    self._attended.observer.failed(error)
                cap = RETRY_CAP_REFUSED_S if error.fault in _NEEDS_A_PERSON else RETRY_CAP_S
                gone = error.fault is LinkFault.NOT_CONNECTED  # it advertised and went: no more is known than before
                self.standing.note("unknown" if gone else "offline", error.fault.value, str(error))
            except Exception as error:  # noqa: BLE001 - the supervisor's edge
                failures, cap = failures + 1, RETRY_CAP_REFUSED_S
                self.standing.defect(error)
            else:
                failures, rest = (
                    (0 if session.records else failures + 1),
                    max(REST_S, self._attended.model.session.rest_s),
                )
            longest = max(rest, min(cap, rest * 2.0 ** min(failures, 10)))
            await self._pause(min(rest, REST_S) if self._attended.observer else random.uniform(rest, longest))  # noqa: S311 - jitter

    async def _pause(self, pause_s: float) -> None:
        """Wait; but not for a device that somebody has come to attend."""
        if self._attended.observer is not None:
            await asyncio.sleep(pause_s)
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._observed.wait()
        except TimeoutError:
            return

    def radio_changed(self) -> None:
        """Show the radio's trouble, or that it is over."""
        trouble, reason = self._radio.trouble, self.standing.status.reason
        if trouble is not None:
            self.standing.radio_trouble(trouble)
        elif self._radio.listens and (reason in _RADIO_FAULTS or reason == "not_opened_yet"):
            self.standing.opened("the radio listens; the device has not been heard")

    async def _attend(self) -> BleSession:
        """One connection, from hearing the device to its end. Raises LinkError."""
        async with self._radio.link(self.address) as link:
            real = link.is_real and not link.is_simulated
            mode = Mode.of(demo=self._demo, real=real)
            session = BleSession(self._attended, link, mode)
            self._activity.goes_on(time.monotonic(), math.inf)
            try:
                await session.run()
            finally:
                self._activity.over(time.monotonic())
        return session

    def _local_time(self) -> tuple[datetime, float] | None:
        """What the device's clock should show, and when; None while our own clock is not synchronized."""
        now = self._clock.now()
        if self._clock.quality is not ClockQuality.SYNCED:  # asked after: nobody moved it before
            return None
        return now.utc.astimezone(self._zone).replace(tzinfo=None), now.monotonic
