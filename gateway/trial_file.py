"""Trials on disk, beside the outbox: a cuff may measure in one and tell of it after a restart.

It holds times and devices, and no measurement. Written before a trial is opened, and at its end. One whose end was not
written (the process was killed, the power went) ended at the latest when this service started: what was measured in it
may be anybody's, and is held.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.futures import fail, settle
from gateway.payload import utc_text
from gateway.trials import REMEMBERED, Trial

_log = logging.getLogger(__name__)

SAVE_S = 5.0


class TrialFile:
    """The trials of one outbox's devices, by what stays the same of a device: its address, else its name."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(f"{outbox.name}.trials")
        self._saving = asyncio.Lock()
        self._asked = 0  # the loop's: how often it was to be saved
        # The threads': one that a disk has held up must not write what is no longer so over what came after it.
        self._writing = threading.Lock()
        self._written = 0

    def load(self, clock: Clock) -> dict[str, list[Trial]]:
        """Answer what was saved; nothing, and a line in the log, if it cannot be read."""
        try:
            found = json.loads(self._path.read_bytes())
            return {
                device: [_bounded(_trial(one), clock) for one in trials[-REMEMBERED:]]
                for device, trials in found["devices"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            _log.warning(
                "%s cannot be read: a cuff's record of an earlier certify may be taken for a patient's", self._path
            )
            return {}

    async def save(self, devices: Mapping[str, Sequence[Trial]]) -> None:
        """Write it through to the disk, off the loop; a disk that hangs keeps nobody. Raises OSError."""
        members = {
            "version": 1,
            "devices": {device: [_members(one) for one in kept] for device, kept in devices.items()},
        }
        async with self._saving:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            self._asked += 1
            number = self._asked

            def work() -> None:
                failure = None
                try:
                    self._write(json.dumps(members).encode(), number)
                except OSError as error:
                    failure = error
                with suppress(RuntimeError):  # the loop has stopped meanwhile
                    if failure is None:
                        loop.call_soon_threadsafe(settle, done, None)
                    else:
                        loop.call_soon_threadsafe(fail, done, failure)

            threading.Thread(target=work, name="trials", daemon=True).start()
            finished, _ = await asyncio.wait([done], timeout=SAVE_S)
            if not finished:
                raise OSError("the disk does not answer")
            done.result()

    def _write(self, data: bytes, number: int) -> None:
        with self._writing:
            if number < self._written:
                return
            self._replace(data)
            self._written = number

    def _replace(self, data: bytes) -> None:
        new = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, for its mode
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _bounded(trial: Trial, clock: Clock) -> Trial:
    """One of this start of the machine whose end was not noted was over when this service started."""
    if trial.is_sure or trial.boot != clock.boot:
        return trial
    return replace(trial, until=min(trial.until, clock.since_boot(clock.now().monotonic)))


def _members(trial: Trial) -> dict[str, object]:
    return {
        "boot": trial.boot,
        "since": trial.since,
        "until": trial.until,
        "since_utc": utc_text(trial.since_utc),
        "until_utc": utc_text(trial.until_utc),
        "is_sure": trial.is_sure,
    }


def _trial(members: Mapping[str, Any]) -> Trial:
    return Trial(
        str(members["boot"]),
        float(members["since"]),
        float(members["until"]),
        _utc(members["since_utc"]),
        _utc(members["until_utc"]),
        members["is_sure"] is True,
    )


def _utc(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
