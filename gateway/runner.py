"""`vitals-gateway run`: the service in this process, until SIGTERM or SIGINT; SIGHUP reads the configuration again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable

from gateway.catalogue import CatalogueError
from gateway.config import ConfigError, Loaded
from gateway.control import default_path
from gateway.in_force import InForce
from gateway.service import Service, ServiceFailed
from gateway.settings import Settings
from gateway.store import OutboxError, OutboxTooNew

_log = logging.getLogger(__name__)

FAILED = 1

# Objects that came and did not go until those among them that hold each other in a circle are looked for. Python's own
# 700 are reached every few readings, in their midst.
COLLECT_AFTER = 10_000


def run(
    settings: Settings,
    read: Callable[[], Loaded] | None = None,
    *,
    in_force: InForce | None = None,
    on_good: Callable[[Loaded | None], None] = lambda _: None,
) -> int:
    """Serve until a signal; answer the exit status: 0 stopped, 78 bad configuration or newer outbox, 1 else.

    `read`, `in_force`, `on_good`: as for a Service.
    """
    try:
        asyncio.run(_serve(settings, read, in_force, on_good))
    except (ConfigError, CatalogueError, OutboxTooNew) as error:
        _log.error("%s", error)
        return os.EX_CONFIG
    except (OutboxError, ServiceFailed) as error:
        _log.error("%s", error)
        return FAILED
    return os.EX_OK


async def _serve(
    settings: Settings,
    read: Callable[[], Loaded] | None,
    in_force: InForce | None,
    on_good: Callable[[Loaded | None], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    service = Service(settings, control=default_path(), read=read, in_force=in_force, on_good=on_good)
    had_terminal = _has_terminal()

    def hang_up() -> None:
        if had_terminal and not _has_terminal():  # somebody started it by hand, and their terminal has closed
            stop.set()
        else:
            service.reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    gc.freeze()  # what stands by now lives as long as the service: it is not looked through again
    gc.set_threshold(COLLECT_AFTER)
    await service.run(stop)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
