"""Scanning and connecting. When to do what is radio.py's.

A connected device is in gatt.py, how calls end in calls.py: these three are the only importers of bleak.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bleak import BleakClient, BleakScanner
from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak_retry_connector import establish_connection
from bleak_retry_connector.bluez import stop_discovery

from drivers.errors import LinkFault, LinkLost
from drivers.links import calls
from drivers.links.calls import BLEAK_ERRORS, in_time, quietly
from drivers.links.gatt import SIMULATOR_SERVICE, GattLink, short

SCANNER_S = 10.0
CONNECT_S = 10.0
CONNECT_TRIES = 4
STOP_SCANNER_S = 2.0
LOOK_AGAIN_TIMES, LOOK_AGAIN_S = 3, 0.5  # bluez/bluez#1489

# A simulated device that only advertises has no room for SIMULATOR_SERVICE: manufacturer data of 0xFFFF, which no maker
# has (Bluetooth SIG, Assigned Numbers, section 7: for tests within a company), in the same packet as its weight.
SIMULATOR_COMPANY, SIMULATOR_SAYS = 0xFFFF, b"SIM"
SERVICE_DATA_LIMIT, SERVICES_LIMIT = 255, 8  # bytes of an advertisement's structure (Core, vol. 3, C, 11); ours
NAME_LIMIT = 64  # characters; ours
_RANDOM_STATIC = 0xC0  # random addresses from here on stay (Core, vol. 6, B, 1.3.2)
_NO_RSSI = -127  # bleak's word for "bluetoothd did not say": then it was not heard now


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
            await quietly(in_time(stop_discovery(adapter), calls.DISCONNECT_S))
            raise
    except BLEAK_ERRORS as error:
        words = "the adapter does not scan; tried again. If it stays so: systemctl restart bluetooth"
        raise LinkLost(LinkFault.SCAN_FAILED, words) from error
    try:
        yield
    finally:
        await quietly(in_time(scanner.stop(), STOP_SCANNER_S))


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
        except BLEAK_ERRORS:  # lost again already, and its services with it
            await client.disconnect()
            raise

    try:
        return await in_time(linked(), CONNECT_S, too_late=GattLink.close)
    except BLEAK_ERRORS as error:
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
