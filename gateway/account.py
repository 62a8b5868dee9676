"""The account: what came in, what became of it, and the equations that hold between the two. Pure; never a value.

At any moment, for what was counted since this start (`Account.unbalanced` checks them):

1. frames = samples + notices + rejected.  Each device, and all. What is half a frame is not counted yet: it ends as one
   of the three, when it is completed or given up.
2. samples = usable + held + committing + repeats + not kept.  Each device, and all. `committing`: handed to the outbox
   and not answered, held back by a failing disk included. A reading is usable or held once it is on disk.
3. What the devices count is what the outbox counts: committing, usable + held, repeats, not kept.
4. waiting at start + usable + held + revisions + replaced = delivered + parked + damaged + waiting.  `waiting` is the
   database's own count, `damaged` too; delivered and parked are the publisher's. `replaced`: where a damaged file was
   replaced, its salvaged rows less those that waited before; and what the broker still said of rows of the old file,
   or of one that meanwhile turned out to be damaged.

One snapshot is taken in one step of the event loop, on which all of it is counted: no equation is off for a moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of what was handed in: kept, nothing new, or not kept. `held`: why, if what was kept is held."""

    device: str
    id: UUID
    revision: int
    outcome: Literal["kept", "repeat", "not_kept"]
    held: str | None = None


@dataclass(slots=True)
class Books:
    """What the outbox counts, on the event loop. A revision is no new reading: it is counted beside them.

    They are written in place, some times a reading: who hands them on hands on a copy.
    """

    waiting_at_start: int = 0
    committing: int = 0
    committed: int = 0
    repeats: int = 0
    not_kept: int = 0
    revisions: int = 0
    settled_rows: int = 0
    damaged: int = 0
    replaced: int = 0

    @property
    def waiting(self) -> int:
        """Rows that wait for the broker, reckoned."""
        came = self.waiting_at_start + self.committed + self.revisions + self.replaced
        return came - self.settled_rows - self.damaged

    def answered(self, fates: Sequence[Fate]) -> None:
        """Note what became of what was handed in."""
        for fate in fates:
            if fate.revision > 1:
                self.revisions += fate.outcome == "kept"
                continue
            self.committing -= 1
            if fate.outcome == "kept":
                self.committed += 1
            elif fate.outcome == "repeat":
                self.repeats += 1
            else:
                self.not_kept += 1

    def settled(self, state: str, *, waits: bool) -> None:
        """Note that a row was delivered or parked; one that went out again was settled before.

        What is no waiting row any more is damaged, or of an old file.
        """
        if state == "replayed":
            return
        if waits:
            self.settled_rows += 1
        else:
            self.replaced += 1

    def file_replaced(self, waiting: int) -> None:
        """Note that another file took the place of a damaged one, with so many rows that wait."""
        self.replaced += waiting - self.waiting


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of a device's bytes since the service started; `rejected` and `held` by reason.

    `held` by the first of a reading's reasons. `repeats`: samples of records that were kept before, and are no new
    readings. `not_kept`: readings that the disk did not take, and that did not fit into memory.
    """

    frames: int = 0
    samples: int = 0
    notices: int = 0
    repeats: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    usable: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    committing: int = 0
    not_kept: int = 0

    @property
    def readings(self) -> int:
        """Readings on disk."""
        return self.usable + sum(self.held.values())

    def members(self) -> dict[str, object]:
        """Answer them as JSON has them."""
        return {
            "frames": self.frames,
            "samples": self.samples,
            "notices": self.notices,
            "repeats": self.repeats,
            "rejected": dict(self.rejected),
            "usable": self.usable,
            "held": dict(self.held),
            "committing": self.committing,
            "not_kept": self.not_kept,
        }

    def unbalanced(self, whose: str) -> list[str]:
        """Answer which of the first two equations do not hold."""
        became = self.readings + self.committing + self.repeats + self.not_kept
        return [
            *_unequal(
                f"{whose}: frames, and samples + notices + rejected",
                self.frames,
                self.samples + self.notices + sum(self.rejected.values()),
            ),
            *_unequal(f"{whose}: samples, and usable + held + committing + repeats + not kept", self.samples, became),
        ]


@dataclass(frozen=True, slots=True)
class Account:
    """The whole of it, at one moment."""

    devices: Mapping[str, Counts]
    books: Books
    delivered: int
    parked: int
    waiting: int

    @property
    def all(self) -> Counts:
        """The devices' counts together."""
        counts = list(self.devices.values())
        return Counts(
            frames=sum(one.frames for one in counts),
            samples=sum(one.samples for one in counts),
            notices=sum(one.notices for one in counts),
            repeats=sum(one.repeats for one in counts),
            rejected=_sum(one.rejected for one in counts),
            usable=sum(one.usable for one in counts),
            held=_sum(one.held for one in counts),
            committing=sum(one.committing for one in counts),
            not_kept=sum(one.not_kept for one in counts),
        )

    def unbalanced(self) -> list[str]:
        """Answer which equations do not hold, in words; none ever, or there is a defect in the gateway."""
        told, kept = self.all, self.books
        return [
            *(problem for device, counts in self.devices.items() for problem in counts.unbalanced(device)),
            *told.unbalanced("all"),
            *_unequal("committing, as devices and outbox count it", told.committing, kept.committing),
            *_unequal("committed, as devices and outbox count it", told.readings, kept.committed),
            *_unequal("repeats, as devices and outbox count it", told.repeats, kept.repeats),
            *_unequal("not kept, as devices and outbox count it", told.not_kept, kept.not_kept),
            *_unequal(
                "waiting at start + committed + revisions + replaced, and delivered + parked + damaged + waiting",
                kept.waiting_at_start + told.readings + kept.revisions + kept.replaced,
                self.delivered + self.parked + kept.damaged + self.waiting,
            ),
        ]

    def members(self) -> dict[str, object]:
        """Answer it as JSON has it: the devices together."""
        return {
            **self.all.members(),
            "revisions": self.books.revisions,
            "waiting_at_start": self.books.waiting_at_start,
            "replaced": self.books.replaced,
            "waiting": self.waiting,
            "delivered": self.delivered,
            "parked": self.parked,
            "damaged": self.books.damaged,
            "unbalanced": self.unbalanced(),
        }


def _unequal(what: str, one: int, other: int) -> list[str]:
    return [] if one == other else [f"{what}: {one}, {other}"]


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)
