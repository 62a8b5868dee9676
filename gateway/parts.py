"""The running parts of the service: each a task with a name. None of them ends by itself without being seen.

Tasks come and go while the service runs (a reload): whoever watches waits for `failed` alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

from gateway.futures import settle

_log = logging.getLogger(__name__)


class Parts:
    """Tasks by name. `failed` is done, with words, once one of them ends without having been stopped."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def names(self) -> list[str]:
        """Those that run, or are being stopped."""
        return list(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Let a part run. ValueError where one of its name does already."""
        if name in self._tasks:
            work.close()
            raise ValueError(f"{name} runs already")
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)

    async def stop(self, *names: str) -> None:
        """Cancel these parts, those of them that run, and wait for their end."""
        tasks = [task for name, task in self._tasks.items() if name in names]
        for task in tasks:
            task.remove_done_callback(self._on_end)
        if tasks:
            await cancel(tasks)
        for task in tasks:
            self._tasks.pop(task.get_name(), None)  # perhaps stopped twice: by a reload, and by the end

    def let_end(self, name: str) -> None:
        """From here on this part may end by itself: it was asked to, by other means than `stop`."""
        if (task := self._tasks.get(name)) is not None:
            task.remove_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        _log.error("%s ended", task.get_name(), exc_info=error)
        settle(self.failed, ended_by_itself(task.get_name(), error))


def ended_by_itself(name: str, error: BaseException | None) -> str:
    """Say which part ended, and by what."""
    return f"{name} ended by itself ({type(error).__name__}): a defect in the gateway"


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel and wait; cancel once more, without waiting, when we are cancelled: gather would wait all the same."""
    for task in tasks:
        task.cancel()
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    finally:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # seen: what failed while it was stopped is no news


async def within(limit_s: float, work: Awaitable[object], complaint: str) -> bool:
    """Answer whether the work was done in time."""
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        _log.warning("%s", complaint)
        return False
    return True
