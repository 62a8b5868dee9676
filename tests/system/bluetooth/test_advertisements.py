"""Who is only heard, and who changes its address: from the air through the whole service to the chart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from simulators.ble.mi_scale import MiScale

B = "vitals/v1/northside/exam-3"
FIRST, SECOND = "C8:1E:8E:00:06:01", "C8:1E:8E:00:06:02"
CUFF = "C8:1E:8E:00:00:01"
BEAT_S = 0.05
PATIENCE_S = 30.0


@dataclass
class Scales:
    """Both generations, and the room that hears them."""

    room: Any
    first: MiScale
    second: MiScale

    async def start(self) -> None:
        await self.room.start()
        await self.room.listening()

    async def readings(self, count: int) -> list[dict[str, Any]]:
        await self.room.chart.wait_for(lambda chart: len(chart.deliveries) >= count, timeout=PATIENCE_S)
        return [delivery.payload for delivery in self.room.chart.deliveries]

    async def all_told(self) -> list[dict[str, Any]]:
        await self.room.nothing_left()
        return await self.readings(0)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [
            (float(one["vitals"][0]["value"]), one["disposition"], one["reasons"])
            for one in (delivery.payload for delivery in self.room.chart.deliveries)
        ]


@pytest.fixture
async def scales(exam_room: Any) -> AsyncIterator[Scales]:
    async with AsyncExitStack() as stack:
        air = exam_room.room.air
        fast: dict[str, Any] = {"beat_s": BEAT_S, "advertising_interval_ms": 20}
        made = Scales(
            exam_room,
            MiScale(air.radio("first"), FIRST, **fast),
            MiScale(air.radio("second"), SECOND, generation=2, unit="lb", **fast),
        )
        await stack.enter_async_context(made.first)
        await stack.enter_async_context(made.second)
        exam_room.more_devices += [
            f'{{id: scale, model: xiaomi-mi-scale, address: "{FIRST}"}}',
            f'{{id: scale-2, model: xiaomi-mi-scale-2, address: "{SECOND}"}}',
        ]
        yield made
        await exam_room.stop()


async def test_a_weighing_is_one_reading_of_now_and_nobody_connects(scales: Scales) -> None:
    await scales.start()
    await scales.first.measure(Decimal("72.45"))
    (reading,) = await scales.all_told()
    assert scales.told == [(72.45, "usable", [])]
    assert scales.room.chart.deliveries[0].topic == f"{B}/test/reading"
    assert reading["taken_at"] == reading["received_at"]
    assert reading["time"]["device_time"].startswith("1970-01-01T")
    assert (reading["device"]["id"], reading["device"]["hardware"]) == ("scale", FIRST)
    assert "Device1.Connect" not in scales.room.room.bluez.calls


async def test_two_persons_and_the_same_one_twice(scales: Scales) -> None:
    await scales.start()
    for kg in ("72.45", "61.75", "61.75"):
        await scales.first.measure(Decimal(kg))
    await scales.all_told()
    assert scales.told == [(72.45, "usable", []), (61.75, "usable", []), (61.75, "usable", [])]


async def test_the_second_generation_in_pounds_with_an_impedance_that_comes_late(scales: Scales) -> None:
    await scales.start()
    await scales.second.measure(Decimal("63.8"), impedance=503)
    (reading,) = await scales.all_told()
    assert reading["vitals"][0]["measured"] == {"value": "140.70", "unit": "[lb_av]"}
    assert reading["disposition"] == "usable"


async def test_what_is_said_before_anybody_listens_is_old(scales: Scales) -> None:
    await scales.first.measure(Decimal("72.45"))
    await scales.start()
    await scales.first.linger(5)
    await scales.readings(1)
    assert scales.told == [(72.45, "hold", ["stored_record", "clock_unverifiable"])]
    await scales.first.linger(5)
    await scales.first.measure(Decimal("61.75"))
    await scales.all_told()
    assert scales.told[1:] == [(61.75, "usable", [])]


async def test_who_comes_when_somebody_stands_on_it_does_not_know_when_they_stepped_on(scales: Scales) -> None:
    await scales.first.rise(Decimal("72.45"))
    standing = asyncio.create_task(scales.first.stand(Decimal("72.45")))
    await scales.start()
    await standing
    await scales.first.stand(Decimal("72.45"))
    await scales.first.leave()
    await scales.readings(1)
    assert {reasons[0] for _, _, reasons in scales.told} == {"clock_unverifiable"}


async def test_what_was_told_is_no_reading_again_after_a_restart_but_named(scales: Scales) -> None:
    await scales.start()
    await scales.first.measure(Decimal("72.45"))
    (reading,) = await scales.all_told()
    await scales.room.stop()
    await scales.start()
    await scales.first.linger(5)
    again = (await scales.readings(2))[1]
    assert (again["disposition"], again["possible_repeat_of"]) == ("hold", reading["id"])


async def test_who_leaves_early_a_thing_and_catty_are_no_patients_weight(scales: Scales) -> None:
    await scales.start()
    await scales.first.step_off_early(Decimal("72.45"))
    await scales.first.measure(Decimal("4.3"), thing=True)
    scales.first.unit = "catty"
    await scales.first.measure(Decimal("72.45"))
    event = await scales.room.told("unit_not_supported")
    assert "72" not in event["detail"]
    await scales.all_told()
    assert scales.told == [(4.3, "hold", ["object"])]


async def test_both_scales_and_a_cuff_at_once(scales: Scales) -> None:
    await scales.start()
    await asyncio.gather(
        scales.first.measure(Decimal("72.45")),
        scales.second.measure(Decimal("63.8")),
        scales.room.cuff.measure(128, 82, 66),
    )
    told = await scales.readings(3)
    await scales.all_told()
    assert sorted(reading["device"]["id"] for reading in told) == ["cuff", "scale", "scale-2"]


async def test_there_is_nothing_to_pair(scales: Scales) -> None:
    await scales.start()
    reader, writer = await asyncio.open_unix_connection(scales.room.folder / "control.sock")
    writer.write(b'{"command": "pair", "address": "%s"}\n' % FIRST.encode())
    assert b"only heard" in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()


async def test_silence_is_no_fault_and_the_adapters_is_shown(scales: Scales) -> None:
    await scales.start()
    assert (await scales.room.status())["devices"]["scale"]["reason"] == "not_heard_yet"
    await scales.room.room.bluez.power(False)
    await scales.room.until(lambda devices: devices["scale"]["reason"] == "adapter_off")
    await scales.room.room.bluez.power(True)
    await scales.room.until(lambda devices: devices["scale"]["reason"] == "not_heard_yet")
    await scales.room.until(lambda _: scales.room.room.bluez.discovering)
    await scales.first.measure(Decimal("72.45"))
    await scales.readings(1)
    assert scales.told == [(72.45, "usable", [])]


async def _bond_by_hand(room: Any, name: str, *, stays_connected: bool = False) -> None:
    """What a person does with bluetoothctl: an agent, a scan, pair."""
    bus = await MessageBus(bus_address=room.environment["DBUS_SYSTEM_BUS_ADDRESS"]).connect()

    def agree(message: Message) -> Message | None:
        is_call = message.message_type is MessageType.METHOD_CALL and message.interface == "org.bluez.Agent1"
        return Message.new_method_return(message) if is_call else None

    async def call(path: str, interface: str, member: str, signature: str = "", *body: object) -> list[Any]:
        message = Message("org.bluez", path, interface, member, signature=signature, body=list(body))
        reply = await bus.call(message)
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply.body

    bus.add_message_handler(agree)
    await call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", "/person", "NoInputNoOutput")
    await call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", "/person")
    await call("/org/bluez/hci0", "org.bluez.Adapter1", "StartDiscovery")
    path = None
    async with asyncio.timeout(PATIENCE_S):
        while path is None:
            (objects,) = await call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
            for known, interfaces in objects.items():
                shown = interfaces.get("org.bluez.Device1", {})
                if "Name" in shown and shown["Name"].value == name:
                    path = known
                    assert shown["Address"].value != CUFF, "it tells its own address to nobody"
    await call(path, "org.bluez.Device1", "Pair")
    if not stays_connected:
        await call(path, "org.bluez.Device1", "Disconnect")
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("listens_already", [False, True])
async def test_a_bonded_cuff_is_heard_by_its_own_address_whatever_it_advertises_with(
    exam_room: Any, listens_already: bool
) -> None:
    exam_room.cuff.peripheral.be_private()
    await exam_room.cuff.pairing_mode()
    if listens_already:
        await exam_room.start()
        await exam_room.listening()
    await _bond_by_hand(exam_room.room, exam_room.cuff.peripheral.name)
    if not listens_already:
        await exam_room.start()
        await exam_room.listening()
    seen = set()
    for systolic in (128, 129, 130):
        await exam_room.cuff.measure(systolic, 82, 66)
        reading = await exam_room.arrives(systolic)
        assert (reading["device"]["id"], reading["device"]["hardware"]) == ("cuff", CUFF)
        seen.add(str(exam_room.cuff.peripheral._device.random_address))
    assert len(seen) == 3
    assert exam_room.room.bluez.calls.count("Device1.Pair") == 1


async def test_a_link_that_was_left_and_an_old_bond_are_found_by_its_own_address(exam_room: Any) -> None:
    cuff, bluez = exam_room.cuff, exam_room.room.bluez
    cuff.peripheral.be_private()
    await cuff.pairing_mode()
    await _bond_by_hand(exam_room.room, cuff.peripheral.name, stays_connected=True)
    assert cuff.peripheral.connection is not None
    await exam_room.start()
    await exam_room.listening()
    await exam_room.until(lambda _: cuff.peripheral.connection is None)
    await exam_room.service._attendants.radio.forget(CUFF)
    assert bluez.calls.count("Adapter1.RemoveDevice") == 1
    assert not any(device.bonded for device in bluez._adapter._devices.values())


async def test_who_is_not_bonded_is_not_known_by_a_private_address(exam_room: Any) -> None:
    exam_room.cuff.peripheral.be_private()
    await exam_room.start()
    await exam_room.listening()
    await exam_room.cuff.measure(128, 82, 66)
    await exam_room.thermometer.measure(Decimal("36.8"))
    await exam_room.chart.wait_for(lambda chart: len(chart.deliveries) >= 1, timeout=PATIENCE_S)
    assert exam_room.cuff.journal == []
    assert (await exam_room.status())["devices"]["cuff"]["reason"] == "not_heard_yet"
