"""A simulated room, and the gateway's own radio in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from bleak.backends.bluezdbus import manager as bleak_manager

from drivers.links import bluez, calls, radio
from drivers.links.bluez import Bluez
from drivers.links.radio import Radio
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports.room import Room

CUFF = "C8:1E:8E:00:00:01"
PATIENCE_S = 15.0

Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def _eventually(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - there is no event for what another process does
            await asyncio.sleep(0.005)


@pytest.fixture
def eventually() -> Eventually:
    """Wait until what another process does has happened."""
    return _eventually


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again after a moment."""
    monkeypatch.setattr(bluez, "RETRY_S", 0.05)
    monkeypatch.setattr(bluez, "POWER_OFF_S", 0.02)
    monkeypatch.setattr(radio, "RETRY_S", 0.05)
    monkeypatch.setattr(radio, "LOOK_S", 0.02)


@pytest.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    room = Room()
    for name, value in room.environment.items():
        monkeypatch.setenv(name, value)
    async with room:
        yield room
        await _close_bleak()


@pytest.fixture
async def start_bluez(room: Room) -> AsyncIterator[Callable[..., Bluez]]:
    """Make a Bluez that lets these addresses bond, and run it to the end of the test."""
    running: list[asyncio.Task[None]] = []

    def start(*addresses: str, on_change: Callable[[], None] = lambda: None) -> Bluez:
        made = Bluez(addresses.__contains__, on_change)
        running.append(asyncio.create_task(made.run()))
        return made

    yield start
    await _stop(running)


@pytest.fixture
async def start_radio(room: Room) -> AsyncIterator[Callable[..., Radio]]:
    """Make a Radio for these addresses, and run it to the end of the test. Nothing of it may be left then."""
    running: list[asyncio.Task[None]] = []

    def start(*addresses: str, on_change: Callable[[], None] = lambda: None) -> Radio:
        made = Radio(addresses or (CUFF,), on_change)
        running.append(asyncio.create_task(made.run()))
        return made

    yield start
    await _stop(running)
    await _eventually(lambda: not calls._abandoned)


@pytest.fixture
async def cuff(room: Room) -> AsyncIterator[AndUa651ble]:
    async with AndUa651ble(room.air.radio("cuff"), CUFF, advertising_interval_ms=20) as cuff:
        yield cuff


async def _stop(running: list[asyncio.Task[None]]) -> None:
    for task in running:
        task.cancel()
    for task in running:
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE_S)


async def _close_bleak() -> None:
    # bleak keeps one connection to the bus for a loop's whole life, and offers no way to end it.
    manager = bleak_manager._global_instances.pop(asyncio.get_running_loop(), None)
    if manager is not None and manager._bus is not None:
        if manager._bus.connected:
            manager._bus.disconnect()
            await manager._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        if manager._bus_watcher_task is not None:
            await asyncio.wait({manager._bus_watcher_task})
