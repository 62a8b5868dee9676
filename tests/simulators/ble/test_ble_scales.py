"""Simulated scales: the published values reproduced, and their lies, as bleak's own BlueZ backend sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner

from simulators.ble import profiles
from simulators.ble.and_uc_352ble import AndUc352ble
from simulators.ble.beurer_bf import CODE, HISTORY, BeurerBf, composition
from simulators.ble.detecto_icon import DetectoIcon
from simulators.ble.faults import BleFault
from simulators.ble.peripheral import MARKER_SERVICE
from simulators.ble.renpho_es_wbe28 import COMPOSITION, RenphoEsWbe28, weight_record
from simulators.ble.scale import Scale
from simulators.ports.room import Room

PATIENCE_S = 10.0
ADDRESS = "C8:1E:8E:00:07:01"
WEIGHT, BODY, CONTROL = (f"0000{uuid}-0000-1000-8000-00805f9b34fb" for uuid in ("2a9d", "2a9c", "2a9f"))
BEURERS_CONSENT = bytes([2, 1]) + CODE.to_bytes(2, "little")
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


def test_what_others_published() -> None:
    # KristianP26/ble-scale-sync, tests/scales: a RENPHO's weight; a BF788's weight, placeholder and body composition.
    taken = datetime.fromisoformat("2026-07-04T12:26:06")
    assert weight_record(Decimal("94.9"), taken).hex() == "4e6a07ea0707040c1a06aa00000000"
    weight = profiles.weight_measurement(
        Decimal("117.92"),
        step=Decimal("0.005"),
        taken=datetime.fromisoformat("2026-07-14T23:41:32"),
        user=1,
        bmi_and_height=(320, 1920),
    )
    assert weight.hex() == "0e205cea07070e1729200140018007"
    assert composition(None).hex() == "9803000096230000000000000000"
    assert composition(Decimal("24.3")).hex() == "9803f300962389014042fa2f550f"
    # whosebug.org 6059700: an A&D scale.
    assert profiles.weight_measurement(Decimal("56.8"), step=Decimal("0.01"), pounds=True).hex() == "013016"
    unsuccessful = profiles.weight_measurement(None, step=Decimal("0.005"))
    assert unsuccessful.hex() == "00ffff"


@pytest.mark.parametrize("weight", [Decimal("70.003"), Decimal(-1), Decimal(400)])
def test_a_weight_that_it_cannot_say_is_an_error(weight: Decimal) -> None:
    with pytest.raises(ValueError, match="no weight in steps"):
        profiles.weight_measurement(weight, step=Decimal("0.005"))


class Host:
    """What a gateway does with a scale, by hand."""

    def __init__(self, scale: Scale, stack: Any) -> None:
        self.scale = scale
        self.said: list[tuple[str, str]] = []
        self._stack = stack

    async def connect(self) -> BleakClient:
        found = await BleakScanner.find_device_by_address(self.scale.address, PATIENCE_S)
        assert found is not None
        self.client = BleakClient(found, timeout=PATIENCE_S)
        await self._stack.enter_async_context(self.client)
        return self.client

    async def turn_on(self, uuid: str) -> None:
        await self.client.start_notify(uuid, lambda _sender, data: self.said.append((uuid, bytes(data).hex())))

    async def consent(self, request: bytes) -> None:
        await self.turn_on(CONTROL)
        await self.client.write_gatt_char(CONTROL, request, response=True)


@pytest.fixture
async def host(room: Room) -> Any:
    async with AsyncExitStack() as stack:

        async def put(make: type[Scale]) -> Host:
            scale = make(room.air.radio("scale"), ADDRESS, advertising_interval_ms=20)
            await stack.enter_async_context(scale)
            return Host(scale, stack)

        yield put


async def test_a_renpho_is_silent_until_consent(host: Any, eventually: Eventually) -> None:
    one = await host(RenphoEsWbe28)
    await one.scale.measure(Decimal("94.90"))
    client = await one.connect()
    assert client.services.get_service(MARKER_SERVICE) is not None
    await one.turn_on(WEIGHT)
    await eventually(lambda: "turned on before consent: silent" in one.scale.journal)
    await client.stop_notify(WEIGHT)
    await one.consent(bytes.fromhex("02aa0f27"))
    await eventually(lambda: (CONTROL, "200201") in one.said)
    assert [uuid for uuid, _ in one.said] == [CONTROL]
    await one.turn_on(BODY)
    await one.turn_on(WEIGHT)
    await eventually(lambda: len(one.said) == 3)
    assert [value for uuid, value in one.said if uuid == BODY] == [COMPOSITION.hex()]
    assert one.said[1][1][2:6] == "6a07"  # 1898 counts of 0.05 kg
    await eventually(lambda: one.scale.memory == [])


@pytest.mark.parametrize("request_", ["0201d809", "0202d809", "020100", "04"])
async def test_a_beurer_knows_its_users_alone(host: Any, eventually: Eventually, request_: str) -> None:
    one = await host(BeurerBf)
    if request_ == "0201d809":
        one.scale.new_batteries()
    await one.scale.measure(Decimal("70.000"))
    await one.connect()
    await one.client.pair()
    await one.consent(bytes.fromhex(request_))
    await eventually(lambda: bool(one.said))
    assert one.said[0][1][-2:] in ("05", "02")
    await one.turn_on(WEIGHT)
    await eventually(lambda: "turned on before consent: silent" in one.scale.journal)
    assert one.scale.sent == []


async def test_a_beurer_sends_its_history_with_placeholders_and_the_last_again(
    host: Any, eventually: Eventually
) -> None:
    one = await host(BeurerBf)
    one.scale.remember_history(Decimal("70.000"))
    await one.scale.measure(Decimal("71.000"), body_fat=Decimal("20.0"))
    await one.connect()
    await one.client.pair()
    await one.consent(BEURERS_CONSENT)
    await eventually(lambda: (CONTROL, "200201") in one.said)
    await one.turn_on(BODY)
    await one.turn_on(WEIGHT)
    await eventually(lambda: not one.client.is_connected)
    bodies = [value for uuid, value in one.said if uuid == BODY]
    assert len(bodies) == HISTORY + 1
    assert {value[4:8] for value in bodies[:-1]} == {"0000"}
    assert bodies[-1][4:8] == "c800"
    assert len([value for uuid, value in one.said if uuid == WEIGHT]) == HISTORY + 1


async def test_a_beurer_hangs_up_in_mid_transfer_and_keeps_the_rest(host: Any, eventually: Eventually) -> None:
    one = await host(BeurerBf)
    one.scale.inject(BleFault.HANG_UP)
    one.scale.remember_history(Decimal("70.000"))
    await one.scale.advertise()
    await one.connect()
    await one.client.pair()
    await one.consent(BEURERS_CONSENT)
    await one.turn_on(BODY)
    await one.turn_on(WEIGHT)
    await eventually(lambda: not one.client.is_connected)
    assert len(one.scale.sent) == len(one.scale.memory) == HISTORY  # of 70 records


async def test_a_detecto_says_that_it_is_below_zero_and_stays(host: Any, eventually: Eventually) -> None:
    one = await host(DetectoIcon)
    await one.scale.measure(Decimal("-1.00"))
    await one.connect()
    assert BODY not in {characteristic.uuid for characteristic in one.client.services.characteristics.values()}
    await one.turn_on(WEIGHT)
    await eventually(lambda: len(one.said) == 1)
    assert one.said[0][1] == "110000"
    await one.scale.measure(Decimal("157.00"), bmi_and_height=(245, 680))
    await eventually(lambda: len(one.said) == 2)
    assert one.said[1][1] == "09543df500a802"
    assert one.client.is_connected


async def test_an_a_and_d_scale_with_and_without_a_time(room: Room, reader: Any) -> None:
    async with AndUc352ble(room.air.radio("scale"), ADDRESS, advertising_interval_ms=20) as scale:
        await scale.measure(Decimal("56.80"), pounds=True, stamped=False)
        await scale.measure(Decimal("70.000"), taken=datetime.fromisoformat("2023-12-25T14:30:45"))
        assert [value.hex() for value in await reader.read(scale)] == ["013016", "02b036e7070c190e1e2d"]
        assert scale.failed_record(datetime.fromisoformat("2023-12-25T14:30:45")).hex() == "02ffffe7070c190e1e2d"
