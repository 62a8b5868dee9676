"""One connected device: bonding, reading, writing, and what it indicates. Made by bluetooth.py.

Descriptors are never cleared at the end: some cuffs then forget their bond. The device hangs up, or we do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bleak import BleakClient
from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakDBusError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bleak_retry_connector import close_stale_connections_by_address

from drivers.errors import DeviceRefused, LinkFault, LinkLost
from drivers.links import calls
from drivers.links.calls import BLEAK_ERRORS, PAIRING_REFUSED, in_time, link_error, quietly

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

CALL_S = 10.0  # an ATT transaction has 30 s (Core Specification, vol. 3, part F, 3.3.3); no cuff's user waits so long
BOND_S = 30.0  # the Security Manager's own limit (Core Specification, vol. 3, part H, 3.4)
VALUES_LIMIT = 2000  # in memory; a cuff's whole memory is some hundred records

# Every simulated device has this service (ASCII "SIMULATED\0vitals"): nothing that it says is real, on any radio.
SIMULATOR_SERVICE = "53494d55-4c41-5445-4400-766974616c73"

_BONDED = "org.bluez.Error.AlreadyExists"
_BONDING = "org.bluez.Error.InProgress"
_BONDING_S = 0.5  # between two looks at a bonding that the device began
_BASE = "-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Value:
    """What a characteristic indicated or notified, and the monotonic instant at which it arrived."""

    characteristic: str
    data: bytes = field(repr=False)
    at: float


class GattLink:
    """A connected device. Characteristics go by four upper-case hex digits, those of vendors by their whole UUID.

    `is_real`: a radio of this machine is between. `is_simulated`: the device says that it is none.
    """

    def __init__(
        self, client: BleakClient, gone: asyncio.Future[None], *, is_real: bool, is_bonded: bool = False
    ) -> None:
        self._client = client
        self._gone = gone
        self._values: deque[Value] = deque()
        self.thrown_away = 0  # values that came faster than they were taken, and were not looked at
        self._arrived = asyncio.Event()
        self._characteristics: dict[str, BleakGATTCharacteristic] = {}
        for characteristic in sorted(client.services.characteristics.values(), key=lambda c: c.handle):
            self._characteristics.setdefault(short(characteristic.uuid), characteristic)
        self._is_bonded = is_bonded
        self._closed = False
        self.is_real = is_real
        self.is_simulated = client.services.get_service(SIMULATOR_SERVICE) is not None

    @property
    def has(self) -> frozenset[str]:
        """The characteristics of the device."""
        return frozenset(self._characteristics)

    @property
    def is_gone(self) -> bool:
        """Whether the link is lost."""
        return self._gone.done()

    def lost(self) -> None:
        """Take note that the link is lost; bleak does not notice a daemon that died."""
        if not self._gone.done():
            self._gone.set_result(None)

    async def bond(self) -> None:
        """Pair and bond, unless that was done before. Raises LinkError."""
        was_gone = self.is_gone
        try:
            await self._ask(self._pair(), "bond", BOND_S)
        except LinkLost as error:
            if was_gone or self._is_bonded:
                raise
            # Which is how a refusal looks where bluetoothd leaves the call unanswered.
            raise DeviceRefused(LinkFault.PAIRING_REFUSED, PAIRING_REFUSED) from error

    async def read(self, characteristic: str) -> bytes:
        """Read a characteristic. Raises LinkError, of which DeviceRefused is the device's own word."""
        found = self._find(characteristic)
        return bytes(await self._ask(self._client.read_gatt_char(found), f"read {characteristic}", CALL_S))

    async def write(self, characteristic: str, value: bytes) -> None:
        """Write a characteristic, with response unless it has none. Raises LinkError, DeviceRefused if it says no."""
        found = self._find(characteristic)
        call = self._client.write_gatt_char(found, value, response="write" in found.properties)
        await self._ask(call, f"write {characteristic}", CALL_S)

    async def subscribe(self, characteristic: str) -> None:
        """Turn on indications or notifications: `next_value` answers them. Raises LinkError."""
        found = self._find(characteristic)

        def take(_sender: BleakGATTCharacteristic, data: bytearray) -> None:
            if len(self._values) < VALUES_LIMIT:
                self._values.append(Value(characteristic, bytes(data), time.monotonic()))
                self._arrived.set()
                return
            self.thrown_away += 1
            if not self.is_gone:
                _log.error("a device floods with %s: its link is given up", characteristic)
                self.lost()

        await self._ask(self._client.start_notify(found, take), f"subscribe to {characteristic}", CALL_S)

    async def next_value(self, silence_s: float) -> Value | None:
        """Answer the next value; None when nothing came for `silence_s`, or the link is lost and all were answered."""
        if not self._values:
            await self._something_arrives(silence_s)
        return self._values.popleft() if self._values else None

    async def hear(self, characteristic: str, limit_s: float) -> Value | None:
        """Answer the next value of this characteristic, all others stay; None if none comes in time. Raises LinkLost.

        What came before the link was lost is answered first.
        """
        until = time.monotonic() + limit_s
        while True:
            value = next((value for value in self._values if value.characteristic == characteristic), None)
            if value is not None:
                self._values.remove(value)
                return value
            if self.is_gone:
                raise LinkLost(LinkFault.LINK_LOST, f"the link was lost: wait for {characteristic}")
            left = until - time.monotonic()
            if left <= 0:
                return None
            await self._something_arrives(left)

    async def _something_arrives(self, limit_s: float) -> None:
        """Wait for a value, the loss of the link or the time, whichever comes first."""
        if self.is_gone:
            return
        self._arrived.clear()
        arriving = asyncio.ensure_future(self._arrived.wait())
        try:
            either: set[asyncio.Future[Any]] = {arriving, self._gone}
            await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arriving.cancel()

    def take_values(self) -> list[Value]:
        """Answer what came and was not asked for yet: the device believes that we have it."""
        values, self._values = list(self._values), deque()
        return values

    async def close(self) -> None:
        """End the link, if there still is one, and give back what bleak holds for it."""
        if self._closed:
            return
        if not await quietly(in_time(self._client.disconnect(), calls.DISCONNECT_S)):
            await hang_up_what_was_left(self._client.address)  # else it stays connected, and is never heard again
        self._closed = True

    async def _pair(self) -> None:
        """The device may ask for it, too, and faster: then it is done already, or under way."""
        while True:
            try:
                await self._client.pair()
            except BleakDBusError as error:
                if error.dbus_error == _BONDED:
                    return
                if error.dbus_error != _BONDING:
                    raise
                await asyncio.sleep(_BONDING_S)
            else:
                return

    def _find(self, characteristic: str) -> BleakGATTCharacteristic:
        found = self._characteristics.get(characteristic)
        if found is None:
            words = f"the device has no characteristic {characteristic}: is it this model?"
            raise LinkLost(LinkFault.NOT_THIS_MODEL, words)
        return found

    async def _ask(self, call: Coroutine[Any, Any, _T], what: str, limit_s: float) -> _T:
        try:
            return await in_time(call, limit_s, self._gone)
        except BLEAK_ERRORS as error:
            if isinstance(error, BleakGATTProtocolError) and error.code == BleakGATTProtocolErrorCode.UNLIKELY_ERROR:
                await asyncio.wait(
                    [self._gone], timeout=calls.LAST_WORD_S
                )  # bluetoothd's answer where the link was lost
            meant = link_error(error, what)
            if self.is_gone and meant.fault is not LinkFault.PAIRING_REFUSED:
                meant = LinkLost(LinkFault.LINK_LOST, f"the link was lost: {what}")
            raise meant from error


async def hang_up_what_was_left(address: str) -> None:
    """End a link that a gateway before us left behind: who is connected does not advertise."""

    async def hang_up() -> None:
        bus = await get_global_bluez_manager()
        for heard_as in sorted({address, *_heard_as(address, bus._properties)}):  # noqa: SLF001 - bleak tells no other way
            await close_stale_connections_by_address(heard_as)

    await quietly(in_time(hang_up(), calls.DISCONNECT_S))


def _heard_as(address: str, objects: Mapping[str, Any]) -> Iterator[str]:
    """The addresses in the paths of bluetoothd's objects of a device: of the private one that it bonded with, too."""
    for path, interfaces in objects.items():
        if interfaces.get("org.bluez.Device1", {}).get("Address") == address:
            yield path.rpartition("/dev_")[2].replace("_", ":")


def short(uuid: str) -> str:
    """Answer a UUID as four upper-case hex digits where it is one of the Bluetooth SIG's, else whole, in lower case."""
    uuid = uuid.lower()
    return uuid[4:8].upper() if uuid.startswith("0000") and uuid.endswith(_BASE) else uuid
