"""What the service tells systemd: ready, reloading, stopping, a line of status, and that it still turns.

Protocol: sd_notify(3), sd_watchdog_enabled(3); the same steps as systemd's man/notify-selfcontained-example.py,
so that no library is needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

log = logging.getLogger(__name__)

# PID 1 throws away a whole message above PIPE_BUF (4096), the watchdog's feed with it: each assignment is cut.
_MAX_ASSIGNMENT = 512

READY_TRIES, READY_RETRY_S = 100, 0.1


def notify(*assignments: str) -> bool:
    """Send `READY=1`, `STATUS=…`, … to $NOTIFY_SOCKET as one message; answer whether it was handed over. Never blocks.

    False without a service manager, or when its queue is full: the caller sends again what must arrive (`READY=1`).
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    message = b"\n".join(_one_line(assignment) for assignment in assignments)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            manager.connect(address)
            manager.send(message)
    except OSError as error:
        log.warning("systemd was not told (%s): its notification socket does not answer", error.strerror)
        return False
    return True


async def say_ready(status: str) -> None:
    """Say `READY=1`, at the start and when a reload is over; again while systemd's queue is full (forty services)."""
    for _ in range(READY_TRIES):
        if "NOTIFY_SOCKET" not in os.environ or notify("READY=1", status):
            return
        await asyncio.sleep(READY_RETRY_S)


def say_reloading() -> None:
    """Say that a reload begins: it is over with the next `READY=1`. The time is CLOCK_MONOTONIC's (sd_notify(3))."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between two `WATCHDOG=1`: half of what systemd allows. None when it does not watch this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if not (allowed.isascii() and allowed.isdigit()) or int(allowed) == 0:
        return None
    return int(allowed) / 1_000_000 / 2


def _one_line(assignment: str) -> bytes:
    """One assignment stays one: a line feed in a status text would begin another (`WATCHDOG=trigger`)."""
    return assignment.replace("\n", " ").encode("ascii", "backslashreplace")[:_MAX_ASSIGNMENT]
