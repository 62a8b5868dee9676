"""The proofs (proofs/README.md), short: what `python -m proofs` does at length."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proofs.disk import Disk, compiled
from proofs.faults import cut_power, kill
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

KILLS, POWER_CUTS, PROCESS_KILLS = 60, 60, 20


@pytest.mark.timeout(300)
def test_killed_before_each_disk_call_and_at_random_ones(tmp_path: Path) -> None:
    account = kill(KILLS, tmp_path, seed=1)
    assert account.told > KILLS
    assert (account.lost, account.doubled, account.unreadable) == (0, 0, 0)


@pytest.mark.timeout(300)
def test_the_power_is_cut_and_what_was_not_synced_is_gone(tmp_path: Path) -> None:
    account = cut_power(POWER_CUTS, tmp_path, seed=1)
    assert account.told > POWER_CUTS
    assert (account.lost, account.doubled, account.unreadable) == (0, 0, 0)


@pytest.mark.timeout(300)
async def test_the_service_is_killed_before_disk_calls(
    gateway: Any, chart: Chart, new_port: Callable[[str], PtyPort], tmp_path: Path, chance: random.Random
) -> None:
    """The whole of it, by its own program: what reached the chart has one id, and all that is kept reaches it."""
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    disk = Disk(compiled(tmp_path), gateway.outbox, tmp_path)
    gateway.environment = disk.environment
    grams = 20_000
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")  # the making has its own test: kill() begins there
    await gateway.kill()
    for _ in range(PROCESS_KILLS):
        disk.set(calls=0, kill_at=chance.randrange(1, 150))
        await gateway.start()
        while gateway.process.returncode is None:
            grams += 1
            port.write(f"ST,{grams / 1000:+09.3f} kg\r\n".encode())
            await _wait_a_turn(gateway)
        assert gateway.process.returncode == -9, (gateway.folder / "gateway.log").read_text()
    disk.heal()
    await gateway.start()
    await gateway.until(lambda status: status["outbox"]["depth"] == 0 and status["broker"]["connected_to"])
    assert await gateway.stop() == 0
    with closing(sqlite3.connect(gateway.outbox)) as db:
        rows = db.execute("SELECT json_extract(payload, '$.id') FROM reading").fetchall()
    assert {ident for (ident,) in rows} == set(chart.readings), "what was committed is what arrived"
    weights = [payload["vitals"][0]["value"] for payload in chart.readings.values()]
    assert len(weights) > PROCESS_KILLS
    assert len(weights) == len(set(weights)), "one weighing under two ids"
    assert not chart.gaps


async def _wait_a_turn(gateway: Any) -> None:
    """Let the scale speak a hundred times a second, or until the process is gone."""

    await asyncio.wait([asyncio.ensure_future(gateway.process.wait())], timeout=0.01)
