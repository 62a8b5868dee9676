"""What goes wrong with BlueZ itself, as bleak's own backend sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bleak import BleakScanner
from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakDeviceNotFoundError

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ports.bluez_objects import BluezError, Unanswered
from simulators.ports.dbus_daemon import DbusDaemon
from simulators.ports.room import Room

PATIENCE_S = 10.0
SHORT_S = 1.0  # how long a call is given that is never answered
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
IN_PROGRESS = BluezError("InProgress", "Operation already in progress")


async def test_start_discovery_in_progress(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    room.bluez.fail("Adapter1.StartDiscovery", IN_PROGRESS)
    record = await cuff.measure(120, 80, 60)
    with pytest.raises(BleakDBusError, match="InProgress"):
        await reader.find(cuff)
    assert await reader.read(cuff) == [record]


async def test_stop_discovery_in_progress_though_it_stopped(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    room.bluez.fail("Adapter1.StopDiscovery", IN_PROGRESS, done=True)  # bluez/bluez#807
    record = await cuff.measure(120, 80, 60)
    assert await reader.read(cuff) == [record]


async def test_two_scanners_of_one_process(room: Room) -> None:
    async with BleakScanner():
        second = BleakScanner()
        with pytest.raises(BleakDBusError, match="InProgress"):
            await second.start()


async def test_writes_in_progress_are_tried_again(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)) as client:
        room.bluez.fail("GattCharacteristic1.WriteValue", BluezError("InProgress", "In Progress"), times=3)
        await client.write_gatt_char("00002a08-0000-1000-8000-00805f9b34fb", bytes.fromhex("ea070b160d0509"), True)
    assert cuff.clock.now().year == 2026
    assert room.bluez.calls.count("GattCharacteristic1.WriteValue") == 4


@pytest.mark.parametrize(
    ("call", "error", "seen"),
    [
        ("Device1.Connect", BluezError("Failed", "Software caused connection abort"), BleakDBusError),
        (
            "Device1.Connect",
            BluezError("org.freedesktop.DBus.Error.UnknownObject", 'Method "Connect" doesn\'t exist'),
            BleakDeviceNotFoundError,
        ),
        ("GattCharacteristic1.StartNotify", BluezError("NotPermitted", "Not paired"), BleakDBusError),
        ("GattCharacteristic1.StartNotify", Unanswered(), TimeoutError),
    ],
)
async def test_a_call_fails_as_it_is_told(
    room: Room, cuff: AndUa651ble, reader: Any, call: str, error: BluezError | Unanswered, seen: type[Exception]
) -> None:
    room.bluez.fail(call, error)
    record = await cuff.measure(120, 80, 60)
    client = reader.client(await reader.find(cuff))
    with pytest.raises(seen):
        await asyncio.wait_for(_connect_and_subscribe(reader, client, cuff), SHORT_S)
    await client.disconnect()
    await cuff.advertise()
    assert await reader.read(cuff) == [record]


async def test_a_call_that_nobody_can_make_cannot_be_told_to_fail(bare_room: Room) -> None:
    with pytest.raises(ValueError, match=r"Device1\.Connect"):
        bare_room.bluez.fail("Device1.Conect", IN_PROGRESS)


async def test_power_off_while_scanning_is_silence(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    seen: asyncio.Queue[Any] = asyncio.Queue()
    scanner = BleakScanner(lambda found, _advertisement: seen.put_nowait(found))
    await scanner.start()
    await room.bluez.power(False)
    record = await cuff.measure(120, 80, 60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(seen.get(), SHORT_S / 2)
    await reader.hears_of_adapter(there=False)
    with pytest.raises(BleakBluetoothNotAvailableError):
        await reader.find(cuff)
    await room.bluez.power(True)
    await reader.hears_of_adapter(there=True)
    assert await reader.read(cuff) == [record]


async def test_power_off_while_connected(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    record = await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)):
        await room.bluez.power(False)
        await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    await room.bluez.power(True)
    await reader.hears_of_adapter(there=True)
    await cuff.advertise()
    assert await reader.read(cuff) == [record]


async def test_the_adapter_is_pulled_out_and_put_in_again(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    record = await cuff.measure(120, 80, 60)
    async with reader.client(await reader.find(cuff)):
        await room.bluez.unplug()
        await asyncio.wait_for(reader.hung_up.wait(), PATIENCE_S)
    await reader.hears_of_adapter(there=False)
    with pytest.raises(BleakBluetoothNotAvailableError):
        await reader.find(cuff)
    room.bluez.plug()
    await reader.hears_of_adapter(there=True)
    await cuff.advertise()
    assert await reader.read(cuff) == [record]


async def test_the_daemon_dies_without_a_word_and_returns(room: Room, cuff: AndUa651ble, reader: Any) -> None:
    await cuff.measure(120, 80, 60)
    await reader.read(cuff)
    record = await cuff.measure(121, 80, 60)
    client = reader.client(await reader.find(cuff))
    await client.connect()
    await room.bluez.die()
    with pytest.raises(BleakDBusError, match="ServiceUnknown"):
        await reader.subscribe(client, cuff)
    assert client.is_connected  # bleak does not notice
    with pytest.raises(BleakDBusError, match="ServiceUnknown"):
        await reader.find(cuff)
    await room.bluez.start()
    with pytest.raises(BleakDBusError, match="NotConnected"):
        await client.disconnect()
    await cuff.advertise()
    # The old client, which believes that it is connected, is told of every record too: bleak gives no way to stop it.
    found = await reader.find(cuff)
    assert found.details["props"]["Paired"]
    assert await type(reader)().read(cuff, found) == [record]
    assert cuff.journal.count("paired") == 1  # bonds outlive the daemon


async def test_a_call_under_way_when_the_daemon_dies_is_not_answered_by_it(
    room: Room, cuff: AndUa651ble, reader: Any, eventually: Eventually
) -> None:
    await cuff.measure(120, 80, 60)
    found = await reader.find(cuff)
    await cuff.peripheral.stop_advertising()
    connecting = asyncio.create_task(reader.client(found, timeout=SHORT_S).connect())
    await eventually(lambda: "Device1.Connect" in room.bluez.calls)
    await room.bluez.die()
    with pytest.raises((TimeoutError, BleakDBusError)):
        await asyncio.wait_for(connecting, PATIENCE_S)


async def test_a_client_that_leaves_ends_its_discovery(room: Room, tmp_path: Path, eventually: Eventually) -> None:
    script = tmp_path / "scanner.py"
    script.write_text(
        "import asyncio, bleak\n"
        "async def main():\n"
        "    await bleak.BleakScanner().start()\n"
        "    print('scanning', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env={**os.environ, **room.environment}, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await asyncio.wait_for(child.stdout.readline(), 3 * PATIENCE_S) == b"scanning\n"
    assert room.bluez.discovering
    child.kill()
    await child.wait()
    await eventually(lambda: not room.bluez.discovering)


async def test_the_bus_ends_with_its_parent(tmp_path: Path, eventually: Eventually) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio\n"
        "from simulators.ports.dbus_daemon import DbusDaemon\n"
        "async def main():\n"
        "    async with DbusDaemon() as bus:\n"
        "        print(bus.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    daemon = Path("/proc") / (await asyncio.wait_for(parent.stdout.readline(), PATIENCE_S)).decode().strip()
    assert b"dbus-daemon" in (daemon / "cmdline").read_bytes()
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: not daemon.exists() or not (daemon / "cmdline").read_bytes())


async def test_a_missing_dbus_daemon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RuntimeError, match="apt-get install dbus"):
        async with DbusDaemon():
            pass


async def _connect_and_subscribe(reader: Any, client: Any, cuff: AndUa651ble) -> None:
    await client.connect()
    await reader.subscribe(client, cuff)
