"""`vitals-gateway demo`: the main job with nothing configured.

A broker of its own, a simulated scale on a real pty, a simulated cuff and thermometer on a simulated radio, the
gateway itself, and a stand-in for the chart. Only this file and `simulate` import simulators, and nothing imports this
file but the command line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gateway import log
from gateway.clock import Clock
from gateway.config import load
from gateway.service import Service
from gateway.settings import Settings
from simulators import catalogue
from simulators.broker import own_broker
from simulators.chart import Chart, Delivery, line
from simulators.faults import Faults
from simulators.ports.pty import PtyPort, run_device
from simulators.story import clinic

if TYPE_CHECKING:
    from simulators.ble.clinic import Devices

SCALE, CUFF, THERMOMETER = "health-o-meter-500kl", "and-ua-651ble", "and-ut-201ble"
SEED = 7
TIMEZONE = "America/Chicago"


class DemoFailed(Exception):
    """The demonstration cannot be given; `str()` says why and what to do."""


async def demo(seconds: float, *, json: bool) -> None:
    """Run for that many seconds and print each reading as it arrives. Raises DemoFailed."""
    log.configure("warning")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitals-demo-")))
        try:
            broker = await stack.enter_async_context(own_broker())
        except (OSError, RuntimeError) as error:
            raise DemoFailed(f"no broker: {error}") from error
        chart = await stack.enter_async_context(Chart(broker.host, broker.port, "vitals/v1/#"))
        port = PtyPort()
        stack.callback(port.close)
        air = await _air(stack, json=json)
        settings = _settings(folder, broker.port, port.path, air)
        stop = asyncio.Event()
        # The devices of a demonstration are set by this machine's clock: here it is right by definition.
        service = Service(settings, control=folder / "control.sock", demo=True, clock=Clock(probes=[lambda: True]))
        there = f"a {SCALE} on {port.path}" + (f", an {CUFF} and an {THERMOMETER} on a simulated radio" if air else "")
        _tell(f"broker on 127.0.0.1:{broker.port}, {there}; patients come and go. Ctrl-C ends it.", json=json)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(service.run(stop))
            acts: list[Coroutine[Any, Any, None]] = [
                run_device(catalogue.make(SCALE, SEED), port, Faults(SEED), clinic(SEED)),
                _print(chart, json=json),
            ]
            others = [tasks.create_task(act) for act in [*acts, *([air.ordinary_day(SEED)] if air else [])]]
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(serving), seconds)
            stop.set()
            await serving
            await asyncio.sleep(0)
            for task in others:
                task.cancel()
        gaps = sum(len(missing) for missing in chart.gaps.values())
        _tell(
            f"{len(chart.readings)} readings arrived, {gaps} missing. None was filed: that takes a person.", json=json
        )


async def _air(stack: AsyncExitStack, *, json: bool) -> Devices | None:
    """Answer a cuff and a thermometer on a simulated radio, which from here on is this process's only one."""
    try:
        from simulators.ble.clinic import Devices

        devices = await stack.enter_async_context(Devices(ZoneInfo(TIMEZONE)))
    except (ImportError, OSError, RuntimeError) as error:
        _tell(f"the scale alone, without cuff and thermometer: {error}", json=json)
        return None
    os.environ.update(devices.environment)
    return devices


async def _print(chart: Chart, *, json: bool) -> None:
    shown = 0

    def has_more(chart: Chart) -> bool:
        return len(chart.deliveries) > shown

    while True:
        await chart.wait_for(has_more, timeout=86400.0)
        for delivery in chart.deliveries[shown:]:
            print(_line(delivery, json=json), flush=True)  # noqa: T201 - this is what the demonstration is for
        shown = len(chart.deliveries)


def _line(delivery: Delivery, *, json: bool) -> str:
    if json or delivery.payload is None:
        return delivery.body.decode("utf-8", "replace")
    return line(delivery.payload)


def _tell(words: str, *, json: bool) -> None:
    print(words, file=sys.stderr if json else sys.stdout, flush=True)


def _settings(folder: Path, broker_port: int, scale: Path, air: Devices | None) -> Settings:
    """Answer the demonstration's configuration, read the way every other is."""
    file = folder / "gateway.yaml"
    radio = ""
    if air is not None:
        radio = f"""\
  - {{id: cuff, model: {CUFF}, address: "{air.cuff.address}"}}
  - {{id: thermometer, model: {THERMOMETER}, address: "{air.thermometer.address}"}}
"""
    file.write_text(
        f"""\
site: demo
room: exam-1
timezone: {TIMEZONE}
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
outbox: {{path: outbox.db}}
devices:
  - {{id: scale, model: {SCALE}, port: "{scale}"}}
{radio}"""
    )
    loaded = load(file)
    if loaded.settings is None:
        raise DemoFailed("; ".join(str(problem) for problem in loaded.problems))
    logging.getLogger(__name__).debug("configured by %s", file)
    return loaded.settings
