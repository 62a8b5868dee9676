"""Every model with a radio that can be simulated, its whole way: air, bleak's own BlueZ backend, service, real broker.

A model that is new in the simulators' catalogue is tried here by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.catalogue import load_model
from simulators.ble.catalogue import MODELS, values
from simulators.ble.clock import DeviceClock
from simulators.patient import Patient

PATIENCE_S = 30.0
HERE = ZoneInfo("America/Chicago")
ADDRESS = "C8:1E:8E:00:0F:01"
TOPICS = "vitals/v1/northside/exam-3/test"

# They keep what they measured, and nobody can ask for their clock: what they tell is held, whenever it was measured.
HELD = {"beurer-bm48", "beurer-bm59", "beurer-bm85", "beurer-elite900", "fora-ir20", "masimo-mightysat"}


def made(model: str, radio: Any) -> Any:
    make = MODELS[model].make
    taken = inspect.signature(make).parameters
    any_other = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    options: dict[str, Any] = {"advertising_interval_ms": 20}
    if "clock" in taken or any_other:
        options["clock"] = DeviceClock(HERE)
    if "beat_s" in taken:
        options["beat_s"] = 0.05
    return make(radio, ADDRESS, **options)


def as_shown(payload: dict[str, Any]) -> dict[str, Decimal]:
    """The numbers as they stand on the device, whatever unit the chart gets."""
    return {vital["kind"]: Decimal(str(vital.get("measured", vital)["value"])) for vital in payload["vitals"]}


@pytest.mark.parametrize("model", MODELS)
async def test_what_is_measured_now_arrives_once_where_it_belongs(exam_room: Any, model: str) -> None:
    session = load_model(model).session
    expected = values(MODELS[model].kinds, Patient(0).vitals)
    async with made(model, exam_room.room.air.radio(model)) as device:
        more = ""
        if "consent" in session.steps and session.consent is None:
            ((user, code),) = device.users.items()
            (exam_room.folder / "consent").write_text(f"{code}\n")
            more = f", user: {user}, consent_file: consent"
        exam_room.more_devices.append(f'{{id: tried, model: {model}, address: "{ADDRESS}"{more}}}')
        await exam_room.start()
        await exam_room.listening()
        measuring = asyncio.ensure_future(MODELS[model].measure(device, expected))
        await exam_room.chart.wait_for(lambda chart: bool(chart.deliveries), PATIENCE_S)
        await measuring
        await exam_room.until(lambda devices: devices["tried"]["state"] == "online")
        await exam_room.nothing_left()
        await exam_room.stop()
    (delivery,) = exam_room.chart.deliveries
    payload = json.loads(delivery.body, parse_float=Decimal)
    folder, disposition = ("quarantine", "hold") if model in HELD else ("reading", "usable")
    assert delivery.topic.startswith(f"{TOPICS}/{folder}"), "nothing simulated is on a patient's topic"
    assert (payload["device"]["id"], payload["mode"], payload["disposition"]) == ("tried", "test", disposition)
    assert as_shown(payload).items() >= expected.items()
    if model in HELD:
        assert payload["reasons"] == ["clock_unverifiable"]
