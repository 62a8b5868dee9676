"""Every simulated serial device on a real pty, all at once, read by the whole service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gateway.catalogue import load_model
from simulators import catalogue
from simulators.chart import Chart
from simulators.ports.pty import PtyPort, run_device
from simulators.serial.device import Bedside, Scale, SerialDevice

SPEED = 10.0  # of the devices: nobody waits half a minute for a simulated cuff
MODELS = catalogue.models()


def begin(device: SerialDevice) -> None:
    if isinstance(device, Bedside):
        device.attach()
    elif isinstance(device, Scale):
        device.step_on(83.7)


async def test_each_device_is_one_reading_of_each_kind(
    gateway: Any, chart: Chart, new_port: Callable[[str], PtyPort]
) -> None:
    devices = {model: catalogue.make(model) for model in MODELS}
    ports = {model: new_port(model) for model in MODELS}
    for number, model in enumerate(MODELS):
        pinned = ", unit: kg" if load_model(model).unit == "pinned" else ""
        gateway.add_device(f"device-{number}", model, ports[model].path, pinned)
    await gateway.start()
    await gateway.until(
        lambda status: all(device["reason"] != "not_opened_yet" for device in status["devices"].values())
    )
    tasks = [asyncio.create_task(run_device(devices[model], ports[model], speed=SPEED)) for model in MODELS]
    await gateway.until(lambda status: all(_heard(name, status) for name in status["devices"]))
    for device in devices.values():
        begin(device)
    await chart.wait_for(lambda chart: _models(chart) >= set(MODELS), timeout=30)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert await gateway.stop() == 0
    assert not chart.gaps
    told = [(payload["device"]["model"], vital["kind"]) for payload in _payloads(chart) for vital in payload["vitals"]]
    assert len(told) == len(set(told)), "a reading is told once"
    assert {payload["mode"] for payload in _payloads(chart)} == {"test"}, "a pty is never real"


def _heard(name: str, status: dict[str, Any]) -> bool:
    """Whether a device that is asked has answered; the others may be silent until someone is there."""
    model = MODELS[int(name.removeprefix("device-"))]
    silent = status["devices"][name]["state"] != "online"
    polled = ("dinamap", "mt_sics", "nci", "rice_lake_esc", "sma", "suntech", "suretemp", "taidoc")
    return not silent or load_model(model).driver not in polled


def _payloads(chart: Chart) -> list[Mapping[str, Any]]:
    return [delivery.payload for delivery in chart.deliveries if delivery.payload is not None]


def _models(chart: Chart) -> set[str]:
    return {payload["device"]["model"] for payload in _payloads(chart)}
