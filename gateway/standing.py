"""How a device stands: its state and why, what came of all that it said, and when it was last heard.

Each event ends here as a reading, a notice or a counted rejection; nobody else counts. The two supervisors, serial and
Bluetooth, differ in how they get their events, and in nothing that is told of a device.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from drivers.contract import Identity, Notice, Rejected
from drivers.errors import LinkError, LinkFault
from gateway import settings
from gateway.account import Counts, Fate
from gateway.clock import Clock
from gateway.log import Throttle, place_of
from gateway.reading import Mode
from gateway.vocabulary import goes_to_event_topic

_log = logging.getLogger(__name__)

State = Literal["online", "offline", "unknown"]
OnChange = Callable[[str], None]
OnEvent = Callable[[settings.Device, Notice, Mode], None]

# So many rejected frames in a row, with none between that can be read, are wrong line settings or a wrong model.
UNREADABLE_AFTER = 5

EVENT_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """How a device stands. `reason` is a code, `detail` what to do; counts are since the start of the service.

    `test_until`: while somebody certifies it, and nothing that it measures reaches a chart.
    """

    state: State = "unknown"
    reason: str | None = "not_opened_yet"
    detail: str = ""
    last_seen: datetime | None = None
    last_reading_id: UUID | None = None
    last_held_reason: str | None = None
    battery: int | None = None
    identity: Identity = field(default_factory=Identity)
    test_until: datetime | None = None
    counts: Counts = field(default_factory=Counts)

    @property
    def held(self) -> int:
        """Readings that went to quarantine."""
        return sum(self.counts.held.values())


class Standing:
    """One device's account. `on_change` is called when its status changes, `on_event` for notices that people see."""

    def __init__(self, device: settings.Device, clock: Clock, on_change: OnChange, on_event: OnEvent) -> None:
        self.device = device
        self._clock = clock
        self._on_change = on_change
        self._on_event = on_event
        self._status = DeviceStatus()  # without what each reading changes:
        self._last_seen: datetime | None = None
        self._last_reading_id: UUID | None = None
        self._last_held_reason: str | None = None
        self._frames = self._samples = self._notices = 0
        self._rejected: Counter[str] = Counter()
        self._usable = self._committing = self._repeats = self._not_kept = 0
        self._held: Counter[str] = Counter()
        self._rejected_in_a_row = 0
        self._told_events = Throttle(EVENT_INTERVAL_S)
        self._complaints = Throttle()

    @property
    def status(self) -> DeviceStatus:
        """How the device stands now."""
        counts = Counts(
            self._frames,
            self._samples,
            self._notices,
            self._repeats,
            dict(self._rejected),
            self._usable,
            dict(self._held),
            self._committing,
            self._not_kept,
        )
        return replace(
            self._status,
            last_seen=self._last_seen,
            last_reading_id=self._last_reading_id,
            last_held_reason=self._last_held_reason,
            counts=counts,
        )

    @property
    def news(self) -> tuple[object, ...]:
        """What people wait for when it changes: state, reason, whether it is in test; not counts."""
        return self._status.state, self._status.reason, self._status.test_until

    def succeed(self, earlier: Standing) -> None:
        """Count on from where the same device's `earlier` account ends: counts are since the start of the service."""
        self._frames, self._samples, self._notices = earlier._frames, earlier._samples, earlier._notices
        self._rejected, self._held = earlier._rejected, earlier._held
        self._usable, self._committing = earlier._usable, earlier._committing
        self._repeats, self._not_kept = earlier._repeats, earlier._not_kept
        self._last_seen, self._last_reading_id = earlier._last_seen, earlier._last_reading_id
        self._last_held_reason = earlier._last_held_reason

    def last_reading(self, reading_id: UUID) -> None:
        """Take note of the last reading that was kept before this start."""
        self._last_reading_id = reading_id

    def opened(self, detail: str) -> None:
        """Take note that there is a link now, and nothing was said yet."""
        self._rejected_in_a_row = 0
        self.note("unknown", "not_heard_yet", detail)

    def note(self, state: State, reason: str | None, detail: str) -> None:
        """Take note of how the device stands; told and logged when it is new."""
        if (self._status.state, self._status.reason) == (state, reason):
            self._status = replace(self._status, detail=detail)  # which of several acts failed: `status` shows the last
            return
        level = logging.WARNING if state == "offline" else logging.INFO
        _log.log(level, "%s: %s%s", self.device.id, reason or state, f": {detail}" if detail else "")
        self._status = replace(self._status, state=state, reason=reason, detail=detail)
        self._on_change(self.device.id)

    def radio_trouble(self, trouble: LinkError) -> None:
        """Take note that the radio, which all Bluetooth devices share, is in trouble."""
        quiet = trouble.fault is LinkFault.RADIO_DEAF  # or a room in which nothing advertises
        self.note("unknown" if quiet else "offline", trouble.fault.value, str(trouble))

    def heard(self) -> None:
        """Take note that the device said something that can be read."""
        self._rejected_in_a_row = 0
        self._last_seen = self._clock.now().utc
        if self._status.state != "online":
            self.note("online", None, "")

    def connected(self) -> None:
        """Take note that the device is there; whether its records can be read, only they can show."""
        self._last_seen = self._clock.now().utc
        if self._rejected_in_a_row >= UNREADABLE_AFTER:
            self._note_unreadable()
        else:
            self.note("online", None, "")

    def found(self, *, battery: int | None = None, identity: Identity | None = None) -> None:
        """Take note of what a device said of itself."""
        before = self._status
        self._status = replace(
            before,
            battery=before.battery if battery is None else battery,
            identity=before.identity if identity is None else identity,
        )
        if self._status != before:
            self._on_change(self.device.id)

    def in_test(self, until: datetime | None) -> None:
        """Take note that what it measures is a test's, until when; None: a patient's again."""
        self._status = replace(self._status, test_until=until)
        _log.info("%s: %s", self.device.id, "in test, for `certify`" if until is not None else "the test has ended")
        self._on_change(self.device.id)

    def notice(self, notice: Notice, mode: Mode) -> None:
        """Count a notice; people are told of it where it is for people, at most one of a kind in EVENT_INTERVAL_S."""
        self._frames += 1
        self._notices += 1
        self.heard()
        if goes_to_event_topic(notice.code) and self._told_events.admit(notice.code, time.monotonic()) is not None:
            self._on_event(self.device, notice, mode)

    def rejected(self, rejected: Rejected) -> None:
        """Count a rejection by its reason; its bytes are patient data and told nobody."""
        self._frames += 1
        self._rejected[rejected.reason] += 1
        self._rejected_in_a_row += 1
        left_out = self._complaints.admit(rejected.reason, time.monotonic())
        if left_out is not None:
            _log.warning(
                "%s: %d bytes rejected (%s); %d more since the last such line",
                self.device.id,
                len(rejected.raw),
                rejected.reason,
                left_out,
            )
        if self._rejected_in_a_row >= UNREADABLE_AFTER:
            self._note_unreadable()

    def _note_unreadable(self) -> None:
        what = "model and line settings" if self.device.address is None else "the model"
        self.note("unknown", "unreadable", f"bytes arrive, but none that are this model's: check {what}")

    def unknown_unit(self, error: Exception) -> None:
        """Count a sample of which the vocabulary knows no kind or unit: a driver's defect."""
        self._frames += 1
        self._rejected["unknown_unit"] += 1
        if self._complaints.admit("unknown_unit", time.monotonic()) is not None:
            _log.error("%s: %s", self.device.id, error)

    def defect(self, error: Exception) -> None:
        """Log and show a defect of ours in this device's code: it must not stop the others."""
        _log.error("%s: a defect in the gateway (%s); the device is opened anew", self.device.id, place_of(error))
        self.note("offline", "internal_error", "a defect in the gateway: send its log to the maker")

    def thrown_away(self, frames: int) -> None:
        """Count what a device sent faster than it could be taken: nobody has looked at it."""
        if frames:
            self._frames += frames
            self._rejected["overflow"] += frames
            self._on_change(self.device.id)

    def samples(self, count: int) -> None:
        """Count samples that were handed to the outbox; `became` hears of each."""
        self._frames += count
        self._samples += count
        self._committing += count
        self.heard()
        self._on_change(self.device.id)

    def became(self, fate: Fate) -> None:
        """Take note of what became of a sample; of a revision nothing: it is no sample."""
        if fate.revision > 1:
            return
        self._committing -= 1
        if fate.outcome == "repeat":
            self._repeats += 1
        elif fate.outcome == "not_kept":
            self._not_kept += 1
        else:
            self._last_reading_id = fate.id
            if fate.held is None:
                self._usable += 1
            else:
                self._held[fate.held] += 1
                self._last_held_reason = fate.held
        self._on_change(self.device.id)
