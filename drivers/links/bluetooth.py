"""Scanning, connecting and GATT calls that end: the only importer of bleak. When to do what is radio.py's.

Laws:

1. Every call is raced against the loss of the link and a time of our own: bluetoothd leaves calls unanswered (a refused
   bonding, a link lost in the same moment), and bleak then waits for ever. What cannot be cancelled is left behind.
2. Failures are told apart by type and D-Bus name, never by their text, which differs between versions of bluetoothd.
3. Descriptors are never cleared at the end: some cuffs then forget their bond. The device hangs up, or we do.

Sources: bleak 3.1 backends/bluezdbus; hbldh/bleak#1434, #2002, #2021; bluetoothd 5.66 and 5.82 on kernel 6.12.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bleak import BleakClient, BleakScanner
from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)
from bleak_retry_connector import close_stale_connections_by_address, establish_connection
from bleak_retry_connector.bluez import stop_discovery

from drivers.errors import DeviceRefused, LinkError, LinkFault, LinkLost, LinkTimeout

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

SCANNER_S = 10.0
CONNECT_S = 10.0
CONNECT_TRIES = 4
CALL_S = 10.0  # an ATT transaction has 30 s (Core Specification, vol. 3, part F, 3.3.3); no cuff's user waits so long
BOND_S = 30.0  # the Security Manager's own limit (Core Specification, vol. 3, part H, 3.4)
DISCONNECT_S = 3.0
STOP_SCANNER_S = 2.0
LOOK_AGAIN_TIMES, LOOK_AGAIN_S = 3, 0.5  # bluez/bluez#1489
ABANDON_S = 0.5  # for bleak to clean up what was cancelled
LAST_WORD_S = 0.3  # between the error for a call and the word that the link was lost, whichever comes first
VALUES_LIMIT = 2000  # in memory; a cuff's whole memory is some hundred records

# Every simulated device has this service (ASCII "SIMULATED\0vitals"): nothing that it says is real, on any radio.
SIMULATOR_SERVICE = "53494d55-4c41-5445-4400-766974616c73"
# One that only advertises has no room for it: manufacturer data of 0xFFFF, which no maker has (Bluetooth SIG, Assigned
# Numbers, section 7: for tests within a company), in the same packet as its weight.
SIMULATOR_COMPANY, SIMULATOR_SAYS = 0xFFFF, b"SIM"
SERVICE_DATA_LIMIT, SERVICES_LIMIT = 255, 8  # bytes of an advertisement's structure (Core, vol. 3, C, 11); ours
NAME_LIMIT = 64  # characters; ours
_RANDOM_STATIC = 0xC0  # random addresses from here on stay (Core, vol. 6, B, 1.3.2)

# What bleak raises; the last three are its races with objects that bluetoothd takes away (bleak-retry-connector).
_BLEAK_ERRORS = (BleakError, TimeoutError, OSError, EOFError, KeyError, AttributeError, AssertionError)

_AUTHENTICATION = ("Failed", "Rejected", "Canceled", "Timeout")
_PAIRING_REFUSALS = frozenset(f"org.bluez.Error.Authentication{how}" for how in _AUTHENTICATION)
_NOT_PAIRED = frozenset({"org.bluez.Error.NotPermitted", "org.bluez.Error.NotAuthorized"})
_BONDED = "org.bluez.Error.AlreadyExists"
_BONDING = "org.bluez.Error.InProgress"
_BONDING_S = 0.5  # between two looks at a bonding that the device began
_NO_RSSI = -127  # bleak's word for "bluetoothd did not say": then it was not heard now
_BASE = "-0000-1000-8000-00805f9b34fb"

_PAIRING_REFUSED = "the device does not pair: bring it into pairing mode; it may be bonded to another host"

# Tasks that did not end when they were cancelled; kept so that they are not collected while they run.
_abandoned: set[asyncio.Task[Any]] = set()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device, the adapter that heard it, and when (monotonic).

    `address`: where it is bonded and advertises by changing private ones, its own (identity) address. `bonded`: as
    bluetoothd knows; the device may have forgotten. `is_simulated`: its advertisement says that it is none.
    `service_data` by service, as GattLink names characteristics: as far as bluetoothd knows the last that was heard.
    """

    address: str
    adapter: str
    bonded: bool
    at: float
    found: BLEDevice = field(repr=False)
    service_data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class Advertised:
    """What whoever is in range says of itself, for a person who looks for a device.

    `is_private`: its address is one that changes (Core, vol. 6, B, 1.3.2). `rssi`: dBm. `name` is the device's own
    text, not to be trusted. `services` and `service_data` as GattLink names them; `makers`: Bluetooth SIG's numbers.
    """

    address: str
    is_private: bool
    bonded: bool
    rssi: int
    name: str = ""
    services: tuple[str, ...] = ()
    service_data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    makers: tuple[int, ...] = ()
    is_simulated: bool = False


