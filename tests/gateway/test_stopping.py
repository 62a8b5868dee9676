"""Stopping in time: what does not end when it is told to is left behind."""

from __future__ import annotations

import asyncio

import pytest

from gateway.parts import Parts, cancel, within


async def test_a_part_that_tidies_up_twice_is_not_waited_for_beyond_its_time() -> None:
    """A Bluetooth session closes its link, and the radio closes it once more."""
    begun, tidied = asyncio.Event(), asyncio.Event()

    async def session() -> None:
        try:
            try:
                begun.set()
                await tidied.wait()
            finally:
                await tidied.wait()
        finally:
            await tidied.wait()

    task = asyncio.create_task(session())
    await begun.wait()
    async with asyncio.timeout(5):
        assert not await within(0.05, cancel([task]), "late")
    assert not task.done()
    tidied.set()
    await asyncio.wait([task])


async def test_a_part_that_fails_while_it_is_stopped_stops() -> None:
    begun = asyncio.Event()

    async def part() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError

    task = asyncio.create_task(part())
    await begun.wait()
    assert await within(5, cancel([task]), "late")
    assert task.done()


async def test_a_part_that_ends_by_itself_is_told_and_one_that_was_stopped_is_not() -> None:
    """A reload stops parts and starts them again under the same name."""
    parts, ended = Parts(), asyncio.Event()
    for _ in range(2):
        parts.start("radio", asyncio.Event().wait())  # type: ignore[arg-type]  # never done
        parts.start("clock", ended.wait())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await parts.stop("radio", "never there")
        assert parts.names == ["clock"]
        if not ended.is_set():
            await parts.stop("clock")
        assert not parts.failed.done()
    parts.start("clock", ended.wait())  # type: ignore[arg-type]
    ended.set()
    assert await asyncio.wait_for(parts.failed, 20) == "clock ended by itself (NoneType): a defect in the gateway"


async def test_a_part_that_was_asked_to_end_is_not_told_as_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    """The publisher ends once it has hung up: no error may stand in the log of a service that was stopped."""
    parts, ended = Parts(), asyncio.Event()
    parts.start("publisher", ended.wait())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    parts.let_end("publisher")
    parts.let_end("never there")
    ended.set()
    await asyncio.sleep(0.01)
    await parts.stop("publisher")
    assert (parts.names, parts.failed.done(), caplog.text) == ([], False, "")


async def test_a_part_that_is_cancelled_by_nobody_of_ours_is_told() -> None:
    parts = Parts()
    parts.start("radio", asyncio.Event().wait())  # type: ignore[arg-type]
    parts._tasks["radio"].cancel()
    assert "radio ended by itself" in await asyncio.wait_for(parts.failed, 20)
