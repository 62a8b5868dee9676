"""A GATT server with a radio: it advertises, bonds with one host, indicates, hangs up. What it measures is not its own.

1. One central at a time, and no advertising while it is connected, as with the cuffs and thermometers sold.
2. It remembers one host. Whoever pairs last is that host.
3. It carries the marker service: what a gateway reads on a real radio cannot pass for a patient's.
4. Just Works pairing, no input and no output; legacy unless told otherwise, as most cuffs sold. A device with a display
   may show digits instead, which the host must be told. Without `bonds` it asks for none: anybody may turn its
   measurement on.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bumble import att, hci
from bumble.core import UUID, AdvertisingData, BaseBumbleError, InvalidStateError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import (
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    Characteristic,
    CharacteristicValue,
    Descriptor,
    Service,
)
from bumble.pairing import PairingConfig
from bumble.transport.common import Transport

from simulators.ble.bonding import BondKeys, Display, NoInputNoOutput

ADVERTISING_INTERVAL_MS = 100.0
# "SIMULATED\\0vitals" in ASCII, and the same with 01 for its one characteristic. A service of our own, because a serial
# number is read late, may be refused, and belongs to the device that is imitated.
MARKER_SERVICE = "53494D55-4C41-5445-4400-766974616C73"
MARKER = "53494D55-4C41-5445-4401-766974616C73"
_LIMITED_OR_GENERAL_LE_ONLY = 0x06  # AD type Flags: general discoverable, no BR/EDR
_Allowed = att.Attribute.Permissions
_Property = Characteristic.Properties


def read_only(uuid: int, value: bytes) -> Characteristic[bytes]:
    """A characteristic that says the same to whoever reads it."""
    return Characteristic(UUID.from_16_bits(uuid), _Property.READ, _Allowed.READABLE, value)


def indicated(uuid: int) -> Characteristic[bytes]:
    """A characteristic that is only indicated, never read; its CCCD is written on an encrypted link only."""

    def refuse(_connection: Connection) -> bytes:
        raise att.ATT_Error(att.ErrorCode.READ_NOT_PERMITTED)

    return Characteristic(
        UUID.from_16_bits(uuid), _Property.INDICATE, _Allowed.READABLE, CharacteristicValue(read=refuse)
    )


def notified(uuid: int) -> Characteristic[bytes]:
    """A characteristic that is only notified, never read."""
    return Characteristic(UUID.from_16_bits(uuid), _Property.NOTIFY, _Allowed(0))


def written(
    uuid: UUID,
    write: Callable[[bytes], None],
    read: Callable[[], bytes] | None = None,
) -> Characteristic[bytes]:
    """A characteristic that is written on an encrypted link only, and read by anyone where `read` is given.

    `write` refuses by att.ATT_Error, which is what the host gets.
    """
    value: CharacteristicValue[bytes] = CharacteristicValue(
        read=(lambda _connection: read()) if read is not None else None,
        write=lambda _connection, data: write(bytes(data)),
    )
    allowed = _Allowed.WRITEABLE | _Allowed.WRITE_REQUIRES_ENCRYPTION
    if read is None:
        return Characteristic(uuid, _Property.WRITE, allowed, value)
    return Characteristic(uuid, _Property.READ | _Property.WRITE, allowed | _Allowed.READABLE, value)


def told(uuid: str) -> Characteristic[bytes]:
    """A vendor's characteristic that is only notified."""
    return Characteristic(UUID(uuid), _Property.NOTIFY, _Allowed.READABLE)


def asked(uuid: str, write: Callable[[bytes], None], *, notifies: bool = False) -> Characteristic[bytes]:
    """A vendor's characteristic that anyone may write, and that answers by notification where it `notifies`."""
    value: CharacteristicValue[bytes] = CharacteristicValue(write=lambda _connection, data: write(bytes(data)))
    properties = _Property.WRITE | _Property.NOTIFY if notifies else _Property.WRITE
    return Characteristic(UUID(uuid), properties, _Allowed.WRITEABLE, value)


