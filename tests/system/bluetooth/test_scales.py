"""Scales' whole way: the simulated air, bleak's own BlueZ backend, the service, a real broker. A quirk a test."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from drivers.ble import session
from simulators.ble import profiles
from simulators.ble.and_uc_352ble import AndUc352ble
from simulators.ble.beurer_bf import CODE, HISTORY, BeurerBf
from simulators.ble.clock import DeviceClock
from simulators.ble.detecto_icon import DetectoIcon
from simulators.ble.faults import BleFault
from simulators.ble.renpho_es_wbe28 import RenphoEsWbe28
from simulators.ble.scale import ScaleModel

PATIENCE_S = 30.0
ADDRESS = "C8:1E:8E:00:09:01"
HERE = ZoneInfo("America/Chicago")


class BeurerWithDateTime(BeurerBf):
    """The scale, its clock in 2A08."""

    model: ClassVar[ScaleModel] = replace(BeurerBf.model, clock=profiles.DATE_TIME)


class RenphoWithDateTime(RenphoEsWbe28):
    """The scale, its clock in 2A08."""

    model: ClassVar[ScaleModel] = replace(RenphoEsWbe28.model, clock=profiles.DATE_TIME)


# Of Current Time (2A2B) as soon as the session reads it.
CURRENT_TIME = hasattr(session, "CURRENT_TIME")
BEURERS: Sequence[type[BeurerBf]] = (BeurerWithDateTime, *((BeurerBf,) if CURRENT_TIME else ()))
RENPHOS: Sequence[type[RenphoEsWbe28]] = (RenphoWithDateTime, *((RenphoEsWbe28,) if CURRENT_TIME else ()))


class Corner:
    """A scale in the exam room, and what of it arrives."""

    def __init__(self, exam_room: Any, stack: AsyncExitStack) -> None:
        self.room = exam_room
        self._stack = stack

    async def put(self, make: Any, model: str, more: str = "", *, code: int | None = None) -> Any:
        """Put a scale there, start the service and wait until the radio listens."""
        self.scale = make(
            self.room.room.air.radio("scale"), ADDRESS, clock=DeviceClock(HERE), advertising_interval_ms=20
        )
        await self._stack.enter_async_context(self.scale)
        if code is not None:
            (self.room.folder / "scale-consent").write_text(f"{code}\n")
            more += ", consent_file: scale-consent"
        self.room.more_devices.append(f'{{id: scale, model: {model}, address: "{ADDRESS}"{more}}}')
        await self.room.start()
        await self.room.listening()
        return self.scale

    def readings(self, kind: str = "body_weight") -> list[dict[str, Any]]:
        payloads = [json.loads(d.body, parse_float=Decimal) for d in self.room.chart.deliveries]
        return [payload for payload in payloads if kind in {vital["kind"] for vital in payload["vitals"]}]

    async def arrive(self, count: int, kind: str = "body_weight") -> list[dict[str, Any]]:
        """Wait for so many readings of a kind, and answer them; one more is a failure."""
        await self.room.chart.wait_for(lambda _: len(self.readings(kind)) >= count, timeout=PATIENCE_S)
        readings = self.readings(kind)
        assert len(readings) == count
        return readings

    async def until(self, holds: Any) -> Any:
        """Wait until the scale's status is as it should be."""
        return (await self.room.until(lambda devices: holds(devices["scale"])))["scale"]


@pytest.fixture
async def corner(exam_room: Any) -> Any:
    async with AsyncExitStack() as stack:
        yield Corner(exam_room, stack)
        await exam_room.stop()