@asynccontextmanager
async def scanning(adapter: str, heard: Callable[[Sighting], None]) -> AsyncIterator[None]:
    """Scan with this adapter; `heard` is called for each advertisement, of whomever. Raises LinkLost at its start."""
    async with _scanner(adapter, lambda device, said: heard(_sighting(device, said, adapter))):
        yield


@asynccontextmanager
async def overhearing(adapter: str, heard: Callable[[Advertised], None]) -> AsyncIterator[None]:
    """Scan likewise, for what is said in range and not for whom to connect. Raises LinkLost at its start."""
    async with _scanner(adapter, lambda _, said: heard(_advertised(said))):
        yield


@asynccontextmanager
async def _scanner(adapter: str, take: Callable[[BLEDevice, AdvertisementData], None]) -> AsyncIterator[None]:
    def detected(device: BLEDevice, advertisement: AdvertisementData) -> None:
        if advertisement.rssi != _NO_RSSI:
            take(device, advertisement)

    # A filter that names RSSI: without it bluetoothd after 5.86 tells only of changes by 8 dBm or more (bluez, commit
    # e004414a1), and a cuff that lies still would not be heard a second time.
    scanner = BleakScanner(detected, bluez={"adapter": adapter, "filters": {"RSSI": -127}})
    try:
        try:
            await in_time(scanner.start(), SCANNER_S)
        except BaseException:
            # A start that was done and not answered counts as ours: bluetoothd would refuse each next one (InProgress).
            await _quietly(in_time(stop_discovery(adapter), DISCONNECT_S))
            raise
    except _BLEAK_ERRORS as error:
        words = "the adapter does not scan; tried again. If it stays so: systemctl restart bluetooth"
        raise LinkLost(LinkFault.SCAN_FAILED, words) from error
    try:
        yield
    finally:
        await _quietly(in_time(scanner.stop(), STOP_SCANNER_S))


def _sighting(device: BLEDevice, advertisement: AdvertisementData, adapter: str) -> Sighting:
    """What bluetoothd knows now: `device` has what it was the first time, and keeps a private address after bonding."""
    _path, known = advertisement.platform_data
    return Sighting(
        str(known["Address"]).upper(),
        adapter,
        bool(known.get("Paired")),
        time.monotonic(),
        device,
        _service_data(advertisement),
        _is_simulated(advertisement),
    )


def _advertised(advertisement: AdvertisementData) -> Advertised:
    _path, known = advertisement.platform_data
    address = str(known["Address"]).upper()
    return Advertised(
        address,
        known.get("AddressType") == "random" and int(address[:2], 16) < _RANDOM_STATIC,
        bool(known.get("Paired")),
        advertisement.rssi,
        (advertisement.local_name or "")[:NAME_LIMIT],
        tuple(short(uuid) for uuid in advertisement.service_uuids[:SERVICES_LIMIT]),
        _service_data(advertisement),
        tuple(advertisement.manufacturer_data)[:SERVICES_LIMIT],
        _is_simulated(advertisement),
    )


def _service_data(advertisement: AdvertisementData) -> dict[str, bytes]:
    said = list(advertisement.service_data.items())[:SERVICES_LIMIT]
    return {short(uuid): data for uuid, data in said if len(data) <= SERVICE_DATA_LIMIT}


def _is_simulated(advertisement: AdvertisementData) -> bool:
    marker = advertisement.manufacturer_data.get(SIMULATOR_COMPANY, b"")
    return SIMULATOR_SERVICE in advertisement.service_uuids or marker.startswith(SIMULATOR_SAYS)


