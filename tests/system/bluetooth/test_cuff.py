"""A cuff's and a thermometer's whole way: the simulated air, bleak's own BlueZ backend, the service, a real broker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.ble.faults import BleFault
from simulators.ble.profiles import BloodPressureStatus

B = "vitals/v1/northside/exam-3"


def value(payload: dict[str, Any], kind: str) -> Any:
    return next((vital["value"] for vital in payload["vitals"] if vital["kind"] == kind), None)


async def test_a_pressure_goes_from_the_cuff_to_the_chart(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    before = datetime.now(UTC)
    await exam_room.cuff.measure(128, 82, 66, mean=97, status=BloodPressureStatus.IRREGULAR_PULSE)
    payload = await exam_room.arrives(128)
    (delivery,) = exam_room.chart.deliveries
    assert (delivery.topic, delivery.retained) == (f"{B}/test/reading", False), "a private bus is never real"
    assert (payload["disposition"], payload["mode"], payload["status"]) == ("usable", "test", "valid")
    assert payload["codes"] == [{"system": "http://loinc.org", "code": "85354-9"}]
    assert {v["kind"]: (v["value"], v["unit"]) for v in payload["vitals"]} == {
        "systolic": (128, "mm[Hg]"),
        "diastolic": (82, "mm[Hg]"),
        "mean_arterial_pressure": (97, "mm[Hg]"),
        "pulse_rate": (66, "/min"),
    }
    assert payload["flags"] == ["irregular_pulse"]
    device = payload["device"]
    assert (device["id"], device["hardware"], device["serial"]) == ("cuff", exam_room.cuff.address, "SIM-000001")
    time = payload["time"]
    assert (time["source"], time["quality"]) == ("device", "synced")
    assert abs(time["clock_offset_s"]) < 5
    taken = datetime.fromisoformat(payload["taken_at"])
    assert abs(taken - before) < timedelta(seconds=5)
    assert datetime.fromisoformat(payload["received_at"]) >= taken
    local = taken.astimezone(exam_room.cuff.clock._zone).replace(tzinfo=None)
    assert abs(datetime.fromisoformat(time["device_time"]) - local) < timedelta(seconds=5)
    devices = await exam_room.until(lambda devices: devices["cuff"]["state"] == "online")
    assert devices["cuff"]["battery"] == 100
    assert exam_room.cuff.memory == []
    assert "clock set" in exam_room.cuff.journal


async def test_a_temperature_goes_from_the_thermometer_to_the_chart(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    await exam_room.thermometer.measure(Decimal("98.6"), fahrenheit=True)
    await exam_room.chart.wait_for(lambda chart: bool(chart.deliveries), timeout=30)
    (delivery,) = exam_room.chart.deliveries
    assert b'"value":37.00,"unit":"Cel"' in delivery.body
    assert (delivery.payload or {})["vitals"][0]["measured"] == {"value": "98.6", "unit": "[degF]"}
    assert delivery.topic == f"{B}/test/reading"


async def test_two_true_readings_of_one_value_are_two(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    for count in (1, 2):
        await exam_room.cuff.measure(120, 80, 60)
        await exam_room.chart.wait_for(lambda chart, count=count: len(chart.deliveries) == count, timeout=30)
        await exam_room.until(lambda devices, count=count: devices["cuff"]["readings"] == count)
        await asyncio.sleep(1.1)  # the records' stamps count seconds; in one second two equal ones are one record
    assert len(exam_room.chart.readings) == 2
    assert {(d.payload or {})["disposition"] for d in exam_room.chart.deliveries} == {"usable"}


async def test_what_is_old_is_held_and_what_is_of_now_is_not(exam_room: Any) -> None:
    now = exam_room.cuff.clock.now().replace(microsecond=0)
    for systolic, age in ((101, timedelta(days=3)), (102, timedelta(minutes=10)), (103, timedelta(minutes=-9))):
        await exam_room.cuff.measure(systolic, 70, 60, taken=now - age)
    await exam_room.start()
    await exam_room.cuff.measure(128, 82, 66)
    live = await exam_room.arrives(128)
    assert live["disposition"] == "usable"
    for systolic, reason in ((101, "stored_record"), (102, "stored_record"), (103, "clock_unverifiable")):
        old = await exam_room.arrives(systolic)
        assert (old["disposition"], old["reasons"]) == ("hold", [reason])
        assert (old["taken_at"] is None) is (reason == "clock_unverifiable")
    assert {d.topic for d in exam_room.chart.deliveries} == {f"{B}/test/reading", f"{B}/test/quarantine"}
    sequences = [(d.payload or {})["sequence"] for d in exam_room.chart.deliveries]
    assert sequences == [1, 2, 3, 4]


async def test_a_site_may_publish_what_is_stored_and_it_is_marked(exam_room: Any) -> None:
    exam_room.stored = "publish"
    taken = exam_room.cuff.clock.now().replace(microsecond=0) - timedelta(hours=5)
    await exam_room.start()
    await exam_room.cuff.measure(101, 70, 60, taken=taken)
    payload = await exam_room.arrives(101)
    assert (payload["disposition"], payload["flags"], payload["reasons"]) == ("usable", ["stored"], ["stored_record"])
    assert datetime.fromisoformat(payload["taken_at"]) < datetime.now(UTC) - timedelta(hours=4)


async def test_while_our_own_clock_is_not_synchronized_nothing_is_believed_and_no_clock_is_set(exam_room: Any) -> None:
    exam_room.synced = False
    await exam_room.start()
    await exam_room.listening()
    await exam_room.cuff.measure(128, 82, 66)
    payload = await exam_room.arrives(128)
    assert (payload["disposition"], payload["reasons"]) == ("hold", ["clock_unverifiable"])
    assert (payload["taken_at"], payload["time"]["quality"]) == (None, "unsynced")
    assert "clock set" not in exam_room.cuff.journal


async def test_what_was_held_under_an_unsynced_clock_is_told_again_with_its_time_and_stays_held(exam_room: Any) -> None:
    """The thermometer has a memory, too; a device without one is not held: tests/system/test_clocks.py."""
    exam_room.synced = False
    await exam_room.start()
    await exam_room.listening()
    before = datetime.now(UTC)
    await exam_room.cuff.measure(128, 82, 66)
    first = await exam_room.arrives(128)
    exam_room.synced = True
    await exam_room.service._chores.refresh_clock()
    await exam_room.chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=30)
    right = exam_room.chart.readings[first["id"]]
    assert (right["revision"], right["disposition"], right["taken_at"]) == (2, "hold", None)
    assert right["reasons"] == ["clock_unverifiable", "time_corrected"]
    assert abs(datetime.fromisoformat(right["received_at"]) - before) < timedelta(seconds=10)
    await exam_room.cuff.measure(129, 83, 67)
    assert (await exam_room.arrives(129))["disposition"] == "usable"


async def test_the_neighbors_cuff_is_never_touched(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    await exam_room.neighbor.measure(180, 110, 90)
    await exam_room.cuff.measure(128, 82, 66)
    await exam_room.arrives(128)
    await exam_room.neighbor.measure(181, 110, 90)
    await exam_room.cuff.measure(129, 82, 66)
    await exam_room.arrives(129)
    assert exam_room.neighbor.journal == []
    assert not any(NEXT_DOOR in call for call in exam_room.room.bluez.calls)
    assert len(exam_room.neighbor.memory) == 2


NEXT_DOOR = "C8_1E_8E_00_00_02"


async def test_several_at_once(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    await asyncio.gather(exam_room.cuff.measure(128, 82, 66), exam_room.thermometer.measure(Decimal("36.8")))
    await exam_room.chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=30)
    assert {(d.payload or {})["device"]["id"] for d in exam_room.chart.deliveries} == {"cuff", "thermometer"}


async def test_a_record_that_comes_again_after_a_restart_is_the_same(exam_room: Any) -> None:
    await exam_room.start()
    await exam_room.listening()
    await exam_room.cuff.measure(128, 82, 66)
    first = await exam_room.arrives(128)
    await exam_room.nothing_left()
    await exam_room.stop()
    await exam_room.start()
    exam_room.cuff.inject(BleFault.REPEAT_LAST)
    await exam_room.cuff.measure(129, 83, 67)
    second = await exam_room.arrives(129)
    devices = await exam_room.until(lambda devices: devices["cuff"]["counts"]["repeats"] == 1)
    assert len(exam_room.with_systolic(128)) == 1
    assert devices["cuff"]["readings"] == 1
    assert second["sequence"] == first["sequence"] + 1


async def test_no_value_is_logged(exam_room: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    caplog.set_level("DEBUG", logger="drivers")
    await exam_room.start()
    await exam_room.listening()
    exam_room.cuff.inject(BleFault.HANG_UP)
    record = await exam_room.cuff.measure(173, 97, 58)
    await exam_room.arrives(173)
    assert isinstance(exam_room.cuff, AndUa651ble)
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("gateway", "drivers")))
    assert not any(text in ours for text in ("173", record.hex()))