def vitals(payload: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {v["kind"]: (str(v["value"]), v["unit"]) for v in payload["vitals"]}


def vital(payload: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(v for v in payload["vitals"] if v["kind"] == kind)
    return found


# A&D UC-352BLE


async def test_a_weight_in_pounds_goes_to_the_chart(corner: Any) -> None:
    scale = await corner.put(AndUc352ble, "and-uc-352ble")
    await scale.measure(Decimal("184.50"), pounds=True)
    (payload,) = await corner.arrive(1)
    assert (payload["disposition"], payload["status"]) == ("usable", "valid")
    assert vitals(payload) == {"body_weight": ("83.688", "kg")}
    assert vital(payload, "body_weight")["measured"] == {"value": "184.50", "unit": "[lb_av]"}
    assert payload["device"]["serial"] == "SIM-000901"
    assert payload["time"]["source"] == "device"
    assert "clock set" in scale.journal


async def test_a_weight_of_this_morning_is_held(corner: Any) -> None:
    scale = await corner.put(AndUc352ble, "and-uc-352ble")
    await scale.measure(Decimal("70.5"), taken=scale.clock.now().replace(microsecond=0) - timedelta(hours=3))
    (payload,) = await corner.arrive(1)
    assert (payload["disposition"], payload["reasons"]) == ("hold", ["stored_record"])


async def test_a_weight_without_a_time_is_held(corner: Any) -> None:
    scale = await corner.put(AndUc352ble, "and-uc-352ble")
    await scale.measure(Decimal("56.80"), pounds=True, stamped=False)
    (payload,) = await corner.arrive(1)
    assert (payload["disposition"], payload["reasons"]) == ("hold", ["clock_unverifiable"])


async def test_a_weighing_that_failed_is_an_event(corner: Any) -> None:
    scale = await corner.put(AndUc352ble, "and-uc-352ble")
    await scale.fail()
    await corner.room.told("measurement_failed")
    assert corner.readings() == []


# Beurer BF


@pytest.mark.parametrize("beurer", BEURERS)
async def test_a_beurer_tells_its_weight_after_bond_and_consent(
    corner: Any, beurer: type[BeurerBf], caplog: pytest.LogCaptureFixture
) -> None:
    for ours in ("gateway", "drivers"):
        caplog.set_level(logging.DEBUG, ours)
    scale = await corner.put(beurer, "beurer-bf720", code=CODE)
    await scale.measure(Decimal("117.920"))
    (payload,) = await corner.arrive(1)
    assert (payload["disposition"], payload["status"]) == ("usable", "questionable")
    assert vitals(payload)["body_weight"] == ("117.920", "kg")
    assert vital(payload, "body_weight")["status"] == "valid"
    # Of whoever is in the scale's memory, not of who stood on it.
    for kind in ("body_height", "bmi"):
        assert (vital(payload, kind)["status"], vital(payload, kind)["reasons"]) == ("questionable", ["user_profile"])
    assert payload["device"]["user"] == "1"
    journal = scale.journal
    assert journal.index("paired") < journal.index("clock set") < journal.index("consented")
    assert str(CODE) not in caplog.text
    state = await corner.until(lambda scale: scale["counts"]["notices"] == 1)
    assert (state["state"], state["readings"], state["counts"]["rejected"]) == ("online", 1, {})


@pytest.mark.parametrize("beurer", BEURERS)
async def test_a_flood_of_history_and_placeholders_leaves_one_weight_of_now(
    corner: Any, beurer: type[BeurerBf]
) -> None:
    scale = await corner.put(beurer, "beurer-bf720", code=CODE)
    scale.remember_history(Decimal("117.500"))
    await scale.measure(Decimal("117.920"), body_fat=Decimal("24.3"))
    readings = await corner.arrive(HISTORY + 1)
    assert [payload["disposition"] for payload in readings] == ["hold"] * HISTORY + ["usable"]
    assert {tuple(payload["reasons"]) for payload in readings[:HISTORY]} == {("stored_record",)}
    assert vitals(readings[-1])["body_weight"] == ("117.920", "kg")
    (body,) = await corner.arrive(1, "body_fat")
    # Nobody can say when it was measured, and on whom: it carries neither time nor user.
    assert (body["disposition"], body["reasons"]) == ("hold", ["clock_unverifiable"])
    assert vitals(body) == {"body_fat": ("24.3", "%")}
    assert vital(body, "body_fat")["reasons"] == ["user_profile"]
    assert body["modifiers"]["impedance"]["value"] == Decimal("392.5")
    assert body["modifiers"]["basal_metabolism"]["unit"] == "kJ"
    state = await corner.until(lambda scale: scale["counts"]["notices"] == HISTORY)
    assert state["counts"]["rejected"] == {}
    assert [json.loads(event.body)["code"] for event in corner.room.chart.events] == []


@pytest.mark.parametrize("beurer", BEURERS)
async def test_the_last_weight_again_at_the_next_connection_is_no_second_one(
    corner: Any, beurer: type[BeurerBf]
) -> None:
    scale = await corner.put(beurer, "beurer-bf720", code=CODE)
    await scale.keep_and_advertise(scale.records(Decimal("81.000"), scale.now(), None, 1750)[0])
    (first,) = await corner.arrive(1)
    scale.inject(BleFault.REPEAT_LAST)
    await corner.until(lambda scale: scale["readings"] == 1)
    await scale.measure(Decimal("64.500"), height_mm=1750)
    readings = await corner.arrive(2)
    assert [vitals(payload)["body_weight"][0] for payload in readings] == ["81.000", "64.500"]
    assert readings[0]["id"] == first["id"]
    await corner.until(lambda scale: scale["counts"]["repeats"] == 1)


async def test_a_wrong_consent_code_is_shown_with_what_to_do(corner: Any, caplog: pytest.LogCaptureFixture) -> None:
    for ours in ("gateway", "drivers"):
        caplog.set_level(logging.DEBUG, ours)
    scale = await corner.put(BeurerBf, "beurer-bf720", code=4711)
    await scale.measure(Decimal("70.000"))
    state = await corner.until(lambda scale: scale["reason"] == "consent_refused")
    assert state["state"] == "offline"
    assert "consent_file" in state["detail"]
    assert "consent refused" in scale.journal
    assert corner.readings() == []
    assert scale.sent == []
    assert "4711" not in caplog.text


async def test_new_batteries_wipe_users_and_it_is_shown(corner: Any) -> None:
    scale = await corner.put(BeurerBf, "beurer-bf720", code=CODE)
    scale.new_batteries()
    await scale.measure(Decimal("70.000"))
    await corner.until(lambda scale: scale["reason"] == "consent_refused")
    assert corner.readings() == []


async def test_a_scale_whose_weight_contradicts_its_bmi_is_not_believed(corner: Any) -> None:
    scale = await corner.put(BeurerWithDateTime, "beurer-bf720", code=CODE)
    weight = profiles.weight_measurement(
        Decimal("9.490"), step=Decimal("0.005"), taken=scale.now(), user=1, bmi_and_height=(310, 1750)
    )
    await scale.keep_and_advertise((profiles.WEIGHT_MEASUREMENT, weight))
    state = await corner.until(lambda scale: scale["counts"]["rejected"])
    assert state["counts"]["rejected"] == {"weight_contradicts_bmi": 1}
    assert corner.readings() == []


async def test_a_mi_scales_payload_on_its_characteristic_is_refused(corner: Any) -> None:
    scale = await corner.put(BeurerWithDateTime, "beurer-bf720", code=CODE)
    mi = bytes.fromhex("02a4e607020e0a140f00009a38")
    cut = bytes.fromhex("9803c200")
    await scale.keep_and_advertise(
        (profiles.BODY_COMPOSITION_MEASUREMENT, mi), (profiles.BODY_COMPOSITION_MEASUREMENT, cut)
    )
    state = await corner.until(lambda scale: len(scale["counts"]["rejected"]) == 2)
    assert state["counts"]["rejected"] == {"body_fat_above_100": 1, "length": 1}
    assert corner.readings("body_fat") == []


# RENPHO ES-WBE28


@pytest.mark.parametrize("renpho", RENPHOS)
async def test_a_renpho_is_silent_until_consent_and_counts_in_its_own_steps(
    corner: Any, renpho: type[RenphoEsWbe28]
) -> None:
    scale = await corner.put(renpho, "renpho-es-wbe28")
    await scale.measure(Decimal("94.90"))
    (payload,) = await corner.arrive(1)
    assert payload["disposition"] == "usable"
    assert vitals(payload) == {"body_weight": ("94.90", "kg")}
    assert payload["device"]["user"] == "170"
    assert "turned on before consent: silent" not in scale.journal
    assert "consented" in scale.journal
    assert "paired" not in scale.journal
    state = await corner.until(lambda scale: scale["counts"]["notices"] == 1)
    assert state["counts"]["rejected"] == {}


# Detecto Icon


async def test_a_professional_scale_tells_what_is_weighed_now(corner: Any) -> None:
    scale = await corner.put(DetectoIcon, "detecto-icon")
    await scale.measure(Decimal("184.50"), bmi_and_height=(257, 710))
    (payload,) = await corner.arrive(1)
    assert (payload["disposition"], payload["time"]["source"]) == ("usable", "gateway")
    assert vitals(payload)["body_weight"] == ("83.688", "kg")
    assert vitals(payload)["body_height"][1] == "cm"
    await scale.measure(Decimal("-2.00"))
    await scale.measure(Decimal("120.00"))
    assert [vitals(payload)["body_weight"][0] for payload in await corner.arrive(2)] == ["83.688", "54.431"]
    state = await corner.until(lambda scale: scale["readings"] == 2)
    assert state["counts"]["notices"] == 1


async def test_kilograms_whose_step_nobody_knows_are_refused(corner: Any) -> None:
    scale = await corner.put(DetectoIcon, "detecto-icon")
    await scale.measure(Decimal("83.70"), pounds=False)
    state = await corner.until(lambda scale: scale["counts"]["rejected"])
    assert state["counts"]["rejected"] == {"unknown_resolution": 1}
    assert corner.readings() == []


async def test_two_scales_of_one_room_at_once(corner: Any, exam_room: Any) -> None:
    exam_room.more_devices.append('{id: second, model: detecto-icon, address: "C8:1E:8E:00:09:02"}')
    async with DetectoIcon(
        exam_room.room.air.radio("second"), "C8:1E:8E:00:09:02", advertising_interval_ms=20
    ) as other:
        scale = await corner.put(AndUc352ble, "and-uc-352ble")
        await asyncio.gather(scale.measure(Decimal("70.5")), other.measure(Decimal("120.00")))
        readings = await corner.arrive(2)
        assert {payload["device"]["id"] for payload in readings} == {"scale", "second"}
        await exam_room.stop()