async def connect(sighting: Sighting, *, is_real: bool) -> GattLink:
    """Connect to a device that was just heard, in CONNECT_S. Raises LinkLost."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_gone(_client: BleakClient) -> None:
        if not gone.done():
            gone.set_result(None)

    async def linked() -> GattLink:
        client = await establish_connection(
            BleakClient,
            sighting.found,
            sighting.address,
            disconnected_callback=on_gone,
            max_attempts=CONNECT_TRIES,
            use_services_cache=False,
        )
        try:
            await _look_again(client, sighting.found.details["path"])
            return GattLink(client, gone, is_real=is_real, is_bonded=sighting.bonded)
        except _BLEAK_ERRORS:  # lost again already, and its services with it
            await client.disconnect()
            raise

    try:
        return await in_time(linked(), CONNECT_S, too_late=GattLink.close)
    except _BLEAK_ERRORS as error:
        words = "it was heard and could not be connected: tried again when it is heard"
        raise LinkLost(LinkFault.NOT_CONNECTED, words) from error


async def _look_again(client: BleakClient, path: str) -> None:
    """Wait, not for ever, for what bluetoothd exports after it has said that all services are resolved."""
    for _ in range(LOOK_AGAIN_TIMES):
        if client.services.services and all(service.characteristics for service in client.services):
            return
        await asyncio.sleep(LOOK_AGAIN_S)
        bus = await get_global_bluez_manager()  # bleak asks once a connection
        client._backend.services = await bus.get_services(path, use_cached=False, requested_services=None)  # noqa: SLF001 - bleak offers no other way


async def hang_up_what_was_left(address: str) -> None:
    """End a link that a gateway before us left behind: who is connected does not advertise."""

    async def hang_up() -> None:
        bus = await get_global_bluez_manager()
        for heard_as in sorted({address, *_heard_as(address, bus._properties)}):  # noqa: SLF001 - bleak tells no other way
            await close_stale_connections_by_address(heard_as)

    await _quietly(in_time(hang_up(), DISCONNECT_S))


def _heard_as(address: str, objects: Mapping[str, Any]) -> Iterator[str]:
    """The addresses in the paths of bluetoothd's objects of a device: of the private one that it bonded with, too."""
    for path, interfaces in objects.items():
        if interfaces.get("org.bluez.Device1", {}).get("Address") == address:
            yield path.rpartition("/dev_")[2].replace("_", ":")


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
            raise DeviceRefused(LinkFault.PAIRING_REFUSED, _PAIRING_REFUSED) from error

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
        if not await _quietly(in_time(self._client.disconnect(), DISCONNECT_S)):
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
        except _BLEAK_ERRORS as error:
            if isinstance(error, BleakGATTProtocolError) and error.code == BleakGATTProtocolErrorCode.UNLIKELY_ERROR:
                await asyncio.wait([self._gone], timeout=LAST_WORD_S)  # bluetoothd's answer where the link was lost
            meant = link_error(error, what)
            if self.is_gone and meant.fault is not LinkFault.PAIRING_REFUSED:
                meant = LinkLost(LinkFault.LINK_LOST, f"the link was lost: {what}")
            raise meant from error


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
        await _quietly(in_time(too_late(task.result()), DISCONNECT_S))


async def _quietly(work: Awaitable[None]) -> bool:
    """Tidy up, and answer whether that was done; what fails here was mostly gone before."""
    try:
        await work
    except _BLEAK_ERRORS as error:
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
            return DeviceRefused(LinkFault.PAIRING_REFUSED, _PAIRING_REFUSED)
        if error.dbus_error in _NOT_PAIRED:
            words = f"the device wants to be paired first: {what}"
            return DeviceRefused(LinkFault.PAIRING_REFUSED, words)
    return LinkLost(LinkFault.LINK_LOST, f"the link was lost, or bluetoothd gave up: {what}")


def short(uuid: str) -> str:
    """Answer a UUID as four upper-case hex digits where it is one of the Bluetooth SIG's, else whole, in lower case."""
    uuid = uuid.lower()
    return uuid[4:8].upper() if uuid.startswith("0000") and uuid.endswith(_BASE) else uuid
