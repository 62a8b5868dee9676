"""Cuffs and thermometers of other makers than A&D, and what they do, through the whole service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.sig_device import SigDevice
from simulators.ble.sig_models import MODELS

HERE = ZoneInfo("America/Chicago")
ADDRESS, NEXT_DOOR, SECOND = "C8:1E:8E:01:00:01", "C8:1E:8E:01:00:02", "C8:1E:8E:00:00:03"
CUFFS = [name for name, model in MODELS.items() if model.service == 0x1810]
THERMOMETERS = [name for name in MODELS if name not in CUFFS]

Make = Callable[..., Awaitable[SigDevice]]


@pytest.fixture
async def other(exam_room: Any) -> AsyncIterator[Make]:
    """Put one more device into the room, known to the gateway, and start that."""
    async with AsyncExitStack() as stack:

        async def make(model: str, *, start: bool = True, **how: Any) -> SigDevice:
            how = {"clock": DeviceClock(HERE), "advertising_interval_ms": 20, **how}
            device = SigDevice(exam_room.room.air.radio(model), ADDRESS, MODELS[model], **how)
            await stack.enter_async_context(device)
            exam_room.more_devices.append(f'{{id: other, model: {model}, address: "{ADDRESS}"}}')
            if start:
                await exam_room.start()
                await exam_room.listening()
            return device

        yield make


async def arrivals(exam_room: Any, count: int) -> list[dict[str, Any]]:
    """Wait for so many readings, and answer them."""
    await exam_room.chart.wait_for(lambda chart: len(chart.deliveries) >= count, timeout=30)
    return [delivery.payload for delivery in exam_room.chart.deliveries]


def why(payload: dict[str, Any]) -> tuple[str, list[str]]:
    return payload["disposition"], payload["reasons"]


# ---- every model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", CUFFS)
async def test_a_pressure_of_each_model_arrives(exam_room: Any, other: Make, model: str) -> None:
    device = await other(model)
    await device.pressure(131, 84, 71, irregular=True)
    payload = await exam_room.arrives(131)
    assert {v["kind"]: v["value"] for v in payload["vitals"]} == {"systolic": 131, "diastolic": 84, "pulse_rate": 71}
    assert payload["flags"] == ["irregular_pulse"]
    assert payload["device"]["model"] == model
    assert (payload["device"]["serial"], payload["device"]["firmware"]) == ("SIM-010001", None)
    can_be_asked = MODELS[model].clock != "none"
    assert why(payload) == (("usable", []) if can_be_asked else ("hold", ["clock_unverifiable"]))
    assert (payload["taken_at"] is not None) is can_be_asked
    await exam_room.until(lambda devices: devices["other"]["battery"] == 90)


@pytest.mark.parametrize("model", THERMOMETERS)
async def test_a_temperature_of_each_model_arrives(exam_room: Any, other: Make, model: str) -> None:
    device = await other(model)
    await device.temperature(Decimal("37.4"))
    (payload,) = await arrivals(exam_room, 1)
    assert [(v["kind"], v["value"]) for v in payload["vitals"]] == [("body_temperature", Decimal("37.4"))]
    assert payload["modifiers"] == {}
    assert payload["device"]["model"] == model
    assert payload["disposition"] == ("usable" if MODELS[model].clock != "none" else "hold")


# ---- Omron -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "event"),
    [(timedelta(minutes=9), None), (timedelta(minutes=-9), None), (timedelta(hours=1), "clock set")],
)
async def test_an_omron_is_set_when_it_tells_its_clock_and_only_if_it_is_far_off(
    exam_room: Any, other: Make, ahead: timedelta, event: str | None
) -> None:
    device = await other("omron-x4-smart", clock=DeviceClock(HERE, ahead))
    await device.pressure(131, 84, 71)
    payload = await exam_room.arrives(131)
    assert payload["disposition"] == "usable", "its age follows from what the clock showed before it was set"
    assert payload["time"]["clock_offset_s"] == pytest.approx(-ahead.total_seconds(), abs=5)
    assert "clock refused" not in device.journal
    assert ("clock set" in device.journal) is (event == "clock set")
    await device.pressure(132, 84, 71)
    again = await exam_room.arrives(132)
    assert abs(again["time"]["clock_offset_s"]) < (5 if event else 600)


async def test_an_omron_that_refuses_is_read_all_the_same(exam_room: Any, other: Make) -> None:
    device = await other("omron-x4-smart", clock=DeviceClock(HERE, timedelta(hours=1)))
    device.inject(BleFault.CLOCK_WRITE_ERROR)
    await device.pressure(131, 84, 71)
    assert (await exam_room.arrives(131))["disposition"] == "usable"
    assert (await exam_room.told("clock_not_set"))["device"]["id"] == "other"


async def test_an_omron_keeps_its_bond_for_nothing_is_turned_off_at_the_end(exam_room: Any, other: Make) -> None:
    device = await other("omron-evolv")
    for systolic in (131, 132, 133):
        await device.pressure(systolic, 84, 71)
        assert (await exam_room.arrives(systolic))["disposition"] == "usable"
    await exam_room.stop()
    assert device.peripheral.bonded
    assert "unsubscribed" not in device.journal
    assert device.journal.count("paired") == 1
    assert not [call for call in exam_room.room.bluez.calls if call == "GattCharacteristic1.StopNotify"]


async def test_an_omron_keeps_its_bond_when_the_gateway_stops_in_a_transfer(exam_room: Any, other: Make) -> None:
    device = await other("omron-evolv")
    await device.pressure(131, 84, 71)
    await exam_room.arrives(131)
    device.inject(BleFault.NAN_FLOOD)
    await device.pressure(132, 84, 71)
    await exam_room.until(lambda devices: devices["other"]["counts"]["notices"] > 0)
    await exam_room.stop()
    assert device.peripheral.bonded
    assert "unsubscribed" not in device.journal
    assert not [call for call in exam_room.room.bluez.calls if call == "GattCharacteristic1.StopNotify"]


# ---- Beurer ----------------------------------------------------------------------------------------------------------


async def test_a_beurer_is_silent_without_a_rest_and_is_given_one(exam_room: Any, other: Make) -> None:
    device = await other("beurer-bm85", clock_kind="current_time")
    await device.pressure(131, 84, 71)
    assert (await exam_room.arrives(131))["disposition"] == "usable"
    assert "silent" not in device.journal


async def test_a_beurer_sends_its_whole_memory_each_time_and_each_record_is_told_once(
    exam_room: Any, other: Make
) -> None:
    device = await other("beurer-bm85", clock_kind="current_time", start=False)
    now = device.clock.now().replace(microsecond=0)
    for systolic, age in ((121, timedelta(days=40)), (122, timedelta(hours=3))):
        await device.pressure(systolic, 70, 60, taken=now - age)
    await exam_room.start()
    for systolic in (131, 132):
        await device.pressure(systolic, 84, 71)
        assert why(await exam_room.arrives(systolic)) == ("usable", [])
    for systolic in (121, 122):
        assert why(await exam_room.arrives(systolic)) == ("hold", ["stored_record"])
    assert len(exam_room.chart.deliveries) == 4
    devices = await exam_room.until(lambda devices: devices["other"]["counts"]["repeats"] >= 3)
    assert devices["other"]["counts"]["rejected"] == {}
    assert len(device.memory) == 4


async def test_what_a_beurer_says_is_held_where_its_clock_cannot_be_asked(exam_room: Any, other: Make) -> None:
    device = await other("beurer-bm59")
    await device.pressure(131, 84, 71)
    first = await exam_room.arrives(131)
    await device.advertise()
    await exam_room.chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=30)
    _, again = exam_room.with_systolic(131)
    assert why(first) == ("hold", ["clock_unverifiable"])
    assert why(again) == ("hold", ["clock_unverifiable", "possible_repeat"])
    assert again["possible_repeat_of"] == first["id"]


# ---- what any of them may do -----------------------------------------------------------------------------------------


async def test_reserved_bits_mean_nothing(exam_room: Any, other: Make) -> None:
    device = await other("soehnle-connect-300", standing=[BleFault.RESERVED_BITS])
    await device.pressure(131, 84, 71)
    assert why(await exam_room.arrives(131)) == ("usable", [])


async def test_a_flood_of_failed_measurements(exam_room: Any, other: Make) -> None:
    device = await other("omron-bp5150")
    device.inject(BleFault.NAN_FLOOD)
    await device.pressure(131, 84, 71)
    assert why(await exam_room.arrives(131)) == ("usable", [])
    devices = await exam_room.until(lambda devices: devices["other"]["counts"]["notices"] == 30)
    assert devices["other"]["counts"]["samples"] == 1
    assert len(exam_room.chart.deliveries) == 1


async def test_the_last_record_again(exam_room: Any, other: Make) -> None:
    device = await other("omron-bp5150")
    await device.pressure(131, 84, 71)
    await exam_room.arrives(131)
    device.inject(BleFault.REPEAT_LAST)
    await device.pressure(132, 84, 71)
    await exam_room.arrives(132)
    await exam_room.until(lambda devices: devices["other"]["counts"]["repeats"] == 1)
    assert len(exam_room.with_systolic(131)) == 1


@pytest.mark.parametrize("year", [1970, 2010])
async def test_a_clock_that_was_never_set_is_not_believed(exam_room: Any, other: Make, year: int) -> None:
    clock = DeviceClock(HERE)
    clock.set(datetime(year, 1, 2, 1, 31))  # noqa: DTZ001 - a device's clock has no zone
    device = await other("grx-td-1241", clock=clock)
    await device.temperature(Decimal("36.3"))
    (first,) = await arrivals(exam_room, 1)
    assert why(first) == ("hold", ["clock_unverifiable"])
    assert first["taken_at"] is None
    assert first["time"]["device_time"].startswith(f"{year}-01-02T01:31")
    await device.temperature(Decimal("36.4"))
    _, second = await arrivals(exam_room, 2)
    assert why(second) == ("usable", []), "it was set at the first connection"


@pytest.mark.parametrize("model", ["omron-x4-smart", "soehnle-connect-400"])
async def test_a_clock_that_does_not_know_its_year(exam_room: Any, other: Make, model: str) -> None:
    device = await other(model, clock_known=False)
    await device.pressure(131, 84, 71)
    payload = await exam_room.arrives(131)
    assert why(payload) == ("hold", ["clock_unverifiable"])
    assert payload["time"]["device_time"] is None
    await asyncio.sleep(1.6)  # stamps count seconds: one of the second in which the clock was set may be from before
    await device.pressure(132, 84, 71)
    assert why(await exam_room.arrives(132)) == ("usable", []), "it was set at the first connection"


async def test_a_date_time_serves_where_there_is_no_current_time(exam_room: Any, other: Make) -> None:
    device = await other("soehnle-connect-300", clock_kind="date_time")
    await device.pressure(131, 84, 71)
    assert why(await exam_room.arrives(131)) == ("usable", [])
    assert "clock set" in device.journal


async def test_characteristics_that_come_late_are_looked_for_again(exam_room: Any, other: Make) -> None:
    device = await other("soehnle-connect-300", start=False)
    exam_room.room.bluez.resolve_early(0.7)
    await exam_room.start()
    await exam_room.listening()
    await device.pressure(131, 84, 71)
    assert why(await exam_room.arrives(131)) == ("usable", [])
    assert device.journal.count("connected") == 1


# ---- who is who ------------------------------------------------------------------------------------------------------


async def test_two_cuffs_of_one_model_at_once(exam_room: Any) -> None:
    second = AndUa651ble(
        exam_room.room.air.radio("second"), SECOND, clock=DeviceClock(HERE), advertising_interval_ms=20
    )
    exam_room.more_devices.append(f'{{id: second, model: and-ua-651ble, address: "{SECOND}"}}')
    async with second:
        await exam_room.start()
        await exam_room.listening()
        for first, other in ((131, 141), (132, 142)):
            await asyncio.gather(exam_room.cuff.measure(first, 84, 71), second.measure(other, 94, 81))
            for systolic, device in ((first, "cuff"), (other, "second")):
                payload = await exam_room.arrives(systolic)
                assert (payload["device"]["id"], payload["disposition"]) == (device, "usable")
        assert len(exam_room.chart.deliveries) == 4
        await exam_room.stop()


async def test_a_neighbors_of_the_same_model_is_never_touched(exam_room: Any, other: Make) -> None:
    device = await other("omron-x4-smart")
    neighbor = SigDevice(
        exam_room.room.air.radio("neighbor"), NEXT_DOOR, MODELS["omron-x4-smart"], advertising_interval_ms=20
    )
    async with neighbor:
        await neighbor.pairing_mode()
        await neighbor.pressure(181, 110, 90)
        for systolic in (131, 132):
            await device.pressure(systolic, 84, 71)
            assert (await exam_room.arrives(systolic))["disposition"] == "usable"
        assert neighbor.journal == []
        assert neighbor.memory
        assert not exam_room.with_systolic(181)
