"""`vitals-gateway status`: what a person sees of a running room."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulators.chart import Chart
from simulators.ports.pty import PtyPort

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
PATIENCE_S = 30.0

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]


@pytest.fixture
async def room(gateway: Any, chart: Chart, new_port: NewPort, say: Say) -> Any:
    """Two scales, one of which has weighed 83.700 kg."""
    port, idle = new_port("scale"), new_port("idle")
    gateway.add_device("scale", "and-standard-scale", port.path)
    gateway.add_device("idle-scale", "and-standard-scale", idle.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, b"ST,+0083.700 kg\r\n" * 2)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=PATIENCE_S)
    await gateway.until(lambda status: status["account"]["delivered"] == 1)
    return gateway


async def shown(gateway: Any, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "status",
        *arguments,
        env={**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)},
        stdout=subprocess.PIPE,
    )
    text, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0
    return text.decode()


async def test_each_device_with_its_last_reading_and_no_value(room: Any) -> None:
    page = await shown(room)
    assert re.search(r"^scale +online +\d+ s ago, usable \(test\) +1 +0$", page, re.MULTILINE), page
    assert re.search(r"^idle-scale +unknown: not_heard_yet +none +0 +0$", page, re.MULTILINE), page
    assert "83.7" not in page + json.dumps(await room.status())


async def test_values_only_where_they_are_asked_for_and_the_log_says_so(room: Any) -> None:
    assert "body_weight 83.700 kg" in await shown(room, "--values")
    assert "the values of 1 readings were shown by `status`" in (room.folder / "gateway.log").read_text()
    told = json.loads(await shown(room, "--values", "--json"))
    assert told["devices"]["scale"]["last_reading"]["vitals"] == [
        {"kind": "body_weight", "value": "83.700", "unit": "kg"}
    ]


async def test_the_last_reading_is_told_after_a_new_start(room: Any) -> None:
    assert await room.stop() == 0
    await room.start()
    await room.until(lambda status: status["devices"]["scale"]["last_reading"] is not None)


async def test_watching_outlives_the_service_and_ends_with_ctrl_c(room: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "status",
        "--watch",
        "0.05",
        env={**os.environ, "RUNTIME_DIRECTORY": str(room.folder)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None

    async def until_shown(words: bytes) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while words not in await process.stdout.readline():
                pass

    await until_shown(b"LAST READING")
    assert await room.stop() == 0
    await until_shown(b"no service answers")
    await room.start()
    await until_shown(b"LAST READING")
    process.send_signal(signal.SIGINT)
    text, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0
    assert b"Traceback" not in text
    assert b"\x1b" not in text, "a file is no terminal"
