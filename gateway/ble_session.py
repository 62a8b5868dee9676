"""One connection to a Bluetooth device: what is said to it, what it says, and what becomes of that.

Laws:

1. What came over the link is taken, whatever ends the session: bluetoothd has confirmed it, and the device forgets it.
2. Who it is, and that it is no simulator, is known before its first record.
3. That the clock is to be set is on disk before it is set, or it is not set: records of the time before must never
   look live.
4. What streams makes one reading for each finger (drivers/spot_check.py); a connection's end is a break.
5. What it says beside its records (a clock that goes on ticking) is counted, and no sign that more records come.
6. What is measured while a person observes the device (pairs it), or right after, is a test, whenever it arrives: it
   must not reach a patient's chart. So is what arrives meanwhile as one of now. What is held or stored is left as it
   is: it may be a patient's.
7. Whose a reading is while somebody certifies the device: trials.py.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from drivers import registry
from drivers.ble.session import (
    CLOCK_NOT_SET,
    Act,
    Answer,
    Bond,
    Hear,
    LocalTime,
    Pause,
    Read,
    Subscribe,
    VendorConversation,
    Write,
    converse,
)
from drivers.contract import Battery, ClockReading, ClockSetting, Event, Identity, Notice, Rejected, Sample, Site
from drivers.errors import DeviceRefused, LinkError, LinkFault
from drivers.links.gatt import GattLink, Value
from drivers.models import DeviceModel
from drivers.spot_check import SpotChecks
from gateway.activity import Activity
from gateway.clock_frames import ClockFrames
from gateway.fence import Evidence
from gateway.intake import Intake
from gateway.normalize import UnknownUnit
from gateway.outbox import Outbox
from gateway.reading import Disposition, Mode, Reading
from gateway.standing import Standing
from gateway.trials import Trials

SAME_PERSON_S = (
    10.0  # from a pairing to a patient's measurement it takes longer (ours); a stream tells two fingers apart
)
KEEPING_S = 5.0  # a disk that says nothing for so long hangs: the radio has other devices, too

Kept = asyncio.Future[None]


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


@dataclass(slots=True)
class Attended:
    """A device, and what is there for it from one connection to the next.

    `observer`: who looks on now, if anybody; else `observed`: from when to when somebody did last (monotonic).
    """

    model: DeviceModel
    standing: Standing
    intake: Intake
    outbox: Outbox
    frames: ClockFrames
    local_time: LocalTime
    trials: Trials
    activity: Activity
    observer: Observer | None = None
    observed: tuple[float, float] = (math.inf, -math.inf)

    def is_test(self, reading: Reading, at: float, same_person_s: float) -> bool:
        """Whether what arrived at `at` (monotonic) is the observing person's, `same_person_s` after it, too (law 6)."""
        times = reading.times
        if reading.disposition is not Disposition.USABLE or times.taken_at is None:
            return False
        if self.observer is not None and "stored" not in reading.flags:
            return True
        since, until = self.observed
        taken_at, unsure_s = at - (times.received_at - times.taken_at).total_seconds(), times.uncertainty_s or 0.0
        return since - unsure_s <= taken_at <= until + same_person_s + unsure_s


