"""Waiting that ends when the service stops: for a connection, for the next try."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from gateway import tls
from gateway.mqtt import Connection

_log = logging.getLogger(__name__)


async def open_unless(stopping: asyncio.Event, connection: Coroutine[Any, Any, Connection]) -> Connection | None:
    """Answer the connection that is being opened, or None once `stopping` is set. Raises BrokerAway, BrokerRefused."""
    opening = asyncio.ensure_future(connection)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.is_set():
            return _noted(await opening)
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()  # it was open in the same moment
        return None
    finally:
        stop.cancel()
        opening.cancel()


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


def _noted(connection: Connection) -> Connection:
    _log.info("connected to %s", connection.address)
    for whose, ends in connection.certificates.items():
        if tls.expiring(ends, datetime.now(UTC)):
            _log.warning("the certificate of the %s ends at %s: it has to be renewed", whose, ends)
    return connection
