"""Cuffs and meters that are asked: the simulated air, bleak's own BlueZ backend, the service, a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from drivers.ble import omron_exchange, taidoc
from simulators.ble.clock import DeviceClock
from simulators.ble.faults import BleFault
from simulators.ble.omron_cuff import OmronCuff
from simulators.ble.taidoc_meter import TaidocBleMeter

HERE = ZoneInfo("America/Chicago")
VENDOR = "C8:1E:8E:00:03:01"
OMRONS = {
    "omron-hem-7142t2": "HEM-7142T2",
    "omron-hem-7144t2": "HEM-7144T2",
    "omron-hem-7155t": "HEM-7155T",
    "omron-hem-7600t": "HEM-7600T",
}
METERS = {"fora-d40-ble": "D40", "fora-ir42-ble": "IR42"}
Brings = Callable[..., Awaitable[Any]]


@pytest.fixture
async def brings(exam_room: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Brings]:
    """Bring a device of this model into the room, and into the gateway's configuration."""
    for module in (omron_exchange, taidoc):
        monkeypatch.setattr(module, "ANSWER_S", 0.5)
    async with AsyncExitStack() as stack:

        async def bring(model: str) -> Any:
            options = {"clock": DeviceClock(HERE), "advertising_interval_ms": 20}
            radio = exam_room.room.air.radio("vendor")
            made: OmronCuff | TaidocBleMeter
            if model in OMRONS:
                made = OmronCuff(OMRONS[model], radio, VENDOR, **options)
            else:
                made = TaidocBleMeter(METERS[model], radio, VENDOR, **options)
            await stack.enter_async_context(made)
            exam_room.more_devices = [f'{{id: vendor, model: {model}, address: "{VENDOR}"}}']
            return made

        yield bring


async def session_over(exam_room: Any, device: Any) -> None:
    """Wait until nobody is connected to it any more."""
    async with asyncio.timeout(30):
        while device.peripheral.connection is not None:  # noqa: ASYNC110 - the device sets no Event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("model", OMRONS)
async def test_a_cuffs_pressure_is_of_now_and_what_it_kept_is_held(exam_room: Any, brings: Brings, model: str) -> None:
    cuff = await brings(model)
    now = cuff.clock.now()
    cuff.keep(101, 61, 51, taken=now - timedelta(days=3))
    cuff.keep(102, 62, 52, taken=now - timedelta(minutes=10), moved=True)
    await exam_room.start()
    await cuff.measure(128, 82, 66, irregular=True)
    live = await exam_room.arrives(128)
    assert (live["disposition"], live["mode"], live["flags"]) == ("usable", "test", ["irregular_pulse"])
    assert {v["kind"]: v["value"] for v in live["vitals"]} == {"systolic": 128, "diastolic": 82, "pulse_rate": 66}
    assert (live["device"]["hardware"], live["device"]["serial"]) == (VENDOR, "SIM-000301")
    assert live["time"]["source"] == "device"
    for systolic, flags in ((101, ["stored"]), (102, ["body_movement", "stored"])):
        old = await exam_room.arrives(systolic)
        assert (old["disposition"], old["reasons"][-1], old["flags"]) == ("hold", "stored_record", flags)
    order = [payload["vitals"][0]["value"] for payload in map(payload_of, exam_room.chart.deliveries)]
    assert order == [128, 102, 101], "the newest first"
    assert not any(word.startswith("asked to") for word in cuff.journal), "nothing was asked for that writes"


