"""One Bluetooth device's life: hear it, connect, speak its session, take its records, let it hang up, begin again.

Laws:

1. What came over the link is taken, whatever ends the session: bluetoothd has confirmed it, and the device forgets it.
2. Who it is, and that it is no simulator, is known before its first record.
3. That the clock is to be set is on disk before it is set, or it is not set: records of the time before must never
   look live.
4. The radio's trouble is every device's; a device's trouble is its own.
5. What streams makes one reading for each finger (drivers/spot_check.py); a connection's end is a break.
6. What is measured while a person observes the device (pairs it) is a test: it must not reach a patient's chart. What
   is held is left as it is: it may be a patient's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Protocol

from drivers import registry
from drivers.ble.session import Act, Answer, Bond, Read, Subscribe, Write, converse
from drivers.contract import (
    Battery,
    CharacteristicCodec,
    ClockReading,
    ClockSetting,
    Event,
    Identity,
    Notice,
    Sample,
    Site,
)
from drivers.errors import DeviceRefused, LinkError, LinkFault
from drivers.links.bluetooth import GattLink, Value
from drivers.links.radio import Radio
from drivers.spot_check import SpotChecks
from gateway import settings
from gateway.clock import Clock
from gateway.clock_frames import ClockFrames
from gateway.fence import Evidence
from gateway.intake import Intake
from gateway.log import place_of
from gateway.normalize import UnknownUnit
from gateway.outbox import Outbox
from gateway.reading import ClockQuality, Disposition, Mode, Reading
from gateway.standing import OnChange, OnEvent, Standing

_log = logging.getLogger(__name__)

# A cuff advertises for half a minute: the next try comes soon. Who does not let us in is no reason to keep the radio
# from the others.
RADIO_RETRY_S = 10.0
RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_REFUSED_S = 0.5, 8.0, 30.0
KEEPING_S = 5.0  # a disk that says nothing for so long hangs: the radio has other devices, too
REST_S = 1.0  # after a session: a device that goes on advertising is not connected again at once

_NEEDS_A_PERSON = frozenset(
    {LinkFault.PAIRING_REFUSED, LinkFault.BOND_LOST, LinkFault.DEVICE_REFUSED, LinkFault.NOT_THIS_MODEL}
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


@dataclass(slots=True)
class _Session:
    """What one connection found out."""

    mode: Mode
    checks: SpotChecks
    evidence: Evidence = field(default_factory=Evidence)
    identity: Identity = field(default_factory=Identity)
    site: str | None = None
    records: int = 0
    ends_live: bool = False  # the last record was live


class Observer(Protocol):
    """Hears how a device's session goes on, as it happens."""

    def step(self, step: str) -> None:
        """Hear of `connected`, `bonding`, `bonded`, `listening`."""
        ...

    def identity(self, identity: Identity) -> None:
        """Hear who the device says that it is."""
        ...

    def notice(self, notice: Notice) -> None:
        """Hear what the device told that is no reading."""
        ...

    def reading(self, reading: Reading) -> None:
        """Hear of a reading that is being kept."""
        ...

    def failed(self, error: LinkError) -> None:
        """Hear why there is no link, or no more; it is tried again."""
        ...


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
        self.standing = Standing(device, clock, on_change, on_event)
        self._model = device.model
        self.address = address
        self._intake = intake
        self._clock = clock
        self._outbox = outbox
        self._frames = ClockFrames(address, outbox)
        self._radio = radio
        self._zone = zone
        self._demo = demo
        self._codecs: Mapping[str, CharacteristicCodec] = registry.characteristics(
            device.model.driver, device.model.quirks
        )
        self._records = device.model.session.records or registry.records(device.model.driver)
        self._streams = registry.streams(device.model.driver)
        self._observer: Observer | None = None
        self._observed = asyncio.Event()

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Let `observer` hear how it goes; the device is tried at once, and again without delay."""
        self._observer = observer
        self._observed.set()
        try:
            yield
        finally:
            self._observer = None
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
                if self._observer is not None:
                    self._observer.failed(error)
                cap = RETRY_CAP_REFUSED_S if error.fault in _NEEDS_A_PERSON else RETRY_CAP_S
                gone = error.fault is LinkFault.NOT_CONNECTED  # it advertised and went: no more is known than before
                self.standing.note("unknown" if gone else "offline", error.fault.value, str(error))
            except Exception as error:  # noqa: BLE001 - the supervisor's edge
                failures, cap = failures + 1, RETRY_CAP_REFUSED_S
                self.standing.defect(error)
            else:
                failures, rest = (0 if session.records else failures + 1), REST_S
            longest = min(cap, rest * 2.0 ** min(failures, 10))
            await self._pause(rest if self._observer else random.uniform(rest, longest))  # noqa: S311 - jitter

    async def _pause(self, pause_s: float) -> None:
        """Wait; but not for a device that somebody has come to attend."""
        if self._observer is not None:
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
            quiet = trouble.fault is LinkFault.RADIO_DEAF  # or a room in which nothing advertises
            self.standing.note("unknown" if quiet else "offline", trouble.fault.value, str(trouble))
        elif self._radio.listens and (reason in _RADIO_FAULTS or reason == "not_opened_yet"):
            self.standing.opened("the radio listens; the device has not been heard")

    async def _attend(self) -> _Session:
        """One connection, from hearing the device to its end. Raises LinkError."""
        async with self._radio.link(self.address) as link:
            real = link.is_real and not link.is_simulated
            mode = Mode.DEMO if self._demo else Mode.REAL if real else Mode.TEST
            session = _Session(mode, SpotChecks(self._model.spot_check))
            try:
                self._step("connected")
                await self._converse(link, session)
                self.standing.connected()
                self._step("listening")
                silence_s = self._model.session.silence_s
                while (value := await link.next_value(silence_s)) is not None:
                    # All that is there in one commit: what is confirmed and not on disk dies with the process.
                    if keeping := self._take_all([value, *link.take_values()], session):
                        await asyncio.wait(keeping, timeout=KEEPING_S)
            finally:
                try:
                    self._take_all(link.take_values(), session)
                finally:
                    try:
                        await link.close()
                    finally:  # until it was closed, more may have come
                        self.standing.thrown_away(link.thrown_away)
                        self._take_all(link.take_values(), session)
                        self._tell(session.checks.end(), session, time.monotonic())
            if session.ends_live:
                await self._frames.drained()
        return session

    def _take_all(self, values: Iterable[Value], session: _Session) -> list[asyncio.Future[None]]:
        """Hand on each value, and answer when they are on disk. A defect in one is raised when all others are taken."""
        keeping, defect = [], None
        for value in values:
            try:
                keeping.append(self._take(value, session))
            except Exception as error:  # noqa: BLE001 - raised below
                session.ends_live, defect = False, error
        if defect is not None:
            raise defect
        return [kept for kept in keeping if kept is not None]

    # ---- the session ---------------------------------------------------------------------------------------------

    async def _converse(self, link: GattLink, session: _Session) -> None:
        """Go through the model's steps. Raises LinkError."""
        conversation = converse(self._model.session.steps, self._records, link.has, self._local_time)
        try:
            said = next(conversation)
            while True:
                if isinstance(said, Bond | Read | Write | Subscribe):
                    if isinstance(said, Bond):
                        self._step("bonding")
                    answer = await _perform(link, said)
                    if isinstance(said, Bond):
                        self._step("bonded")
                    said = conversation.send(answer)
                elif isinstance(said, ClockSetting):
                    noted = await self._frames.set(said, session.evidence.reading)
                    said = conversation.send(Answer(said.at, time.monotonic(), refused=not noted))
                else:
                    await self._find(said, session)
                    said = next(conversation)
        except StopIteration:
            return

    async def _find(self, found: Identity | Battery | ClockReading | Site | Notice, session: _Session) -> None:
        """Take note of what a device said of itself."""
        if isinstance(found, Identity):
            session.identity = found
            self.standing.found(identity=found)
            if self._observer is not None:
                self._observer.identity(found)
        elif isinstance(found, Battery):
            self.standing.found(battery=found.percent)
        elif isinstance(found, Site):
            session.site = found.word
        elif isinstance(found, ClockReading):
            session.evidence = Evidence(found, await self._frames.unsure_until())
        else:
            await self._frames.not_set()
            self.standing.notice(found, session.mode)

    def _local_time(self) -> tuple[datetime, float] | None:
        """What the device's clock should show, and when; None while our own clock is not synchronized."""
        now = self._clock.now()
        if self._clock.quality is not ClockQuality.SYNCED:  # asked after: nobody moved it before
            return None
        return now.utc.astimezone(self._zone).replace(tzinfo=None), now.monotonic

    def _take(self, value: Value, session: _Session) -> asyncio.Future[None] | None:
        """Hand on what a characteristic said; answer when it is on disk, if it makes a reading."""
        event = self._codecs[value.characteristic](value.data)
        session.ends_live = False
        if isinstance(event, Sample):
            site = event.site or session.site
            event = replace(event, at=value.at, characteristic=value.characteristic, site=site)
        if value.characteristic in self._streams:
            events = [*session.checks.heard(value.at), *session.checks.take(event)]
        else:
            events = [event]
        return self._tell(events, session, value.at)

    def _tell(self, events: Iterable[Event], session: _Session, at: float) -> asyncio.Future[None] | None:
        """Count what was said, and keep the reading that may be among it; answer when that is on disk."""
        keeping = None
        for event in events:
            if isinstance(event, Notice):
                session.records += 1
                self.standing.notice(event, session.mode)
                if self._observer is not None:
                    self._observer.notice(event)
            elif isinstance(event, Sample):
                session.records += 1
                keeping = self._keep(event, session, at)
            else:
                self.standing.rejected(event)
        return keeping

    def _keep(self, sample: Sample, session: _Session, at: float) -> asyncio.Future[None] | None:
        """Make a reading; answer when it is on disk. None where its driver names what nobody knows."""
        try:
            taken = self._intake.record(sample, session.mode, session.evidence, session.identity, at)
        except UnknownUnit as error:
            self.standing.unknown_unit(error)
            return None
        session.ends_live = taken.is_live
        reading = taken.reading
        if self._observer is not None:
            if reading.disposition is Disposition.USABLE:
                reading = replace(reading, mode=Mode.TEST)
            self._observer.reading(reading)
        kept = self._outbox.keep([self._intake.draft(reading, taken.record, sample.characteristic)])
        self.standing.samples(1)
        return kept

    def _step(self, step: str) -> None:
        if self._observer is not None:
            self._observer.step(step)


async def _perform(link: GattLink, act: Act) -> Answer:
    """Do what the session asks for. Raises LinkError, but for a question that the device refuses."""
    began_at, value, refused = time.monotonic(), b"", False
    try:
        if isinstance(act, Bond):
            await link.bond()
        elif isinstance(act, Read):
            value = await link.read(act.characteristic)
        elif isinstance(act, Write):
            await link.write(act.characteristic, act.value)
        else:
            await link.subscribe(act.characteristic)
    except DeviceRefused as error:
        if isinstance(act, Bond | Subscribe) or error.fault is not LinkFault.DEVICE_REFUSED:
            raise
        refused = True
    return Answer(began_at, time.monotonic(), value, refused)
