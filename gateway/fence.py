"""Old is not now: when a record of a device with a memory was taken, and whether that can be believed. Pure.

1. A record is placed by the device's own clock: its age is what that clock showed, read on this connection, less what
   the record is stamped with. Neither zone nor daylight saving, nor how wrong the clock is, stands in that difference.
2. Live is what is no older than the model's window when it arrives. Anything else is stored.
3. A clock is not believed if it cannot be read, or if it is off by more than a day: no drift, zone or daylight saving
   does that. It was never set, or it started again (batteries), and stamps from before and after look alike.
4. Nor is a clock believed while our own is not: nobody could say by how much it is off.
5. Setting the clock makes a second frame: a record of the first may still lie in the device's memory. A stamp up to
   what the clock showed before it was set is not believed on later connections; until one ends with a live record,
   which is the last that a device has to send.
6. A record from the future is not believed: the clock was set back since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from drivers.contract import ClockReading, ClockSetting
from gateway.reading import ClockQuality, Times

BELIEVED_WITHIN = timedelta(days=1)
SAME_FRAME = timedelta(seconds=5)  # a correction by less moves no record from one patient to the next
SLACK_S = 1.0  # a stamp cuts off its fraction of a second

_FIRST = datetime.min + timedelta(days=2)  # noqa: DTZ901 - a device's clock has no zone
_LAST = datetime.max - timedelta(days=2)  # noqa: DTZ901


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a device's clock on this connection.

    `reading`: what it showed; `unsure_until`: up to here, on the device's clock, a stamp may be from before somebody
    set it.
    """

    reading: ClockReading | None = None
    unsure_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a record lies in time. `stored`: it is believed, and old."""

    times: Times
    stored: bool = False

    @property
    def believed(self) -> bool:
        """Whether the device's clock says when it was taken."""
        return self.times.source == "device"


def place(
    device_time: datetime | None,
    received_at: datetime,
    received_mono: float,
    evidence: Evidence,
    *,
    live_window_s: float,
    zone: tzinfo,
    quality: ClockQuality,
) -> Placed:
    """Answer when a record was taken, by the laws above; `taken_at` is None where nobody knows.

    When the clock was read follows from when the record was received: our UTC may have been set right between the two.
    """
    reading, offset, read_at = evidence.reading, None, received_at
    if reading is not None:
        read_at = received_at - timedelta(seconds=received_mono - reading.at)
        offset = clock_offset(reading.shown, read_at, zone)
    unknown = Times(
        None,
        received_at,
        "gateway",
        None,
        quality,
        device_time=device_time,
        clock_offset_s=None if offset is None else offset.total_seconds(),
    )
    if device_time is None or reading is None or offset is None:
        return Placed(unknown)
    if quality is ClockQuality.UNSYNCED or abs(offset) > BELIEVED_WITHIN:
        return Placed(unknown)
    if evidence.unsure_until is not None and device_time <= evidence.unsure_until:
        return Placed(unknown)
    when_read = (reading.shown - device_time).total_seconds()
    age_s = when_read + (received_mono - reading.at)
    uncertainty_s = reading.uncertainty_s + SLACK_S
    if age_s < -uncertainty_s:
        return Placed(unknown)
    times = Times(
        min(received_at, read_at - timedelta(seconds=when_read)),
        received_at,
        "device",
        uncertainty_s,
        quality,
        device_time=device_time,
        clock_offset_s=offset.total_seconds(),
    )
    return Placed(times, stored=age_s > live_window_s)


def clock_offset(shown: datetime, at: datetime, zone: tzinfo) -> timedelta:
    """Answer our UTC less the device's time, read as `zone`; in the hour that comes twice, the nearer of the two."""
    if not _FIRST < shown < _LAST:  # the calendar's ends, which no zone can be applied to: no zone matters there
        return at - shown.replace(tzinfo=UTC)
    offsets = [at - shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min(offsets, key=abs)


def unsure_after(setting: ClockSetting, before: ClockReading | None) -> datetime | None:
    """Answer up to where stamps are unsure once the clock is set: to what it would have shown then.

    None if the setting moves it by next to nothing; or back by more than a day: what is stamped so far ahead is from
    the future (law 6), and to wait until the new clock gets there would hold every reading for as long.
    """
    if before is None:
        return setting.to
    would_show = min(before.shown, _LAST) + timedelta(seconds=setting.at - before.at)
    ahead = would_show - setting.to
    return None if abs(ahead) <= SAME_FRAME or ahead > BELIEVED_WITHIN else would_show
