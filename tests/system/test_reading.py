"""A reading's whole way: a simulated device on a pty, the real service, a real broker, the chart's stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.catalogue import load_model
from simulators import catalogue
from simulators.chart import Chart
from simulators.ports.pty import PtyPort, run_device
from simulators.serial.device import Scale, SerialDevice

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]


def stable(kg: float) -> bytes:
    """One frame of the A&D standard format: EK-L manual 9-2."""
    return f"ST,{kg:+09.3f} kg\r\n".encode()


def weights(chart: Chart) -> list[float]:
    return [
        float(vital["value"])
        for delivery in chart.deliveries
        for vital in (delivery.payload or {})["vitals"]
        if vital["kind"] == "body_weight"
    ]


@contextlib.asynccontextmanager
async def plugged_in(device: SerialDevice, port: PtyPort) -> AsyncIterator[Scale]:
    task = asyncio.create_task(run_device(device, port))
    assert isinstance(device, Scale)
    try:
        yield device
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("model", ["health-o-meter-500kl", "and-standard-scale", "mt-sics-scale"])
async def test_a_person_on_a_scale_is_one_reading(model: str, gateway: Any, chart: Chart, new_port: NewPort) -> None:
    port = new_port("scale")
    gateway.add_device("scale", model, port.path)
    await gateway.start()
    async with plugged_in(catalogue.make(model), port) as scale:
        await gateway.until(lambda status: status["devices"]["scale"]["reason"] != "not_opened_yet")
        scale.step_on(83.7)
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
        scale.step_off()
        await gateway.until(lambda status: status["devices"]["scale"]["readings"] == 1)
        scale.step_on(61.2)
        await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    assert await gateway.stop() == 0
    assert "ERROR" not in (gateway.folder / "gateway.log").read_text()
    assert weights(chart) == [83.7, 61.2]
    assert not chart.gaps
    first = chart.deliveries[0]
    assert first.topic == "vitals/v1/northside/exam-3/test/reading", "a pty is never real"
    assert not first.retained
    payload = first.payload or {}
    assert payload["mode"] == "test"
    assert payload["disposition"] == "usable"
    assert payload["status"] == "valid"
    assert payload["device"]["model"] == model
    assert payload["vitals"][0]["codes"][0] == {"system": "http://loinc.org", "code": "29463-7"}


async def test_pounds_become_kilograms_and_what_the_scale_said_stays(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-500kl", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    packet = b"\x1bR\x1bI1234567890\x1bW184.5\x1bH84.0\x1bB24.1\x1bT12.0\x1bNc\x1bE"
    await say(port, packet + packet)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
    body = chart.deliveries[0].body
    assert b'"value":83.69,"unit":"kg"' in body
    payload = json.loads(body)
    weight, height, bmi = payload["vitals"]
    assert weight["measured"] == {"value": "184.5", "unit": "[lb_av]"}
    assert (height["value"], height["unit"], bmi["value"]) == (213.4, "cm", 24.1)
    assert payload["flags"] == ["net"], "a wheelchair's tare is never silently part of a weight"
    assert payload["modifiers"]["tare"]["measured"] == {"value": "12.0", "unit": "[lb_av]"}
    assert payload["device"]["user"] == "1234567890"
    assert payload["raw"] is None
    log = (gateway.folder / "gateway.log").read_text()
    assert "1234567890" not in log
    assert "184.5" not in log


async def test_a_parent_then_the_parent_with_the_child(gateway: Any, chart: Chart, new_port: NewPort, say: Say) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    moving = b"US,+0075.000 kg\r\n"
    await say(port, stable(70.0) * 20 + moving + stable(81.5) * 20)
    await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    assert weights(chart) == [70.0, 81.5]
    assert {(delivery.payload or {})["disposition"] for delivery in chart.deliveries} == {"usable"}


async def test_two_equal_weights_with_no_zero_between_are_held_and_named(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    moving, zero = b"US,+0075.000 kg\r\n", stable(0.0)
    await say(port, zero + stable(70.0) * 3 + moving + stable(70.0) * 3 + zero + stable(70.0))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 3, timeout=20)
    first, doubtful, later = (delivery.payload or {} for delivery in chart.deliveries)
    assert doubtful["possible_repeat_of"] == first["id"]
    assert (doubtful["disposition"], doubtful["reasons"]) == ("hold", ["possible_repeat"])
    assert chart.deliveries[1].topic.endswith("/test/quarantine")
    assert (later["disposition"], later["possible_repeat_of"]) == ("usable", None)
    assert len({first["id"], doubtful["id"], later["id"]}) == 3


async def test_a_start_while_someone_stands_on_the_scale_is_not_a_second_reading(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(70.0))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 1, timeout=20)
    await gateway.stop()
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(70.0))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    first, again = (delivery.payload or {} for delivery in chart.deliveries)
    assert (again["disposition"], again["possible_repeat_of"]) == ("hold", first["id"])
    assert (first["stream"], first["sequence"] + 1) == (again["stream"], again["sequence"])


async def test_a_recalled_weight_is_held(gateway: Any, chart: Chart, new_port: NewPort) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-1100kl-l", port.path)
    await gateway.start()
    async with plugged_in(catalogue.make("health-o-meter-1100kl-l"), port) as scale:
        await gateway.device("scale", "unknown", "not_heard_yet")
        scale.step_on(83.7)
        await chart.wait_for(lambda chart: len(chart.deliveries) == 1, timeout=20)
        scale.step_off()
        await asyncio.sleep(load_model("health-o-meter-1100kl-l").settling.silence_s + 0.5)  # the silence is the thing
        scale.press("recall")
        await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    recalled = chart.deliveries[1].payload or {}
    assert recalled["disposition"] == "hold"
    assert "stored_record" in recalled["reasons"]
    assert chart.deliveries[1].topic.endswith("/test/quarantine")


async def test_an_impossible_weight_is_held_with_its_value_and_a_pinned_unit_is_kept(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path, ", unit: kg")
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(651.0) + b"ST,+0184.500 lb\r\n")
    await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    heavy, pounds = (delivery.payload or {} for delivery in chart.deliveries)
    assert (heavy["status"], heavy["disposition"], heavy["vitals"][0]["value"]) == ("invalid", "hold", 651.0)
    assert heavy["reasons"] == ["above_absolute_range"]
    assert (pounds["disposition"], pounds["reasons"]) == ("hold", ["unit_conflict"])
    status = await gateway.until(lambda status: status["devices"]["scale"]["held"] == 2)
    assert status["devices"]["scale"]["last_held_reason"] == "unit_conflict"
    await chart.wait_for(lambda chart: any(b'"held":2' in state.body for state in chart.states), timeout=20)


async def test_what_is_no_reading_is_an_event_without_a_value(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, b"OL,+9999.999 kg\r\n" * 50 + b"US,+0070.000 kg\r\n")
    await chart.wait_for(lambda chart: bool(chart.events), timeout=20)
    status = await gateway.until(lambda status: status["devices"]["scale"]["counts"]["frames"] == 51)
    assert status["devices"]["scale"]["counts"]["notices"] == 51
    assert [json.loads(event.body)["code"] for event in chart.events] == ["overload"], "once, not fifty times"
    assert not chart.deliveries


async def test_states_are_retained_and_end_as_offline(gateway: Any, chart: Chart, new_port: NewPort) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    gateway.add_device("old", "and-standard-scale", new_port("old").path)
    await gateway.start()
    await chart.wait_for(lambda chart: {"northside/exam-3/device/old"} <= _state_topics(chart), timeout=20)
    await gateway.stop()
    assert json.loads(_last_state(chart, "gateway"))["state"] == "offline"
    assert json.loads(_last_state(chart, "device/old"))["reason"] == "gateway_stopped", "nobody watches it any more"
    gateway.devices.pop()
    await gateway.start()
    await chart.wait_for(lambda chart: _last_state(chart, "device/old") == b"", timeout=20)
    await gateway.kill()
    await chart.wait_for(
        lambda chart: json.loads(_last_state(chart, "gateway")).get("reason") == "connection_lost", timeout=20
    )


def _state_topics(chart: Chart) -> set[str]:
    return {state.topic.removeprefix("vitals/v1/") for state in chart.states}


def _last_state(chart: Chart, leaf: str) -> bytes:
    return [state.body for state in chart.states if state.topic.endswith(f"/{leaf}")][-1]
