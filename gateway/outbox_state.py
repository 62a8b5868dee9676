"""What the outbox says of itself, for states, `status` and metrics: counts and troubles, never a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.account import Books
from gateway.store import MEGABYTE, Condition, Damage, Room

MAX_BYTES = 512 * MEGABYTE


@dataclass(frozen=True, slots=True)
class OutboxState:
    """What the outbox says of itself: rows waiting and parked, the oldest waiting one's age, its trouble if any.

    `depth` is the database's own count, less what was settled since and is not written; that of `books` where the
    database does not answer. `damaged`: parked rows whose checksum is wrong; `discarded`: parked rows that were
    deleted; `set_aside`: files.
    """

    books: Books = field(default_factory=Books)
    depth: int = 0
    oldest_kept_at: float | None = None
    parked: int = 0
    held_back: int = 0
    trouble: str | None = None
    used_bytes: int | None = None
    max_bytes: int = MAX_BYTES
    damaged: int = 0
    discarded: int = 0
    set_aside: tuple[Damage, ...] = ()

    @property
    def not_kept(self) -> int:
        """Readings that were lost since the start."""
        return self.books.not_kept


def worry(file: Condition, room: Room, max_bytes: int) -> str | None:
    """Answer what people should know of while the outbox still works."""
    if room is not Room.AMPLE:
        return f"the outbox is nearly full: {file.used_bytes} of max_mb {max_bytes // MEGABYTE}"
    if file.set_aside:
        names = ", ".join(damage.file for damage in file.set_aside)
        return f"a damaged outbox was set aside: {names}; look for what is lost, then take the file away"
    return f"{file.damaged} damaged readings are parked" if file.damaged else None
