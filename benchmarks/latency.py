"""Latency at 5 readings a second: from the last byte written to the pty until a subscriber has it."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict

from benchmarks.goals import Facts
from benchmarks.stage import Stage, perform
from benchmarks.tables import percentile, show, spread

READINGS = 120
READINGS_SLOW_DISK = 30
PERIOD_S = 0.2
SETTLE_S = 2.0
PATIENCE_S = 10.0


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    facts = await _measure(stage, slow_disk=False)
    await _measure(stage, slow_disk=True)
    return facts


async def _measure(stage: Stage, *, slow_disk: bool) -> Facts:
    size = stage.size
    readings = size.count(READINGS_SLOW_DISK if slow_disk else READINGS)
    p50, p99, cpu = (defaultdict[str, list[float]](list) for _ in range(3))
    for _ in range(size.runs):
        for contender in stage.contenders:
            if slow_disk and not contender.keeps:
                continue
            async with perform(stage, contender, slow_disk=slow_disk) as running:
                await running.listens()
                await asyncio.sleep(SETTLE_S)
                before, took = running.cpu_s, []
                for _ in range(readings):
                    latency = await running.say(running.ports[0], PATIENCE_S)
                    if latency is None:
                        raise RuntimeError(f"{contender.name} lost a reading")
                    took.append(latency * 1000)
                    await asyncio.sleep(PERIOD_S - latency)
                cpu[contender.name].append((running.cpu_s - before) * 1e6 / readings)
            p50[contender.name].append(statistics.median(took))
            p99[contender.name].append(percentile(took, 99))
    show(
        "Latency" + (", every fsync 10 ms slower" if slow_disk else ""),
        ("", "p50 ms", "p99 ms", "CPU µs a reading"),
        [(name, spread(p50[name], 2), spread(p99[name], 2), spread(cpu[name], 0)) for name in p50],
        f"{size.runs} runs of {readings} readings, {1 / PERIOD_S:g} a second. CPU: all that the process used.",
    )
    return {
        f"{what} | {name}": statistics.median(values[name])
        for what, values in (("p50 ms", p50), ("p99 ms", p99))
        for name in values
    }
