"""The stage on which one contender at a time performs: one Mosquitto, one subscriber, ptys, and the disk.

Every start of a contender gets an empty folder and new ptys. CPU is what the process has used of the processor
(CLOCK_PROCESS_CPUTIME_ID, threads that have ended too); memory is PSS, so that shared pages are not counted twice.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender
from benchmarks.frames import SAID, frame
from benchmarks.subscriber import Subscriber
from proofs.disk import Disk, compiled
from simulators.broker import OwnBroker, own_broker
from simulators.ports.pty import PtyPort

SLOW_SYNC_US = 10_000  # an SD card
START_S = 60.0
QUIET_S = 20.0  # nothing more comes when nothing has come for so long

_AGAIN_S = 0.02
_THROUGH_S = 0.5
_FULL_S = 0.0005
_PIECE = 4000  # bytes handed to a pty at once

# Queues without a bound, for all alike: a broker that throws readings away would be what we measure.
MOSQUITTO = ("max_queued_messages 0", "max_queued_bytes 0", "set_tcp_nodelay true")


@dataclass(frozen=True)
class Size:
    """How much is measured: `runs` of each, and a `part` of the full number of readings and seconds.

    `rows`: how many of them are kept in the fullest outbox. `flame_graph`: where a picture of it goes, if anywhere.
    """

    runs: int = 3
    part: float = 1.0
    rows: int = 1_000_000
    flame_graph: Path | None = None

    def count(self, full: int) -> int:
        """Answer a part of a number of readings."""
        return max(20, int(full * self.part))

    def seconds(self, full: float) -> float:
        """Answer a part of a time."""
        return max(2.0, full * self.part)


@dataclass
class Stage:
    """What all measurements share."""

    size: Size
    folder: Path
    broker: OwnBroker
    subscriber: Subscriber
    contenders: Sequence[Contender]
    numbers: Iterator[int] = field(default_factory=lambda: (n % SAID for n in itertools.count()))

    def contender(self, name: str) -> Contender:
        """Answer the contender of this name."""
        return next(contender for contender in self.contenders if contender.name == name)


@dataclass
class Running:
    """A contender that runs, and reads these ports."""

    stage: Stage
    process: subprocess.Popen[bytes]
    ports: Sequence[PtyPort]
    folder: Path
    began: float  # exec, monotonic

    @property
    def cpu_s(self) -> float:
        """What it has used of the processor so far. clock_getcpuclockid(3): a process's clock is made of its id."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def pss_mib(self) -> float:
        """Its memory, of shared pages its share."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    async def say(self, port: PtyPort, timeout_s: float) -> float | None:
        """Write one frame; answer the seconds until the subscriber had it, None if it had not in time."""
        number, first = next(self.stage.numbers), self.stage.subscriber.first
        count = len(first)
        port.write(frame(number))
        written = time.monotonic()
        await self.stage.subscriber.has(count + 1, timeout_s)
        return first[number] - written if number in first else None

    async def listens(self) -> float:
        """Say frames to each port until one of each has arrived; answer when the first of all did (monotonic).

        What was said is through when this answers: a slow contender may not be done with it when its first one arrives.
        """
        ends, subscriber = time.monotonic() + START_S, self.stage.subscriber
        for port in self.ports:
            said: list[int] = []
            while not any(number in subscriber.first for number in said):
                if self.process.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError(f"{self.process.args!r} does not send: {self._log()}")
                said.append(next(self.stage.numbers))
                port.write(frame(said[-1]))
                await subscriber.has(len(subscriber.first) + 1, _AGAIN_S)
        first = min(subscriber.first.values())
        while await subscriber.has(len(subscriber.first) + 1, _THROUGH_S):
            pass
        return first

    async def burst(self, count: int) -> tuple[list[int], float]:
        """Write frames as fast as they are taken, alike to each port; answer their numbers and when that began."""
        numbers = [next(self.stage.numbers) for _ in range(count)]
        ports = len(self.ports)
        left = [b"".join(frame(number) for number in numbers[place::ports]) for place in range(ports)]
        at = [0] * ports
        began = time.monotonic()
        while any(begin < len(data) for begin, data in zip(at, left, strict=True)):
            moved = False
            for place, port in enumerate(self.ports):
                if at[place] < len(left[place]):
                    written = port.write(left[place][at[place] : at[place] + _PIECE])
                    at[place] += written
                    moved = moved or written > 0
            await asyncio.sleep(0 if moved else _FULL_S)
        return numbers, began

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


@asynccontextmanager
async def set_up(size: Size, contenders: Sequence[Contender]) -> AsyncIterator[Stage]:
    """Start broker and subscriber."""
    with tempfile.TemporaryDirectory(prefix="vitals-bench-") as name:
        async with own_broker(config=MOSQUITTO, server="mosquitto") as broker, Subscriber(broker.port) as subscriber:
            yield Stage(size, Path(name), broker, subscriber, contenders)


@asynccontextmanager
async def perform(
    stage: Stage,
    contender: Contender,
    *,
    devices: int = 1,
    slow_disk: bool = False,
    prepared: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Start a contender in a folder of its own, which begins as a copy of `prepared`; kill it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=stage.folder))
    if prepared is not None:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        os.sync()  # else a contender's first fsync pays for the copy
    ports = [PtyPort() for _ in range(devices)]
    command = contender.command(folder, stage.broker.port, [port.path for port in ports])
    stage.subscriber.forget()
    try:
        with _disk(folder, slow=slow_disk) as disk, (folder / "log").open("wb") as log:
            surroundings = {**os.environ, "RUNTIME_DIRECTORY": str(folder), **disk, **(environment or {})}
            began = time.monotonic()
            process = subprocess.Popen(  # noqa: ASYNC220 - its time is measured from here
                command, env=surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )
            try:
                yield Running(stage, process, ports, folder, began)
            finally:
                process.kill()
                process.wait()
    finally:
        for port in ports:
            port.close()
        shutil.rmtree(folder)


@contextmanager
def _disk(folder: Path, *, slow: bool) -> Iterator[dict[str, str]]:
    """Answer the environment in which every fsync under `folder` takes SLOW_SYNC_US longer."""
    if not slow:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="vitals-disk-") as name:
        disk = Disk(compiled(Path(name)), folder, Path(name))
        disk.set(sync_delay_us=SLOW_SYNC_US)
        yield disk.environment
