"""Calls to bluetoothd that end, and what its refusals mean.

Laws:

1. Every call is raced against the loss of the link and a time of our own: bluetoothd leaves calls unanswered (a refused
   bonding, a link lost in the same moment), and bleak then waits for ever. What cannot be cancelled is left behind.
2. Failures are told apart by type and D-Bus name, never by their text, which differs between versions of bluetoothd.

Sources: bleak 3.1 backends/bluezdbus; hbldh/bleak#1434, #2002, #2021; bluetoothd 5.66 and 5.82 on kernel 6.12.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError, BleakGATTProtocolError

from drivers.errors import DeviceRefused, LinkError, LinkFault, LinkLost, LinkTimeout

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

DISCONNECT_S = 3.0
ABANDON_S = 0.5  # for bleak to clean up what was cancelled
LAST_WORD_S = 0.3  # between the error for a call and the word that the link was lost, whichever comes first

# What bleak raises; the last three are its races with objects that bluetoothd takes away (bleak-retry-connector).
BLEAK_ERRORS = (BleakError, TimeoutError, OSError, EOFError, KeyError, AttributeError, AssertionError)

PAIRING_REFUSED = "the device does not pair: bring it into pairing mode; it may be bonded to another host"

_AUTHENTICATION = ("Failed", "Rejected", "Canceled", "Timeout")
_PAIRING_REFUSALS = frozenset(f"org.bluez.Error.Authentication{how}" for how in _AUTHENTICATION)
_NOT_PAIRED = frozenset({"org.bluez.Error.NotPermitted", "org.bluez.Error.NotAuthorized"})

# Tasks that did not end when they were cancelled; kept so that they are not collected while they run.
_abandoned: set[asyncio.Task[Any]] = set()


async def in_time(
    call: Coroutine[Any, Any, _T],
    limit_s: float,
    gone: asyncio.Future[None] | None = None,
    too_late: Callable[[_T], Coroutine[Any, Any, None]] | None = None,
) -> _T:
    """Answer what `call` answers, unless `gone` or `limit_s` comes first: then TimeoutError, and `call` is cancelled.

    `too_late` is handed what it answered although it was cancelled. A call that cannot be cancelled is left behind.
    """
    task = asyncio.ensure_future(call)
    answered = False
    try:
        either: set[asyncio.Future[Any]] = {task} if gone is None else {task, gone}
        await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and gone is not None and gone.done():
            await asyncio.wait([task], timeout=LAST_WORD_S)  # an answer that is under way
        if task.done() and not task.cancelled():
            answered = True
            return task.result()
    finally:
        if not answered:  # also where we are cancelled in the moment of its answer
            task.cancel()
            leaving = asyncio.ensure_future(_leave_behind(task, too_late))
            _abandoned.add(leaving)
            leaving.add_done_callback(_abandoned.discard)
            await asyncio.wait([leaving], timeout=ABANDON_S)
    raise TimeoutError


async def _leave_behind(task: asyncio.Task[_T], too_late: Callable[[_T], Coroutine[Any, Any, None]] | None) -> None:
    """Wait for the end of what was cancelled; nobody hears of it any more."""
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and too_late is not None:
        await quietly(in_time(too_late(task.result()), DISCONNECT_S))


async def quietly(work: Awaitable[None]) -> bool:
    """Tidy up, and answer whether that was done; what fails here was mostly gone before."""
    try:
        await work
    except BLEAK_ERRORS as error:
        _log.debug("tidying up: %s", type(error).__name__)
        return False
    return True


def link_error(error: Exception, what: str) -> LinkError:
    """Answer what an exception of bleak means, by its type and its D-Bus name."""
    if isinstance(error, TimeoutError):
        return LinkTimeout(LinkFault.NO_ANSWER, f"no answer to: {what}")
    if isinstance(error, BleakGATTProtocolError):
        return DeviceRefused(
            LinkFault.DEVICE_REFUSED, f"the device refuses: {what} (ATT error 0x{int(error.code):02x})"
        )
    if isinstance(error, BleakBluetoothNotAvailableError):
        return LinkLost(LinkFault.ADAPTER_OFF, "there is no Bluetooth adapter with power")
    if isinstance(error, BleakDBusError):
        if error.dbus_error in _PAIRING_REFUSALS:
            return DeviceRefused(LinkFault.PAIRING_REFUSED, PAIRING_REFUSED)
        if error.dbus_error in _NOT_PAIRED:
            words = f"the device wants to be paired first: {what}"
            return DeviceRefused(LinkFault.PAIRING_REFUSED, words)
    return LinkLost(LinkFault.LINK_LOST, f"the link was lost, or bluetoothd gave up: {what}")
