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
4. A clock that somebody moved is unsynced until a probe says otherwise: what it showed before proves nothing now.
   Each look at `quality` compares the two clocks, so nothing is stamped between the move and the next `refresh`
   without being marked. In holdover the clock drifts; after HOLDOVER_S nobody vouches for it any more.
5. `since_boot` outlives the process: what was stamped before a restart of the service can be placed after it, as long
   as `boot` is the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

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

# More than a leap second, and than any correction that is spread over the 30 s between two looks: somebody moved it.
MOVED_S = 2.0

# A crystal that is off by 100 ppm, a bad one, is off by a minute then.
HOLDOVER_S = 7 * 86_400.0

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the packaged unit hides it, and hands it over as $BOOT_ID


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks: monotonic seconds, and UTC as the gateway's clock showed it then."""

    monotonic: float
    utc: datetime


class Clock:
    """The gateway's clock. `quality` is `unsynced` until the first `refresh`; `boot`: this start of the machine."""

    def __init__(
        self,
        probes: Sequence[Probe] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        slept: Callable[[], float] | None = None,
    ) -> None:
        """`slept`: for how long the machine was suspended since it started, seconds, which `monotonic` leaves out."""
        self._probes = (kernel_synced, TimesyncStamp(), timedate_synced) if probes is None else tuple(probes)
        self._monotonic = monotonic
        self._wall = wall
        self._slept = _slept if slept is None else slept
        self._known = (ClockQuality.UNSYNCED, self._apart())  # together: another thread sees both or none
        self._synced_at = monotonic()
        self.boot = boot_id()

    def now(self) -> Instant:
        """Answer this moment, on both clocks."""
        return Instant(self._monotonic(), datetime.fromtimestamp(self._wall(), UTC))

    def utc_at(self, monotonic: float) -> datetime:
        """Answer the UTC of a moment that was captured on the monotonic clock, by what the clock shows now."""
        return datetime.fromtimestamp(self._wall() - (self._monotonic() - monotonic), UTC)

    def since_boot(self, monotonic: float) -> float:
        """Answer a monotonic instant as seconds since the machine started, time asleep included (CLOCK_BOOTTIME)."""
        return monotonic + self._slept()

    def utc_since_boot(self, instant: float) -> datetime:
        """Answer the UTC of what `since_boot` answered, in this process or an earlier one of this start."""
        return self.utc_at(instant - self._slept())

    @property
    def moved_by_s(self) -> float:
        """By how much the clock was moved since the last `refresh`; what is below MOVED_S is its ordinary keeping."""
        return self._apart() - self._known[1]

    @property
    def quality(self) -> ClockQuality:
        """What the last `refresh` found, unless somebody moved the clock since. To be asked after the time it is of."""
        quality, apart = self._known
        return ClockQuality.UNSYNCED if abs(self._apart() - apart) > MOVED_S else quality

    def refresh(self) -> None:
        """Ask whether the clock is synchronized. May take `TIMEDATECTL_TIMEOUT_S`: not on the event loop."""
        apart = self._apart()  # before asking: a move while we ask is found at the next look
        answers = (probe() for probe in self._probes)
        synced = next((answer for answer in answers if answer is not None), None)
        before, now = self.quality, self._monotonic()
        self._synced_at = now if synced else self._synced_at
        self._known = (judge(synced, before, now - self._synced_at), apart)

    def _apart(self) -> float:
        return self._wall() - self._monotonic()


def judge(synced: bool | None, before: ClockQuality, alone_s: float = 0.0) -> ClockQuality:
    """What is known of the clock now: from today's answer, what was known before, and since when it keeps itself."""
    if synced:
        return ClockQuality.SYNCED
    lost = before is ClockQuality.UNSYNCED or alone_s > HOLDOVER_S
    return ClockQuality.UNSYNCED if lost else ClockQuality.HOLDOVER


def boot_id(path: Path = BOOT_ID) -> str:
    """Answer which start of the machine this is, 32 hex digits; where that is hidden, a word of this process alone."""
    try:
        return UUID(os.environ.get("BOOT_ID") or path.read_text().strip()).hex
    except (OSError, ValueError):
        return uuid4().hex


def _slept() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


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


class TimesyncStamp:
    """A probe: systemd-timesyncd's stamp. True when it is fresh, else None (it is late, or another keeps the time).

    Its age is told by the very clock that is in question: a stamp of before the clock was moved says nothing after it.
    """

    def __init__(
        self,
        stamp: Path = TIMESYNC_STAMP,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stamp = stamp
        self._wall = wall
        self._monotonic = monotonic
        self._seen = (0, 0.0)  # the stamp, and how far the two clocks were apart when it was new

    def __call__(self) -> bool | None:
        """Look at the stamp."""
        try:
            stamped_ns = self._stamp.stat().st_mtime_ns
        except OSError:
            return None
        now = self._wall()
        apart = now - self._monotonic()
        if stamped_ns != self._seen[0]:
            self._seen = (stamped_ns, apart)
        moved = abs(apart - self._seen[1]) > MOVED_S
        return True if not moved and 0 <= now - stamped_ns / 1e9 <= TIMESYNC_STALE_S else None


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
