"""The real process: its account under faults, its metrics, traces, and rows that go out again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from paho.mqtt.client import MQTTv5

from simulators.broker import OwnBroker, free_port
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
BASE = "vitals/v1/northside/exam-3"
PATIENCE_S = 30.0


def adds_up(account: Mapping[str, Any]) -> bool:
    """The equations, reckoned here once more from what is told."""
    committed = account["usable"] + sum(account["held"].values())
    became = committed + account["committing"] + account["repeats"] + account["not_kept"]
    frames = account["samples"] + account["notices"] + sum(account["rejected"].values())
    rows = account["delivered"] + account["parked"] + account["waiting"]
    return bool(
        account["unbalanced"] == []
        and account["frames"] == frames
        and account["samples"] == became
        and account["waiting_at_start"] + committed + account["revisions"] == rows
    )


class Scale:
    """Says one weight after the other, with a rejected line now and then."""

    def __init__(self, port: PtyPort) -> None:
        self._port = port
        self._grams: Iterator[int] = count(20_000)

    def weigh(self, times: int = 1) -> None:
        for _ in range(times):
            self._port.write(f"ST,{next(self._grams) / 1000:+09.3f} kg\r\n".encode() * 5)

    async def run(self) -> None:
        while True:
            self.weigh()
            self._port.write(b"ST,garbled\r\n")
            await asyncio.sleep(0.005)


@pytest.fixture
async def scale(gateway: Any, new_port: NewPort) -> Scale:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    return Scale(port)


async def run(gateway: Any, *arguments: str, status: int = 0) -> str:
    def call() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)}
        return subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    ended = await asyncio.to_thread(call)
    assert ended.returncode == status, ended.stderr
    return ended.stdout + ended.stderr


async def delivered(gateway: Any, number: int) -> dict[str, Any]:
    status: dict[str, Any] = await gateway.until(
        lambda status: status["account"]["delivered"] == number and status["account"]["waiting"] == 0
    )
    return status


async def weighed(gateway: Any, scale: Scale, times: int) -> None:
    """Weigh, one by one: each is on disk before the next."""
    status = await gateway.until(lambda status: status["devices"]["scale"]["reason"] in ("not_heard_yet", None))
    before = status["account"]["usable"]
    for number in range(1, times + 1):
        scale.weigh()
        await gateway.until(lambda status, number=number: status["account"]["usable"] >= before + number)


def replayed(chart: Chart) -> list[int]:
    return [(d.payload or {})["sequence"] for d in chart.deliveries if d.replayed]


@pytest.mark.timeout(180)
async def test_the_account_adds_up_at_any_moment_under_faults(
    gateway: Any, broker: OwnBroker, chart: Chart, scale: Scale
) -> None:
    """A scale in a hurry, the broker killed, the gateway killed: every status and every retained state adds up."""
    seen: list[dict[str, Any]] = []

    def note(status: dict[str, Any]) -> bool:
        seen.append(status["account"])
        return adds_up(status["account"])

    speaking = asyncio.create_task(scale.run())
    try:
        for _ in range(3):
            await gateway.start()
            await gateway.until(lambda status: not note(status) or status["account"]["delivered"] > 200)
            await broker.kill()
            kept = seen[-1]["usable"]
            await gateway.until(lambda status, kept=kept: not note(status) or status["account"]["usable"] > kept + 200)
            await broker.start()
            await gateway.until(lambda status: not note(status) or status["broker"]["connected_to"])
            now = seen[-1]["delivered"]
            await gateway.until(lambda status, now=now: not note(status) or status["account"]["delivered"] > now + 50)
            await gateway.kill()
    finally:
        speaking.cancel()
    await gateway.start()
    await gateway.until(lambda status: not note(status) or (status["account"]["waiting"] == 0))
    assert len(seen) > 20
    assert [account for account in seen if not adds_up(account)] == []
    assert any(account["waiting_at_start"] for account in seen)
    assert any(account["rejected"] for account in seen)
    told = [json.loads(state.body).get("account") for state in chart.states if state.topic == f"{BASE}/gateway"]
    told = [account for account in told if account is not None]
    assert len(told) > 3
    assert all(adds_up(account) for account in told)


async def test_the_account_adds_up_while_the_disk_takes_nothing(gateway: Any, chart: Chart, scale: Scale) -> None:
    await gateway.start()
    await weighed(gateway, scale, 2)
    stranger = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
        [
            sys.executable,
            "-c",
            "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.execute('BEGIN IMMEDIATE')\n"
            "print('locked', flush=True)\nsys.stdin.read()",
            gateway.outbox,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert stranger.stdout is not None
        assert await asyncio.to_thread(stranger.stdout.readline) == b"locked\n"
        scale.weigh(5)
        seen = await gateway.until(lambda status: status["account"]["committing"] == 5)
        assert adds_up(seen["account"])
    finally:
        stranger.communicate()
    status = await delivered(gateway, 7)
    assert adds_up(status["account"])
    assert status["account"]["usable"] == 7


async def test_a_consumer_that_misses_rows_asks_and_gets_exactly_them_marked(
    gateway: Any, broker: OwnBroker, chart: Chart, scale: Scale
) -> None:
    await gateway.start()
    await weighed(gateway, scale, 6)
    status = await delivered(gateway, 6)
    await chart.wait_for(lambda chart: len(chart.deliveries) == 6, PATIENCE_S)
    request = json.dumps({"stream": status["gateway"]["stream"], "from": 3, "to": 5, "request": "gap"})
    await asyncio.to_thread(
        publish.single, f"{BASE}/in/replay", request, qos=1, hostname=broker.host, port=broker.port, protocol=MQTTv5
    )
    await chart.wait_for(lambda chart: replayed(chart) == [3, 4, 5], PATIENCE_S)
    status = await gateway.until(lambda status: status["replays"]["said"] == {"success": 3})
    assert status["replays"]["requests"] == {"accepted": 1}
    assert adds_up(status["account"])
    assert status["account"]["delivered"] == 6
    assert len(chart.readings) == 6
    again = {d.body for d in chart.deliveries if d.replayed}
    assert again <= {d.body for d in chart.deliveries if not d.replayed}


async def test_resend_closes_the_gap_that_a_killed_broker_left(
    gateway: Any, broker: OwnBroker, chart: Chart, scale: Scale
) -> None:
    """Mosquitto acknowledges for a subscriber who is away, and is killed: with it goes what it had acknowledged."""
    await gateway.start()
    await weighed(gateway, scale, 2)
    await chart.wait_for(lambda chart: len(chart.readings) == 2, PATIENCE_S)
    await chart.stop()
    await weighed(gateway, scale, 5)
    await delivered(gateway, 7)
    await broker.kill()
    await broker.start()
    await chart.start()
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
    await weighed(gateway, scale, 1)
    await chart.wait_for(lambda chart: len(chart.readings) == 3, PATIENCE_S)
    assert [*chart.gaps.values()] == [(3, 4, 5, 6, 7)]
    assert "5 readings go out again" in await run(gateway, "resend", "--sequence", "3..7")
    await chart.wait_for(lambda chart: not chart.gaps, PATIENCE_S)
    assert replayed(chart) == [3, 4, 5, 6, 7]
    assert len(chart.readings) == 8
    status = await gateway.until(lambda status: not status["replays"]["left"])
    assert adds_up(status["account"])


async def test_a_trace_tells_each_step_and_no_value(gateway: Any, chart: Chart, scale: Scale) -> None:
    await gateway.start()
    await weighed(gateway, scale, 1)
    await delivered(gateway, 1)
    await chart.wait_for(lambda chart: len(chart.readings) == 1, PATIENCE_S)
    ((ident, payload),) = chart.readings.items()
    await run(gateway, "resend", ident)
    await chart.wait_for(lambda chart: replayed(chart) == [1], PATIENCE_S)
    await gateway.until(lambda status: not status["replays"]["left"])

    async def traced(*arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await run(gateway, "trace", *arguments, "--json"))
        return answer

    async with asyncio.timeout(PATIENCE_S):
        while (await traced(ident))["readings"][0]["sent_again"] is None:  # noqa: ASYNC110 - a file sets no Event
            await asyncio.sleep(0.05)
    (reading,) = (await traced(ident))["readings"]
    version = payload["gateway"]["version"]
    assert reading["captured"]["received_at"] == payload["received_at"]
    assert (reading["captured"]["link"], reading["captured"]["mode"]) == ("serial", "test")
    assert (reading["validated"]["status"], reading["validated"]["disposition"]) == ("valid", "usable")
    assert (reading["committed"]["sequence"], reading["committed"]["version"]) == (1, version)
    assert reading["state"] == "delivered"
    assert reading["sent"]["broker"] == f"127.0.0.1:{gateway.broker_port}"
    assert (reading["acknowledged"]["reason"], reading["acknowledged"]["version"]) == ("success", version)
    assert (reading["sent_again"]["times"], reading["sent_again"]["acknowledged"]["reason"]) == (1, "success")
    assert (reading["raw"]["same"], reading["raw"]["events"]) == (True, ["sample"])

    for text in (await run(gateway, "trace", ident), json.dumps(reading)):
        assert "20.000" not in text
        assert "ST," not in text
        assert b"20.000".hex() not in text
    shown = await run(gateway, "trace", ident, "--values")
    assert "body_weight 20.0 kg, measured 20.000 kg\n" in shown
    assert b"20.000".hex() in shown
    assert "shown by `trace`" in (gateway.folder / "gateway.log").read_text()

    at = payload["received_at"]
    assert (await traced("--device", "scale", "--at", at))["readings"] == [reading]
    assert (await traced("--device", "scale", "--since", at[:-5] + "Z"))["readings"] == [reading]
    assert (await traced("--device", "scale", "--at", "2020-01-01T00:00"))["readings"] == []
    assert "nothing is kept" in await run(gateway, "trace", "0f0c0b52-2f0e-5f2c-9d5c-6b0f2f3a9f11")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("trace",), 64),
        (("trace", "--device", "scale"), 64),
        (("trace", "x", "--device", "scale", "--at", "2020-01-01"), 64),
        (("trace", "x"), 1),
        (("trace", "--device", "scale", "--at", "noon"), 1),
        (("resend",), 64),
        (("resend", "--sequence", "1-2"), 64),
        (("resend", "--sequence", "2..1"), 1),
        (("resend", "--since", "noon"), 1),
        (("resend", "x"), 1),
    ],
)
async def test_what_cannot_be_asked_is_said(
    gateway: Any, scale: Scale, arguments: tuple[str, ...], status: int
) -> None:
    await gateway.start()
    await gateway.until(lambda _status: True)
    assert await run(gateway, *arguments, status=status)


def values(page: str) -> dict[str, float]:
    """The page, as Prometheus's own parser reads it: name{labels} -> value."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        sample.name + str(dict(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def test_the_metrics_say_what_status_says(gateway: Any, chart: Chart, scale: Scale) -> None:
    port, file = free_port(), gateway.folder / "vitals.prom"
    gateway.more = f"metrics: {{port: {port}, textfile: {file.name}}}"
    await gateway.start()
    await weighed(gateway, scale, 3)
    scale._port.write(b"ST,garbled\r\n")
    await gateway.until(lambda status: status["account"]["rejected"])
    await delivered(gateway, 3)

    async def scraped(path: str = "/metrics") -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer

    head, _, page = (await scraped()).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    told = values(page)
    assert told["vitals_gateway_readings_total{'device': 'scale', 'disposition': 'usable', 'reason': ''}"] == 3
    assert told["vitals_gateway_delivered_rows_total{}"] == 3
    assert told["vitals_gateway_account_balanced{}"] == 1
    assert told["vitals_gateway_broker_connected{}"] == 1
    frames = told["vitals_gateway_frames_total{'device': 'scale'}"]
    rejected = sum(value for name, value in told.items() if "rejected_frames" in name)
    notices = told["vitals_gateway_notices_total{'device': 'scale'}"]
    assert frames == told["vitals_gateway_samples_total{'device': 'scale'}"] + notices + rejected
    assert "20.0" not in page
    assert (await scraped("/")).startswith("HTTP/1.1 404")
    assert file.stat().st_mode & 0o777 == 0o644
    assert "vitals_gateway_account_balanced" in file.read_text()
    assert await gateway.stop() == 0
    assert not file.exists(), "what nobody renews would look like now"
