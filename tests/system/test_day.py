"""A day of an exam room, with faults by chance: what was measured is what arrives, and the process stays as small.

HOURS=24 in the environment makes it a whole day (a patient every ten minutes, `--log-level=info` shows the
counts); the ordinary one is shorter. The time
between patients is left out: nothing here waits for a clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.broker import OwnBroker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room
from simulators.serial.and_tm import record

_log = logging.getLogger(__name__)

HOURS = float(os.environ.get("HOURS", "1"))
PATIENTS = round(HOURS * 6)
CUFF = "C8:1E:8E:00:00:01"
NEW_PORT = Callable[[str], PtyPort]


class Day:
    """The room, and what was measured in it: a device and the one number that no other measurement there has."""

    def __init__(self, gateway: Any, broker: OwnBroker, chart: Chart, room: Room, cuff: AndUa651ble) -> None:
        self.gateway, self.broker, self.chart, self.room, self.cuff = gateway, broker, chart, room, cuff
        self.measured: list[tuple[str, float]] = []
        self.faults: Counter[str] = Counter()
        self.away = 0  # patients until the broker is back

    @property
    def rows(self) -> int:
        with closing(sqlite3.connect(self.gateway.outbox)) as db:
            return int(db.execute("SELECT count(*) FROM reading").fetchone()[0])

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - a database and other processes set no Event
                await asyncio.sleep(0.01)

    async def patient(self, scale: PtyPort, monitor: PtyPort) -> None:
        """Is weighed, measured at the monitor, and by the cuff; all is on disk in the end."""
        number = len(self.measured) // 3
        kg, systolic, diastolic, pulse = 40 + number / 10, 90 + number % 100, 50 + number % 37, 45 + number % 91
        scale.write(f"ST,{kg:+09.3f} kg\r\n".encode())
        monitor.write(record(datetime(2026, 11, 24, 8, 0), 0, (systolic, diastolic + 1.0, diastolic), pulse, ()))  # noqa: DTZ001
        await self.cuff.measure(systolic, diastolic, pulse)
        key = systolic * 1_000_000 + diastolic * 1000 + pulse
        self.measured += [("scale", kg), ("monitor", key), ("cuff", key)]
        await self.until(lambda: self.rows >= len(self.measured))
        await self.until(lambda: not self.cuff.memory)
        assert self.rows == len(self.measured)

    async def everything_arrived(self) -> None:
        await self.chart.wait_for(lambda chart: len(chart.readings) >= len(self.measured), timeout=60)

    async def ready(self) -> None:
        """Wait until every device is there again."""
        await self.gateway.until(
            lambda status: all(
                device["state"] == "online" or device["reason"] == "not_heard_yet"
                for device in status["devices"].values()
            ),
            timeout=60,
        )

    async def settle_broker(self) -> None:
        if self.away:
            self.away -= 1
            if not self.away:
                await self.broker.start()
                await self.everything_arrived()

    # ---- faults --------------------------------------------------------------------------------------------------

    async def gateway_killed(self) -> None:
        await self.gateway.kill()
        await self.gateway.start()

    async def gateway_restarted(self) -> None:
        assert await self.gateway.stop() == 0
        await self.gateway.start()

    async def broker_away(self) -> None:
        """For some patients. What it had was passed on before: what a broker forgets is another test's."""
        if not self.away:
            await self.everything_arrived()
            await self.broker.kill()
            self.away = 3

    async def bluetoothd_killed(self) -> None:
        await self.room.bluez.die()
        await self.gateway.until(lambda status: status["devices"]["cuff"]["reason"] == "no_bluetooth")
        await self.room.bluez.start()

    async def adapter_off(self) -> None:
        await self.room.bluez.power(False)
        await self.gateway.until(lambda status: status["devices"]["cuff"]["reason"] == "adapter_off")
        await self.room.bluez.power(True)

    async def noise(self, port: PtyPort, chance: random.Random) -> None:
        """Between two patients; no byte of it can begin a frame of this device."""
        port.write(bytes(chance.choices(b"\x00\xff#?%\r\n", k=chance.randrange(1, 80))) + b"\r\n")


@pytest.mark.timeout(300 + HOURS * 240)
async def test_in_is_out_over_a_day(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NEW_PORT, room: Room, chance: random.Random
) -> None:
    scale, monitor = new_port("scale"), new_port("monitor")
    gateway.add_device("scale", "and-standard-scale", scale.path)
    gateway.add_device("monitor", "and-tm-2655p", monitor.path)
    gateway.devices.append(f'{{id: cuff, model: and-ua-651ble, address: "{CUFF}"}}')
    sizes: list[tuple[int, int]] = []
    async with AndUa651ble(room.air.radio("cuff"), CUFF, advertising_interval_ms=20) as cuff:
        day = Day(gateway, broker, chart, room, cuff)
        await gateway.start()
        await day.ready()
        restarts: list[Callable[[], Awaitable[None]]] = [day.gateway_killed, day.gateway_restarted]
        others: list[Callable[[], Awaitable[None]]] = [
            day.broker_away,
            day.bluetoothd_killed,
            day.adapter_off,
            partial(day.noise, scale, chance),
        ]
        for patient in range(PATIENTS):
            first_quarter = patient < PATIENTS / 4  # then it is left alone, to see whether it grows
            if patient and chance.random() < 0.5:
                fault = chance.choice([*others, *(restarts if first_quarter else ())])
                day.faults[getattr(fault, "__name__", "noise")] += 1
                await fault()
                await day.ready()
            await day.patient(scale, monitor)
            await day.settle_broker()
            if not first_quarter and not day.away:
                await day.everything_arrived()
                sizes.append(size(gateway.process.pid))
        if day.away:
            await broker.start()
        await day.everything_arrived()
        assert Counter(map(told, chart.readings.values())) == Counter(day.measured)
        assert not chart.gaps
        assert day.rows == len(day.measured)
        assert await gateway.stop() == 0
    _log.info("%d measured and arrived; faults %s; descriptors and KiB %s", len(day.measured), dict(day.faults), sizes)
    descriptors, kib = zip(*sizes, strict=True)
    uncollected = 5  # what a fault left and the collector has not taken yet
    assert max(descriptors[len(sizes) // 2 :]) <= max(descriptors[: len(sizes) // 2]) + uncollected, "left open"
    assert max(kib[len(sizes) // 2 :]) <= 1.1 * max(kib[: len(sizes) // 2]), "it grows"


def told(payload: Any) -> tuple[str, float]:
    vitals = {vital["kind"]: float(vital["value"]) for vital in payload["vitals"] if vital["value"] is not None}
    if "body_weight" in vitals:
        return payload["device"]["id"], vitals["body_weight"]
    return payload["device"]["id"], vitals["systolic"] * 1_000_000 + vitals["diastolic"] * 1000 + vitals["pulse_rate"]


def size(pid: int) -> tuple[int, int]:
    """Open descriptors, and memory that is the process's own, in KiB."""
    folder = Path(f"/proc/{pid}")
    private = [line.split()[1] for line in (folder / "smaps_rollup").read_text().splitlines() if "Private" in line]
    import subprocess

    subprocess.run(f"ls -l /proc/{pid}/fd >> /tmp/fds.txt; echo == >> /tmp/fds.txt", shell=True)
    return sum(1 for _ in (folder / "fd").iterdir()), sum(map(int, private))
