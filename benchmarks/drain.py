"""Draining what was kept while the broker was away: 100,000 rows, against paho's own pipelined rate (floor.py)."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.contenders import OURS, SQLITE
from benchmarks.goals import Facts
from benchmarks.kept import empty, fill, fill_queue, real_row
from benchmarks.stage import QUIET_S, START_S, Stage, perform
from benchmarks.tables import show, spread

ROWS = 100_000
ROWS_QUEUE = 4_000  # of the script with a queue: it deletes one by one


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    topic, payload = await real_row(stage)
    rows, rows_queue = stage.size.count(ROWS), stage.size.count(ROWS_QUEUE)
    ours = empty(stage.folder / "kept")
    fill(ours / "outbox.db", rows, topic, payload, delivered=False)
    queue = empty(stage.folder / "queue")
    fill_queue(queue / "queue.db", rows_queue)
    rates: dict[str, list[float]] = {SQLITE: [], OURS: []}
    lost = dict.fromkeys(rates, 0)
    for _ in range(stage.size.runs):
        for name, prepared, count in ((SQLITE, queue, rows_queue), (OURS, ours, rows)):
            per_s, missing = await _drain(stage, name, prepared, count)
            rates[name].append(per_s)
            lost[name] += missing
    show(
        "Draining a backlog",
        ("", "rows", "rows/s", "lost"),
        [
            (name, f"{count:,}", spread(rates[name], 0), str(lost[name]))
            for name, count in ((SQLITE, rows_queue), (OURS, rows))
        ],
        f"From the first row's arrival to the last one's. A row of ours has {len(payload)} bytes.",
    )
    return {f"drained/s | {OURS}": statistics.median(rates[OURS])}


async def _drain(stage: Stage, name: str, prepared: Path, count: int) -> tuple[float, int]:
    async with perform(stage, stage.contender(name), prepared=prepared):
        await stage.subscriber.has(1, START_S)
        await stage.subscriber.settled(count, QUIET_S)
        came = sorted(stage.subscriber.first.values())
    if len(came) < 2:
        raise RuntimeError(f"{name} drained nothing")
    return (len(came) - 1) / (came[-1] - came[0]), count - len(came)
