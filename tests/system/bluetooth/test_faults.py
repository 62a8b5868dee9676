"""What goes wrong with cuff, adapter and daemon: what was committed arrives once, what is old is held, and it heals."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from drivers.links import bluetooth, calls, gatt
from gateway.store import Store
from simulators.ble.faults import BleFault
from simulators.ports.bluez_objects import BluezError, Unanswered

IN_PROGRESS = BluezError("InProgress", "Operation already in progress")
FAILED = BluezError("Failed", "Software caused connection abort")


@pytest.fixture
async def listening(exam_room: Any) -> Any:
    await exam_room.start()
    await exam_room.listening()
    return exam_room


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are never answered are given up soon."""
    limits = {gatt: ("CALL_S", "BOND_S"), bluetooth: ("CONNECT_S",), calls: ("DISCONNECT_S", "ABANDON_S")}
    for module, names in limits.items():
        for name in names:
            monkeypatch.setattr(module, name, 0.7)


async def well(exam_room: Any, systolic: int = 128) -> dict[str, Any]:
    """A measurement without fault arrives, once, of now; the cuff goes on advertising until it is read."""
    await exam_room.cuff.measure(systolic, 82, 66)
    payload: dict[str, Any] = await exam_room.arrives(systolic)
    assert payload["disposition"] == "usable", payload["reasons"]
    return payload


async def test_advertises_and_is_gone(listening: Any, impatient: None) -> None:
    listening.cuff.inject(BleFault.VANISH)
    await listening.cuff.measure(111, 70, 60)
    await listening.until(lambda devices: devices["cuff"]["reason"] in ("not_connected", None))
    await well(listening)
    assert (await listening.arrives(111))["disposition"] == "usable"


async def test_hangs_up_in_mid_transfer(listening: Any) -> None:
    now = listening.cuff.clock.now().replace(microsecond=0)
    listening.cuff.memory += [listening.cuff.failed_record(now - timedelta(hours=n)) for n in (3, 2)]
    listening.cuff.inject(BleFault.HANG_UP)
    await listening.cuff.measure(111, 70, 60)
    await listening.heard_again()
    payload = await listening.arrives(111)
    assert payload["disposition"] == "usable"
    await well(listening)
    assert len(listening.with_systolic(111)) == 1, "sent twice, told once"


async def test_refuses_to_pair(listening: Any) -> None:
    listening.cuff.inject(BleFault.REFUSE_PAIRING)
    await listening.cuff.measure(111, 70, 60)
    devices = await listening.until(lambda devices: devices["cuff"]["reason"] == "pairing_refused")
    assert devices["cuff"]["state"] == "offline"
    assert "pairing mode" in devices["cuff"]["detail"]
    assert listening.cuff.memory, "nothing was lost"
    await listening.cuff.pairing_mode()
    assert (await listening.arrives(111))["disposition"] == "usable"


