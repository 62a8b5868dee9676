"""`python -m benchmarks [--quick] [--runs N] [NAME ...]`: what is measured, as Markdown; `make bench ARGS=...`."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TextIO

from benchmarks import cuff, decode, drain, flame, floor, goals, growth, latency, rate, recovery, start, steps
from benchmarks.contenders import Contender, ourselves, script, script_with_queue
from benchmarks.node_red import node_red
from benchmarks.stage import Size, Stage, set_up

MEASUREMENTS: dict[str, Callable[[Stage], Awaitable[goals.Facts]]] = {
    "floor": floor.main,
    "start": start.main,
    "latency": latency.main,
    "rate": rate.main,
    "drain": drain.main,
    "recovery": recovery.main,
    "growth": growth.main,
    "steps": steps.main,
    "decode": decode.main,
    "cuff": cuff.main,
    "flame": flame.main,
}
WITHOUT_CONTENDERS = {"floor", "drain", "growth", "steps", "decode", "cuff", "flame"}
QUICK = Size(runs=1, part=0.01)


def main() -> None:
    """Measure what is asked for, one after the other, and judge the goals that can be judged by it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="a hundredth of it, once: does it work?")
    parser.add_argument("--runs", type=int, help=f"how often each is measured, else {Size().runs}")
    parser.add_argument("--rows", type=int, help=f"kept rows of the fullest outbox, else {Size().rows:,}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed to FILE, too")
    parser.add_argument("--flame-graph", type=Path, metavar="FILE", help="where `flame` puts a picture (SVG)")
    parser.add_argument("--without-node-red", action="store_true", help="no npm, no Node-RED")
    asked = parser.parse_args()
    names = asked.names or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    size = QUICK if asked.quick else Size()
    size = Size(asked.runs or size.runs, size.part, asked.rows or size.rows, asked.flame_graph)
    with ExitStack() as closing:
        if asked.markdown is not None:
            file = closing.enter_context(asked.markdown.open("w", encoding="utf-8"))
            closing.enter_context(redirect_stdout(_Both(sys.stdout, file)))
        _perform(names, size, without_node_red=asked.without_node_red)


def _perform(names: Sequence[str], size: Size, *, without_node_red: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="vitals-node-red-") as folder:
        contenders: list[Contender] = [script(), script_with_queue()]
        without = "left out as asked" if without_node_red else None
        if without is None and set(names) - WITHOUT_CONTENDERS:
            try:
                contenders.append(node_red(Path(folder)))
            except RuntimeError as error:
                without = str(error)
        asyncio.run(_measure(names, size, [*contenders, ourselves()], without))


async def _measure(names: Sequence[str], size: Size, contenders: Sequence[Contender], without: str | None) -> None:
    print(_machine())
    if without is not None:
        print(f"\nNode-RED takes no part: {without}")
    if size.part < 1:
        print("\n**Quick: a hundredth of the readings. These figures are for trying, not for comparing.**")
    print("\nMedians; in brackets the lowest and the highest of the runs.")
    facts: goals.Facts = {}
    async with set_up(size, contenders) as stage:
        for name in names:
            os.sync()  # else what one left behind for the disk is paid for by the next
            facts |= await MEASUREMENTS[name](stage)
    goals.judge(facts)


class _Both(io.TextIOBase):
    """Writes what is printed to two files."""

    def __init__(self, *files: TextIO) -> None:
        self._files = files

    def write(self, text: str) -> int:
        """Write it to both, now: a run takes half an hour."""
        for file in self._files:
            file.write(text)
            file.flush()
        return len(text)


def _machine() -> str:
    """Answer on what this was measured."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("model name", "Model"))]
    cpu = cpus[0].partition(":")[2].strip() if cpus else platform.machine()
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    load = Path("/proc/loadavg").read_text().split()[0]
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or "mosquitto"
    mosquitto = subprocess.run([program, "-h"], capture_output=True, text=True).stdout.splitlines()
    return (
        f"{len(cpus)} × {cpu}, {memory_kib / 1048576:.0f} GiB, Linux {platform.release()}, Python"
        f" {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {mosquitto[0]}; load {load} when it began."
        f" Command: `{' '.join(['python -m benchmarks', *sys.argv[1:]])}`"
    )


if __name__ == "__main__":
    main()
