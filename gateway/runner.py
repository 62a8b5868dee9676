"""`vitals-gateway run`: the service in this process, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from gateway.catalogue import CatalogueError
from gateway.config import ConfigError
from gateway.control import default_path
from gateway.service import Service, ServiceFailed
from gateway.settings import Settings
from gateway.states import ConfigNote
from gateway.store import OutboxError, OutboxTooNew

_log = logging.getLogger(__name__)

FAILED = 1


def run(settings: Settings, note: ConfigNote, started: Callable[[], None]) -> int:
    """Serve until a signal; answer the exit status: 0 stopped, 78 bad configuration or newer outbox, 1 else.

    `started` is called once, in a thread, when the service has been put together with these settings.
    """
    try:
        asyncio.run(_serve(settings, note, started))
    except (ConfigError, CatalogueError, OutboxTooNew) as error:
        _log.error("%s", error)
        return os.EX_CONFIG
    except (OutboxError, ServiceFailed) as error:
        _log.error("%s", error)
        return FAILED
    return os.EX_OK


async def _serve(settings: Settings, note: ConfigNote, started: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a terminal that closes, too
        loop.add_signal_handler(number, stop.set)
    service = Service(settings, control=default_path(), note=note)
    await asyncio.to_thread(started)
    await service.run(stop)
