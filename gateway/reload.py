"""Reading the configuration again while the service runs (SIGHUP, `vitals-gateway reload`).

Laws:

1. All of it is read and built before anything is touched: a file that is not good changes nothing.
2. One at a time. Whoever asks while the file is not being read yet is served by that reading; whoever asks later, by
   one more.
3. Files are read in a thread, which may hang with its disk: neither devices nor a stop wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gateway import systemd
from gateway.catalogue import CatalogueError
from gateway.config import ConfigError, Loaded
from gateway.futures import fail, settle
from gateway.log import place_of
from gateway.prepared import Prepared, Route, prepare

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Refused(Exception):
    """The file is good and cannot take the place of what runs; `problems` say why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: what `changed`, or the `problems` for which all runs on as before."""

    hash: str
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def members(self) -> dict[str, object]:
        """Answer it as the control socket does."""
        return {
            "config_hash": self.hash,
            "changed": list(self.changed),
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }


class Reloader:
    """Reloads when it is asked to. `read` reads the file, in a thread; `on_good` hears there of what runs.

    `on_good` hears of it after the start (None) and after each reload that took, one at a time; it may raise OSError.

    `apply` lets what was read take the place of what runs, and answers what changed. It raises Refused before it has
    touched anything. `refused` hears of the problems, `ready` is awaited when a reload is over.
    """

    def __init__(
        self,
        running: Prepared,
        read: Callable[[], Loaded] | None,
        on_good: Callable[[Loaded | None], None],
        apply: Callable[[Prepared], Awaitable[list[str]]],
        refused: Callable[[tuple[str, ...]], None],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._running = running
        self._read = read
        self._on_good = on_good
        self._apply = apply
        self._refused = refused
        self._ready = ready
        self._asked = asyncio.Event()
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()  # of the next one

    def ask(self) -> asyncio.Future[Outcome]:
        """Ask for a reload; the future is done when it is over. It is shared: shield it."""
        self._asked.set()
        return self._outcome

    async def answer(self, _question: Mapping[str, object]) -> dict[str, object]:
        """Answer the control socket's `reload`."""
        return (await asyncio.shield(self.ask())).members()

    async def run(self) -> None:
        """Reload whenever asked, until cancelled."""
        await self._tell_good(None)
        while True:
            await self._asked.wait()
            self._asked.clear()
            outcome, self._outcome = self._outcome, asyncio.get_running_loop().create_future()
            systemd.say_reloading()
            done = await self._reload()
            await self._ready()
            settle(outcome, done)

    async def _reload(self) -> Outcome:
        if self._read is None:
            return Outcome(
                self._running.settings.config_hash, problems=("there is no file to read again: restart the service",)
            )
        read, way = self._read, self._running.route
        loaded, prepared, problems = await in_a_thread("reload", lambda: _read_all(read, way))
        if prepared is not None:
            try:
                changed = await self._apply(prepared)
            except Refused as refusal:
                problems = refusal.problems
            else:
                return await self._took(prepared, changed, loaded)
        for problem in problems:
            _log.error("%s", problem)
        _log.error("the configuration is not reloaded (%d problems): all runs on as before", len(problems))
        self._refused(tuple(problems))
        return Outcome(self._running.settings.config_hash, problems=tuple(problems))

    async def _took(self, prepared: Prepared, changed: list[str], loaded: Loaded) -> Outcome:
        self._running = prepared
        warnings = tuple(str(problem) for problem in loaded.problems)
        for warning in warnings:
            _log.warning("%s", warning)
        for change in changed:
            _log.info("reloaded: %s", change)
        _log.info("the configuration is reloaded: %d changes", len(changed))
        await self._tell_good(loaded)
        return Outcome(prepared.settings.config_hash, tuple(changed), (), warnings)

    async def _tell_good(self, loaded: Loaded | None) -> None:
        try:
            await in_a_thread("last good configuration", lambda: self._on_good(loaded))
        except OSError as error:
            _log.warning("the configuration that runs could not be kept for the next start (%s)", error.strerror)


def _read_all(read: Callable[[], Loaded], way: Route) -> tuple[Loaded, Prepared | None, list[str]]:
    """In a thread: read the file and what it names, and import what it needs, which takes its time, too."""
    try:
        loaded = read()
    except Exception as error:  # noqa: BLE001 - nothing is touched yet: what runs need not end for it
        return Loaded(None, ()), None, [f"a defect in the gateway ({place_of(error)}): send its log to the maker"]
    if loaded.settings is None:
        return loaded, None, [str(problem) for problem in loaded.problems if problem.severity == "error"]
    try:
        prepared = prepare(loaded.settings)
        if prepared.route != way:  # what runs is tried again and again, whatever became of its files
            prepared.route.check()
    except (ConfigError, CatalogueError) as error:
        return loaded, None, [str(error)]
    if any(device.address is not None for device in loaded.settings.devices):
        import gateway.advert_supervisor
        import gateway.ble_supervisor
        import gateway.pairing
    if loaded.settings.metrics is not None:
        import gateway.metrics  # noqa: F401 - here, in the thread: it takes its time
    return loaded, prepared, []


async def in_a_thread(name: str, work: Callable[[], _T]) -> _T:
    """Answer what `work` answers, or raise what it raises; the thread is left alone when we are cancelled."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def act() -> None:
        try:
            tell = partial(settle, done, work())
        except Exception as error:  # noqa: BLE001 - the thread's edge: raised where it is waited for
            tell = partial(fail, done, error)
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=act, name=name, daemon=True).start()
    return await done
