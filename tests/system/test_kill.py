"""Nothing that was committed is missing, nothing arrives under two ids: whatever is killed, whenever."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.catalogue import load_model
from simulators.broker import OwnBroker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]

KILLS = 50  # of the whole service; test_proofs.py kills its outbox 60 times more


class Scale:
    """Says one weight after the other, each once: a weight that arrives under two ids would be seen."""

    def __init__(self, port: PtyPort) -> None:
        self._port = port
        self._grams = count(20_000)

    async def run(self) -> None:
        while True:
            for _ in range(5):
                self._port.write(f"ST,{next(self._grams) / 1000:+09.3f} kg\r\n".encode())
            await asyncio.sleep(0.005)


@asynccontextmanager
async def speaking(port: PtyPort) -> AsyncIterator[None]:
    task = asyncio.create_task(Scale(port).run())
    try:
        yield
    finally:
        task.cancel()


def committed(outbox: Path) -> dict[int, tuple[str, Decimal]]:
    """What the database holds: sequence -> (id, weight); read by SQLite itself, not by our code."""
    with closing(sqlite3.connect(outbox)) as db:
        rows = db.execute("SELECT sequence, payload FROM reading ORDER BY sequence").fetchall()
    payloads = [(sequence, json.loads(payload, parse_float=Decimal)) for sequence, payload in rows]
    return {sequence: (payload["id"], payload["vitals"][0]["value"]) for sequence, payload in payloads}


def assert_all_arrived_once(chart: Chart, outbox: Path) -> None:
    rows = committed(outbox)
    assert list(rows) == list(range(1, len(rows) + 1)), "sequences have gaps"
    arrived = {p["sequence"]: (i, p["vitals"][0]["value"]) for i, p in chart.readings.items()}
    assert arrived == rows, "what was committed is what arrived"
    ids_by_weight: dict[Decimal, set[str]] = {}
    for ident, weight in rows.values():
        ids_by_weight.setdefault(weight, set()).add(ident)
    assert all(len(ids) == 1 for ids in ids_by_weight.values()), "one record under two ids"
    assert not chart.gaps
    assert not chart.unreadable


def at_least(number: int) -> Callable[[Chart], bool]:
    return lambda chart: len(chart.deliveries) >= number


def more_readings(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["devices"]["scale"]["readings"] > number)


async def drained(gateway: Any) -> None:
    await gateway.until(lambda status: status["outbox"]["depth"] == 0 and status["broker"]["connected_to"], timeout=60)


@pytest.mark.timeout(600)
async def test_sigkill_at_random_moments_under_load(
    gateway: Any, chart: Chart, new_port: NewPort, chance: random.Random
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    async with speaking(port):
        for _ in range(KILLS):
            await gateway.start()
            before, more = len(chart.deliveries), chance.randrange(1, 200)
            await chart.wait_for(at_least(before + more), timeout=30)
            await asyncio.sleep(chance.uniform(0, 0.03))  # not waiting for anything: the moment is to be a random one
            await gateway.kill()
    await gateway.start()
    await drained(gateway)
    assert await gateway.stop() == 0
    await chart.wait_for(lambda chart: len(chart.readings) == len(committed(gateway.outbox)), timeout=60)
    assert len(chart.readings) > KILLS
    assert_all_arrived_once(chart, gateway.outbox)


async def test_the_broker_is_killed_and_restarted_under_load(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort
) -> None:
    """The broker forgets what it had acknowledged and not passed on; the rows are still there to be sent again."""
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    async with speaking(port):
        for _ in range(3):
            goal = len(chart.deliveries) + 100
            await chart.wait_for(at_least(goal), timeout=30)
            await broker.kill()
            status = await gateway.until(lambda status: status["broker"]["connected_to"] is None)
            kept = status["devices"]["scale"]["readings"]
            await gateway.until(more_readings(kept + 100))
            await broker.start()
    await drained(gateway)
    assert await gateway.stop() == 0
    rows = committed(gateway.outbox)
    assert list(rows) == list(range(1, len(rows) + 1))
    delivered = _delivered(gateway.outbox)
    assert delivered == set(rows), "every row has its PUBACK"
    ids = {ident for ident, _ in rows.values()}
    assert set(chart.readings) <= ids
    assert len(ids) == len(rows)


async def test_sigterm_under_load_loses_nothing(gateway: Any, chart: Chart, new_port: NewPort) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    async with speaking(port):
        for _ in range(5):
            await gateway.start()
            goal = len(chart.deliveries) + 50
            await chart.wait_for(at_least(goal), timeout=30)
            assert await gateway.stop() == 0
    await gateway.start()
    await drained(gateway)
    await gateway.stop()
    await chart.wait_for(lambda chart: len(chart.readings) == len(committed(gateway.outbox)), timeout=30)
    assert_all_arrived_once(chart, gateway.outbox)
    assert not chart.duplicates, "an orderly stop leaves nothing half told"


async def test_standing_still_in_the_middle_of_a_weighing_makes_no_second_reading(
    gateway: Any, chart: Chart, new_port: NewPort
) -> None:
    """SIGSTOP, as a machine that swaps would: what the scale says meanwhile waits in the port."""
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-500kl", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    silence_s = load_model("health-o-meter-500kl").settling.silence_s
    packet = b"\x1bR\x1bI0000000000\x1bW83.7\x1bH0.0\x1bB0.0\x1bT0.0\x1bNm\x1bE"
    await asyncio.sleep(silence_s + 0.5)  # the silence is the thing: nobody joins a stream in its middle
    port.write(packet + packet)
    await chart.wait_for(at_least(1), timeout=20)
    gateway.process.send_signal(signal.SIGSTOP)
    for _ in range(4):
        port.write(packet)
        await asyncio.sleep(silence_s / 3)  # a packet now and then, over longer than a silence
    gateway.process.send_signal(signal.SIGCONT)
    await gateway.until(lambda status: status["devices"]["scale"]["counts"]["frames"] == 6)
    usable = [d for d in chart.deliveries if (d.payload or {})["disposition"] == "usable"]
    assert len(usable) == 1
    assert await gateway.stop() == 0


async def test_stopping_while_the_broker_is_away(gateway: Any, broker: OwnBroker, new_port: NewPort) -> None:
    await broker.kill()
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    async with speaking(port):
        await gateway.until(lambda status: status["devices"]["scale"]["readings"] > 100)
        assert await gateway.stop() == 0
    assert len(committed(gateway.outbox)) > 100


def _delivered(outbox: Path) -> set[int]:
    with closing(sqlite3.connect(outbox)) as db:
        return {row[0] for row in db.execute("SELECT sequence FROM delivery WHERE state = 'delivered'")}
