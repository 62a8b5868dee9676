"""Whether a device is in the midst of something: somebody stands on it, a finger is in it, it is connected. Pure.

1. At rest is a device that has said so (an empty scale), or that has said nothing for its model's silence.
2. Frames that have had no event yet are a measurement under way: nobody was told of it (`is_told`).
3. A monitor that tells results is at rest between them, however often it repeats the last one.
4. Who has just opened a port may have joined a stream in its middle: not at rest.

Of a measurement that makes no sound (a cuff that inflates and says its result in the end) nobody can know.
"""

from __future__ import annotations

from drivers.contract import Event, Notice, Sample
from drivers.models import DeviceModel

SILENCE_CAP_S = 15.0  # a thermometer's row has an hour, which says how long one result is the same, not who holds it
_TELL_RESULTS = frozenset({"blood_pressure", "thermometer"})
_EMPTY = frozenset({"zero", "zero_weight", "standby"})
_SAYS_NOTHING = frozenset({"repeat", "old_record", "none_yet", "companion", "no_data", "acknowledged", "header"})


class Activity:
    """What one device is in the midst of. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self.rested_at = float("-inf")  # when it was last known to be at rest
        self.is_told = False  # of what it is in the midst of, a reading was told
        self._until = self._pending_until = float("-inf")

    def is_at_rest(self, now: float) -> bool:
        """Whether nobody is being measured, as far as it can be heard."""
        return now >= max(self._until, self._pending_until)

    def look(self, now: float) -> None:
        """Take note of rest up to now; to be called before what has just come is taken."""
        if self.is_at_rest(now):
            self.rested_at, self.is_told = now, False

    def goes_on(self, now: float, for_s: float) -> None:
        """Take note that it is at work, and for how long that counts if nothing more is heard."""
        self.look(now)
        self._until = now + for_s

    def pending(self, now: float, for_s: float) -> None:
        """Take note of bytes that have had no event yet, or of which nobody has heard yet."""
        self.look(now)
        self._pending_until = now + for_s

    def is_untold(self, now: float) -> bool:
        """Whether it is in the midst of something of which no reading was told."""
        return not self.is_at_rest(now) and (now < self._pending_until or not self.is_told)

    def settled(self) -> None:
        """Take note that what was pending has had its event."""
        self._pending_until = float("-inf")

    def told(self) -> None:
        """Take note of a reading of it."""
        self.is_told = True

    def over(self, now: float) -> None:
        """Take note that it is at rest."""
        self._until = self._pending_until = float("-inf")
        self.rested_at, self.is_told = now, False


class SerialActivity(Activity):
    """The same of a device on a serial line, by its bytes and events."""

    def __init__(self, model: DeviceModel) -> None:
        super().__init__()
        streams = model.kind in ("oximeter", "heart_rate")
        self._silence_s = min(model.spot_check.silence_s if streams else model.settling.silence_s, SILENCE_CAP_S)
        self._tells_results = model.kind in _TELL_RESULTS
        self._breaks = {*model.settling.breaks, *model.spot_check.breaks, *_EMPTY}

    def opened(self, now: float) -> None:
        """Take note that its port was opened: no rest was heard while it was closed."""
        self._until = now + self._silence_s

    def bytes_came(self, now: float) -> None:
        """Take note of bytes, before their events are taken."""
        self.pending(now, self._silence_s)

    def take(self, event: Event, now: float) -> None:
        """Take note of an event that came of bytes, once it was judged."""
        self.settled()
        if isinstance(event, Notice) and event.code in self._breaks:
            self.over(now)
        elif self._tells_results and (isinstance(event, Sample) or _says_nothing(event)):
            return
        else:
            self.goes_on(now, self._silence_s)
            if isinstance(event, Sample):
                self.told()


def _says_nothing(event: Event) -> bool:
    return isinstance(event, Notice) and event.code in _SAYS_NOTHING
