"""A row over which the broker hangs up, without saying which: rows go one at a time, until it is found.

A broker that hangs up over one reading after the other has another reason: then no more of them are parked for it, and
their topic waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.broker import Ended
from gateway.store import Row

# MQTT 5 reason codes (OASIS mqtt-v5.0, 3.14.2.1) with which a broker hangs up over a packet.
_POISON_ENDS = frozenset({0x81, 0x82, 0x90, 0x95, 0x99})

HANG_UPS_LIMIT = 3


def is_poisons(ended: Ended) -> bool:
    """Whether the broker hung up over a packet."""
    return ended.code in _POISON_ENDS


class Poison:
    """What is known of the row that makes the broker hang up."""

    def __init__(self) -> None:
        self._hang_ups: Counter[str] = Counter()  # by topic: rows in a row that made the broker hang up
        self._suspect_to = 0  # up to this sequence one row is the poison

    @property
    def suspected(self) -> bool:
        """Whether rows are to go one at a time."""
        return bool(self._suspect_to)

    def sending(self, row: Row) -> None:
        """Take note that a row goes out: behind the suspects, there is no suspicion."""
        if row.sequence > self._suspect_to:
            self._suspect_to = 0

    def taken(self, topic: str) -> None:
        """Take note that the broker took a row of the topic."""
        self._hang_ups.pop(topic, None)

    def found(self, ended: Ended, rows: Sequence[Row], in_flight: int) -> Row | None:
        """Answer the one row that made the broker hang up; None if it did for another reason, or which is not known."""
        if not is_poisons(ended) or not rows:
            return None
        if in_flight > 1:
            self._suspect_to = max(row.sequence for row in rows)
            return None
        self._hang_ups[rows[0].topic] += 1
        return rows[0]

    def is_the_topics(self, topic: str) -> bool:
        """Whether so many rows of a topic were poison that it is not the rows."""
        return self._hang_ups[topic] > HANG_UPS_LIMIT
