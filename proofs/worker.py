"""The outbox at work in a process of its own, to be killed: the product's own Outbox, Intake's record path, all of it.

It keeps readings of a device with a memory: records, one after the other, each again and again until its keeping was
told, as a cuff sends what it believes unsent. It marks rows delivered, purges, and opens the file anew. What was told
stands in `<outbox>.told`, a line each: `kept RECORD ID SEQUENCE REPEATS`, and `going SEQUENCE` before it is purged.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import simplejson

from gateway.outbox import Outbox
from gateway.store import Draft, Mark, Row, Store

RECORDS = UUID("6f1d3c0e-4b1a-5c57-9b0e-3a6b8f2d7e41")
TOPIC = "vitals/v1/northside/exam-3/reading"


def record(number: int) -> UUID:
    """Answer the name of the device's record with this number."""
    return uuid5(RECORDS, f"C8:1E:8E:00:00:01 2A35 {number:08x}")


def _draft(number: int, chance: random.Random) -> Draft:
    """Every other record has a clock behind it that can be believed, and so its own name for an id."""
    name = record(number)
    ident = name if number % 2 else uuid4()
    filler = "x" * chance.randrange(3000)

    def draft(topic: str, repeats: UUID | None) -> Draft:
        def encode(stream: UUID, sequence: int) -> bytes:
            members = {"id": str(ident), "stream": str(stream), "sequence": sequence, "record": number}
            more = {"possible_repeat_of": None if repeats is None else str(repeats), "filler": filler}
            return simplejson.dumps({**members, **more}).encode()

        return Draft(ident, 1, "cuff", topic, encode, b"raw", name, lambda earlier: draft(TOPIC + "/held", earlier))

    return draft(TOPIC, None)


async def work(path: Path, seed: int, commits: int) -> None:
    """Make so many commits."""
    chance = random.Random(seed)
    told = os.open(path.with_name(path.name + ".told"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines = path.with_name(path.name + ".told").read_text().split("\n")
    known = {int(line.split()[1]) for line in lines if line.startswith("kept ")}
    number = max(known, default=0)

    def on_kept(rows: list[Row]) -> None:
        for row in rows:
            members = simplejson.loads(row.payload)
            os.write(told, _line(members, row.sequence))

    outbox = Outbox(path, on_kept)
    for _ in range(commits):
        some = range(number + 1, number + 1 + chance.randrange(1, 6))
        again = chance.randrange(max(1, number - 5), number + 1) if number else 1
        await outbox.keep([_draft(n, chance) for n in (*some, again)])
        number = some[-1]
        act = chance.random()
        if act < 0.5:
            for row in await outbox.ask(lambda store: store.waiting(0, chance.randrange(1, 10), ())):
                outbox.mark(Mark(row.sequence, "delivered", "success"))
        elif act < 0.6:
            for (sequence,) in await outbox.ask(_delivered):
                os.write(told, f"going {sequence}\n".encode())
            await outbox.ask(lambda store: Store.purge(store, time.time() + 10))
        elif act < 0.65:
            await outbox.close()
            outbox = Outbox(path, on_kept)
    await outbox.close()


def _line(members: dict[str, object], sequence: int) -> bytes:
    return f"kept {members['record']} {members['id']} {sequence} {members['possible_repeat_of']}\n".encode()


def _delivered(store: Store) -> list[tuple[int]]:
    found: list[tuple[int]] = store._db.execute("SELECT sequence FROM delivery WHERE state = 'delivered'").fetchall()  # noqa: SLF001 - a proof looks for itself
    return found


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
