"""Does anything grow? What a question to the outbox costs with up to a million rows (`--rows`), and the service."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from benchmarks.contenders import OURS, ourselves
from benchmarks.goals import Facts
from benchmarks.kept import MAX_MB, empty, fill, real_row
from benchmarks.rate import Burst, burst
from benchmarks.stage import Stage, perform
from benchmarks.tables import show, spread
from gateway.keeper import CHECK_AFTER_S
from gateway.store import MEGABYTE, Draft, Mark, Store

READINGS = 10_000
CHECK_S = 120.0
TRIES = 30

QUESTIONS: dict[str, Callable[[Store], object]] = {
    "keep one reading": lambda store: _keep(store, 1),
    "keep 50 readings together": lambda store: _keep(store, 50),
    "next 200 that wait": lambda store: store.waiting(0, 200, ()),
    "oldest that waits of a topic": lambda store: store.oldest_waiting("vitals/v1/bench/gateway/test/reading"),
    "oldest that waits of an unknown topic": lambda store: store.oldest_waiting("none"),
    "last 100 of a device": lambda store: store.last_payloads("scale-0", 100),
    "room": Store.find_room,
    "depth": Store.depth,
    "condition": Store.condition,
}


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    topic, payload = await real_row(stage)
    for delivered in (True, False):
        folders = {}
        most = stage.size.count(stage.size.rows)
        for rows in (0, most // 10, most):
            folder = empty(stage.folder / f"rows-{rows}")
            fill(folder / "outbox.db", rows, topic, payload, delivered=delivered)
            folders[rows] = folder
        _questions(folders, "delivered" if delivered else "waiting")
        if delivered:
            facts = await _whole(stage, folders)
    return facts


def _questions(folders: dict[int, Path], what: str) -> None:
    """Ask each outbox each question, as the outbox's thread does, and time the check of the whole file at a start."""
    took: dict[str, list[str]] = {question: [] for question in (*QUESTIONS, "check of the file, at a start")}
    for folder in folders.values():
        with closing(Store(folder / "outbox.db", MAX_MB * MEGABYTE)) as store:
            began = time.monotonic()
            store.what_is_wrong()
            checked = time.monotonic() - began
            for question, ask in QUESTIONS.items():
                took[question].append(spread([_seconds(ask, store) * 1e6 for _ in range(TRIES)], 0))
            took["check of the file, at a start"].append(f"{checked * 1e6:,.0f}")
    show(
        f"Questions to an outbox, rows {what}",
        ("µs", *(f"{rows:,} rows" for rows in folders)),
        [(question, *cells) for question, cells in took.items()],
    )


def _keep(store: Store, count: int) -> None:
    """Keep them, and note that they were delivered, as in the next commit."""
    rows = store.write([Draft(uuid4(), 1, "scale-0", "t", lambda *_: b"x" * 700) for _ in range(count)], [])
    store.write([], [Mark(row.sequence, "delivered", "success") for row in rows])


def _seconds(ask: Callable[[Store], object], store: Store) -> float:
    began = time.monotonic()
    ask(store)
    return time.monotonic() - began


async def _whole(stage: Stage, folders: dict[int, Path]) -> Facts:
    """The service on each of these outboxes: from exec to the first reading, and a burst."""
    found: dict[int, list[tuple[float, Burst]]] = {rows: [] for rows in folders}
    gateway = ourselves(max_mb=MAX_MB)
    for _ in range(stage.size.runs):
        for rows, folder in folders.items():
            async with perform(stage, gateway, prepared=folder) as running:
                first_s = await running.listens() - running.began
                await asyncio.sleep(CHECK_AFTER_S + 1.0)  # then the file is checked, once, and readings wait for that
                if await running.say(running.ports[0], CHECK_S) is None:
                    raise RuntimeError("the check of the file does not end")
                found[rows].append((first_s, await burst(running, stage.size.count(READINGS))))
    show(
        f"{OURS} on an outbox of delivered rows",
        ("rows", "exec to first reading s", "readings/s", "lost", "CPU µs a reading", "PSS MiB after it"),
        [
            (
                f"{rows:,}",
                spread([first_s for first_s, _ in runs], 2),
                spread([one.per_s for _, one in runs], 0),
                str(sum(one.lost for _, one in runs)),
                spread([one.cpu_us for _, one in runs], 0),
                spread([one.pss_mib for _, one in runs]),
            )
            for rows, runs in found.items()
        ],
        f"{stage.size.count(READINGS):,} readings each, after the check of the file.",
    )
    cpu_us = {rows: statistics.median(one.cpu_us for _, one in runs) for rows, runs in found.items()}
    return {f"CPU µs, empty outbox | {OURS}": cpu_us[0], f"CPU µs, full outbox | {OURS}": cpu_us[max(cpu_us)]}
