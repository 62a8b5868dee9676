"""The machine's clock goes wrong, before the gateway starts and in the middle of its work.

A real process, whose UTC the test moves (clock_shim.c). Devices are read on, nothing is in the wrong order, and once
the clock is right the readings of this start of the machine get their right time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulators.broker import OwnBroker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]
NEAR = timedelta(seconds=1)  # between what happened here and what was stamped there, with room for a slow machine


@pytest.fixture
async def scale(gateway: Any, new_port: NewPort, say: Say) -> Callable[[float], Awaitable[datetime]]:
    """Put a weight on the scale; answers when, by a clock that is right."""
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)

    async def weigh(kg: float) -> datetime:
        at = datetime.now(UTC)
        await say(port, f"US,{kg:+09.3f} kg\r\n".encode() + f"ST,{kg:+09.3f} kg\r\n".encode() * 3)
        return at

    return weigh


Weigh = Callable[[float], Awaitable[datetime]]


async def started(gateway: Any) -> None:
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")


async def arrives(chart: Chart, kg: float, revision: int = 1) -> dict[str, Any]:
    """Wait for a revision of the weight, of which a test has one."""

    def found() -> list[dict[str, Any]]:
        payloads = [dict(delivery.payload or {}) for delivery in chart.deliveries]
        return [p for p in payloads if (float(p["vitals"][0]["value"]), p["revision"]) == (kg, revision)]

    await chart.wait_for(lambda _: bool(found()), timeout=45)
    (one,) = found()
    return one


def taken(payload: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(payload["taken_at"])


async def quality(gateway: Any, quality: str) -> None:
    await gateway.until(lambda status: status["gateway"]["clock"] == quality, timeout=45)


async def test_boot_in_1970(gateway: Any, hands: Any, scale: Weigh, chart: Chart) -> None:
    """Nothing waits for the time; the readings go out unsynced, and once more when it is right."""
    hands.set(datetime(1970, 1, 1, 0, 5, tzinfo=UTC) - datetime.now(UTC), synced=False)
    await started(gateway)
    on_the_scale = await scale(70.5)
    first = await arrives(chart, 70.5)
    assert taken(first).year == 1970
    assert (first["time"]["quality"], first["state"], first["disposition"]) == ("unsynced", "final", "usable")
    hands.set(timedelta(0), synced=True)
    right = await arrives(chart, 70.5, revision=2)
    assert abs(taken(right) - on_the_scale) < NEAR
    assert right["received_at"] == right["taken_at"]
    assert (right["time"]["quality"], right["state"], right["reasons"]) == ("synced", "corrected", ["time_corrected"])
    assert (right["sequence"], right["stream"]) == (first["sequence"] + 1, first["stream"])
    same = set(first) - {"revision", "state", "sequence", "taken_at", "received_at", "time", "reasons"}
    assert {name: right[name] for name in same} == {name: first[name] for name in same}
    assert chart.readings[first["id"]]["revision"] == 2
    status = await gateway.until(lambda status: status["outbox"]["depth"] == 0)
    assert abs(datetime.fromisoformat(status["gateway"]["started_at"]) - on_the_scale) < timedelta(seconds=60)
    assert (status["account"]["revisions"], status["account"]["unbalanced"]) == (1, [])
    await quality(gateway, "synced")
    await scale(71.5)
    assert (await arrives(chart, 71.5))["time"]["quality"] == "synced"
    assert not chart.gaps
    assert await gateway.stop() == 0


async def test_a_time_is_corrected_once_over_a_kill_and_what_waits_goes_out_in_order(
    gateway: Any, hands: Any, scale: Weigh, chart: Chart, broker: OwnBroker
) -> None:
    """Killed between the readings and the right time, and again after it; the broker is away all the while."""
    await broker.kill()
    hands.set(timedelta(days=-30), synced=False)
    await started(gateway)
    before = [await scale(70.5), await scale(71.5)]
    await gateway.until(lambda status: status["devices"]["scale"]["readings"] == 2)
    await gateway.kill()
    hands.set(timedelta(0), synced=True)
    for _ in range(2):
        await started(gateway)
        status = await gateway.until(lambda status: status["outbox"]["depth"] == 4)
        assert 0 <= status["outbox"]["oldest_age_s"] < 120, "neither thirty days, nor less than nothing"
        await gateway.kill()
    await broker.start()
    await started(gateway)
    right = [await arrives(chart, 70.5, revision=2), await arrives(chart, 71.5, revision=2)]
    assert all(abs(taken(payload) - at) < NEAR for payload, at in zip(right, before, strict=True))
    await gateway.until(lambda status: status["outbox"]["depth"] == 0)
    assert [(d.payload or {})["sequence"] for d in chart.deliveries] == [1, 2, 3, 4]


async def test_what_was_read_before_the_machine_was_off_stays_unsynced(
    gateway: Any, hands: Any, scale: Weigh, chart: Chart
) -> None:
    hands.set(timedelta(days=-30), synced=False)
    await started(gateway)
    await scale(70.5)
    await arrives(chart, 70.5)
    await gateway.stop()
    gateway.environment["BOOT_ID"] = "1" * 32
    await started(gateway)
    await scale(71.5)
    hands.set(timedelta(0), synced=True)
    await arrives(chart, 71.5, revision=2)
    assert [(d.payload or {})["revision"] for d in chart.deliveries] == [1, 1, 2]
    assert "1 readings of an earlier start of this machine stay unsynced" in log(gateway)


def log(gateway: Any) -> str:
    return str((gateway.folder / "gateway.log").read_text())


@pytest.mark.parametrize("hours", [-3, 3], ids=["minus", "plus"])
async def test_a_step_of_hours_in_the_middle_of_work(
    hours: int, gateway: Any, hands: Any, scale: Weigh, chart: Chart, tmp_path: Path
) -> None:
    """Somebody moves a clock that was right, and the time server moves it back."""
    watchdog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with closing(watchdog):
        watchdog.bind(str(tmp_path / "notify"))
        watchdog.setblocking(False)
        gateway.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        await started(gateway)
        await quality(gateway, "synced")
        at = [await scale(70.5)]
        assert (await arrives(chart, 70.5))["time"]["quality"] == "synced"
        hands.set(timedelta(hours=hours), synced=False)
        at.append(await scale(71.5))
        off = await arrives(chart, 71.5)
        assert off["time"]["quality"] == "unsynced", "from the first reading on, before anybody was asked"
        assert abs(taken(off) - timedelta(hours=hours) - at[1]) < NEAR
        await gateway.until(lambda status: "the clock was moved by" in log(gateway))
        status = await gateway.until(lambda status: status["gateway"]["clock"] == "unsynced")
        assert (status["outbox"]["oldest_age_s"] or 0) >= 0
        at.append(await scale(72.5))
        await arrives(chart, 72.5)
        hands.set(timedelta(0), synced=True)
        right = [await arrives(chart, 71.5, revision=2), await arrives(chart, 72.5, revision=2)]
        assert all(abs(taken(payload) - moment) < NEAR for payload, moment in zip(right, at[1:], strict=True))
        order = sorted(chart.readings.values(), key=lambda payload: payload["taken_at"])
        assert [payload["vitals"][0]["value"] for payload in order] == [70.5, 71.5, 72.5]
        assert chart.readings[right[0]["id"]]["revision"] == 2
        assert not chart.gaps
        await watchdog_is_fed(watchdog)
        hands.set(timedelta(hours=-hours), synced=False)
        await watchdog_is_fed(watchdog)
        assert await gateway.stop() == 0


async def watchdog_is_fed(watchdog: socket.socket) -> None:
    """Throw away what was said so far, and wait for more."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            watchdog.recv(4096)
        except BlockingIOError:
            break
    async with asyncio.timeout(20):
        while b"WATCHDOG=1" not in await loop.sock_recv(watchdog, 4096):
            pass


