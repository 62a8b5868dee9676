"""The radio that all Bluetooth devices of a room share: one scanner, one connecting at a time, links side by side.

Laws:

1. Only the addresses that were given are ever connected. What else is heard is neither kept nor logged. Who is only
   heard (`hearing`) is never connected.
2. A device is connected when it was just heard: a cuff advertises for seconds around a measurement. One connects at a
   time, for at most CONNECT_S; up to SESSIONS links live beside one another, for others' advertisements do not wait.
3. What goes wrong with adapter or daemon is shown, and healed when they are back, by starting the scanner anew.
4. A radio that hears nobody may be deaf: the scanner is started anew, then the adapter's power is cycled; each time
   after twice the silence, since a room where nothing advertises is no fault.

Sources: Bluetooth-Devices/habluetooth PR#239 (silence); bluez/bluez#807; KristianP26/ble-scale-sync CHANGELOG (idle is
not unhealthy).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

from drivers.errors import LinkFault, LinkLost
from drivers.links.bluetooth import Sighting, connect, scanning
from drivers.links.bluez import Bluez, radio_is_real
from drivers.links.bluez_agent import Person
from drivers.links.gatt import GattLink, hang_up_what_was_left

_log = logging.getLogger(__name__)

SESSIONS = 3
RETRY_S = 1.0
LOOK_S = 1.0  # how often silence is looked at
FRESH_S = 10.0  # who was heard longer ago, while it waited for its turn, is waited for anew
# bluetoothd's own pause between two scans is 5 s: an adapter that scans for nobody for longer has forgotten us.
NOT_DISCOVERING_S = 20.0
DEAF_AFTER_S, DEAF_CAP_S = 120.0, 3600.0

# So many connections in a row that a bonded device does not let happen, while it advertises: it may have lost its bond.
BOND_LOST_AFTER = 3
_BOND_LOST = (
    "it is bonded and advertises, and does not let us in: it is far away, or it has forgotten this gateway (batteries"
    " changed?). If it stays so: vitals-gateway pair --anew"
)
_DEAF = "no Bluetooth device at all is heard: nobody near has one, or the radio is deaf (then a USB adapter helps)"


class Radio:
    """The room's radio. `on_change` is called, on the event loop, when `trouble` or `listens` changes."""

    def __init__(self, addresses: Collection[str], on_change: Callable[[], None]) -> None:
        """`addresses`: the devices of the configuration, upper case."""
        self._addresses = frozenset(addresses)
        self._on_change = on_change
        self._bluez = Bluez(lambda address: address in self._addresses, self._on_bluez)
        self._changed = asyncio.Event()
        self._connecting = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._expected: dict[str, asyncio.Future[None]] = {}
        self._heard_last: dict[str, Sighting] = {}
        self._hearing: dict[str, Callable[[Sighting], None]] = {}
        self._links: set[GattLink] = set()
        self._failures: dict[str, int] = {}
        self._heard_at = 0.0
        self._silent_starts = 0
        self._trouble: LinkLost | None = None
        self._listens = False

    @property
    def trouble(self) -> LinkLost | None:
        """Why no device can be heard; None while there is no reason."""
        return self._trouble

    @property
    def listens(self) -> bool:
        """Whether it has listened since the start, or since its last trouble."""
        return self._listens and self._trouble is None

    async def run(self) -> None:
        """Keep the scanner going until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bluez.run())
            tasks.create_task(self._scan_on())

    async def attend(self, addresses: Collection[str]) -> None:
        """Have these devices from now on, upper case, and no others; whoever attended one that goes has ended."""
        before, self._addresses = self._addresses, frozenset(addresses)
        for address in before - self._addresses:
            self._heard_last.pop(address, None)
            self._failures.pop(address, None)
        if self._heard_at:  # else it is done when the first scan begins
            for address in self._addresses - before:
                await hang_up_what_was_left(address)

    @asynccontextmanager
    async def link(self, address: str) -> AsyncIterator[GattLink]:
        """Wait until the device is heard, connect, and close in the end. Raises LinkError."""
        link = None
        while link is None:
            await self._sighting(address)
            await self._sessions.acquire()
            try:
                link = await self._connect(address)
            finally:
                if link is None:
                    self._sessions.release()
        self._links.add(link)
        try:
            yield link
        finally:
            self._links.discard(link)
            try:
                await link.close()
            finally:
                self._sessions.release()

    @contextmanager
    def hearing(self, address: str, take: Callable[[Sighting], None]) -> Iterator[None]:
        """Let `take` have each advertisement of one device, on the event loop, in order. It must not raise."""
        self._hearing[address] = take
        try:
            yield
        finally:
            del self._hearing[address]

    @asynccontextmanager
    async def attended(self, address: str, person: Person) -> AsyncIterator[None]:
        """Let `person` answer what is asked when this device bonds. Raises LinkLost."""
        if self._bluez.trouble is not None:
            raise self._bluez.trouble
        async with self._bluez.attended(address, person):
            yield

    async def forget(self, address: str) -> None:
        """Remove a device's bond: only a person may want this. Raises LinkLost."""
        await self._bluez.forget(address)
        self._failures.pop(address, None)

    # ---- connecting ----------------------------------------------------------------------------------------------

    async def _sighting(self, address: str) -> None:
        expected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected[address] = expected
        try:
            await expected
        finally:
            del self._expected[address]

    async def _connect(self, address: str) -> GattLink | None:
        """Connect; None if the device's last word is too old by the time of its turn. Raises LinkLost."""
        async with self._connecting:
            sighting = self._heard_last[address]
            if time.monotonic() - sighting.at > FRESH_S:
                return None
            try:
                link = await connect(sighting, is_real=radio_is_real(sighting.adapter))
            except LinkLost as error:
                _log.debug("not connected: %s", type(error.__cause__).__name__)
                raise self._why_not(sighting, error) from error
        self._failures.pop(address, None)
        return link

    def _why_not(self, sighting: Sighting, error: LinkLost) -> LinkLost:
        if self._bluez.trouble is not None:
            return self._bluez.trouble
        self._failures[sighting.address] = failures = self._failures.get(sighting.address, 0) + 1
        if failures >= BOND_LOST_AFTER and sighting.bonded:
            return LinkLost(LinkFault.BOND_LOST, _BOND_LOST)
        return error

    # ---- scanning ------------------------------------------------------------------------------------------------

    def _heard(self, sighting: Sighting) -> None:
        self._heard_at = time.monotonic()
        self._silent_starts = 0
        if sighting.address in self._addresses:
            self._heard_last[sighting.address] = sighting
            expected = self._expected.get(sighting.address)
            if expected is not None and not expected.done():
                expected.set_result(None)
            take = self._hearing.get(sighting.address)
            if take is not None:
                take(sighting)
        if self._trouble is not None and self._bluez.trouble is None:
            self._note(None)

    def _on_bluez(self) -> None:
        self._changed.set()
        if self._bluez.trouble is None:
            return
        for link in self._links:  # bleak would not notice
            link.lost()
        self._note(self._bluez.trouble)

    def _note(self, trouble: LinkLost | None) -> None:
        before, self._trouble = self._trouble, trouble
        if (before and before.fault) != (trouble and trouble.fault):
            self._on_change()

    async def _scan_on(self) -> None:
        while True:
            self._changed.clear()
            if self._bluez.trouble is not None:
                await self._changed.wait()
                continue
            try:
                await self._scan()
            except LinkLost as error:
                _log.debug("no scan: %s", type(error.__cause__).__name__)
                self._note(self._bluez.trouble or error)
                await asyncio.sleep(RETRY_S)

    async def _scan(self) -> None:
        """Scan until the adapter goes, forgets us or is deaf. Raises LinkLost."""
        adapter, epoch = self._bluez.adapter, self._bluez.epoch
        if adapter is None:
            return
        if not self._heard_at:
            for address in self._addresses:
                await hang_up_what_was_left(address)
        async with scanning(adapter, self._heard):
            self._heard_at = time.monotonic()
            if self._bluez.epoch != epoch:
                return  # what was started has ended again
            self._note(LinkLost(LinkFault.RADIO_DEAF, _DEAF) if self._silent_starts else None)
            if not self._listens:
                self._listens = True
                self._on_change()
            await self._listen(epoch)

    async def _listen(self, epoch: int) -> None:
        discovering_at = time.monotonic()
        patience = min(DEAF_CAP_S, DEAF_AFTER_S * 2.0 ** min(self._silent_starts, 10))
        while self._bluez.epoch == epoch:
            await self._something_changes(LOOK_S)
            now = time.monotonic()
            if self._bluez.discovering:
                discovering_at = now
            if now - discovering_at > NOT_DISCOVERING_S:
                _log.warning("the adapter scans no more; started again")
                return
            if self._links:  # who has a link is heard
                self._heard_at = now
            if now - self._heard_at > patience:
                await self._heal()
                return

    async def _something_changes(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _heal(self) -> None:
        self._silent_starts += 1
        self._note(LinkLost(LinkFault.RADIO_DEAF, _DEAF))
        _log.warning(
            "nothing is heard; the scanner is started anew%s", ", with power" if self._silent_starts > 1 else ""
        )
        if self._silent_starts > 1:
            try:
                await self._bluez.power_cycle()
            except LinkLost as error:
                _log.warning("the adapter's power cannot be cycled: %s", error)
