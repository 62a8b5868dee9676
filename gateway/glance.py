"""The answer to `status`: how the room stands, with each device's last reading.

What was measured is told only where `values` are asked for: then it is patient data, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import simplejson

from gateway.health import Health
from gateway.outbox import Outbox
from gateway.store import DatabaseError, Store

_log = logging.getLogger(__name__)

DISK_S = 1.0  # a disk that does not answer must not keep the rest from who asks
_TOLD = ("id", "received_at", "taken_at", "mode", "status", "disposition", "reasons")


@dataclass(frozen=True, slots=True)
class Glance:
    """Answers `status` from the parts and the outbox."""

    health: Health
    outbox: Outbox

    async def answer(self, question: Mapping[str, object]) -> dict[str, object]:
        """Answer a question, with or without "values". `last_reading` is null where none is kept or can be read."""
        status: dict[str, Any] = await self.health.status()
        devices = status["devices"]
        last = await self._last(list(devices))
        values = question.get("values") is True
        if values and last:
            _log.warning("the values of %d readings were shown by `status`", len(last))
        for name, members in devices.items():
            members["last_reading"] = _reading(last[name], values=values) if name in last else None
        return status

    async def _last(self, devices: list[str]) -> dict[str, bytes]:
        def read(store: Store) -> dict[str, bytes]:
            return {device: payload for device in devices for payload in store.last_payloads(device, 1)}

        try:
            async with asyncio.timeout(DISK_S):
                return await self.outbox.ask(read)
        except (DatabaseError, TimeoutError):
            return {}  # the outbox's trouble stands in the status


def _reading(kept: bytes, *, values: bool) -> dict[str, object] | None:
    """Answer what is told of a kept reading; None if it cannot be read: rows of older schemas bear no checksum."""
    try:
        payload = simplejson.loads(kept, use_decimal=True)
        told: dict[str, object] = {name: payload[name] for name in _TOLD}
        if values:
            told["vitals"] = [
                {
                    "kind": vital["kind"],
                    "value": None if vital["value"] is None else str(vital["value"]),
                    "unit": vital["unit"],
                }
                for vital in payload["vitals"]
            ]
    except (ValueError, KeyError, TypeError):
        return None
    return told
