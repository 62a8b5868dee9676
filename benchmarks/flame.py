"""Where the time goes: py-spy looks 200 times a second, in a burst, which thread of `vitals-gateway run` has the GIL.

The GIL, since that is what the three threads share and wait for. Prints the functions that were at work most often: the
top of a flame graph, as text; `--flame-graph FILE` has the picture. py-spy is installed by the benchmark, for itself.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.contenders import OURS
from benchmarks.goals import Facts
from benchmarks.rate import burst
from benchmarks.stage import Stage, perform
from benchmarks.tables import show

READINGS = 30_000
TIMES_A_SECOND = 200
ATTACH_S = 2.0
ROWS = 25


async def main(stage: Stage) -> Facts:
    """Measure and print."""
    try:
        spy = await asyncio.to_thread(_spy, stage.folder / "py-spy")
        stacks = await _record(stage, spy, "raw", stage.folder / "stacks")
        if stage.size.flame_graph is not None:
            picture = await _record(stage, spy, "flamegraph", stage.size.flame_graph)
            picture.write_text(picture.read_text().replace(f"{spy.parent}/", ""))  # its title is the command
    except RuntimeError as error:
        print(f"\nNo flame graph: {error}")
        return {}
    _tell(stacks.read_text().splitlines())
    return {}


def _spy(folder: Path) -> Path:
    """Answer py-spy, installed by pip into a folder of the benchmark's own. Raises RuntimeError."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "py-spy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip install py-spy failed: {done.stderr.strip()[-300:]}")
    return folder / "bin" / "py-spy"


async def _record(stage: Stage, spy: Path, kind: str, found: Path) -> Path:
    """Answer what py-spy has written of a burst. Raises RuntimeError."""
    async with perform(stage, stage.contender(OURS)) as running:
        await running.listens()
        command = [str(spy), "record", "--pid", str(running.process.pid), "--rate", str(TIMES_A_SECOND), "--threads"]
        recording = subprocess.Popen(  # noqa: ASYNC220 - it works while we do
            [*command, "--gil", "--format", kind, "--duration", "3600", "--output", str(found)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await asyncio.sleep(ATTACH_S)
        await burst(running, stage.size.count(READINGS))
        recording.send_signal(signal.SIGINT)
        await asyncio.to_thread(recording.wait)
    if recording.returncode:
        raise RuntimeError("py-spy may not look at other processes here (ptrace)")
    return found


def _tell(stacks: list[str]) -> None:
    """Print, by function, how often it was at work itself, and how often it or what it called."""
    itself, within, threads, whole = Counter[str](), Counter[str](), Counter[str](), 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" for frame in stack.split(";")[1:] if ":" in frame]
        if not frames:
            continue
        whole += int(count)
        threads[_room(frames)] += int(count)
        itself[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    note = ", ".join(f"{name} {count / whole:.0%}" for name, count in threads.most_common())
    show(
        "Where the interpreter's time goes in a burst",
        ("function", "itself", "with what it calls"),
        [
            (f"`{name}`", f"{count / whole:.1%}", f"{within[name] / whole:.1%}")
            for name, count in itself.most_common(ROWS)
        ],
        f"Threads: {note}.",
    )


def _room(frames: list[str]) -> str:
    """Answer whose thread a stack is of."""
    whole = " ".join(frames)
    words = {"gateway/keeper.py": "outbox", "paho/mqtt": "loop, in paho", "run_forever": "loop"}
    return next((name for word, name in words.items() if word in whole), "other")
