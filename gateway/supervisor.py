"""One device's life: open its port, read, classify what fails, back off, begin again, and say how it stands.

Each device has a supervisor and a task of its own. What one device does (fails, hangs, floods) costs the others
nothing but their share of the processor: after every piece of READ_LIMIT bytes the others have their turn, and a
device is not read on while KEEPING_LIMIT of its bytes wait for the disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from drivers import registry
from drivers.contract import Driver, Event, Notice, Rejected, Sample, Step
from drivers.errors import LinkError, LinkFault, LinkLost
from drivers.links.serial_port import SerialPort
from gateway import settings
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.log import Throttle
from gateway.normalize import UnknownUnit
from gateway.outbox import Outbox
from gateway.reading import Disposition, Mode, Reading
from gateway.states import Counts
from gateway.vocabulary import goes_to_event_topic

_log = logging.getLogger(__name__)

# What has been read and is not on disk dies with the process: when this many bytes wait for the disk, no more is read.
KEEPING_LIMIT = 4096

# A plug that goes in again should be found while the MA still stands there; looking costs one stat().
RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_BROKEN_S = 0.25, 2.0, 30.0

# So many rejected frames in a row, with none between that can be read, are wrong line settings or a wrong model.
UNREADABLE_AFTER = 5

EVENT_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """How a device stands. `reason` is a code, `detail` what to do; counts are since the start of the service."""

    state: Literal["online", "offline", "unknown"] = "unknown"
    reason: str | None = "not_opened_yet"
    detail: str = ""
    last_seen: datetime | None = None
    last_reading_id: UUID | None = None
    readings: int = 0
    held: int = 0
    last_held_reason: str | None = None
    counts: Counts = field(default_factory=Counts)


class Supervisor:
    """Attends one serial device for ever. `on_change` is called when its status changes, `on_event` for notices."""

    def __init__(
        self,
        device: settings.Device,
        intake: Intake,
        outbox: Outbox,
        clock: Clock,
        *,
        demo: bool,
        on_change: Callable[[str], None],
        on_event: Callable[[settings.Device, Notice, Mode], None],
    ) -> None:
        self.device = device
        self._intake = intake
        self._outbox = outbox
        self._clock = clock
        self._demo = demo
        self._on_change = on_change
        self._on_event = on_event
        self._status = DeviceStatus()
        self._frames = self._samples = self._notices = 0
        self._rejected: Counter[str] = Counter()
        self._rejected_in_a_row = 0
        self._keeping: deque[tuple[asyncio.Future[None], int]] = deque()  # with the bytes that were read for it
        self._bytes_heard = 0
        self._mode = Mode.TEST
        self._told_events = Throttle(EVENT_INTERVAL_S)
        self._complaints = Throttle()

    @property
    def status(self) -> DeviceStatus:
        """How the device stands now."""
        return replace(self._status, counts=Counts(self._frames, self._samples, self._notices, dict(self._rejected)))

    def last_reading(self, reading_id: UUID) -> None:
        """Take note of the last reading that was kept before this start."""
        self._status = replace(self._status, last_reading_id=reading_id)

    async def run(self) -> None:
        """Attend the device until cancelled."""
        failures = 0
        while True:
            cap = RETRY_CAP_S
            heard_before = self._bytes_heard
            try:
                await self._attend()
            except LinkError as error:
                self._note("offline", error.fault.value, str(error))
            except Exception as error:  # noqa: BLE001 - the supervisor's edge
                # A defect of ours in one device's code must not stop the others. Its words may hold a device's bytes.
                cap = RETRY_CAP_BROKEN_S
                where = traceback.extract_tb(error.__traceback__)[-1]
                _log.error(
                    "%s: a defect in the gateway (%s, %s line %s); the device is opened anew",
                    self.device.id,
                    type(error).__name__,
                    where.filename,
                    where.lineno,
                )
                self._note("offline", "internal_error", "a defect in the gateway: send its log to the maker")
            failures = 0 if self._bytes_heard > heard_before and cap == RETRY_CAP_S else failures + 1
            longest = min(cap, RETRY_FIRST_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(random.uniform(RETRY_FIRST_S, longest))  # noqa: S311 - jitter

    async def _attend(self) -> None:
        """Open the port and read it until it fails. Raises LinkError."""
        if self.device.port is None:
            raise LinkLost(LinkFault.NOT_A_PORT, "this version reads serial devices only, no Bluetooth yet")
        driver = registry.driver(self.device.model)
        port = await SerialPort.open(self.device.port, self.device.line)
        try:
            self._mode = Mode.DEMO if self._demo else Mode.TEST if port.is_pty else Mode.REAL
            self._rejected_in_a_row = 0
            self._note("unknown", "not_heard_yet", "the port is open; the device has said nothing yet")
            await self._read(port, driver)
        finally:
            port.close()  # first: a dead descriptor keeps the adapter from coming back under its own name
            self._take(driver.close(time.monotonic()).events)

    async def _read(self, port: SerialPort, driver: Driver) -> None:
        step, size = driver.tick(time.monotonic()), 0
        while True:
            self._take(step.events, size)  # before writing, which may fail: what was heard is told
            if step.write:
                port.write(step.write)
            await self._let_the_disk_follow()
            step, size = await self._next_step(port, driver, step.deadline)
            await asyncio.sleep(0)  # a device that floods is always readable: now the others

    async def _next_step(self, port: SerialPort, driver: Driver, deadline: float | None) -> tuple[Step, int]:
        """Answer what the driver makes of what comes next, and of how many bytes."""
        try:
            async with asyncio.timeout_at(deadline):
                data, at = await port.read()
        except TimeoutError:
            # We may have stood still ourselves: what lies in the port comes before the word that nothing came.
            data, at = port.read_waiting()
            if not data:
                return driver.tick(at), 0
        self._bytes_heard += len(data)
        return driver.feed(data, at), len(data)

    async def _let_the_disk_follow(self) -> None:
        while self._keeping and (self._keeping[0][0].done() or sum(n for _, n in self._keeping) >= KEEPING_LIMIT):
            kept, _ = self._keeping.popleft()
            await kept

    def _take(self, events: Iterable[Event], size: int = 0) -> None:
        readings: list[Reading] = []
        try:
            for event in events:
                if isinstance(event, Sample):
                    self._frames += 1
                    reading = self._reading(event)
                    if reading is not None:
                        readings.append(reading)
                elif isinstance(event, Notice):
                    self._take_notice(event)
                else:
                    self._take_rejected(event)
        finally:  # a defect in one event must not cost the readings before it
            if readings:
                kept = self._outbox.keep([self._intake.draft(reading) for reading in readings])
                self._keeping.append((kept, size))
                self._note_readings(readings)

    def _reading(self, sample: Sample) -> Reading | None:
        try:
            reading = self._intake.reading(sample, self._mode)
        except UnknownUnit as error:
            self._rejected["unknown_unit"] += 1
            if self._complaints.admit("unknown_unit", time.monotonic()) is not None:
                _log.error("%s: %s", self.device.id, error)
            return None
        self._samples += 1
        return reading

    def _take_notice(self, notice: Notice) -> None:
        if notice.code == "no_answer":  # not a frame, but its absence
            self._note("unknown", "silent", notice.detail)
            return
        self._frames += 1
        self._notices += 1
        self._heard()
        if goes_to_event_topic(notice.code) and self._told_events.admit(notice.code, time.monotonic()) is not None:
            self._on_event(self.device, notice, self._mode)

    def _take_rejected(self, rejected: Rejected) -> None:
        self._frames += 1
        self._rejected[rejected.reason] += 1
        self._rejected_in_a_row += 1
        left_out = self._complaints.admit(rejected.reason, time.monotonic())
        if left_out is not None:
            _log.warning(
                "%s: %d bytes rejected (%s); %d more since the last such line",
                self.device.id,
                len(rejected.raw),
                rejected.reason,
                left_out,
            )
        if self._rejected_in_a_row == UNREADABLE_AFTER:
            self._note(
                "unknown", "unreadable", "bytes arrive, but no frame of this model: check model and line settings"
            )

    def _heard(self) -> None:
        self._rejected_in_a_row = 0
        self._status = replace(self._status, last_seen=self._clock.now().utc)
        if self._status.state != "online":
            self._note("online", None, "")

    def _note_readings(self, readings: list[Reading]) -> None:
        self._heard()
        held = [reading for reading in readings if reading.disposition is Disposition.HOLD]
        self._status = replace(
            self._status,
            last_reading_id=readings[-1].id,
            readings=self._status.readings + len(readings),
            held=self._status.held + len(held),
            last_held_reason=held[-1].reasons[0] if held else self._status.last_held_reason,
        )
        self._on_change(self.device.id)

    def _note(self, state: Literal["online", "offline", "unknown"], reason: str | None, detail: str) -> None:
        if (self._status.state, self._status.reason) == (state, reason):
            return
        level = logging.WARNING if state == "offline" else logging.INFO
        _log.log(level, "%s: %s%s", self.device.id, reason or state, f": {detail}" if detail else "")
        self._status = replace(self._status, state=state, reason=reason, detail=detail)
        self._on_change(self.device.id)