async def test_has_lost_its_bond(listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await well(listening, 120)
    monkeypatch.setattr(bluetooth, "CONNECT_S", 0.5)
    listening.cuff.inject(BleFault.LOSE_BOND)
    await listening.cuff.measure(111, 70, 60)
    devices = await asyncio.wait_for(_advertising_until(listening, "bond_lost"), 30)
    assert "pair --anew" in devices["cuff"]["detail"]
    assert not any(call == "Adapter1.RemoveDevice" for call in listening.room.bluez.calls), (
        "a bond is a person's to end"
    )


async def _advertising_until(exam_room: Any, reason: str) -> Any:
    while True:
        devices = (await exam_room.status())["devices"]
        if devices["cuff"]["reason"] == reason:
            return devices
        if exam_room.cuff.peripheral.connection is None and not exam_room.cuff.peripheral.advertising:
            await exam_room.cuff.advertise()
        await asyncio.sleep(0.02)


async def test_thirty_records_of_failed_measurements(listening: Any) -> None:
    listening.cuff.inject(BleFault.NAN_FLOOD)
    await well(listening, 111)
    event = await listening.told("measurement_failed")
    assert event["device"] == {"id": "cuff", "model": "and-ua-651ble"}
    devices = await listening.until(lambda devices: devices["cuff"]["counts"]["notices"] == 30)
    counts = devices["cuff"]["counts"]
    assert counts == counts | {"frames": 31, "samples": 1, "notices": 30, "repeats": 0, "rejected": {}, "usable": 1}
    assert len(listening.chart.deliveries) == 1


async def test_the_last_record_again(listening: Any) -> None:
    await well(listening, 111)
    listening.cuff.inject(BleFault.REPEAT_LAST)
    await well(listening, 112)
    devices = await listening.until(lambda devices: devices["cuff"]["counts"]["repeats"] == 1)
    assert devices["cuff"]["readings"] == 2
    assert len(listening.with_systolic(111)) == 1


async def test_its_clock_starts_again_at_2010(listening: Any) -> None:
    listening.cuff.inject(BleFault.CLOCK_2010)
    await listening.cuff.measure(111, 70, 60)
    payload = await listening.arrives(111)
    assert (payload["disposition"], payload["reasons"]) == ("hold", ["clock_unverifiable"])
    assert payload["taken_at"] is None
    assert payload["time"]["device_time"].startswith("2010-01-01T00:00:0")
    assert payload["time"]["clock_offset_s"] > 15 * 365 * 86_400
    await well(listening)


async def test_two_of_a_clock_that_always_starts_again_are_two_and_held(listening: Any) -> None:
    listening.cuff.memory += []
    for count in (1, 2):
        listening.cuff.inject(BleFault.CLOCK_2010)
        await listening.cuff.measure(111, 70, 60)
        await listening.chart.wait_for(lambda chart, count=count: len(chart.deliveries) == count, timeout=30)
    first, second = listening.with_systolic(111)
    assert first["id"] != second["id"], "no id follows from a clock that cannot be believed"
    assert second["possible_repeat_of"] == first["id"]
    assert second["reasons"] == ["clock_unverifiable", "possible_repeat"]


async def test_refuses_its_clock_to_be_set(listening: Any) -> None:
    listening.cuff.inject(BleFault.CLOCK_WRITE_ERROR)
    await well(listening, 111)
    await listening.told("clock_not_set")
    await well(listening)


async def test_its_clock_is_left_as_it_is_if_the_disk_takes_no_note_of_it(
    listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour ahead, the cuff is read all the same; its records are placed by what its clock shows."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    clock = listening.cuff.clock
    clock.set(clock.now() + timedelta(hours=1))
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Store, "note_unsure_until", fail)
        await well(listening, 111)
    assert "clock set" not in listening.cuff.journal
    await well(listening, 112)
    assert "clock set" in listening.cuff.journal


async def test_summer_time_at_the_cuff(listening: Any) -> None:
    """Its clock was not set back in autumn: of now is of now, and the offset stands in the reading."""
    clock = listening.cuff.clock
    clock.set(clock.now() + timedelta(hours=1))
    payload = await well(listening, 111)
    assert -3605 < payload["time"]["clock_offset_s"] < -3595
    payload = await well(listening, 112)
    assert abs(payload["time"]["clock_offset_s"]) < 5, "it was set"


async def test_its_clock_is_wrong_by_months(listening: Any) -> None:
    clock = listening.cuff.clock
    clock.set(clock.now() - timedelta(days=100))
    await listening.cuff.measure(111, 70, 60)
    payload = await listening.arrives(111)
    assert (payload["disposition"], payload["reasons"]) == ("hold", ["clock_unverifiable"])
    assert payload["taken_at"] is None
    await well(listening, 112)


async def test_a_record_from_before_its_clock_was_set_back_is_not_taken_for_one_of_now(listening: Any) -> None:
    """The cuff is an hour ahead, and its transfer breaks off: what it keeps is stamped an hour in the future."""
    clock = listening.cuff.clock
    clock.set(clock.now() + timedelta(hours=1))
    await listening.stop()
    for systolic in (101, 102):
        await listening.cuff.measure(systolic, 70, 60, taken=clock.now().replace(microsecond=0) - timedelta(hours=1))
    listening.cuff.inject(BleFault.HANG_UP)
    await listening.start()
    await listening.cuff.advertise()
    await listening.chart.wait_for(lambda chart: bool(chart.deliveries), timeout=30)
    await listening.stop()  # what is known of its clock outlives a restart
    await listening.start()
    await listening.heard_again()
    await listening.chart.wait_for(lambda chart: len(chart.deliveries) == 3, timeout=30)
    first, again = listening.with_systolic(102)  # it had come before the link was lost, unconfirmed
    assert (first["disposition"], first["reasons"]) == ("hold", ["stored_record"])
    assert (again["disposition"], again["reasons"]) == ("hold", ["clock_unverifiable", "possible_repeat"])
    assert again["possible_repeat_of"] == first["id"]


@pytest.mark.parametrize(
    ("call", "error", "times"),
    [
        ("Adapter1.StartDiscovery", IN_PROGRESS, 2),
        ("Device1.Connect", IN_PROGRESS, 1),
        ("Device1.Connect", FAILED, 2),
        ("Device1.Connect", BluezError("org.freedesktop.DBus.Error.UnknownObject", "no such object"), 1),
        ("GattCharacteristic1.ReadValue", IN_PROGRESS, 3),
        ("GattCharacteristic1.WriteValue", IN_PROGRESS, 3),
        ("GattCharacteristic1.StartNotify", BluezError("NotPermitted", "Not paired"), 1),
        ("GattCharacteristic1.StartNotify", FAILED, 1),
        ("GattCharacteristic1.StartNotify", Unanswered(), 1),
        ("GattCharacteristic1.ReadValue", Unanswered(), 1),
        ("GattCharacteristic1.WriteValue", Unanswered(), 1),
        ("Device1.Pair", Unanswered(), 1),
        ("Device1.Connect", Unanswered(), 1),
    ],
)
async def test_a_call_fails(
    exam_room: Any, impatient: None, call: str, error: BluezError | Unanswered, times: int
) -> None:
    exam_room.room.bluez.fail(call, error, times=times)
    await exam_room.start()
    await exam_room.cuff.measure(111, 70, 60)
    await exam_room.heard_again()
    assert (await exam_room.arrives(111))["disposition"] == "usable"
    await well(exam_room)
    assert len(exam_room.with_systolic(111)) == 1


async def _power_off_and_on(exam_room: Any) -> None:
    await exam_room.room.bluez.power(False)
    await exam_room.until(lambda devices: devices["cuff"]["reason"] == "adapter_off")
    await exam_room.room.bluez.power(True)


async def _power_off_and_on_at_once(exam_room: Any) -> None:
    await exam_room.room.bluez.power(False)
    await exam_room.room.bluez.power(True)


async def _unplug_and_plug(exam_room: Any) -> None:
    await exam_room.room.bluez.unplug()
    await exam_room.until(lambda devices: devices["cuff"]["reason"] == "no_adapter")
    exam_room.room.bluez.plug()


async def _daemon_dies_and_returns(exam_room: Any) -> None:
    await exam_room.room.bluez.die()
    devices = await exam_room.until(lambda devices: devices["cuff"]["reason"] == "no_bluetooth")
    assert devices["thermometer"]["reason"] == "no_bluetooth", "the radio's trouble is every device's"
    assert "systemctl status bluetooth" in devices["cuff"]["detail"]
    await exam_room.room.bluez.start()


TROUBLES = [_power_off_and_on, _power_off_and_on_at_once, _unplug_and_plug, _daemon_dies_and_returns]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_radio_goes_and_returns_while_listening(
    listening: Any, trouble: Callable[[Any], Awaitable[None]]
) -> None:
    await well(listening, 120)
    await trouble(listening)
    await well(listening, 111)
    await well(listening, 112)
    assert [len(listening.with_systolic(s)) for s in (120, 111, 112)] == [1, 1, 1]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_radio_goes_and_returns_in_a_transfer(
    listening: Any, trouble: Callable[[Any], Awaitable[None]]
) -> None:
    await well(listening, 120)
    now = listening.cuff.clock.now().replace(microsecond=0)
    for minutes in range(40, 10, -1):
        listening.cuff.memory.append(listening.cuff.failed_record(now - timedelta(minutes=minutes)))
    await listening.cuff.measure(111, 70, 60)
    await listening.until(lambda devices: devices["cuff"]["counts"]["notices"] > 0)
    await trouble(listening)
    await listening.heard_again()
    await listening.arrives(111)
    await well(listening, 112)
    assert [len(listening.with_systolic(s)) for s in (120, 111, 112)] == [1, 1, 1]


async def test_out_of_range_and_back(listening: Any) -> None:
    await well(listening, 120)
    address = listening.cuff.address
    now = listening.cuff.clock.now().replace(microsecond=0)
    for minutes in range(40, 10, -1):
        listening.cuff.memory.append(listening.cuff.failed_record(now - timedelta(minutes=minutes)))
    await listening.cuff.measure(111, 70, 60)
    await listening.until(lambda devices: devices["cuff"]["counts"]["notices"] > 0)
    listening.room.air.take_out_of_range(address)
    listening.room.air.bring_back(address)
    await listening.heard_again()
    await listening.arrives(111)
    assert len(listening.with_systolic(111)) == 1


async def test_stopped_in_a_transfer_what_came_is_kept(listening: Any) -> None:
    await well(listening, 120)
    for systolic in range(130, 150):
        await listening.cuff.measure(systolic, 70, 60)
    await listening.until(lambda devices: devices["cuff"]["readings"] > 3)
    await listening.stop()
    confirmed = len(listening.cuff.sent)
    await listening.start()
    await listening.heard_again()
    await listening.nothing_left()
    await listening.chart.wait_for(lambda chart: len(chart.readings) == 21, timeout=30)
    assert confirmed >= 4
    assert not listening.chart.gaps
    assert all(len(listening.with_systolic(systolic)) == 1 for systolic in range(130, 150))