class Peripheral:
    """One device on one radio. `journal` tells what happened to it, in words, oldest first; never a value."""

    def __init__(
        self,
        radio: Transport,
        *,
        name: str,
        address: str,
        services: Sequence[Service],
        advertised: int | None,
        measurement: Characteristic[bytes],
        pairing_allowed: Callable[[bool], bool],
        secure_connections: bool = False,
        bonds: bool = True,
        manufacturer_data: bytes = b"",
        advertising_interval_ms: float = ADVERTISING_INTERVAL_MS,
        shows_passkey: bool = False,
    ) -> None:
        """`advertised` is the service in its advertisements; `measurement` the one that `indicate` sends.

        `bonds`: nobody may subscribe to `measurement` before it has bonded.
        `pairing_allowed` is asked at each pairing; its argument says whether another host is bonded already.
        `shows_passkey`: it has a display, and pairs with nobody who does not know the digits there.
        """
        self.shown_passkey: int | None = None
        self._shows_passkey = shows_passkey
        self.name = name
        self.address = address
        self.journal: list[str] = []
        self.on_subscribed: Callable[[Connection], Coroutine[Any, Any, None]] | None = None
        self.on_unsubscribed: Callable[[], None] | None = None
        self._radio = radio
        self._measurement = measurement
        self._pairing_allowed = pairing_allowed
        self._interval_ms = advertising_interval_ms
        self._secure_connections = secure_connections
        self._tasks: set[asyncio.Task[None]] = set()
        self._switching = asyncio.Lock()  # a window that closes while the next opens: bumble loses its advertising set
        self._window: asyncio.TimerHandle | None = None
        self._subscribed = False
        self._keys = BondKeys()
        self._is_private = False
        self._device = Device.from_config_with_hci(
            DeviceConfiguration(
                name=name,
                address=hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS),
                advertising_data=_advertising_data(name, advertised, manufacturer_data),
                advertising_interval_min=advertising_interval_ms,
                advertising_interval_max=advertising_interval_ms,
            ),
            radio.source,
            radio.sink,
        )
        self._device.keystore = self._keys
        self._device.pairing_config_factory = self._pairing_config
        # bumble adds a CCCD that anyone may write; this one asks for encryption, and so makes the host bond.
        allowed = _Allowed.READABLE | _Allowed.WRITEABLE
        cccd = Descriptor(
            GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
            allowed | _Allowed.WRITE_REQUIRES_ENCRYPTION if bonds else allowed,
            self._device.gatt_server.make_descriptor_value(measurement),
        )
        measurement.descriptors = [cccd]
        measurement.on(measurement.EVENT_SUBSCRIPTION, self._on_subscription)
        self._device.add_services([_marker(), *services])
        self._device.on(self._device.EVENT_CONNECTION, self._on_connection)

    @property
    def connection(self) -> Connection | None:
        """The link to the central, if there is one."""
        return next(iter(self._device.connections.values()), None)

    @property
    def advertising(self) -> bool:
        """Whether it can be found now."""
        return bool(self._device.is_advertising)

    @property
    def bonded(self) -> bool:
        """Whether it remembers a host."""
        return bool(self._keys.all_keys)

    async def power_on(self) -> None:
        """Put the batteries in; nothing is on the air yet."""
        await self._device.power_on()

    async def power_off(self) -> None:
        """Take the batteries out: hang up, say no more, give the radio back."""
        self._close_window()
        await self.hang_up()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.power_off()
        await self._radio.close()

    def be_private(self) -> None:
        """Advertise by a private address from now on, a new one each time. Who bonds is told `address` and the key."""
        self._is_private = True
        self._device.irk = hashlib.sha256(self.address.encode()).digest()[:16]

    async def advertise(self, window_s: float) -> None:
        """Advertise for `window_s` seconds or until a central connects."""
        self._close_window()
        if self._is_private:
            await self._take_a_private_address()
        async with self._switching:
            await self._device.start_advertising(auto_restart=False)
        self._window = asyncio.get_running_loop().call_later(window_s, lambda: self.run(self.stop_advertising()))

    async def _take_a_private_address(self) -> None:
        async with self._switching:
            await self._device.stop_advertising()
            self._device.random_address = hci.Address.generate_private_address(self._device.irk)
            await self._device.send_sync_command(
                hci.HCI_LE_Set_Random_Address_Command(random_address=self._device.random_address)
            )

    async def advertise_once(self) -> None:
        """One advertisement, and nobody is there any more when a central answers."""
        await self.advertise(self._interval_ms / 2000)

    async def stop_advertising(self) -> None:
        """Be found no longer."""
        self._close_window()
        async with self._switching:
            await self._device.stop_advertising()

    async def indicate(self, connection: Connection, value: bytes) -> None:
        """Send `value`; back when the host has confirmed it, or at once where it is notified. BaseBumbleError or
        CancelledError if it cannot.

        bumble sends nothing on a link that is lost, or to a host that has turned indications off, and says nothing of
        it: here it is asked before and after.
        """
        self._require(connection)
        if self._measurement.properties & _Property.NOTIFY:
            await self._device.notify_subscriber(connection, self._measurement, value)
        else:
            await self._device.indicate_subscriber(connection, self._measurement, value)
        self._require(connection)

    def _require(self, connection: Connection) -> None:
        if self.connection is not connection or not self._subscribed:
            raise InvalidStateError("nobody listens any more")

    async def indicate_aside(self, characteristic: Characteristic[bytes], value: bytes) -> None:
        """Send `value` on another characteristic than the measurement's, to a host that has turned it on."""
        if self.connection is not None:
            await self._device.indicate_subscriber(self.connection, characteristic, value)

    async def indicate_unheeded(self, connection: Connection, value: bytes) -> None:
        """Send `value` and wait for no confirmation."""
        self.run(self._unheeded(connection, value))
        await asyncio.sleep(0)

    async def notify(self, characteristic: Characteristic[bytes], value: bytes) -> None:
        """Send `value` to the central, if there is one that has turned these notifications on."""
        connection = self.connection
        if connection is not None:
            await self._device.notify_subscriber(connection, characteristic, value)

    async def hang_up(self) -> None:
        """End the link, if there is one, as a device does that is done."""
        connection = self.connection
        if connection is not None:
            try:
                await connection.disconnect()
            except BaseBumbleError:
                pass  # the other side was faster

    def run(self, act: Coroutine[Any, Any, None]) -> None:
        """Let the device do `act` beside everything else; it ends with the batteries at the latest."""
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget_bond(self) -> None:
        """Remember no host."""
        self._keys.all_keys.clear()

    def _pairing_config(self, connection: Connection) -> PairingConfig:
        def allowed() -> bool:
            return self._pairing_allowed(self._keys.other_than(connection.peer_address))

        private = self._is_private
        delegate = Display(allowed, self._show) if self._shows_passkey else NoInputNoOutput(allowed, private=private)
        return PairingConfig(
            sc=self._secure_connections,
            mitm=self._shows_passkey,
            bonding=True,
            delegate=delegate,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    def _show(self, passkey: int) -> None:
        self.shown_passkey = passkey

    def _on_connection(self, connection: Connection) -> None:
        self.journal.append("connected")
        self._close_window()
        connection.on(connection.EVENT_DISCONNECTION, lambda reason: self.journal.append(f"disconnected {reason:#x}"))
        connection.on(connection.EVENT_PAIRING, lambda _keys: self.journal.append("paired"))
        connection.on(connection.EVENT_PAIRING_FAILURE, lambda _reason: self.journal.append("pairing failed"))

    def _on_subscription(self, connection: Connection, notify: bool, indicate: bool) -> None:
        self._subscribed = notify or indicate
        if self._subscribed and self.on_subscribed is not None:
            self.run(self.on_subscribed(connection))
        if not self._subscribed and self.on_unsubscribed is not None:
            self.on_unsubscribed()

    async def _unheeded(self, connection: Connection, value: bytes) -> None:
        try:
            await self.indicate(connection, value)
        except (BaseBumbleError, TimeoutError):
            pass  # which is what was wanted

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None


def _marker() -> Service:
    says_so = Characteristic(UUID(MARKER), _Property.READ, _Allowed.READABLE, b"SIM")
    return Service(UUID(MARKER_SERVICE), [says_so])


def _advertising_data(name: str, service: int | None, manufacturer_data: bytes) -> bytes:
    structures = [
        (AdvertisingData.FLAGS, bytes([_LIMITED_OR_GENERAL_LE_ONLY])),
        (AdvertisingData.COMPLETE_LOCAL_NAME, name.encode()),
    ]
    if service is not None:
        uuids = AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
        structures.insert(1, (uuids, struct.pack("<H", service)))
    if manufacturer_data:
        structures.append((AdvertisingData.MANUFACTURER_SPECIFIC_DATA, manufacturer_data))
    data = bytes(AdvertisingData(structures))
    if len(data) > 31:
        raise ValueError(
            f"the name {name!r} is too long: an advertisement has 31 bytes, this one would have {len(data)}"
        )
    return data
