"""What is remembered of a device's clock that was set, in a real outbox."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drivers.contract import ClockReading, ClockSetting
from gateway import clock_frames
from gateway.clock_frames import ClockFrames
from gateway.outbox import Outbox
from gateway.store import Store

CUFF, OTHER = "C8:1E:8E:00:00:01", "C8:1E:8E:00:00:02"
SHOWN = datetime(2026, 11, 22, 13, 5, 0)  # noqa: DTZ001 - a device's clock has no zone
AHEAD = ClockReading(SHOWN + timedelta(hours=1), 1000.0, 0.5)
RIGHT = ClockReading(SHOWN, 1000.0, 0.5)
SETTING = ClockSetting(SHOWN, 1000.0)
FOR_EVER = datetime.max  # noqa: DTZ901


@asynccontextmanager
async def outbox_in(folder: Path) -> AsyncIterator[Outbox]:
    outbox = Outbox(folder / "outbox.db", lambda _rows: None)
    try:
        yield outbox
    finally:
        await outbox.close()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    async with outbox_in(tmp_path) as outbox:
        yield outbox


async def on_disk(outbox: Outbox, hardware: str = CUFF) -> datetime | None:
    """What the next start would find."""
    return await ClockFrames(hardware, outbox).unsure_until()


@contextmanager
def broken(*methods: str) -> Iterator[None]:
    """The disk fails for these methods of the store."""

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.MonkeyPatch.context() as patch:
        for method in methods:
            patch.setattr(Store, method, fail)
        yield


async def test_nothing_is_unsure_of_a_clock_that_was_never_set(outbox: Outbox) -> None:
    assert await ClockFrames(CUFF, outbox).unsure_until() is None


async def test_a_clock_that_is_set_is_on_disk_when_set_returns(outbox: Outbox) -> None:
    frames = ClockFrames(CUFF, outbox)
    await frames.set(SETTING, AHEAD)
    assert await on_disk(outbox) == AHEAD.shown
    assert await frames.unsure_until() == AHEAD.shown


async def test_it_is_this_devices_clock_alone(outbox: Outbox) -> None:
    await ClockFrames(CUFF, outbox).set(SETTING, AHEAD)
    assert await on_disk(outbox, OTHER) is None


async def test_a_setting_that_moves_nothing_is_not_remembered(outbox: Outbox) -> None:
    await ClockFrames(CUFF, outbox).set(SETTING, RIGHT)
    assert await on_disk(outbox) is None


async def test_a_second_setting_makes_nothing_sure(outbox: Outbox) -> None:
    frames = ClockFrames(CUFF, outbox)
    await frames.set(SETTING, AHEAD)
    await frames.set(SETTING, RIGHT)
    assert await on_disk(outbox) == AHEAD.shown
    await frames.set(SETTING, None)
    assert await on_disk(outbox) == AHEAD.shown


async def test_a_setting_that_the_device_refused_leaves_what_was_before(outbox: Outbox) -> None:
    frames = ClockFrames(CUFF, outbox)
    await frames.set(SETTING, AHEAD)
    await frames.not_set()
    assert await on_disk(outbox) is None
    await frames.set(SETTING, None)
    await frames.set(SETTING, AHEAD)
    await frames.not_set()
    assert await on_disk(outbox) == SETTING.to


async def test_a_device_that_has_sent_all_is_sure_again(outbox: Outbox) -> None:
    frames = ClockFrames(CUFF, outbox)
    await frames.set(SETTING, AHEAD)
    await frames.drained()
    assert await frames.unsure_until() is None
    assert await on_disk(outbox) is None


async def test_it_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with outbox_in(tmp_path) as outbox:
        await ClockFrames(CUFF, outbox).set(SETTING, AHEAD)
    async with outbox_in(tmp_path) as outbox:
        frames = ClockFrames(CUFF, outbox)
        assert await frames.unsure_until() == AHEAD.shown
        await frames.drained()
    async with outbox_in(tmp_path) as outbox:
        assert await on_disk(outbox) is None


async def test_while_the_disk_cannot_be_asked_nothing_is_sure(outbox: Outbox) -> None:
    frames = ClockFrames(CUFF, outbox)
    with broken("unsure_until"):
        assert await frames.unsure_until() == FOR_EVER
    assert await frames.unsure_until() is None  # asked again


async def test_a_disk_that_hangs_is_waited_for_a_while_only(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_frames, "ANSWER_S", 0.05)

    async def hang(_work: object) -> None:
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as once:
        once.setattr(outbox, "ask", hang)
        frames = ClockFrames(CUFF, outbox)
        assert await frames.unsure_until() == FOR_EVER
        assert not await frames.set(SETTING, AHEAD)
    assert await frames.unsure_until() is None, "it was not set"


async def test_a_clock_is_not_to_be_set_if_the_disk_takes_no_note_of_it(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    frames = ClockFrames(CUFF, outbox)
    with broken("note_unsure_until"):
        assert not await frames.set(SETTING, AHEAD)
        assert await frames.set(SETTING, RIGHT), "moved by next to nothing, there is nothing to note"
    assert "did not take note" in caplog.text
    assert await frames.unsure_until() is None
    assert await on_disk(outbox) is None
    assert await frames.set(SETTING, AHEAD)


async def test_what_lies_on_a_disk_that_could_not_be_asked_makes_the_rest_no_surer(outbox: Outbox) -> None:
    """The disk cannot be read when the clock is set, and can later: the later of both is unsure."""
    await ClockFrames(CUFF, outbox).set(SETTING, AHEAD)
    frames = ClockFrames(CUFF, outbox)
    with broken("unsure_until", "note_unsure_until"):
        assert not await frames.set(SETTING, None)
    assert await frames.unsure_until() == AHEAD.shown
    assert await on_disk(outbox) == AHEAD.shown


async def test_a_disk_that_could_not_be_asked_once_loses_nothing_of_what_lies_there(outbox: Outbox) -> None:
    await ClockFrames(CUFF, outbox).set(SETTING, AHEAD)
    frames, ask = ClockFrames(CUFF, outbox), Store.unsure_until
    with pytest.MonkeyPatch.context() as patch:

        def fail_once(*_: object) -> None:
            patch.setattr(Store, "unsure_until", ask)
            raise sqlite3.OperationalError("disk I/O error")

        patch.setattr(Store, "unsure_until", fail_once)
        await frames.set(SETTING, None)
    assert await on_disk(outbox) == AHEAD.shown
    await frames.not_set()
    assert await on_disk(outbox) == AHEAD.shown
