"""Settling a future that may be settled already: its waiter was cancelled, or another was faster."""

from __future__ import annotations

import asyncio
from typing import TypeVar

_T = TypeVar("_T")


def settle(future: asyncio.Future[_T], value: _T) -> None:
    """Set the result, unless the future is done. On the event loop."""
    if not future.done():
        future.set_result(value)


def fail(future: asyncio.Future[_T], error: Exception) -> None:
    """Set the exception, unless the future is done. On the event loop."""
    if not future.done():
        future.set_exception(error)
