"""What time it is, and how far that can be believed.

1. What arrives is stamped on the monotonic clock (CLOCK_MONOTONIC, the clock of asyncio's `loop.time()`): it never
   jumps. UTC is worked out as late as possible, so that what came before the first synchronization gets the right
   UTC after it. A Raspberry Pi has no clock chip: at power-up its UTC is the time of the last shutdown.
2. `now`, `utc_at` and `quality` never block and are for the event loop. `refresh` may wait for another process, so
   the service calls it in a thread: `await asyncio.to_thread(clock.refresh)`, every 30 s. It hands over by
   assigning one attribute; no lock is needed.
3. Not known is not synced. The first probe that knows decides:
   - adjtimex(2): the kernel's word, whoever sets the clock (timesyncd, chrony, ntpd, PTP). The packaged unit's
     ProtectClock= refuses this call (EPERM), a reading one too.
   - the stamp that systemd-timesyncd renews at each synchronization. It can only say yes.
   - `timedatectl`: systemd-timedated asks the kernel for us. It costs a process, hence last.
   In a container the first probe shows the host's kernel, or nothing where the runtime forbids the call, and the
   others find nothing: `synced` under a synchronized host, otherwise `unsynced`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.reading import ClockQuality

Probe = Callable[[], bool | None]
"""Asks whether the clock is synchronized; None: cannot tell. Never raises."""

# The kernel's bound on its error (maxerror, microseconds) starts at 16 s, grows 500 ppm without a source, and stops
# at 16 s: some nine hours after the last synchronization. STA_UNSYNC is not asked: a daemon that keeps the time may
# set it only to keep the kernel off the clock chip. This is also what `timedatectl` calls synchronized.
# Source: systemd/systemd src/timedate/timedated.c (ntp_synced), Linux kernel/time/ntp.c (second_overflow).
UNSYNCED_ERROR_US = 16_000_000

# Renewed at each synchronization, at least every 2048 s (timesyncd.conf(5), PollIntervalMaxSec=): twice that is late.
TIMESYNC_STAMP = Path("/run/systemd/timesync/synchronized")
TIMESYNC_STALE_S = 2 * 2048.0

TIMEDATECTL_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks: monotonic seconds, and UTC as the gateway's clock showed it then."""

    monotonic: float
    utc: datetime


class Clock:
    """The gateway's clock. `quality` is `unsynced` until the first `refresh`."""

    def __init__(
        self,
        probes: Sequence[Probe] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._probes = (kernel_synced, timesync_synced, timedate_synced) if probes is None else tuple(probes)
        self._monotonic = monotonic
        self._wall = wall
        self._quality = ClockQuality.UNSYNCED

    def now(self) -> Instant:
        """Answer this moment, on both clocks."""
        return Instant(self._monotonic(), datetime.fromtimestamp(self._wall(), UTC))

    def utc_at(self, monotonic: float) -> datetime:
        """Answer the UTC of a moment that was captured on the monotonic clock, by what the clock shows now."""
        now = self.now()
        return now.utc - timedelta(seconds=now.monotonic - monotonic)

    @property
    def quality(self) -> ClockQuality:
        """What the last `refresh` found."""
        return self._quality

    def refresh(self) -> None:
        """Ask whether the clock is synchronized. May take `TIMEDATECTL_TIMEOUT_S`: not on the event loop."""
        answers = (probe() for probe in self._probes)
        synced = next((answer for answer in answers if answer is not None), None)
        self._quality = judge(synced, self._quality)


def judge(synced: bool | None, before: ClockQuality) -> ClockQuality:
    """What is known of the clock now, from today's answer and what was known before: once synced, holdover at worst."""
    if synced:
        return ClockQuality.SYNCED
    return ClockQuality.UNSYNCED if before is ClockQuality.UNSYNCED else ClockQuality.HOLDOVER


def kernel_synced() -> bool | None:
    """Ask the kernel, by adjtimex(2) with modes=0, which only reads. None where that is not allowed. Microseconds."""
    try:
        # Here, since it costs 0.5 MB; MemoryError is libffi's where no memory may be made executable.
        import ctypes

        class Timex(ctypes.Structure):
            """Linux include/uapi/linux/timex.h, struct timex; `rest` is longer than what follows on any machine."""

            _fields_ = (
                ("modes", ctypes.c_uint),
                ("offset", ctypes.c_long),
                ("freq", ctypes.c_long),
                ("maxerror", ctypes.c_long),
                ("rest", ctypes.c_byte * 256),
            )

        timex = Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (ImportError, OSError, AttributeError, MemoryError):
        return None
    return None if state < 0 else bool(timex.maxerror < UNSYNCED_ERROR_US)


def timesync_synced(stamp: Path = TIMESYNC_STAMP, wall: Callable[[], float] = time.time) -> bool | None:
    """Look at systemd-timesyncd's stamp: True when it is fresh, else None (it is late, or another keeps the time)."""
    try:
        age = wall() - stamp.stat().st_mtime
    except OSError:
        return None
    return True if 0 <= age <= TIMESYNC_STALE_S else None


def timedate_synced(timeout_s: float = TIMEDATECTL_TIMEOUT_S) -> bool | None:
    """Ask systemd-timedated by `timedatectl show`; None when it does not answer within `timeout_s`. Blocks."""
    import subprocess

    try:
        answer = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {b"yes": True, b"no": False}.get(answer)
