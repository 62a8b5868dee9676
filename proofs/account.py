"""What an outbox must hold after a fault, read by SQLite itself and not by our code."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Account:
    """Counts over all runs; the last three are what must be 0."""

    runs: int = 0
    told: int = 0
    told_before: int = 0  # of earlier outboxes
    lost: int = 0
    doubled: int = 0
    unreadable: int = 0

    def __str__(self) -> str:
        return (
            f"{self.runs} runs; {self.told} readings told as kept; committed and lost: {self.lost};"
            f" two ids for one record: {self.doubled}; database unreadable: {self.unreadable}"
        )


def take(account: Account, outbox: Path, told: str) -> None:
    """Compare what was told (worker.py) with what the database holds."""
    account.runs += 1
    kept = {}
    gone = set()
    told_first = set()  # (record, id) that name no earlier reading
    for line in told.split("\n")[:-1]:  # the last one may be half a line
        word, *fields = line.split()
        if word == "kept":
            kept[int(fields[2])] = (int(fields[0]), fields[1])
            if fields[3] == "None":
                told_first.add((int(fields[0]), fields[1]))
        else:
            gone.add(int(fields[0]))
    account.told = max(account.told, account.told_before + len(kept))
    try:
        with closing(sqlite3.connect(outbox)) as db:
            sound = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            rows = dict(db.execute("SELECT sequence, payload FROM reading").fetchall())
    except sqlite3.Error:
        sound, rows = False, {}
    if not sound or any(outbox.parent.glob(outbox.name + ".damaged-*")):
        account.unreadable += 1
    payloads = {sequence: json.loads(payload) for sequence, payload in rows.items()}
    held = {sequence: (p["record"], p["id"]) for sequence, p in payloads.items()}
    account.lost += sum(held.get(sequence) != reading for sequence, reading in kept.items() if sequence not in gone)
    # A record that came again under another id is no second reading where it names the first.
    held_first = {(p["record"], p["id"]) for p in payloads.values() if p["possible_repeat_of"] is None}
    by_record = Counter(number for number, _ in held_first | told_first)
    account.doubled += sum(count > 1 for count in by_record.values())
