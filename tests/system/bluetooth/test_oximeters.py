"""Oximeters and heart rate straps, from the air through the whole service to the chart: one reading a finger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from simulators.ble.choicemmed import ChoicemmedOximeter
from simulators.ble.faults import BleFault
from simulators.ble.masimo_mightysat import MightySat
from simulators.ble.polar import PolarStrap

B = "vitals/v1/northside/exam-3"
OXIMETER, MIGHTYSAT, H7, H10 = (f"C8:1E:8E:00:{n:02}:01" for n in (3, 4, 5, 6))
BEAT_S = 0.01


@dataclass
class Bedside:
    """The devices of these tests, and the room that reads them."""

    room: Any
    oximeter: ChoicemmedOximeter
    mightysat: MightySat
    h7: PolarStrap
    h10: PolarStrap

    async def start(self) -> None:
        await self.room.start()
        await self.room.listening()

    async def readings(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many; a gateway that tells more is found out by the next wait, or by `nothing_more`."""
        await self.room.chart.wait_for(lambda chart: len(chart.deliveries) >= count, timeout=30)
        return self.told

    @property
    def told(self) -> list[dict[str, Any]]:
        return [delivery.payload for delivery in self.room.chart.deliveries]

    def values(self, kind: str) -> list[int]:
        return [vital["value"] for one in self.told for vital in one["vitals"] if vital["kind"] == kind]

    async def more_frames(self, count: int) -> None:
        """Wait until the oximeter was heard so many times more."""
        before = (await self.room.status())["devices"]["oximeter"]["counts"]["frames"]
        await self.room.until(lambda devices: devices["oximeter"]["counts"]["frames"] >= before + count)

    async def hung_up(self, device: Any, times: int = 1) -> None:
        """Wait until it has hung up by itself, and all that it said is delivered."""
        async with asyncio.timeout(30):
            while sum(line.startswith("disconnected") for line in device.journal) < times:  # noqa: ASYNC110
                await asyncio.sleep(BEAT_S)
        await self.room.nothing_left()


@pytest.fixture
async def bedside(exam_room: Any) -> AsyncIterator[Bedside]:
    async with AsyncExitStack() as stack:
        air = exam_room.room.air
        fast: dict[str, Any] = {"beat_s": BEAT_S, "advertising_interval_ms": 20}
        made = Bedside(
            exam_room,
            ChoicemmedOximeter(air.radio("oximeter"), OXIMETER, **fast),
            MightySat(air.radio("mightysat"), MIGHTYSAT, clock_set=False, **fast),
            PolarStrap(air.radio("h7"), H7, model="H7", **fast),
            PolarStrap(air.radio("h10"), H10, model="H10", **fast),
        )
        for device in (made.oximeter, made.mightysat, made.h7, made.h10):
            await stack.enter_async_context(device)
        exam_room.more_devices += [
            f'{{id: oximeter, model: choicemmed-plx, address: "{OXIMETER}"}}',
            f'{{id: mightysat, model: masimo-mightysat, address: "{MIGHTYSAT}"}}',
            f'{{id: h7, model: polar-h7, address: "{H7}"}}',
            f'{{id: h10, model: polar-h10, address: "{H10}"}}',
        ]
        yield made
        await exam_room.stop()


async def test_a_finger_is_one_reading_with_its_settled_numbers(bedside: Bedside) -> None:
    await bedside.start()
    await bedside.oximeter.attach(97, 72)
    (reading,) = await bedside.readings(1)
    assert bedside.values("oxygen_saturation") == [97]
    assert bedside.values("pulse_rate") == [72]
    assert (reading["disposition"], reading["status"], reading["flags"]) == ("usable", "valid", [])
    assert (reading["time"]["source"], reading["taken_at"]) == ("gateway", reading["received_at"])
    assert (reading["device"]["id"], reading["device"]["serial"]) == ("oximeter", "SIM-000301")
    assert bedside.room.chart.deliveries[0].topic == f"{B}/test/reading"
    await bedside.oximeter.detach()
    await bedside.hung_up(bedside.oximeter)
    assert len(bedside.told) == 1, "neither the rest of the stream nor the spot check is another"