class BleSession:
    """What one connection finds out. `records`: how much it told that was measured, or would have been."""

    def __init__(self, attended: Attended, link: GattLink, mode: Mode) -> None:
        self.records = 0
        self._of = attended
        self._link = link
        self._mode = mode
        self._how = attended.model.session
        self._codecs = registry.characteristics(attended.model.driver, attended.model.quirks)
        self._listens_to = self._how.records or registry.records(attended.model.driver)
        self._streams = registry.streams(attended.model.driver)
        self._checks = SpotChecks(attended.model.spot_check)
        self._evidence = Evidence()
        self._identity = Identity()
        self._site: str | None = None
        self._ends_live = False  # the last record was live

    async def run(self) -> None:
        """Go through it all, until the device hangs up or has said nothing for long. Raises LinkError."""
        try:
            self._step("connected")
            await self._converse()
            self._of.standing.connected()
            self._step("listening")
            await self._listen()
        finally:
            try:
                self._take_all(self._link.take_values())
            finally:
                try:
                    await self._link.close()
                finally:  # until it was closed, more may have come
                    self._of.standing.thrown_away(self._link.thrown_away)
                    self._take_all(self._link.take_values())
                    self._tell(self._checks.end(), time.monotonic())
        if self._ends_live:
            await self._of.frames.drained()

    # ---- what is said to it --------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """Go through the model's steps, then what its vendor's own protocol says, if it has one. Raises LinkError."""
        how, has = self._how, self._link.has
        steps = converse(
            how.steps,
            self._listens_to,
            has,
            self._of.local_time,
            clock=how.clock,
            consent=how.consent,
            pause_s=how.pause_s,
        )
        await self._go_through(steps)
        await self._go_through(registry.conversation(self._of.model, has))

    async def _go_through(self, conversation: VendorConversation) -> None:
        keeping: list[Kept] = []
        try:
            said = next(conversation)
            while True:
                if isinstance(said, Act):
                    said = conversation.send(await self._do(said))
                    continue
                if isinstance(said, ClockSetting):
                    noted = await self._of.frames.set(said, self._evidence.reading)
                    said = conversation.send(Answer(said.at, time.monotonic(), refused=not noted))
                    continue
                if isinstance(said, Sample | Rejected):
                    at = said.at if isinstance(said, Sample) and said.at is not None else time.monotonic()
                    kept = self._tell([said], at)
                    keeping += [kept] if kept is not None else []
                else:
                    await self._find(said)
                said = next(conversation)
        except StopIteration:
            if keeping:
                await asyncio.wait(keeping, timeout=KEEPING_S)

    async def _do(self, act: Act) -> Answer:
        """Do what the conversation asks for, and let who observes it hear of a bonding. Raises LinkError."""
        if not isinstance(act, Bond):
            return await _perform(self._link, act)
        self._step("bonding")
        answer = await _perform(self._link, act)
        self._step("bonded")
        return answer

    async def _find(self, found: Identity | Battery | ClockReading | Site | Notice) -> None:
        """Take note of what a device said of itself."""
        standing, frames = self._of.standing, self._of.frames
        if isinstance(found, Identity):
            self._identity = found
            standing.found(identity=found)
            if self._of.observer is not None:
                self._of.observer.identity(found)
        elif isinstance(found, Battery):
            standing.found(battery=found.percent)
        elif isinstance(found, Site):
            self._site = found.word
        elif isinstance(found, ClockReading):
            self._evidence = Evidence(found, await frames.unsure_until())
        else:
            if found.code == CLOCK_NOT_SET:
                await frames.not_set()
            standing.notice(found, self._of.trials.mode(self._mode))

    def _step(self, step: str) -> None:
        if self._of.observer is not None:
            self._of.observer.step(step)

    # ---- what it says --------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Take what comes until the device hangs up, or no record has come for as long as its row says."""
        until = time.monotonic() + self._how.silence_s
        while (value := await self._link.next_value(max(0.0, until - time.monotonic()))) is not None:
            # All that is there in one commit: what is confirmed and not on disk dies with the process.
            values = [value, *self._link.take_values()]
            if keeping := self._take_all(values):
                await asyncio.wait(keeping, timeout=KEEPING_S)
            if any(value.characteristic in self._listens_to for value in values):
                until = time.monotonic() + self._how.silence_s

    def _take_all(self, values: Iterable[Value]) -> list[Kept]:
        """Hand on each value, and answer when they are on disk. A defect in one is raised when all others are taken."""
        keeping, defect = [], None
        for value in values:
            try:
                keeping.append(self._take(value))
            except Exception as error:  # noqa: BLE001 - raised below
                self._ends_live, defect = False, error
        if defect is not None:
            raise defect
        return [kept for kept in keeping if kept is not None]

    def _take(self, value: Value) -> Kept | None:
        """Hand on what a characteristic said; answer when it is on disk, if it makes a reading."""
        codec = self._codecs.get(value.characteristic)
        event = Rejected("unasked", value.data) if codec is None else codec(value.data)
        if value.characteristic not in self._listens_to:
            self._take_beside(event)
            return None
        if isinstance(event, Sample):
            event = replace(event, at=value.at, characteristic=value.characteristic)
        if value.characteristic not in self._streams:
            return self._tell([event], value.at)
        return self._tell([*self._checks.heard(value.at), *self._checks.take(event)], value.at)

    def _take_beside(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._of.standing.notice(event, self._of.trials.mode(self._mode))
        else:
            self._of.standing.rejected(event if isinstance(event, Rejected) else Rejected("unasked", event.raw))

    def _tell(self, events: Iterable[Event], at: float) -> Kept | None:
        """Count what was said, and keep the reading that may be among it; answer when that is on disk."""
        keeping = None
        for event in events:
            self._ends_live = False
            if isinstance(event, Notice):
                self.records += 1
                self._of.standing.notice(event, self._of.trials.mode(self._mode))
                if self._of.observer is not None:
                    self._of.observer.notice(event)
            elif isinstance(event, Sample):
                self.records += 1
                keeping = self._keep(replace(event, site=event.site or self._site), at)
            else:
                self._of.standing.rejected(event)
        return keeping

    def _keep(self, sample: Sample, at: float) -> Kept | None:
        """Make a reading; answer when it is on disk. None where its driver names what nobody knows."""
        try:
            taken = self._of.intake.record(sample, self._mode, self._evidence, self._identity, at)
        except UnknownUnit as error:
            self._of.standing.unknown_unit(error)
            return None
        self._ends_live = taken.is_live
        reading = taken.reading
        if self._of.is_test(reading, at, 0.0 if sample.characteristic in self._streams else SAME_PERSON_S):
            reading = replace(reading, mode=Mode.TEST)
        reading = self._of.trials.settle(reading, at, self._of.intake.hold)
        self._of.activity.told()
        if self._of.observer is not None:
            self._of.observer.reading(reading)
        kept = self._of.outbox.keep([self._of.intake.draft(reading, taken.record, sample.characteristic)])
        self._of.standing.samples(1)
        return kept


async def _perform(link: GattLink, act: Act) -> Answer:
    """Do what the session asks for. Raises LinkError, but for a question that the device refuses."""
    began_at, value, refused = time.monotonic(), b"", False
    try:
        if isinstance(act, Hear):
            heard = await link.hear(act.characteristic, act.limit_s)
            if heard is None:
                return Answer(began_at, time.monotonic(), refused=True)
            return Answer(began_at, heard.at, heard.data)
        if isinstance(act, Bond):
            await link.bond()
        elif isinstance(act, Read):
            value = await link.read(act.characteristic)
        elif isinstance(act, Write):
            await link.write(act.characteristic, act.value)
        elif isinstance(act, Pause):
            await asyncio.sleep(act.seconds)
        else:
            await link.subscribe(act.characteristic)
    except DeviceRefused as error:
        must = isinstance(act, Bond) or (isinstance(act, Subscribe) and act.must)
        if must or error.fault is not LinkFault.DEVICE_REFUSED:
            raise
        refused = True
    return Answer(began_at, time.monotonic(), value, refused)
