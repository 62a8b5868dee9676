"""Stopping in time: what does not end when it is told to is left behind."""

from __future__ import annotations

import asyncio

from gateway.parts import cancel, within


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
