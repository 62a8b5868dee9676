"""When the publisher connects again: soon while that may help, slowly where it does harm.

1. The first minute of an outage is worth quick tries; after it, forty rooms must not hammer a broker that starts.
2. Two gateways of one name throw each other out. MQTT 5 has a word for it (0x8E); 3.1.1 has none and Mosquitto 2.0.11
   says it in neither: it just hangs up on whom it has let in. Each waits longer from time to time, so that both get
   something through.
3. The first broker of the list is looked for while another serves; one that does not keep us is looked for less often.

All waits are drawn at random: rooms do not come together.
"""

from __future__ import annotations

import random
from dataclasses import replace

from gateway.broker import SESSION_TAKEN_OVER, UNSPECIFIED_ERROR, Ended

RETRY_FIRST_S, RETRY_CAP_S, RETRY_CAP_LATER_S, LATER_AFTER = 0.25, 2.0, 15.0, 30

STEADY_S = 10.0  # a connection that lasted so long was no failure
QUIET_S = 600.0  # and one that lasted so long has no rival

RIVAL_FIRST_S, RIVAL_CAP_S = 5.0, 60.0
THROWN_OUT_LIMIT = 3  # times in a row let in and hung up on, before we guess why

LOOK_FIRST_S, LOOK_CAP_S = 30.0, 900.0


class Pace:
    """Counts what came of the tries. `name` is the client id; `rival` tells that another may use it, None if not."""

    def __init__(self, name: str) -> None:
        self.rival: str | None = None
        self.look_s = LOOK_FIRST_S  # until the first broker is looked for, about
        self._name = name
        self._failures = 0
        self._taken_over = 0
        self._thrown_out = 0

    def failed(self) -> float:
        """Nobody let us in: answer how many seconds to wait."""
        self._failures += 1
        cap = RETRY_CAP_S if self._failures < LATER_AFTER else RETRY_CAP_LATER_S
        return _drawn(RETRY_FIRST_S, RETRY_FIRST_S * 2 ** min(self._failures, 10), cap)

    def ended(self, ended: Ended, lasted_s: float, *, explained: bool) -> tuple[float, Ended]:
        """A connection ended: answer how many seconds to wait, and how it ended, in better words where we have them.

        `explained`: there is another reason why the broker may have hung up, such as a topic that it refuses.
        """
        if lasted_s >= QUIET_S:
            self.steady()
        if ended.code == SESSION_TAKEN_OVER:
            self._taken_over += 1
            self.rival = f"another gateway uses the name {self._name} (it took over {self._taken_over} times)"
            longest = RIVAL_FIRST_S * 2 ** min(self._taken_over, 10)
            return _drawn(RIVAL_FIRST_S, longest, RIVAL_CAP_S), ended
        if lasted_s >= STEADY_S:
            self._failures = self._thrown_out = 0
            return _drawn(RETRY_FIRST_S, RETRY_FIRST_S, RETRY_CAP_S), ended
        self._thrown_out = 0 if explained or ended.code != UNSPECIFIED_ERROR else self._thrown_out + 1
        if self._thrown_out < THROWN_OUT_LIMIT:
            return self.failed(), ended
        self.rival = self.rival or f"does another gateway use the name {self._name}?"
        words = f"{ended.reason}, soon after it let us in, and again: {self.rival}"
        longest = RIVAL_FIRST_S * 2 ** min(self._thrown_out - THROWN_OUT_LIMIT, 10)
        return _drawn(RIVAL_FIRST_S, longest, RETRY_CAP_LATER_S), replace(ended, reason=words)

    def steady(self) -> None:
        """A connection has lasted QUIET_S: nobody has our name any more, and the first broker keeps whom it lets in."""
        self.rival = None
        self.look_s = LOOK_FIRST_S
        self._failures = self._taken_over = self._thrown_out = 0

    def returned(self) -> None:
        """We leave for the first broker."""
        self.look_s = min(2 * self.look_s, LOOK_CAP_S)


def _drawn(shortest: float, longest: float, cap: float) -> float:
    return random.uniform(shortest, max(shortest, min(longest, cap)))  # noqa: S311 - jitter
