"""What is remembered of a device's clock from one connection to the next: up to where its stamps are unsure.

Kept in the outbox's database, for a record may lie in a cuff's memory over any restart of ours. See fence.py, law 5.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from drivers.contract import ClockReading, ClockSetting
from gateway.fence import unsure_after
from gateway.outbox import Outbox
from gateway.store import DatabaseError, Store

_log = logging.getLogger(__name__)

ANSWER_S = 2.0  # a disk that says nothing for so long hangs; the device does not wait


class ClockFrames:
    """Where the frames of one device's clock meet; `hardware` is its address."""

    def __init__(self, hardware: str, outbox: Outbox) -> None:
        self._hardware = hardware
        self._outbox = outbox
        self._before: datetime | None = None
        self._until: datetime | None = None
        self._known = False

    async def unsure_until(self) -> datetime | None:
        """Answer up to where, on the device's clock, a stamp is unsure; for ever while the disk cannot be asked."""
        if not self._known:
            try:
                async with asyncio.timeout(ANSWER_S):
                    on_disk = await self._outbox.ask(lambda store: store.unsure_until(self._hardware))
            except (DatabaseError, TimeoutError):
                return datetime.max  # noqa: DTZ901 - a device's clock has no zone
            self._known = True
            self._until = _later(self._until, on_disk)
        return self._until

    async def set(self, setting: ClockSetting, before: ClockReading | None) -> bool:
        """Take note that the clock is about to be set; `before` is what it showed. Answer whether that is on disk.

        If it is not, the clock must not be set: after a restart, nobody would know.
        """
        await self.unsure_until()
        self._before = self._until
        until = _later(unsure_after(setting, before), self._until)
        if until == self._until or await self._remember(until):
            return True
        self._until = self._before
        return False

    async def not_set(self) -> None:
        """Take note that the device refused."""
        if self._until != self._before:
            await self._remember(self._before)

    async def drained(self) -> None:
        """Take note that the device has sent all that it had: nothing in its memory is from before it was set."""
        if self._until is not None:
            await self._remember(None)

    async def _remember(self, until: datetime | None) -> bool:
        self._until = until
        all_known = self._known

        def note(store: Store) -> None:
            # What lies there and could not be asked for before must not be written over.
            on_disk = None if all_known else store.unsure_until(self._hardware)
            store.note_unsure_until(self._hardware, _later(until, on_disk))

        try:
            async with asyncio.timeout(ANSWER_S):
                await self._outbox.ask(note)
        except (DatabaseError, TimeoutError):
            _log.warning("the disk did not take note of a device's clock")
            return False
        return True


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return other if one is None else one if other is None else max(one, other)