async def test_the_next_finger_is_another_reading_in_the_same_connection_and_in_the_next(bedside: Bedside) -> None:
    await bedside.start()
    await bedside.oximeter.attach(97, 72)
    await bedside.readings(1)
    await bedside.oximeter.detach()
    await bedside.more_frames(3)
    await bedside.oximeter.attach(97, 72)  # mostly before it has hung up
    await bedside.readings(2)
    await bedside.oximeter.detach()
    await bedside.hung_up(bedside.oximeter)
    await bedside.oximeter.attach(94, 81)
    await bedside.readings(3)
    await bedside.oximeter.detach()
    await bedside.hung_up(bedside.oximeter, times=2)
    assert bedside.values("oxygen_saturation") == [97, 97, 94]
    assert {reading["disposition"] for reading in bedside.told} == {"usable"}


async def test_a_weak_finger_is_told_and_doubted(bedside: Bedside) -> None:
    await bedside.start()
    await bedside.oximeter.attach(93, 60, weak=True)
    (reading,) = await bedside.readings(1)
    assert (reading["status"], reading["disposition"], reading["flags"]) == ("questionable", "usable", ["low_signal"])
    assert reading["vitals"][0]["reasons"] == ["low_signal"]


async def test_a_link_that_is_lost_with_the_finger_in_loses_no_reading(bedside: Bedside) -> None:
    await bedside.start()
    bedside.oximeter.inject(BleFault.HANG_UP)
    await bedside.oximeter.attach(97, 72)
    await bedside.readings(1)
    assert bedside.values("oxygen_saturation") == [97]


async def test_a_shop_window_is_no_patient(bedside: Bedside) -> None:
    await bedside.start()
    for _ in range(3000):  # half a minute of them
        bedside.oximeter.inject(BleFault.DEMONSTRATION)
    await bedside.oximeter.attach(97, 72)
    event = await bedside.room.told("demonstration")
    assert "97" not in event["detail"]
    await bedside.oximeter.detach()
    await bedside.hung_up(bedside.oximeter)
    assert bedside.told == []


async def test_spot_checks_of_a_clock_that_was_never_set_are_held_also_those_of_now(bedside: Bedside) -> None:
    await bedside.mightysat.measure(96, 70, stored=True)
    await bedside.start()
    await bedside.mightysat.measure(97, 72)
    held = await bedside.readings(2)
    assert bedside.values("oxygen_saturation") == [96, 97]
    assert [reading["reasons"] for reading in held] == [["stored_record", "clock_unverifiable"], ["clock_unverifiable"]]
    assert [(one["disposition"], one["taken_at"], one["time"]["device_time"]) for one in held] == [
        ("hold", None, None)
    ] * 2
    assert {delivery.topic for delivery in bedside.room.chart.deliveries} == {f"{B}/test/quarantine"}


@pytest.mark.parametrize("name", ["h7", "h10"])
async def test_a_strap_is_one_reading_each_time_that_it_is_worn(bedside: Bedside, name: str) -> None:
    strap: PolarStrap = getattr(bedside, name)
    await bedside.start()
    for times, rate in ((1, 64), (2, 88)):
        await strap.attach(rate)
        await bedside.readings(times)
        await strap.detach()
        await bedside.hung_up(strap, times)
    first, second = bedside.values("heart_rate")
    assert abs(first - 64) <= 1
    assert abs(second - 88) <= 1
    assert len(bedside.told) == 2
    assert [vital["codes"][1]["display"] for one in bedside.told for vital in one["vitals"]] == [
        "MDC_ECG_HEART_RATE"
    ] * 2
    assert {one["disposition"] for one in bedside.told} == {"usable"}


async def test_several_at_once(bedside: Bedside) -> None:
    await bedside.start()
    await asyncio.gather(bedside.oximeter.attach(98, 66), bedside.h7.attach(66), bedside.room.cuff.measure(128, 82, 66))
    told = await bedside.readings(3)
    assert {reading["device"]["id"] for reading in told} == {"oximeter", "h7", "cuff"}
