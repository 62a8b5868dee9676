"""Who advertises in range, for a person who looks for a device: a scan of a process of its own, beside the service's.

1. Nobody is connected and nothing bonds. No pairing agent is registered: the service's would be asked no more.
2. bluetoothd lets several clients discover at once, each for itself (org.bluez.Adapter: StartDiscovery is counted by
   client), so the service hears on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drivers.errors import LinkFault, LinkLost
from drivers.links.bluetooth import Advertised, overhearing
from drivers.links.bluez import Bluez

FIND_S = 5.0  # for bus, daemon and adapter to show themselves


async def listen(seconds: float, heard: Callable[[Advertised], None]) -> None:
    """Call `heard` for each advertisement of whomever, for so long. Raises LinkLost where there is no radio."""
    changed = asyncio.Event()
    bluez = Bluez(lambda _: False, changed.set, only_looks=True)
    looking = asyncio.create_task(bluez.run())
    try:
        async with overhearing(await _adapter(bluez, changed), heard):
            await _until_gone(bluez, changed, seconds)
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _adapter(bluez: Bluez, changed: asyncio.Event) -> str:
    """Wait until there is an adapter with power, and answer its name. Raises LinkLost."""
    try:
        async with asyncio.timeout(FIND_S):
            while bluez.trouble is not None or bluez.adapter is None:
                changed.clear()
                await changed.wait()
            return bluez.adapter
    except TimeoutError:
        raise bluez.trouble or LinkLost(LinkFault.NO_ADAPTER, "there is no Bluetooth adapter") from None


async def _until_gone(bluez: Bluez, changed: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until the radio goes. Raises LinkLost."""
    try:
        async with asyncio.timeout(seconds):
            while bluez.trouble is None:
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return
    raise bluez.trouble
