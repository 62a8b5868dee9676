"""From exec to the first reading, then idle: memory, and what of the processor nothing costs."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict

from benchmarks.contenders import OURS, with_bluetooth
from benchmarks.goals import BLUETOOTH, Facts
from benchmarks.stage import Stage, perform
from benchmarks.tables import show, spread
from simulators.ports.room import Room

SETTLE_S = 3.0
# Long enough to hold what comes once a minute: a state of ours, keep-alives of all.
IDLE_S = 60.0
HOUR_S = 3600.0


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    size = stage.size
    idle_s = size.seconds(IDLE_S)
    first, memory, cpu = (defaultdict[str, list[float]](list) for _ in range(3))
    async with Room() as room:
        for run in range(size.runs):
            for contender in (*stage.contenders, with_bluetooth()):
                async with perform(stage, contender, environment=room.environment) as running:
                    first[contender.name].append(await running.listens() - running.began)
                    await asyncio.sleep(SETTLE_S)
                    memory[contender.name].append(running.pss_mib)
                    if run == 0:  # a minute each: once
                        before = running.cpu_s
                        await asyncio.sleep(idle_s)
                        cpu[contender.name].append((running.cpu_s - before) * HOUR_S / idle_s)
    show(
        "Start, and idle",
        ("", "exec to first reading s", "idle PSS MiB", "CPU s an idle hour"),
        [(name, spread(first[name], 2), spread(memory[name]), spread(cpu[name])) for name in first],
        f"{size.runs} starts each, a frame every 20 ms until one arrives; memory {SETTLE_S:g} s later; CPU of one"
        f" window of {idle_s:g} s, scaled to an hour.",
    )
    assert {OURS, BLUETOOTH} <= set(first)
    return {
        f"{what} | {name}": statistics.median(values[name])
        for what, values in (("first s", first), ("idle MiB", memory), ("idle CPU s/h", cpu))
        for name in values
    }