async def test_a_jumped_clock_deletes_nothing(gateway: Any, hands: Any, scale: Weigh, chart: Chart) -> None:
    """Delivered just now, a row stays keep_days, whatever the clock shows when it is delivered or looked at."""
    await started(gateway)
    await quality(gateway, "synced")
    hands.set(timedelta(days=-20_000), synced=False)
    await scale(70.5)
    await arrives(chart, 70.5)
    await gateway.until(lambda status: status["outbox"]["depth"] == 0)
    assert delivered(gateway) == [None], "by a clock that is not right, nothing is dated"
    await gateway.until(lambda status: "the clock is unsynced" in log(gateway))
    hands.set(timedelta(0), synced=True)
    await arrives(chart, 70.5, revision=2)
    await gateway.until(lambda status: status["outbox"]["depth"] == 0 and status["gateway"]["clock"] == "synced")
    hands.set(timedelta(days=400), synced=False)
    await quality(gateway, "unsynced")
    await gateway.stop()
    assert len(delivered(gateway)) == 2


def delivered(gateway: Any) -> list[float | None]:
    with closing(sqlite3.connect(gateway.outbox)) as db:
        return [at for (at,) in db.execute("SELECT at FROM delivery WHERE state = 'delivered' ORDER BY sequence")]


async def test_a_stop_and_a_step_at_once(gateway: Any, hands: Any, scale: Weigh, chart: Chart) -> None:
    """A machine that stands still while its clock is moved: what it read then is stamped by when it was read."""
    await started(gateway)
    await quality(gateway, "synced")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    at = await scale(70.5)
    hands.set(timedelta(hours=-3), synced=False)
    gateway.process.send_signal(signal.SIGCONT)
    first = await arrives(chart, 70.5)
    assert first["time"]["quality"] == "unsynced"
    await gateway.until(lambda status: "the clock is unsynced" in log(gateway))
    hands.set(timedelta(0), synced=True)
    assert abs(taken(await arrives(chart, 70.5, revision=2)) - at) < timedelta(seconds=5)
