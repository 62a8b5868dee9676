"""Topics whose readings the broker refuses for now: why, and when the oldest of them is offered again.

A blocked topic rests, until its timer ends or something happens that may have changed the broker's mind. Then it is
due; then its oldest row is on its way, as a probe, whose PUBACK blocks the topic anew or frees it.

A block outlives its connection: Mosquitto 2.0.11 with max_queued_messages 0 hangs up after each refusal, and the other
topics would never get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.broker import NO_MATCHING_SUBSCRIBERS, UNSPECIFIED_ERROR

NOBODY = "no_matching_subscribers"

# MQTT 5 reason codes (OASIS mqtt-v5.0, 3.4.2.1) with which a message is refused for now, and seconds until it is
# offered again. Of a code that we do not know we assume no more than that.
_REASONS = {
    NO_MATCHING_SUBSCRIBERS: (NOBODY, 5.0),
    UNSPECIFIED_ERROR: ("unspecified_error", 10.0),
    0x83: ("implementation_specific_error", 10.0),
    0x87: ("not_authorized", 30.0),
    0x97: ("quota_exceeded", 10.0),
}


@dataclass(slots=True)
class _Block:
    reason: str
    timer: asyncio.TimerHandle
    due: bool = False
    probing: bool = False

    @property
    def nobody(self) -> bool:
        return self.reason == NOBODY


def reason_of(code: int) -> str:
    """Answer the name of a reason code."""
    return _REASONS[code][0] if code in _REASONS else f"reason_code_{code:#04x}"


class Refusals:
    """The blocked topics; `on_due` is called when one of them became due. On the event loop."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._blocks: dict[str, _Block] = {}

    def __contains__(self, topic: object) -> bool:
        return topic in self._blocks

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    @property
    def reasons(self) -> dict[str, str]:
        """Why, by topic."""
        return {topic: block.reason for topic, block in self._blocks.items()}

    def block(self, topic: str, code: int, reason: str | None = None) -> bool:
        """Let a topic rest; answer whether that is news."""
        before = self._blocks.get(topic)
        if before is not None:
            before.timer.cancel()
        reason = reason or reason_of(code)
        _, rest_s = _REASONS.get(code, _REASONS[UNSPECIFIED_ERROR])
        self._blocks[topic] = _Block(reason, asyncio.get_running_loop().call_later(rest_s, self._rested, topic))
        return before is None or before.reason != reason

    def free(self, topic: str) -> None:
        """The broker takes the topic's readings again, or none is left."""
        self._blocks.pop(topic).timer.cancel()

    def reading_came(self, topic: str) -> None:
        """Where nobody had subscribed, a new reading is worth a look: somebody may wait for it."""
        block = self._blocks.get(topic)
        if block is not None and block.nobody:
            block.due = not block.probing

    def probe_gone(self, topic: str) -> None:
        """The probe was parked, or its connection ended: it says nothing, the next one is due."""
        block = self._blocks.get(topic)
        if block is not None:
            block.due, block.probing = True, False

    def connected(self) -> None:
        """With a new connection: no probe is on its way any more, and subscribers may have come with the broker."""
        for block in self._blocks.values():
            block.due = block.due or block.probing or block.nobody
            block.probing = False

    def take_due(self) -> str | None:
        """Answer a topic of which the oldest row is to be offered now."""
        for topic, block in self._blocks.items():
            if block.due:
                block.due, block.probing = False, True
                return topic
        return None

    def _rested(self, topic: str) -> None:
        block = self._blocks[topic]
        if not block.probing:
            block.due = True
            self._on_due()
