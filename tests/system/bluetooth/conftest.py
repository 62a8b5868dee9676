"""A room with simulated Bluetooth devices, the whole service in this process, a real Mosquitto, the chart's stand-in.

In this process, because a test's service needs a clock that counts as synchronized, whatever this machine's is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bleak.backends.bluezdbus import manager as bleak_manager

from gateway.clock import Clock
from gateway.config import load
from gateway.service import Service
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.clock import DeviceClock
from simulators.broker import own_broker
from simulators.chart import Chart, Delivery
from simulators.ports.room import Room

PATIENCE_S = 30.0
ZONE = "America/Chicago"
CUFF, NEIGHBOR, THERMOMETER = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02", "C8:1E:8E:00:02:01"


@dataclass
class ExamRoom:
    """Devices, gateway and chart of one room. The gateway knows cuff and thermometer, never the neighbor's cuff."""

    folder: Path
    room: Room
    chart: Chart
    broker_port: int
    cuff: AndUa651ble
    neighbor: AndUa651ble
    thermometer: AndUt201ble
    synced: bool = True
    more_devices: list[str] = field(default_factory=list)
    stored: str = "quarantine"
    service: Service | None = None
    _serving: asyncio.Task[None] | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        config = self.folder / "gateway.yaml"
        config.write_text(
            f"""\
site: northside
room: exam-3
timezone: {ZONE}
broker: {{url: "mqtt://127.0.0.1:{self.broker_port}"}}
outbox: {{path: outbox.db}}
devices:
  - {{id: cuff, model: and-ua-651ble, address: "{CUFF}", stored: {self.stored}}}
  - {{id: thermometer, model: and-ut-201ble, address: "{THERMOMETER}"}}
"""
            + "".join(f"  - {device}\n" for device in self.more_devices)
        )
        loaded = load(config)
        assert loaded.settings is not None, loaded.problems
        self._stop = asyncio.Event()
        clock = Clock(probes=[lambda: self.synced])
        clock.refresh()
        self.service = Service(loaded.settings, control=self.folder / "control.sock", clock=clock)
        self._serving = asyncio.create_task(self.service.run(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await asyncio.wait_for(serving, PATIENCE_S)

    async def status(self) -> dict[str, Any]:
        assert self.service is not None
        return await self.service._health.status()

    async def until(self, holds: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Wait until a device's status is as it should be; `holds` is asked with all devices."""
        devices: Mapping[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    assert self._serving is not None
                    assert not self._serving.done(), self._serving
                    devices = (await self.status())["devices"]
                    if devices and holds(devices):
                        return devices
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S} s: {devices}; cuff: {self.cuff.journal}") from None

    async def listening(self) -> None:
        """Wait until the radio listens."""
        await self.until(lambda devices: devices["cuff"]["reason"] in ("not_heard_yet", None))

    async def arrives(self, systolic: int) -> dict[str, Any]:
        """Wait for the reading with this systolic; no two readings of a test have the same."""
        await self.chart.wait_for(lambda _: bool(self.with_systolic(systolic)), timeout=PATIENCE_S)
        (reading,) = self.with_systolic(systolic)
        return reading

    def with_systolic(self, systolic: int) -> list[dict[str, Any]]:
        """Every delivery with this systolic, how often it came too."""
        return [payload for payload in map(payload_of, self.chart.deliveries) if value(payload, "systolic") == systolic]

    async def told(self, code: str) -> dict[str, Any]:
        """Wait for an event."""
        await self.chart.wait_for(lambda chart: any(payload_of(e)["code"] == code for e in chart.events), PATIENCE_S)
        return next(payload for payload in map(payload_of, self.chart.events) if payload["code"] == code)

    async def heard_again(self) -> None:
        """The cuff offers what it keeps, as when its key is pressed, until nothing is left."""
        async with asyncio.timeout(PATIENCE_S):
            while self.cuff.memory:
                if self.cuff.peripheral.connection is None and not self.cuff.peripheral.advertising:
                    await self.cuff.advertise()
                await asyncio.sleep(0.02)

    async def nothing_left(self) -> None:
        """Wait until the outbox has delivered all."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.status())["outbox"]["depth"]:  # noqa: ASYNC110 - the database sets no Event
                await asyncio.sleep(0.01)


def payload_of(delivery: Delivery) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(delivery.body)
    return found


def value(payload: Mapping[str, Any], kind: str) -> Any:
    return next((vital["value"] for vital in payload["vitals"] if vital["kind"] == kind), None)


@pytest.fixture
async def exam_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_fit: Callable[[Chart], None]
) -> AsyncIterator[ExamRoom]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(own_broker(config=("max_queued_messages 0",)))
        chart = await stack.enter_async_context(Chart(broker.host, broker.port, "vitals/v1/#"))
        room = await stack.enter_async_context(Room())
        for name, text in room.environment.items():
            monkeypatch.setenv(name, text)
        stack.push_async_callback(_close_bleak)
        here = ZoneInfo(ZONE)
        cuff = AndUa651ble(room.air.radio("cuff"), CUFF, clock=DeviceClock(here), advertising_interval_ms=20)
        neighbor = AndUa651ble(room.air.radio("next"), NEIGHBOR, clock=DeviceClock(here), advertising_interval_ms=20)
        thermometer = AndUt201ble(
            room.air.radio("thermometer"), THERMOMETER, clock=DeviceClock(here), advertising_interval_ms=20
        )
        for device in (cuff, neighbor, thermometer):
            await stack.enter_async_context(device)
        made = ExamRoom(tmp_path, room, chart, broker.port, cuff, neighbor, thermometer)
        stack.push_async_callback(made.stop)
        yield made
    all_fit(chart)


async def _close_bleak() -> None:
    # bleak keeps one connection to the bus for a loop's whole life, and offers no way to end it.
    manager = bleak_manager._global_instances.pop(asyncio.get_running_loop(), None)
    if manager is not None and manager._bus is not None:
        if manager._bus.connected:
            manager._bus.disconnect()
            await manager._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        if manager._bus_watcher_task is not None:
            await asyncio.wait({manager._bus_watcher_task})
