"""A device's own clock: it runs with time, knows no zone, and may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class DeviceClock:
    """Shows the time of `zone` (None: of this machine), `fast_by` ahead of it, until it is set."""

    def __init__(self, zone: tzinfo | None = None, fast_by: timedelta = timedelta()) -> None:
        self._zone = zone
        self._fast_by = fast_by

    def now(self) -> datetime:
        """What it shows, without a zone, to the microsecond."""
        return self._true() + self._fast_by

    def set(self, shown: datetime) -> None:
        """Let it show `shown` (without a zone) now, and run on from there."""
        self._fast_by = shown - self._true()

    def _true(self) -> datetime:
        return datetime.now(UTC).astimezone(self._zone).replace(tzinfo=None)
