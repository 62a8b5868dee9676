"""Who is only heard: the radio hands on what a configured device advertises, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from drivers.links.bluetooth import SERVICES_LIMIT, Sighting, _sighting
from drivers.links.radio import Radio
from simulators.ble.mi_scale import MiScale
from simulators.ports.room import Room

SCALE, NEIGHBORS = "C8:1E:8E:00:06:01", "C8:1E:8E:00:06:09"

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
StartRadio = Callable[..., Radio]


def advertisement(**changes: object) -> AdvertisementData:
    said: dict[str, object] = {
        "local_name": None,
        "manufacturer_data": {},
        "service_data": {},
        "service_uuids": [],
        "tx_power": None,
        "rssi": -60,
        "platform_data": ("/org/bluez/hci0/dev", {"Address": SCALE.lower(), "Paired": False}),
    }
    return AdvertisementData(**{**said, **changes})  # type: ignore[arg-type]


def sighting(**changes: object) -> Sighting:
    return _sighting(BLEDevice("5B:00:00:00:00:01", None, {}), advertisement(**changes), "hci0")


async def test_each_frame_is_handed_on_as_it_was_said(
    room: Room, start_radio: StartRadio, eventually: Eventually
) -> None:
    heard: list[Sighting] = []
    radio = start_radio(SCALE)
    await eventually(lambda: room.bluez.discovering)
    fast = {"beat_s": 0.05, "advertising_interval_ms": 20}
    async with (
        MiScale(room.air.radio("scale"), SCALE, **fast) as scale,  # type: ignore[arg-type]
        MiScale(room.air.radio("next"), NEIGHBORS, **fast) as neighbors,  # type: ignore[arg-type]
    ):
        with radio.hearing(SCALE, heard.append):
            await asyncio.gather(scale.rise(Decimal("72.45")), neighbors.rise(Decimal("61.75")))
            await asyncio.gather(scale.stand(Decimal("72.45")), neighbors.stand(Decimal("61.75")))
            await eventually(lambda: any(one.service_data["181D"][0] == 0x22 for one in heard))
        count = len(heard)
        await scale.stand(Decimal("72.45"))
    assert len(heard) == count, "nobody attends it any more"
    assert {one.address for one in heard} == {SCALE}
    assert all(one.is_simulated for one in heard)
    assert heard[-1].service_data["181D"][1:3] == (14490).to_bytes(2, "little")
    assert [one.at for one in heard] == sorted(one.at for one in heard)
    assert "Device1.Connect" not in room.bluez.calls


def test_a_simulator_says_so_by_its_service_or_in_its_packet() -> None:
    assert not sighting().is_simulated
    assert not sighting(manufacturer_data={0x0157: b"SIM", 0xFFFF: b""}).is_simulated
    assert sighting(manufacturer_data={0xFFFF: b"SIM"}).is_simulated
    assert sighting(service_uuids=["53494d55-4c41-5445-4400-766974616c73"]).is_simulated


def test_an_address_is_what_bluetoothd_says_now() -> None:
    assert sighting().address == SCALE


def test_service_data_is_bounded_and_goes_by_its_short_name() -> None:
    base = "-0000-1000-8000-00805f9b34fb"
    many = {f"{number:08x}{base}": b"x" for number in range(SERVICES_LIMIT + 5)}
    assert len(sighting(service_data=many).service_data) == SERVICES_LIMIT
    assert sighting(service_data={f"0000181d{base}": b"x" * 255, f"0000181b{base}": b"x" * 256}).service_data == {
        "181D": b"x" * 255
    }
