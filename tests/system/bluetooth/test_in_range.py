"""`vitals-gateway discover` as a process on a simulated air: who is in range is named, a running service hears on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.config import load
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.and_ut_201ble import AndUt201ble
from simulators.ble.mi_scale import MiScale
from simulators.ports.room import Room

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
CUFF, NEIGHBOR, THERMOMETER = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02", "C8:1E:8E:00:02:01"
SCALE, PRIVATE = "C8:1E:8E:00:0C:01", "7A:1E:8E:00:00:03"
PATIENCE_S = 40.0


@asynccontextmanager
async def discovering(*arguments: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, while it looks; it is ended as by Ctrl-C once the test has seen enough."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("discover", "--bluetooth-only", "--seconds", "600", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "RUNTIME_DIRECTORY": str(folder)},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def told(process: asyncio.subprocess.Process, *addresses: str) -> None:
    """Wait until its progress has named all of these."""
    assert process.stderr is not None
    left = set(addresses)
    while left:
        line = (await process.stderr.readline()).decode()
        assert line, "it ended"
        left -= {address for address in left if line.startswith(address)}


async def ended(process: asyncio.subprocess.Process) -> str:
    process.send_signal(signal.SIGINT)
    said, progress = await process.communicate()
    assert (process.returncode, b"Traceback" in progress) == (0, False), progress
    return said.decode()


def addresses_in(folder: Path, said: str) -> dict[str, str]:
    """What `check` reads when it is pasted: address -> model."""
    file = folder / "pasted.yaml"
    head = 'site: northside\nroom: exam-3\nbroker: {url: "mqtt://127.0.0.1:1883"}\noutbox: {path: outbox.db}\n'
    file.write_text(head + said)
    loaded = load(file)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    return {str(device.address): device.model_name for device in loaded.settings.devices}


async def test_devices_in_range_are_named_and_one_cuff_of_two_is_chosen_by_nobody(room: Room, tmp_path: Path) -> None:
    fast: dict[str, Any] = {"advertising_interval_ms": 20}
    cuff, neighbor = (AndUa651ble(room.air.radio(name), name, **fast) for name in (CUFF, NEIGHBOR))
    private = AndUa651ble(room.air.radio(PRIVATE), PRIVATE, **fast)
    thermometer = AndUt201ble(room.air.radio(THERMOMETER), THERMOMETER, **fast)
    scale = MiScale(room.air.radio(SCALE), SCALE, beat_s=0.05, **fast)
    async with cuff, neighbor, private, thermometer, scale, discovering(folder=tmp_path) as process:
        weighing = asyncio.create_task(scale.measure(Decimal("72.4")))
        for device in (cuff, neighbor, private, thermometer):
            await device.advertise()
        await told(process, CUFF, NEIGHBOR, PRIVATE, THERMOMETER, SCALE)
        said = await ended(process)
        await weighing
        assert all(one.peripheral.connection is None for one in (cuff, neighbor, private, thermometer))
    assert addresses_in(tmp_path, said) == {
        CUFF: "and-ua-651ble",
        THERMOMETER: "and-ut-201ble",
        SCALE: "xiaomi-mi-scale",
    }
    assert f"#     address: {json.dumps(NEIGHBOR)}" in said
    assert f"#     address: {json.dumps(PRIVATE)}" in said
    assert "its address changes: pair it first" in said
    assert "72.4" not in said
    assert not [call for call in room.bluez.calls if "Connect" in call or "Pair" in call or "Agent" in call]


async def test_a_running_service_hears_on_and_what_it_has_is_not_offered_again(exam_room: Any) -> None:
    room = exam_room
    await room.start()
    await room.listening()
    async with discovering(folder=room.folder) as process:
        await room.neighbor.measure(118, 76, 64)
        await told(process, NEIGHBOR)
        measuring = asyncio.create_task(room.cuff.measure(131, 82, 66))
        reading = await room.arrives(131)
        await measuring
        assert reading["device"]["id"] == "cuff"
        said = await ended(process)
    await room.stop()
    assert "It has: cuff, thermometer" in said
    assert f"#     address: {json.dumps(NEIGHBOR)}" in said, "the room has a cuff: whose is this one?"
    assert "devices:" not in said.splitlines()


async def test_without_bluetooth_it_says_so_and_fails(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("discover", "--bluetooth-only", "--seconds", "60"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"},
    )
    async with asyncio.timeout(PATIENCE_S):
        said, _ = await process.communicate()
    assert process.returncode == 1
    assert "Bluetooth: no bluetoothd answers on the system bus: systemctl status bluetooth" in said.decode()
