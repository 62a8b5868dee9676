"""Sustained readings a second, from 1, 8 and 32 devices at once, and on a disk whose every fsync is 10 ms slower.

Frames are written as fast as the port takes them; the clock stops when the last has arrived. What is lost or comes
twice is counted. Where each reading is kept before it is sent, the disk is in it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from benchmarks.contenders import OURS, SQLITE, Contender, script_with_queue
from benchmarks.goals import Facts
from benchmarks.stage import QUIET_S, Running, Stage, perform
from benchmarks.tables import show, spread

DEVICES = (1, 8, 32)
SEVERAL = 16_000  # readings from several devices, of those that are fast
COLUMNS = ("", "kept before sent", "readings", "readings/s", "lost", "twice", "CPU µs a reading", "PSS MiB after it")


@dataclass(frozen=True)
class Burst:
    """What became of one burst."""

    per_s: float
    lost: int
    twice: int
    cpu_us: float
    pss_mib: float


async def burst(running: Running, count: int) -> Burst:
    """Write so many frames and wait for all of them."""
    subscriber = running.stage.subscriber
    already, twice, cpu_s = len(subscriber.first), subscriber.doubles, running.cpu_s
    numbers, began = await running.burst(count)
    await subscriber.settled(already + count, QUIET_S)
    there = [subscriber.first[number] for number in numbers if number in subscriber.first]
    if not there:
        raise RuntimeError(f"{running.process.args!r} sent nothing of {count} readings")
    cpu_us = (running.cpu_s - cpu_s) * 1e6 / len(there)
    per_s = len(there) / (max(there) - began)
    return Burst(per_s, count - len(there), subscriber.doubles - twice, cpu_us, running.pss_mib)


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    facts: Facts = {}
    for devices in DEVICES:
        counts = {
            contender: contender.burst if devices == 1 else min(contender.burst, SEVERAL)
            for contender in stage.contenders
        }
        if devices == 1:
            stronger = script_with_queue(one_connection=True)
            counts[stronger] = stronger.burst
        title = f"Sustained rate, {devices} device" + ("s" if devices > 1 else "")
        bursts = await _measure(stage, title, counts, devices=devices)
        if devices == 1:
            facts |= {f"readings/s | {name}": _per_s(found) for name, found in bursts.items()}
        for name, found in bursts.items():
            label = "1 device" if devices == 1 else f"{devices} devices"
            facts[f"CPU µs, {label} | {name}"] = statistics.median(one.cpu_us for one in found)
    slow = {c: c.burst_slow_disk for c in stage.contenders if c.burst_slow_disk}
    bursts = await _measure(stage, "Sustained rate, 1 device, every fsync 10 ms slower", slow, slow_disk=True)
    return facts | {f"readings/s, slow disk | {name}": _per_s(found) for name, found in bursts.items()}


async def _measure(
    stage: Stage, title: str, counts: dict[Contender, int], *, devices: int = 1, slow_disk: bool = False
) -> dict[str, list[Burst]]:
    found = defaultdict[str, list[Burst]](list)
    for _ in range(stage.size.runs):
        for contender, count in counts.items():
            async with perform(stage, contender, devices=devices, slow_disk=slow_disk) as running:
                await running.listens()
                found[contender.name].append(await burst(running, stage.size.count(count)))
    rows = [_row(stage, contender, count, found[contender.name]) for contender, count in counts.items()]
    if {OURS, SQLITE} <= set(found):
        ratio = _per_s(found[OURS]) / _per_s(found[SQLITE])
        rows.append((f"{OURS} : {SQLITE}", "", "", f"{ratio:.1f} ×", "", "", "", ""))
    show(title, COLUMNS, rows)
    return found


def _row(stage: Stage, contender: Contender, count: int, bursts: list[Burst]) -> tuple[str, ...]:
    return (
        contender.name,
        "yes" if contender.keeps else "no",
        f"{stage.size.count(count):,}",
        spread([one.per_s for one in bursts], 0),
        f"{sum(one.lost for one in bursts):,}",
        f"{sum(one.twice for one in bursts):,}",
        spread([one.cpu_us for one in bursts], 0),
        spread([one.pss_mib for one in bursts]),
    )


def _per_s(bursts: list[Burst]) -> float:
    return statistics.median(one.per_s for one in bursts)
