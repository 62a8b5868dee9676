"""The simulated air: where bumble's virtual controllers hear one another, and who is out of range.

bumble 0.0.236 is mended here in three places, each with what a real controller does instead:

1. ACL data carries the address with which the connection was made. bumble takes the sender's random address, so that
   a host which connects with its public one is not recognized.
2. LE Create Connection Cancel cancels. bumble answers success and connects at the next advertisement all the same.
3. A connection to a device that has stopped advertising fails, with 0x3E. bumble gives the central a connection that
   nobody else knows of.
"""

from __future__ import annotations

import asyncio

import usb1  # type: ignore[import-untyped]  # bumble's own way to a dongle, whose errors it lets through
from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import BaseBumbleError, PhysicalTransport
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSpecError

_SUPERVISION_TIMEOUT = 0x08
_FAILED_TO_BE_ESTABLISHED = 0x3E


class Air(LocalLink):
    """Devices in radio range of one another, but for those that were taken out of range."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._away: set[Controller] = set()

    def radio(self, name: str) -> Transport:
        """A new virtual controller on this air; closing it takes it off."""
        return _Radio(_VirtualController(name, link=self))

    def take_out_of_range(self, address: str) -> None:
        """Nobody hears the device with this random address any more; its links end by supervision timeout."""
        away = self._controller(address)
        self._away.add(away)
        for connection in list(away.le_connections.values()):
            other = self.find_le_controller(connection.peer_address)
            away.on_le_disconnected(connection, _SUPERVISION_TIMEOUT)
            mirrored = other.le_connections.get(connection.self_address) if other is not None else None
            if other is not None and mirrored is not None:
                other.on_le_disconnected(mirrored, _SUPERVISION_TIMEOUT)

    def bring_back(self, address: str) -> None:
        """The device is in range again."""
        self._away.discard(self._controller(address))

    def remove_controller(self, controller: Controller) -> None:
        """Take it off the air."""
        self._away.discard(controller)
        super().remove_controller(controller)

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        """Let all others hear an advertisement, or a request to connect."""
        if sender_controller in self._away:
            return
        loop = asyncio.get_running_loop()
        for controller in self.controllers - self._away - {sender_controller}:
            loop.call_soon(controller.on_ll_advertising_pdu, packet)
        if isinstance(packet, ll.ConnectInd):
            loop.call_soon(self._check_established, sender_controller, packet)

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """Carry data over the connection to `destination_address`; without one it is lost."""
        connection = sender_controller.le_connections.get(destination_address)
        destination = self.find_le_controller(destination_address)
        if transport == PhysicalTransport.LE and connection is not None and destination is not None:
            asyncio.get_running_loop().call_soon(destination.on_link_acl_data, connection.self_address, transport, data)

    def _check_established(self, central: Controller, request: ll.ConnectInd) -> None:
        peripheral = self.find_le_controller(request.advertiser_address)
        if peripheral is not None and request.initiator_address in peripheral.le_connections:
            return
        connection: Connection | None = central.le_connections.get(request.advertiser_address)
        if connection is not None:
            central.on_le_disconnected(connection, _FAILED_TO_BE_ESTABLISHED)

    def _controller(self, address: str) -> Controller:
        wanted = hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS)
        for controller in self.controllers:
            if controller.random_address == wanted:
                return controller
        raise ValueError(f"no device with address {address} is on the air")


async def open_dongle(spec: str) -> Transport:
    """A real controller, taken from the host's own Bluetooth: `usb:0`, `hci-socket:0`, `serial:/dev/ttyACM0,1000000`.

    `spec` is as bumble's documentation names transports. ValueError for a spec it does not know, OSError where the
    dongle cannot be had.
    """
    try:
        return await open_transport(spec)
    except TransportSpecError as error:
        raise ValueError(f"no dongle {spec!r}: {error}; as in usb:0 or serial:/dev/ttyACM0,1000000") from error
    except (BaseBumbleError, usb1.USBError) as error:
        raise OSError(f"no dongle {spec!r}: {error}") from error


class _Radio(Transport):
    """bumble's Transport, which a Device is built on, with a virtual controller at the other end."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller, controller)
        self._controller = controller

    async def close(self) -> None:
        link = self._controller.link
        if isinstance(link, Air) and self._controller in link.controllers:
            self._controller.le_legacy_advertiser.stop()
            for advertising_set in self._controller.advertising_sets.values():
                advertising_set.stop()
            link.remove_controller(self._controller)


class _VirtualController(Controller):
    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        cancelled = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=0,
            peer_address_type=pending.peer_address.address_type,
            peer_address=pending.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, cancelled)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)
