"""One measurement of a simulated UA-651BLE, step by step: from its first advertisement to the broker's PUBACK.

Device, radio, bluetoothd's stand-in and gateway share one process here, so that one clock times all of them; D-Bus and
Mosquitto are real. A real radio adds its own time: advertising and connection intervals, and a real bonding. What
matters of it is the share that is ours: from bluetoothd's confirmation, after which the cuff forgets the record, to the
commit, which is the window in which a kill loses it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.goals import Facts
from benchmarks.stage import Stage
from benchmarks.tables import show, spread
from gateway.clock import Clock
from gateway.config import load
from gateway.service import Service
from gateway.store import Row
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.clock import DeviceClock
from simulators.broker import own_broker
from simulators.chart import Chart
from simulators.ports.room import Room

MEASUREMENTS = 40
MEASUREMENTS_QUICK = 3
PATIENCE_S = 30.0
ADDRESS = "C8:1E:8E:00:00:01"
STEPS = ("connected", "confirmed", "committed", "PUBACK")


@dataclass
class Seen:
    """When each step of one measurement was seen first (monotonic)."""

    at: dict[str, float] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, step: str) -> None:
        """Take note of a step."""
        self.at.setdefault(step, time.monotonic())
        if step == STEPS[-1]:
            self.done.set()


class Journal(list[str]):
    """The cuff's own journal, which tells what it writes down."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    def append(self, word: str) -> None:
        """Write down; `confirmed` is the host's confirmation of an indication."""
        super().append(word)
        if word in STEPS:
            self.seen.note(word)


class TimedService(Service):
    """The service, which tells when a row is committed and when its PUBACK has come."""

    journal: Journal

    @property
    def delivered(self) -> int:
        """How many rows the broker has acknowledged."""
        return self._publisher.state.delivered

    @property
    def listens(self) -> bool:
        """Whether the radio does."""
        return self._attendants.radio is not None and self._attendants.radio.listens

    def _on_kept(self, rows: list[Row]) -> None:
        self.journal.seen.note("committed")
        super()._on_kept(rows)


async def watch_puback(service: TimedService, before: int) -> None:
    """Note the PUBACK, to a millisecond: who looks without a pause takes the interpreter from the outbox's thread."""
    while service.delivered == before:  # noqa: ASYNC110 - it sets no Event
        await asyncio.sleep(0.001)
    service.journal.seen.note("PUBACK")


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    measurements = MEASUREMENTS if stage.size.part == 1.0 else MEASUREMENTS_QUICK
    with tempfile.TemporaryDirectory() as name:
        async with own_broker() as broker, Chart(broker.host, broker.port, "vitals/v1/#"), Room() as room:
            with _environment(room):
                clock = DeviceClock(ZoneInfo("UTC"))
                async with AndUa651ble(room.air.radio("cuff"), ADDRESS, clock=clock) as cuff:
                    cuff.peripheral.journal = journal = Journal()
                    service = await _service(Path(name), broker.port, journal)
                    stop = asyncio.Event()
                    serving = asyncio.create_task(service.run(stop))
                    first, others = await _measure(service, cuff, journal, measurements)
                    stop.set()
                    await serving
    show(
        "A cuff's measurement, step by step",
        ("ms", *STEPS, "confirmed to committed"),
        [("first, which bonds", *_row([first])), ("then", *_row(others))],
        f"{measurements} measurements of a bonded UA-651BLE, in ms since its advertising began.",
    )
    return {}


async def _service(folder: Path, broker_port: int, journal: Journal) -> TimedService:
    file = folder / "gateway.yaml"
    file.write_text(
        f"""\
site: bench
room: cuff
timezone: UTC
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
outbox: {{path: outbox.db}}
devices: [{{id: cuff, model: and-ua-651ble, address: "{ADDRESS}"}}]
"""
    )
    settings = load(file).settings
    if settings is None:
        raise RuntimeError("the benchmark's own configuration is wrong")
    clock = Clock(probes=[lambda: True])
    clock.refresh()
    service = TimedService(settings, control=folder / "control.sock", clock=clock)
    service.journal = journal
    return service


async def _measure(
    service: TimedService, cuff: AndUa651ble, journal: Journal, measurements: int
) -> tuple[list[float], list[list[float]]]:
    measured = []
    for number in range(measurements + 1):
        while cuff.peripheral.connection is not None or not service.listens:  # noqa: ASYNC110 - two parts, no Event
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.1)  # the cuff's rest, and another second in its stamp
        journal.seen = Seen()
        watching = asyncio.create_task(watch_puback(service, service.delivered))
        began = time.monotonic()
        await cuff.measure(100 + number, 60, 70)
        await asyncio.wait_for(journal.seen.done.wait(), PATIENCE_S)
        await watching
        at = journal.seen.at
        measured.append([*((at[step] - began) * 1000 for step in STEPS), (at["committed"] - at["confirmed"]) * 1000])
    return measured[0], measured[1:]


def _row(measured: Sequence[Sequence[float]]) -> list[str]:
    return [spread(column) for column in zip(*measured, strict=True)]


@contextmanager
def _environment(room: Room) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(room.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
