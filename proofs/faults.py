"""Many kills, many power cuts, and what was told as kept compared with what is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.store import Store
from proofs import power
from proofs.account import Account, take
from proofs.disk import Disk, compiled

COMMITS = 60
FIRST_CALLS = 120  # the first kills come before call 1, 2, 3, …: every boundary of making and of early commits
LATER_CALLS = 400
LIFE = 100  # kills of one outbox

_WORKER = Path(__file__).with_name("worker.py")


class ProofFailed(Exception):
    """The work itself ended otherwise than by the fault; `str()` says how."""


def kill(runs: int, folder: Path, seed: int, progress: Callable[[str], None] = lambda _: None) -> Account:
    """Kill the outbox's process before one disk call after the other, then before calls at random.

    Each start opens what the kill before left behind.
    """
    chance, account = random.Random(seed), Account()
    outbox = folder / "outbox.db"
    disk = Disk(compiled(folder), outbox, folder)
    for run in range(runs):
        first = run < min(FIRST_CALLS, runs // 2)
        at = run + 1 if first else chance.randrange(1, LATER_CALLS)
        if (first and run % 2) or run % LIFE == 0:  # a new one: its making is killed, too
            for file in folder.glob("outbox.db*"):
                file.unlink()
            account.told_before = account.told
        disk.set(calls=0, kill_at=at)
        _work(outbox, chance.randrange(1 << 30), disk, {-signal.SIGKILL, 0})
        told = folder / "outbox.db.told"
        _open_and_take(account, outbox, told.read_text() if told.exists() else "")
        progress(str(account))
    return account


def cut_power(runs: int, folder: Path, seed: int, progress: Callable[[str], None] = lambda _: None) -> Account:
    """Cut the power at points of one outbox's life, from the making on; each time in another way."""
    chance, account = random.Random(seed), Account()
    while account.runs < runs:
        account.told_before = account.told
        life = folder / f"life-{account.runs}"
        life.mkdir()
        outbox = life / "outbox.db"
        disk = Disk(compiled(folder), outbox, life, life / "journal")
        _work(outbox, chance.randrange(1 << 30), disk, {0})
        changes = power.read_journal(life / "journal")
        points = sorted(chance.choices(range(len(changes)), k=min(100, runs - account.runs)))
        state, told, at = power.Disk(), "", 0
        for point in points:
            for change in changes[at:point]:
                if change.name.endswith(".told"):
                    told += change.data.decode()
                else:
                    state.apply(change)
            at = point
            found = folder / f"cut-{account.runs}"
            found.mkdir()
            for name, content in state.cut(chance).items():
                (found / Path(name).name).write_bytes(content)
            _open_and_take(account, found / "outbox.db", told)
            for file in found.iterdir():
                file.unlink()
            found.rmdir()
            progress(str(account))
    return account


def _work(outbox: Path, seed: int, disk: Disk, expected: set[int]) -> None:
    command = [sys.executable, "-m", "proofs.worker", str(outbox), str(seed), str(COMMITS)]
    ended = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **disk.environment},
        cwd=_WORKER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode not in expected:
        raise ProofFailed(f"the worker ended with {ended.returncode}: {ended.stderr[-2000:]}")


def _open_and_take(account: Account, outbox: Path, told: str) -> None:
    """Open it as a start of the service does; what it cannot mend, or sets aside, counts as unreadable."""
    with closing(Store(outbox)):
        pass
    take(account, outbox, told)
