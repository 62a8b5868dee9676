"""One serial device's life: open its port, read, classify what fails, back off, begin again.

Each device has a supervisor and a task of its own. What one device does (fails, hangs, floods) costs the others
nothing but their share of the processor: after every piece of READ_LIMIT bytes the others have their turn, and a
device is not read on while KEEPING_LIMIT of its bytes wait for the disk.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from drivers import registry
from drivers.contract import Driver, Event, Notice, Sample, Step
from drivers.errors import LinkError
from drivers.links.serial_port import SerialPort
from gateway import settings
from gateway.activity import SerialActivity
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.normalize import UnknownUnit
from gateway.outbox import Outbox
from gateway.reading import Mode, Reading
from gateway.standing import OnChange, OnEvent, Standing
from gateway.trials import Trials

# What has been read and is not on disk dies with the process: when this many bytes wait for the disk, no more is read.
KEEPING_LIMIT = 4096

# The kernel keeps 4 KiB of a port; a device that floods is not read for ever when we are to go.
READ_OUT_LIMIT = 16

# A plug that goes in again should be found while the MA still stands there; looking costs one stat().
RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_BROKEN_S = 0.25, 2.0, 30.0


class Supervisor:
    """Attends the serial device at `port` for ever; `standing` is its account."""

    def __init__(
        self,
        device: settings.Device,
        port: str,
        intake: Intake,
        outbox: Outbox,
        clock: Clock,
        *,
        demo: bool,
        on_change: OnChange,
        on_event: OnEvent,
    ) -> None:
        self.device = device
        self.standing = Standing(device, clock, on_change, on_event)
        self._activity = SerialActivity(device.model)
        self.trials = Trials(
            clock, self._activity, self.standing.in_test, is_pressure=device.model.kind == "blood_pressure"
        )
        self._listening: SerialPort | None = None  # while all that came was taken, and we wait for more
        self._port = port
        self._intake = intake
        self._outbox = outbox
        self._demo = demo
        self._keeping: deque[tuple[asyncio.Future[None], int]] = deque()  # with the bytes read for it
        self._bytes_heard = 0
        self._mode = Mode.TEST

    @property
    def is_at_rest(self) -> bool:
        """Whether the port is open, all that came was taken, and the device measures nobody (activity.py)."""
        return self._listening is not None and not self._listening.has_bytes and self.trials.is_at_rest

    async def run(self) -> None:
        """Attend the device until cancelled."""
        failures = 0
        while True:
            cap = RETRY_CAP_S
            heard_before = self._bytes_heard
            try:
                await self._attend()
            except LinkError as error:
                self.standing.note("offline", error.fault.value, str(error))
            except Exception as error:  # noqa: BLE001 - the supervisor's edge
                cap = RETRY_CAP_BROKEN_S
                self.standing.defect(error)
            failures = 0 if self._bytes_heard > heard_before and cap == RETRY_CAP_S else failures + 1
            longest = min(cap, RETRY_FIRST_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(random.uniform(RETRY_FIRST_S, longest))  # noqa: S311 - jitter

    async def _attend(self) -> None:
        """Open the port and read it until it fails. Raises LinkError."""
        driver = registry.driver(self.device.model)
        port = await SerialPort.open(self._port, self.device.line)
        try:
            self._mode = Mode.of(demo=self._demo, real=not port.is_pty)
            self._activity.opened(time.monotonic())
            self.standing.opened("the port is open; the device has said nothing yet")
            await self._read(port, driver)
        except asyncio.CancelledError:
            self._read_out(port, driver)
            raise
        finally:
            port.close()  # first: a dead descriptor keeps the adapter from coming back under its own name
            self._take(driver.close(time.monotonic()).events)

    def _read_out(self, port: SerialPort, driver: Driver) -> None:
        """Take what lies in the port when we are told to go: closing throws it away."""
        with suppress(LinkError):
            for _ in range(READ_OUT_LIMIT):
                data, at = port.read_waiting()
                if not data:
                    return
                self._take(driver.feed(data, at).events, len(data))

    async def _read(self, port: SerialPort, driver: Driver) -> None:
        step, size = driver.tick(time.monotonic()), 0
        while True:
            self._take(step.events, size)  # before writing, which may fail: what was heard is told
            if step.write:
                port.write(step.write)
            await self._let_the_disk_follow()
            step, size = await self._next_step(port, driver, step.deadline)

    async def _next_step(self, port: SerialPort, driver: Driver, deadline: float | None) -> tuple[Step, int]:
        """Answer what the driver makes of what comes next, and of how many bytes; the others have their turn."""
        self._listening = port
        try:
            data, at = await port.read(deadline)
        finally:
            self._listening = None
        if not data:
            return driver.tick(at), 0
        self._bytes_heard += len(data)
        self._activity.bytes_came(at)
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
                    try:
                        reading, at = self._intake.reading(event, self._mode), time.monotonic()
                        readings.append(self.trials.settle(reading, at, self._intake.hold))
                    except UnknownUnit as error:
                        self.standing.unknown_unit(error)
                elif isinstance(event, Notice):
                    self._take_notice(event)
                else:
                    self.standing.rejected(event)
                if size:  # what is told in a silence, or at the port's end, is no news of the device
                    self._activity.take(event, time.monotonic())
        finally:  # a defect in one event must not cost the readings before it
            if readings:
                kept = self._outbox.keep([self._intake.draft(reading) for reading in readings])
                self._keeping.append((kept, size))
                self.standing.samples(len(readings))

    def _take_notice(self, notice: Notice) -> None:
        if notice.code == "no_answer":  # not a frame, but its absence
            self.standing.note("unknown", "silent", notice.detail)
        else:
            self.standing.notice(notice, self.trials.mode(self._mode))
