"""States and events on their way to the broker. They are not kept: a state is told again, an event may be missed.

Of a state only the newest matters; it goes out with each new connection, too. Events wait in bounded numbers.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from gateway.broker import NO_MATCHING_SUBSCRIBERS, SUCCESS, Message
from gateway.refusals import reason_of

_log = logging.getLogger(__name__)

EVENTS_LIMIT = 200


class Announcements:
    """What is to be said beside readings. `refused` tells why, by topic, until the broker takes it."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.events_dropped = 0
        self._states: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}
        self._on_cleared: dict[str, Callable[[str], None]] = {}
        self._events: deque[Message] = deque()

    @property
    def unsent_states(self) -> bool:
        """Whether a state was not handed to the connection yet."""
        return bool(self._unsent)

    def set_state(self, topic: str, payload: bytes) -> None:
        """Tell a retained state."""
        self._states[topic] = payload
        self._unsent[topic] = None

    def clear_state(self, topic: str, then: Callable[[str], None]) -> None:
        """Remove a retained message; `then` hears the topic once the broker has done so."""
        self._on_cleared[topic] = then
        self.set_state(topic, b"")

    def add_event(self, topic: str, payload: bytes) -> None:
        """Tell an event; of those that wait, the newest EVENTS_LIMIT are kept."""
        if len(self._events) == EVENTS_LIMIT:
            self._events.popleft()
            self.events_dropped += 1
        self._events.append(Message(topic, payload, retain=False))

    def start_over(self) -> None:
        """With a new connection: tell every state."""
        self.refused.clear()
        self._unsent = dict.fromkeys(self._states)

    def take(self) -> Message | None:
        """Answer what is to be sent next: states first."""
        if self._unsent:
            topic = next(iter(self._unsent))
            del self._unsent[topic]
            return Message(topic, self._states[topic])
        return self._events.popleft() if self._events else None

    def settle(self, message: Message, code: int) -> None:
        """Take note of a PUBACK."""
        topic = message.topic
        if code not in (SUCCESS, NO_MATCHING_SUBSCRIBERS):
            if self.refused.get(topic) != reason_of(code):
                _log.error("the broker refuses %s (%s): check its access rules", topic, reason_of(code))
            self.refused[topic] = reason_of(code)
            return
        self.refused.pop(topic, None)
        # An earlier state may be acknowledged after it was to be cleared: only the empty one clears.
        if not message.payload and topic in self._on_cleared and not self._states[topic]:
            del self._states[topic]
            self._unsent.pop(topic, None)
            self._on_cleared.pop(topic)(topic)
