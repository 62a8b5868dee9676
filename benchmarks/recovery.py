"""The broker is away, 100 readings come, the broker is back: how long until the last of them is with a subscriber.

The subscriber's session outlives the broker, so that it misses nothing of what is sent before it is connected again.
The clock starts when the broker accepts connections.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.contenders import OURS
from benchmarks.goals import Facts
from benchmarks.stage import MOSQUITTO, Stage, perform
from benchmarks.subscriber import Subscriber
from benchmarks.tables import show, spread
from simulators.broker import own_broker

READINGS = 100
EACH_S = 0.05
AWAY_S = 6.0
PATIENCE_S = 15.0
TRIES = 2  # for each run: when the broker comes back within a contender's pause is chance


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    took, lost, told = defaultdict[str, list[float]](list), defaultdict[str, int](int), 0
    with tempfile.TemporaryDirectory(prefix="vitals-bench-") as name:
        async with (
            own_broker(config=MOSQUITTO, persistence_dir=Path(name), server="mosquitto") as broker,
            Subscriber(broker.port, lasting=True) as subscriber,
        ):
            own = replace(stage, broker=broker, subscriber=subscriber)
            for _ in range(stage.size.runs * TRIES):
                told += READINGS
                for contender in stage.contenders:
                    seconds, missing = await _outage(own, contender.name)
                    lost[contender.name] += missing
                    if seconds is not None:
                        took[contender.name].append(seconds)
    show(
        "Recovery",
        ("", "broker back → last kept reading delivered, s", "lost"),
        [(c.name, spread(took[c.name], 2), f"{lost[c.name]} of {told}") for c in stage.contenders],
        f"{stage.size.runs * TRIES} outages of {AWAY_S:g} s, {READINGS} readings in each.",
    )
    return {f"recovery s | {OURS}": statistics.median(took[OURS])} if took[OURS] else {}


async def _outage(stage: Stage, name: str) -> tuple[float | None, int]:
    """Answer the seconds, None if nothing came, and how many readings were lost."""
    async with perform(stage, stage.contender(name)) as running:
        await running.listens()
        await asyncio.sleep(1.0)
        await stage.broker.stop()
        gone = time.monotonic()
        numbers = []
        for _ in range(READINGS):
            numbers += (await running.burst(1))[0]
            await asyncio.sleep(EACH_S)
        await asyncio.sleep(max(0.0, gone + AWAY_S - time.monotonic()))
        already = len(stage.subscriber.first)
        await stage.broker.start()
        back = time.monotonic()
        await stage.subscriber.has(already + READINGS, PATIENCE_S)
        came = [stage.subscriber.first[number] for number in numbers if number in stage.subscriber.first]
    return (max(came) - back if came else None), READINGS - len(came)
