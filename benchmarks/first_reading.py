"""From exec to the first reading, memory when idle, latency of one reading: the script and ourselves, in turn.

Ourselves twice: serial devices alone, and with a cuff and a thermometer on a simulated radio beside them.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from simulators.broker import own_broker
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room

SCRIPT = "script"
STARTS = 5
READINGS = 200
PAUSE_S = 0.02
GRAMS = count(20_000, 10)


@dataclass(frozen=True)
class Result:
    first_reading_s: float
    pss_mib: float
    p50_ms: float
    p99_ms: float


class Subscriber:
    """Counts what arrives. It decodes nothing, so that it costs the contenders as little as can be."""

    def __init__(self, port: int) -> None:
        self.arrived = 0
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("vitals/v1/+/+/test/reading", qos=1)
        self._client.loop_start()

    def _on_message(self, _client: Client, _data: object, _message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._count)

    def _count(self) -> None:
        self.arrived += 1
        self._came.set()

    async def more_than(self, number: int, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while self.arrived <= number:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def measure(
    command: Sequence[str], port: PtyPort, subscriber: Subscriber, runtime: Path, bus: Mapping[str, str]
) -> Result:
    before, began = subscriber.arrived, time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **bus, "RUNTIME_DIRECTORY": str(runtime)}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while not await subscriber.more_than(before, PAUSE_S):
            say(port)
        first = time.monotonic() - began
        await asyncio.sleep(2.0)
        pss = pss_mib(process.pid)
        latencies = []
        for _ in range(READINGS):
            before, began = subscriber.arrived, time.monotonic()
            say(port)
            if not await subscriber.more_than(before, 5.0):
                raise RuntimeError(f"{command[0]} lost a reading")
            latencies.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(PAUSE_S)
    finally:
        process.kill()
        await process.wait()
    return Result(first, pss, statistics.median(latencies), statistics.quantiles(latencies, n=100)[98])


def say(port: PtyPort) -> None:
    port.write(f"ST,{next(GRAMS) / 1000:+09.3f} kg\r\n".encode())


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def configuration(folder: Path, broker_port: int, port: Path, *, radio: bool) -> Path:
    folder.mkdir()
    file = folder / "gateway.yaml"
    ble = [
        '{id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}',
        '{id: thermometer, model: and-ut-201ble, address: "C8:1E:8E:00:02:01"}',
    ]
    devices = [f'{{id: scale, model: and-standard-scale, port: "{port}"}}', *(ble if radio else [])]
    file.write_text(
        f"""\
site: bench
room: gateway
timezone: UTC
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
outbox: {{path: outbox.db}}
devices: [{", ".join(devices)}]
"""
    )
    return file


def median(results: Sequence[Result]) -> Result:
    return Result(*(statistics.median(values) for values in zip(*map(_tuple, results), strict=True)))


def _tuple(result: Result) -> tuple[float, float, float, float]:
    return (result.first_reading_s, result.pss_mib, result.p50_ms, result.p99_ms)


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        async with own_broker(config=("max_queued_messages 0",)) as broker, Room() as room:
            folder, port, subscriber = Path(name), PtyPort(), Subscriber(broker.port)
            program = str(Path(sys.executable).with_name("vitals-gateway"))
            contenders: dict[str, list[str]] = {
                SCRIPT: [sys.executable, str(Path(__file__).with_name("script.py")), str(port.path), str(broker.port)]
            }
            for contender, radio in (("vitals-gateway", False), ("with Bluetooth", True)):
                file = configuration(folder / str(radio), broker.port, port.path, radio=radio)
                contenders[contender] = [program, "run", "--config", str(file)]
            results: dict[str, list[Result]] = {contender: [] for contender in contenders}
            for _ in range(STARTS):  # in turn, so that what else the machine does hits all
                for contender, command in contenders.items():
                    results[contender].append(await measure(command, port, subscriber, folder, room.environment))
            subscriber.close()
            port.close()
    print(f"medians of {STARTS} starts, {READINGS} readings each; the script keeps nothing\n")
    print("| | first reading s | idle PSS MiB | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|")
    medians = {contender: median(measured) for contender, measured in results.items()}
    for contender, m in medians.items():
        print(f"| {contender} | {m.first_reading_s:.2f} | {m.pss_mib:.1f} | {m.p50_ms:.2f} | {m.p99_ms:.2f} |")
    for contender in list(medians)[1:]:
        ratios = zip(_tuple(medians[contender]), _tuple(medians[SCRIPT]), strict=True)
        cells = " | ".join(f"{ours / script:.2f} ×" for ours, script in ratios)
        print(f"| {contender} : {SCRIPT} | {cells} |")