async def test_the_second_users_records_are_told_as_theirs(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7155t")
    await exam_room.start()
    cuff.keep(121, 71, 61, user=0)
    await cuff.measure(131, 81, 65, user=1)
    assert [(await exam_room.arrives(s))["device"]["user"] for s in (121, 131)] == ["1", "2"]


async def test_a_record_that_is_read_again_is_told_once(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7142t2")
    await exam_room.start()
    await cuff.measure(128, 82, 66)
    await exam_room.arrives(128)
    await exam_room.stop()
    await exam_room.start()
    await cuff.measure(129, 83, 67)
    await exam_room.arrives(129)
    devices = await exam_room.until(lambda devices: devices["vendor"]["counts"]["repeats"] == 1)
    assert devices["vendor"]["readings"] == 1
    assert [len(exam_room.with_systolic(systolic)) for systolic in (128, 129)] == [1, 1]


async def test_of_a_clock_that_is_not_believed_all_is_held_and_told_once(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7142t2")
    await exam_room.start()
    cuff.inject(BleFault.CLOCK_2010)
    await cuff.measure(111, 70, 60)
    first = await exam_room.arrives(111)
    assert (first["disposition"], first["reasons"]) == ("hold", ["clock_unverifiable"])
    assert first["taken_at"] is None
    await exam_room.stop()
    await exam_room.start()
    await cuff.measure(112, 70, 60)
    await exam_room.arrives(112)
    devices = await exam_room.until(lambda devices: devices["vendor"]["counts"]["repeats"] == 1)
    assert devices["vendor"]["held"] == 1
    assert len(exam_room.with_systolic(111)) == 1


async def test_a_ring_that_is_full_is_read_from_its_newest_slot(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7142t2")
    then = cuff.clock.now() - timedelta(days=1)
    for n in range(17):
        cuff.keep(100 + n, 60, 50, taken=then + timedelta(minutes=n))
    await exam_room.start()
    await cuff.measure(140, 82, 66)
    assert (await exam_room.arrives(140))["disposition"] == "usable"
    await exam_room.arrives(104)
    order = [payload["vitals"][0]["value"] for payload in map(payload_of, exam_room.chart.deliveries)]
    assert order == [140, *range(116, 103, -1)]


async def test_seconds_beyond_59_are_taken_for_59_and_said(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7142t2")
    await exam_room.start()
    await cuff.measure(128, 82, 66, second=63, taken=cuff.clock.now() - timedelta(minutes=2))
    payload = await exam_room.arrives(128)
    assert "seconds_clamped" in payload["flags"]
    assert payload["time"]["device_time"].endswith(":59")


@pytest.mark.parametrize("model", ["omron-hem-7142t2", "omron-hem-7155t", "fora-d40-ble"])
async def test_hangs_up_in_the_middle_of_a_record(exam_room: Any, brings: Brings, model: str) -> None:
    device = await brings(model)
    await exam_room.start()
    await exam_room.listening()
    device.inject(BleFault.HANG_UP)
    await device.measure(128, 82, 66)
    await exam_room.until(lambda devices: devices["vendor"]["reason"] == "link_lost")
    await device.advertise()
    assert (await exam_room.arrives(128))["disposition"] == "usable"
    assert len(exam_room.with_systolic(128)) == 1


@pytest.mark.parametrize("model", ["omron-hem-7142t2", "omron-hem-7600t", "fora-d40-ble"])
async def test_an_answer_that_fails_its_check_is_asked_for_again(exam_room: Any, brings: Brings, model: str) -> None:
    device = await brings(model)
    await exam_room.start()
    device.inject(BleFault.WRONG_CHECK)
    await device.measure(128, 82, 66)
    assert (await exam_room.arrives(128))["disposition"] == "usable"
    assert "wrong check" in device.journal
    devices = await exam_room.until(lambda devices: devices["vendor"]["counts"]["samples"] == 1)
    assert devices["vendor"]["counts"]["rejected"] == {"checksum": 1}
    assert len(exam_room.chart.deliveries) == 1


@pytest.mark.parametrize("model", ["omron-hem-7142t2", "omron-hem-7155t"])
async def test_who_is_not_paired_is_told_what_to_do(exam_room: Any, brings: Brings, model: str) -> None:
    cuff = await brings(model)
    await exam_room.start()
    await exam_room.listening()
    cuff.inject(BleFault.NOT_PAIRED)
    await cuff.measure(128, 82, 66)
    devices = await exam_room.until(lambda devices: devices["vendor"]["reason"] == "pairing_refused")
    assert devices["vendor"]["state"] == "offline"
    assert "820f" in devices["vendor"]["detail"]
    assert "Bluetooth button until P blinks" in devices["vendor"]["detail"]
    assert "asked to take a key" not in cuff.journal
    await session_over(exam_room, cuff)
    await cuff.advertise()
    assert (await exam_room.arrives(128))["disposition"] == "usable"


async def test_what_is_no_cuff_of_this_build_is_told(exam_room: Any, brings: Brings) -> None:
    cuff = await brings("omron-hem-7142t2")
    exam_room.more_devices = [f'{{id: vendor, model: omron-hem-7600t, address: "{VENDOR}"}}']
    await exam_room.start()
    await cuff.measure(128, 82, 66)
    devices = await exam_room.until(lambda devices: devices["vendor"]["reason"] == "not_this_model")
    assert "is it this model" in devices["vendor"]["detail"]
    assert exam_room.chart.deliveries == []


async def test_a_meters_newest_record_is_of_now_and_what_it_kept_is_held(exam_room: Any, brings: Brings) -> None:
    meter = await brings("fora-d40-ble")
    now = meter.clock.now()
    await exam_room.start()
    await exam_room.listening()
    meter.records.insert(0, _pressure(meter, 101, now - timedelta(days=3)))
    meter.records.insert(0, _pressure(meter, 102, now - timedelta(minutes=5)))
    await meter.measure_glucose(now)
    await meter.measure(128, 82, 66, irregular=True, average=True)
    live = await exam_room.arrives(128)
    assert (live["disposition"], live["flags"]) == ("usable", ["irregular_pulse", "averaged"])
    for systolic in (101, 102):
        old = await exam_room.arrives(systolic)
        assert (old["disposition"], old["reasons"]) == ("hold", ["stored_record"])
    assert {*meter.questions} == {0x23, 0x2B, 0x25, 0x26}, "nothing else is asked"
    assert not any(word.startswith("asked to") for word in meter.journal)


async def test_of_a_long_memory_the_newest_are_read(exam_room: Any, brings: Brings) -> None:
    meter = await brings("fora-d40-ble")
    now = meter.clock.now()
    meter.records = [_pressure(meter, 100 + n, now - timedelta(days=1, minutes=n)) for n in range(40)]
    await exam_room.start()
    await meter.measure(160, 82, 66)
    await exam_room.arrives(160)
    await exam_room.until(lambda devices: devices["vendor"]["counts"]["notices"] == 1)
    # Counted as readings once they are on disk.
    devices = await exam_room.until(lambda devices: devices["vendor"]["counts"]["committing"] == 0)
    assert devices["vendor"]["readings"] == taidoc.NEWEST


async def test_a_record_that_sources_read_in_two_ways_is_refused(exam_room: Any, brings: Brings) -> None:
    meter = await brings("fora-d40-ble")
    await exam_room.start()
    await meter.measure(128, 82, 66, mean=97)
    await exam_room.until(lambda devices: devices["vendor"]["counts"]["rejected"] == {"unresolved_mean": 1})
    assert exam_room.chart.deliveries == []


async def test_a_temperature_is_of_a_body_or_not_told(exam_room: Any, brings: Brings) -> None:
    meter = await brings("fora-ir42-ble")
    await exam_room.start()
    await exam_room.listening()
    meter.records.insert(0, (_time(meter, mode=5), bytes.fromhex("0e010e01")))
    await meter.measure_temperature(368, mode="forehead")
    await exam_room.chart.wait_for(lambda chart: bool(chart.deliveries), timeout=30)
    payload = payload_of(exam_room.chart.deliveries[0])
    assert (payload["vitals"][0]["kind"], payload["vitals"][0]["value"]) == ("body_temperature", Decimal("36.8"))
    assert (payload["disposition"], payload["modifiers"]["site"]["value"]) == ("usable", "forehead")
    devices = await exam_room.until(lambda devices: devices["vendor"]["counts"]["notices"] == 1)
    assert devices["vendor"]["readings"] == 1


async def test_no_value_and_no_frame_is_logged(
    exam_room: Any, brings: Brings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    caplog.set_level("DEBUG", logger="drivers")
    cuff = await brings("omron-hem-7142t2")
    await exam_room.start()
    cuff.inject(BleFault.WRONG_CHECK)
    record = await cuff.measure(173, 97, 58)
    await exam_room.arrives(173)
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("gateway", "drivers")))
    assert not any(text in ours for text in ("173", record.hex()))


def payload_of(delivery: Any) -> dict[str, Any]:
    found: dict[str, Any] = delivery.payload or {}
    return found


def _time(meter: TaidocBleMeter, *, mode: int) -> bytes:
    now = meter.clock.now()
    date = (now.year - 2000) << 9 | now.month << 5 | now.day
    return date.to_bytes(2, "little") + bytes([now.minute | (mode & 3) << 6, now.hour | (mode & 4) << 3])


def _pressure(_meter: TaidocBleMeter, systolic: int, taken: Any) -> tuple[bytes, bytes]:
    date = (taken.year - 2000) << 9 | taken.month << 5 | taken.day
    return date.to_bytes(2, "little") + bytes([taken.minute | 0x80, taken.hour]), bytes([systolic, 0, 70, 60])
