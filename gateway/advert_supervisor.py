"""One device's life that is only heard: what it says to everybody around becomes readings, and nothing is connected.

Laws:

1. One weighing is one reading, and what was not heard to settle is none of now (drivers/broadcasts.py). Such a reading
   is held: its time is not known.
2. A simulated device says so in the packet that carries its weight; without a radio of this machine nothing is real.
3. It sleeps most of the day: silence is no fault. The radio's trouble is shown as with every device.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from drivers import registry
from drivers.broadcasts import Broadcasts
from drivers.contract import CharacteristicCodec, Event, Notice, Sample
from drivers.links.bluetooth import Sighting
from drivers.links.bluez import radio_is_real
from drivers.links.radio import Radio
from gateway import settings
from gateway.activity import Activity
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.normalize import UnknownUnit
from gateway.outbox import Outbox
from gateway.reading import Mode
from gateway.standing import OnChange, OnEvent, Standing
from gateway.trials import Trials

SILENT_S = 60.0  # then it is shown as not heard; a scale says its last weight on for some twenty seconds
RETRY_S = 10.0  # after a defect of ours
WAITING_LIMIT = 1000  # advertisements that nobody has looked at yet: over a minute of the fastest device's

_QUIET = "the radio listens; the device is silent until somebody uses it"


class AdvertSupervisor:
    """Attends the device at `address`, by what it advertises, for ever; `standing` is its account."""

    def __init__(
        self,
        device: settings.Device,
        address: str,
        intake: Intake,
        outbox: Outbox,
        clock: Clock,
        radio: Radio,
        *,
        demo: bool,
        on_change: OnChange,
        on_event: OnEvent,
    ) -> None:
        self.standing = Standing(device, clock, on_change, on_event)
        self.address = address
        self._activity = Activity()
        self.trials = Trials(
            clock, self._activity, self.standing.in_test, is_pressure=device.model.kind == "blood_pressure"
        )
        self._intake = intake
        self._outbox = outbox
        self._radio = radio
        self._demo = demo
        self._codecs: Mapping[str, CharacteristicCodec] = registry.advertisements(
            device.model.driver, device.model.quirks
        )
        self._live_window_s = device.model.live_window_s
        self._broadcasts = Broadcasts(self._live_window_s)
        self._waiting: deque[Sighting] = deque(maxlen=WAITING_LIMIT)
        self._heard = asyncio.Event()

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was heard was taken, and nobody is being weighed."""
        return not self._waiting and self.trials.is_at_rest

    async def run(self) -> None:
        """Attend the device until cancelled."""
        self.radio_changed()
        with self._radio.hearing(self.address, self._hear):
            try:
                while True:
                    try:
                        await self._listen()
                    except Exception as error:  # noqa: BLE001 - the supervisor's edge
                        self.standing.defect(error)
                        await asyncio.sleep(RETRY_S)
            finally:  # heard before we were told to go
                self._take_all()

    def radio_changed(self) -> None:
        """Show the radio's trouble, or that it is over."""
        trouble = self._radio.trouble
        if trouble is not None:
            self.standing.radio_trouble(trouble)
        elif self._radio.listens and self.standing.status.state != "online":
            self.standing.opened(_QUIET)

    def _hear(self, sighting: Sighting) -> None:
        self._waiting.append(sighting)
        self._heard.set()

    async def _listen(self) -> None:
        """Take what is heard, and note silence, for ever."""
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    await self._heard.wait()
            except TimeoutError:
                self.radio_changed()
                if self.standing.status.state == "online":
                    self.standing.opened(_QUIET)
            self._heard.clear()
            self._take_all()

    def _take_all(self) -> None:
        while self._waiting:
            self._take(self._waiting.popleft())

    def _take(self, sighting: Sighting) -> None:
        """Make of one advertisement what it is: a reading, a notice, or a rejection."""
        real = radio_is_real(sighting.adapter) and not sighting.is_simulated
        mode = Mode.of(demo=self._demo, real=real)
        for service, data in sighting.service_data.items():
            if service not in self._codecs:
                continue
            said = self._codecs[service](data)
            heard = self._broadcasts.take(said, sighting.at)
            self._activity.look(sighting.at)
            if isinstance(heard.event, Sample):
                sample = replace(heard.event, at=sighting.at, characteristic=service)
                self._keep(sample, mode, sighting.at, is_live=heard.is_live)
            elif isinstance(heard.event, Notice):
                self.standing.notice(heard.event, self.trials.mode(mode))
            else:
                self.standing.rejected(heard.event)
            self._note_activity(said, sighting.at, is_told=isinstance(heard.event, Sample))

    def _note_activity(self, said: Event, at: float, *, is_told: bool) -> None:
        is_empty = isinstance(said, Notice) and said.code == "zero"
        if is_empty or (isinstance(said, Sample) and "removed" in said.flags):
            self._activity.over(at)
            return
        self._activity.goes_on(at, self._live_window_s)
        if is_told:
            self._activity.told()

    def _keep(self, sample: Sample, mode: Mode, at: float, *, is_live: bool) -> None:
        try:
            taken = self._intake.heard(sample, mode, at, is_live=is_live)
        except UnknownUnit as error:
            self.standing.unknown_unit(error)
            return
        reading = self.trials.settle(taken.reading, at, self._intake.hold)
        self._outbox.keep([self._intake.draft(reading, taken.record, sample.characteristic)])
        self.standing.samples(1)
