"""Serial devices go on at full pace while Bluetooth is in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.links import bluetooth, calls, gatt
from simulators.ble.faults import BleFault
from simulators.ports.bluez_objects import Unanswered
from simulators.ports.pty import PtyPort


class Scale:
    """Weighs somebody else each time that it is asked to, on a real pty."""

    def __init__(self, port: PtyPort) -> None:
        self._port = port
        self.weighed: list[float] = []

    async def weigh(self) -> float:
        kg = 40 + len(self.weighed) / 10
        for frame in (f"ST,{kg:+09.3f} kg\r\n", "ST,+0000.000 kg\r\n"):
            self._port.write(frame.encode())
        self.weighed.append(kg)
        return kg


@pytest.fixture
async def scale(exam_room: Any, tmp_path: Path) -> AsyncIterator[Scale]:
    port = PtyPort(tmp_path / "scale-port")
    exam_room.more_devices.append(f'{{id: scale, model: and-standard-scale, port: "{port.path}"}}')
    yield Scale(port)
    port.close()


async def weighed_all_along(exam_room: Any, scale: Scale, trouble: Awaitable[None]) -> int:
    """Weigh one after the other while `trouble` goes on; each must arrive before the next. Answer how many."""
    troubled = asyncio.ensure_future(trouble)
    before = len(scale.weighed)
    while not troubled.done() or len(scale.weighed) - before < 20:
        kg = await scale.weigh()
        await exam_room.chart.wait_for(
            lambda chart, kg=kg: any(
                vital["kind"] == "body_weight" and float(vital["value"]) == kg
                for delivery in chart.deliveries[-3:]
                for vital in (delivery.payload or {})["vitals"]
            ),
            timeout=10,
        )
    await troubled
    return len(scale.weighed) - before


async def _daemon_dies_and_returns(exam_room: Any) -> None:
    await exam_room.room.bluez.die()
    await exam_room.until(lambda devices: devices["cuff"]["reason"] == "no_bluetooth")
    await exam_room.room.bluez.start()
    await exam_room.listening()


async def _daemon_hangs_and_wakes(exam_room: Any) -> None:
    exam_room.room.bluez.hang()
    await exam_room.cuff.measure(111, 70, 60)
    await asyncio.sleep(2)
    exam_room.room.bluez.resume()


async def _adapter_goes_and_returns(exam_room: Any) -> None:
    await exam_room.room.bluez.unplug()
    await exam_room.until(lambda devices: devices["cuff"]["reason"] == "no_adapter")
    exam_room.room.bluez.plug()
    await exam_room.listening()


async def _calls_are_never_answered(exam_room: Any) -> None:
    for call in ("Device1.Connect", "Device1.Pair", "GattCharacteristic1.StartNotify"):
        exam_room.room.bluez.fail(call, Unanswered())
        await exam_room.cuff.measure(111, 70, 60)
        await exam_room.until(lambda devices: devices["cuff"]["reason"] not in ("not_heard_yet", None))


async def _a_flood(exam_room: Any) -> None:
    exam_room.cuff.inject(BleFault.NAN_FLOOD)
    await exam_room.cuff.measure(111, 70, 60)
    await exam_room.arrives(111)


@pytest.mark.parametrize(
    "trouble",
    [
        _daemon_dies_and_returns,
        _daemon_hangs_and_wakes,
        _adapter_goes_and_returns,
        _calls_are_never_answered,
        _a_flood,
    ],
)
async def test_weights_arrive_one_by_one(
    exam_room: Any, scale: Scale, trouble: Callable[[Any], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {gatt: ("CALL_S", "BOND_S"), bluetooth: ("CONNECT_S",), calls: ("DISCONNECT_S", "ABANDON_S")}
    for module, names in limits.items():
        for name in names:
            monkeypatch.setattr(module, name, 0.7)
    await exam_room.start()
    await exam_room.listening()
    await exam_room.until(lambda devices: devices["scale"]["reason"] == "not_heard_yet")
    count = await weighed_all_along(exam_room, scale, trouble(exam_room))
    weights = [
        float(vital["value"])
        for delivery in exam_room.chart.deliveries
        for vital in (delivery.payload or {})["vitals"]
        if vital["kind"] == "body_weight"
    ]
    assert weights == scale.weighed, "each once, in order"
    assert len(weights) == count
    await exam_room.cuff.measure(128, 82, 66)
    await exam_room.heard_again()
    assert (await exam_room.arrives(128))["disposition"] == "usable"
