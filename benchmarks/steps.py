"""One reading, step by step, in one thread: in a burst, and after a rest, when caches have forgotten it.

What is not in it: pty, paho, and the threads' handing over to each other.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from benchmarks.frames import MODEL, frame
from benchmarks.goals import Facts
from benchmarks.kept import empty
from benchmarks.stage import Stage
from benchmarks.tables import show
from drivers import registry
from drivers.contract import Sample
from gateway.catalogue import load_model, load_ranges
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.payload import Origin
from gateway.reading import Mode
from gateway.rows import Draft, Mark
from gateway.settings import Device
from gateway.store import Store

GROUP = 50  # readings a commit, in a burst
GROUPS = 40
RESTS = 60
REST_S = 0.2

_T = TypeVar("_T")


class _Laps:
    """CPU of this thread by step, in microseconds."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)

    def __call__(self, step: str, work: Callable[[], _T], readings: int = 1) -> _T:
        """Do it and note what it took, a reading."""
        began = time.thread_time()
        done = work()
        self.took[step].append((time.thread_time() - began) * 1e6 / readings)
        return done


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    model, clock = load_model(MODEL), Clock()
    device = Device("scale-0", MODEL, model, model.line, port="/dev/none")
    burst, rested = _Laps(), _Laps()
    with closing(Store(empty(stage.folder / "steps") / "outbox.db")) as store:
        origin = Origin("bench", "gateway", "0", store.stream)
        intake, driver = Intake(device, origin, load_ranges(), clock), registry.driver(model)

        def draft(laps: _Laps) -> Draft:
            data = frame(next(stage.numbers))
            events = laps("decode and settle", lambda: driver.feed(data, time.monotonic())).events
            sample = next(event for event in events if isinstance(event, Sample))
            reading = laps("take in: time, id, normalize, validate", lambda: intake.reading(sample, Mode.TEST))
            made = laps("make a draft", lambda: intake.draft(reading))
            payload = laps("encode as JSON", lambda: made.encode(store.stream, 1))
            return replace(made, encode=lambda *_: payload)

        def keep(laps: _Laps, drafts: list[Draft]) -> None:
            rows = laps("keep: the rest of a commit", lambda: store.write(drafts, []), len(drafts))
            marks = [Mark(row.sequence, "delivered", "success", "127.0.0.1:1883", time.time()) for row in rows]
            laps("mark as delivered", lambda: store.write([], marks), len(rows))
            store.fold_log()

        driver.tick(time.monotonic())
        for _ in range(stage.size.count(GROUPS)):
            keep(burst, [draft(burst) for _ in range(GROUP)])
        for _ in range(stage.size.count(RESTS)):
            time.sleep(REST_S)  # noqa: ASYNC251 - nothing else is to run
            keep(rested, [draft(rested)])
    show(
        "One reading, step by step, CPU",
        ("step", f"in a burst, {GROUP} a commit, µs", f"one after {REST_S:g} s of rest, µs"),
        [(step, *(f"{statistics.median(laps.took[step]):.0f}" for laps in (burst, rested))) for step in burst.took],
        "Medians, one thread; the disk's own time is not in it.",
    )
    return {}
