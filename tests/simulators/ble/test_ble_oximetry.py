"""The oximeters and straps: literal bytes that others published, and each lie shown, most of them on the air."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice

from simulators.ble.choicemmed import ChoicemmedOximeter
from simulators.ble.faults import BleFault
from simulators.ble.masimo_mightysat import MightySat
from simulators.ble.open_device import OpenDevice
from simulators.ble.oximetry import (
    HOLDS_BEATS,
    LEAVES_AFTER_BEATS,
    SEARCHES_BEATS,
    Finger,
    MeasurementStatus,
    SensorStatus,
    continuous,
    spot_check,
)
from simulators.ble.polar import HANGS_UP_AFTER_BEATS, PolarStrap, heart_rate
from simulators.ble.polar import HOLDS_BEATS as STRAP_HOLDS
from simulators.ports.room import Room

PATIENCE_S = 10.0
BEAT_S = 0.005
CONTINUOUS, SPOT_CHECK, RATE = (f"0000{short}-0000-1000-8000-00805f9b34fb" for short in ("2a5f", "2a5e", "2a37"))


def pair(saturation: str, pulse: str) -> tuple[Decimal, Decimal]:
    return Decimal(saturation), Decimal(pulse)


def test_oximetry_that_others_published() -> None:
    ongoing = MeasurementStatus.ONGOING
    # stackoverflow.com/questions/71264072: both records of a ChoiceMMed oximeter
    assert spot_check(
        pair("97", "96"),
        taken=datetime.fromisoformat("2017-01-01T01:34:19"),
        clock_set=False,
        measurement=ongoing,
        sensor=SensorStatus.LOW_PERFUSION,
    ) == bytes.fromhex("1761006000e10701010122132000200000")
    captured = continuous(pair("98", "78"), measurement=ongoing, sensor=SensorStatus.NOTHING)
    assert captured == bytes.fromhex("0c62004e002000000000")
    # StanfordSpezi/SpeziBluetooth, PLXTests.swift
    assert spot_check(
        pair("94.0", "147.0"),
        taken=datetime.fromisoformat("2024-11-29T23:08:57"),
    ) == bytes.fromhex("01acf3bef5e8070b1d170839")
    assert continuous(
        pair("95", "90"), measurement=ongoing, sensor=SensorStatus.NOTHING, amplitude=Decimal("8.7")
    ) == bytes.fromhex("1c5f005a00200000000057f0")
    assert continuous(pair("100", "90")) == bytes.fromhex("0064005a00")
    full = continuous(pair("99.0", "97.0"), fast=pair("97.0", "137.0"), slow=pair("98.0", "69.0"))
    assert full == bytes.fromhex("03def3caf3caf35af5d4f3b2f2")


def test_heart_rates_that_others_published() -> None:
    # e-learn.cn 1013198 (H7), stackoverflow.com/questions/50477232 (H10)
    assert heart_rate(77, contact=True, rr=[790]) == bytes.fromhex("164d1603")
    assert heart_rate(78, contact=True, rr=[795, 786]) == bytes.fromhex("164e1b031203")
    assert heart_rate(72, rr=[812]) == bytes.fromhex("10482c03")
    # NordicSemiconductor/Android-BLE-Common-Library, HeartRateMeasurementDataCallbackTest
    assert heart_rate(85) == bytes.fromhex("0055")
    assert heart_rate(255, contact=False) == bytes.fromhex("04ff")
    assert heart_rate(257, contact=True, energy=306, rr=[1, 258, 65535]) == bytes.fromhex("1f0101320101000201ffff")


def test_a_finger_is_searched_for_rises_and_is_held_for_a_while() -> None:
    finger = Finger()
    finger.put_in(97, 72)
    seen = [finger.beat() for _ in range(SEARCHES_BEATS + 4)]
    assert [one[0] for one in seen if one][:SEARCHES_BEATS] == [None] * SEARCHES_BEATS
    assert [int(one[0][0]) for one in seen if one and one[0]] == [93, 95, 97, 97]
    finger.take_out()
    after = [finger.beat() for _ in range(LEAVES_AFTER_BEATS + 1)]
    assert after[-1] is None
    assert [one[0] is not None for one in after if one] == [n < HOLDS_BEATS for n in range(LEAVES_AFTER_BEATS)]
    assert {one[1] for one in after if one} == {SensorStatus.UNCONNECTED_TO_USER}


async def found(device: OpenDevice) -> BLEDevice:
    seen = await BleakScanner.find_device_by_address(device.address, PATIENCE_S)
    assert seen is not None, "not seen"
    return seen


async def heard(
    device: OpenDevice, *characteristics: str, meanwhile: Callable[[int], Awaitable[None]] | None = None
) -> list[tuple[str, bytes]]:
    """All that it says to who turned these on, until it hangs up; `meanwhile` is told how much was heard."""
    said: list[tuple[str, bytes]] = []
    news = asyncio.Event()
    async with BleakClient(await found(device), disconnected_callback=lambda _: news.set()) as client:
        for characteristic in characteristics:

            def take(_sender: Any, data: bytearray, name: str = characteristic) -> None:
                said.append((name, bytes(data)))
                news.set()

            await client.start_notify(characteristic, take)
        async with asyncio.timeout(PATIENCE_S):
            while client.is_connected:
                if meanwhile is not None:
                    await meanwhile(len(said))
                await news.wait()
                news.clear()
    return said


def taken_out_after(device: ChoicemmedOximeter | PolarStrap, count: int) -> Callable[[int], Awaitable[None]]:
    done = False

    async def meanwhile(heard_until_now: int) -> None:
        nonlocal done
        if heard_until_now >= count and not done:
            done = True
            await device.detach()

    return meanwhile


@pytest.fixture
async def oximeter(bare_room: Room) -> Any:
    async with ChoicemmedOximeter(
        bare_room.air.radio("oximeter"), "C8:1E:8E:00:03:01", beat_s=BEAT_S, advertising_interval_ms=20
    ) as oximeter:
        yield oximeter


async def test_it_streams_to_whoever_asks_and_hangs_up_when_the_finger_is_gone(oximeter: ChoicemmedOximeter) -> None:
    await oximeter.attach(97, 72)
    frames = await heard(oximeter, CONTINUOUS, meanwhile=taken_out_after(oximeter, 10))
    assert {name for name, _ in frames} == {CONTINUOUS}, "no spot check for who did not ask"
    said = [data for _, data in frames]
    assert said[0] == continuous(
        None, measurement=MeasurementStatus.ONGOING, sensor=SensorStatus.SIGNAL_ANALYSIS_ONGOING
    )
    good = continuous(pair("97", "72"), measurement=MeasurementStatus.ONGOING, sensor=SensorStatus.NOTHING)
    assert good in said
    held = continuous(pair("97", "72"), measurement=MeasurementStatus.ONGOING, sensor=SensorStatus.UNCONNECTED_TO_USER)
    assert said.count(held) == HOLDS_BEATS
    assert "paired" not in oximeter.journal


async def test_who_asks_for_both_hears_the_finger_twice_with_the_clock_of_2017(oximeter: ChoicemmedOximeter) -> None:
    await oximeter.attach(97, 72)
    both = await heard(oximeter, SPOT_CHECK, CONTINUOUS, meanwhile=taken_out_after(oximeter, 8))
    (check,) = [data for name, data in both if name == SPOT_CHECK]
    assert check[0] == 0x17, "stamp, both statuses, and: the clock was never set"
    assert check[5:9] == bytes.fromhex("e1070101")


async def test_in_a_shop_window_each_frame_says_so(bare_room: Room) -> None:
    async with ChoicemmedOximeter(
        bare_room.air.radio("oximeter"),
        "C8:1E:8E:00:03:01",
        beat_s=BEAT_S,
        standing=[BleFault.DEMONSTRATION],
        advertising_interval_ms=20,
    ) as oximeter:
        await oximeter.attach(97, 72)
        frames = await heard(oximeter, CONTINUOUS, meanwhile=taken_out_after(oximeter, 8))
        assert all(data[6] & 0x04 for _, data in frames)


async def test_a_link_that_is_lost_with_the_finger_in_is_found_again(oximeter: ChoicemmedOximeter) -> None:
    oximeter.inject(BleFault.HANG_UP)
    await oximeter.attach(97, 72)
    assert len(await heard(oximeter, CONTINUOUS)) <= 1
    assert len(await heard(oximeter, CONTINUOUS, meanwhile=taken_out_after(oximeter, 8))) > 8


async def test_a_mightysat_says_what_it_kept_once(bare_room: Room) -> None:
    async with MightySat(
        bare_room.air.radio("mightysat"), "C8:1E:8E:00:04:01", beat_s=BEAT_S, advertising_interval_ms=20
    ) as mightysat:
        records = [await mightysat.measure(97, 72), await mightysat.measure(96, 71, stored=True)]
        assert [data for _, data in await heard(mightysat, SPOT_CHECK)] == records
        assert records[1][12:14] == bytes.fromhex("0003"), "fully qualified, from storage"
        assert mightysat.memory == []


@pytest.mark.parametrize(("model", "flags"), [("H7", {0x16, 0x04}), ("H10", {0x10, 0x00})])
async def test_a_strap_says_its_last_rate_a_while_longer_and_then_zero(
    bare_room: Room, model: Any, flags: set[int]
) -> None:
    async with PolarStrap(
        bare_room.air.radio("strap"), "C8:1E:8E:00:05:01", model=model, beat_s=BEAT_S, advertising_interval_ms=20
    ) as strap:
        await strap.attach(72)
        said = [data for _, data in await heard(strap, RATE, meanwhile=taken_out_after(strap, 10))]
        assert {data[0] for data in said} == flags
        off = [data[1] for data in said if data[0] in (0x04, 0x00)]
        assert off == [72] * STRAP_HOLDS + [0] * (HANGS_UP_AFTER_BEATS - STRAP_HOLDS)
        assert {71, 72, 73} <= {data[1] for data in said}
