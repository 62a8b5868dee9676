"""paho's socket on the event loop: what the broker says is read, and what we say is written, in steps of the loop.

paho's own thread would cost each message two handings over between threads and the interpreter's lock, and wake up once
a second where nothing happens.

Laws:

1. The socket does not block (paho sets it so): a broker that takes nothing costs no step of the loop.
2. Messages that are handed in within one step go out together, in the next, or when `write` is called.
3. A packet over which paho raises ends this connection, not the service.
4. A broker that hangs up is heard out: why (a row is too large, another gateway has our name) lies in the socket when
   writing fails, and paho would close it unread.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from paho.mqtt.client import Client

# How often paho looks whether a PINGREQ is due, seconds. Late by so much it is still in time: a broker waits for half
# a keep-alive longer (OASIS mqtt-v5.0, 3.1.2.10).
LOOK_S = 2.0

HEARD_OUT = 1000  # packets of a broker that has hung up: more than can be unanswered


class MqttClient(Client):
    """paho's client, by law 4."""

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError:
            with suppress(Exception):  # the edge to paho; the connection is over whatever it says
                for _ in range(HEARD_OUT):
                    if self.socket() is None:
                        break
                    self.loop_read()
            raise


class MqttSocket:
    """Attends the socket of a client that has connected. `on_read` is called after each piece that was read.

    `on_nonsense` hears over what paho raised.
    """

    def __init__(self, client: Client, on_read: Callable[[], None], on_nonsense: Callable[[str], None]) -> None:
        self._client = client
        self._on_read = on_read
        self._on_nonsense = on_nonsense
        self._loop = asyncio.get_running_loop()
        self._watched_for_room = False
        self._look: asyncio.TimerHandle | None = None

    def attend(self) -> None:
        """Begin; it ends with the socket. On the loop, as all of this."""
        connected = self._client.socket()
        if connected is None:  # it has ended already, and told so
            return
        if isinstance(connected, socket.socket):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.on_socket_close = self._closes
        self._client.on_socket_register_write = lambda *_: self._write_soon()
        self._loop.add_reader(connected, self._read)
        self._look_after_it()
        self._write_soon()  # what did not fit when it connected

    def _read(self) -> None:
        try:
            self._client.loop_read()
            while (connected := self._client.socket()) is not None and _has_decrypted(connected):
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - the edge to paho, and to what a broker sends
            if connected := self._client.socket():
                self._loop.remove_reader(connected)
            self._on_nonsense(type(error).__name__)
        self._on_read()

    def _write_soon(self) -> None:
        self._loop.call_soon(self.write)

    def write(self) -> None:
        """Send what was handed in, as far as the socket takes it."""
        self._client.loop_write()
        connected = self._client.socket()
        if connected is None:  # what it acknowledged before it hung up
            self._on_read()
        full = connected is not None and self._client.want_write()
        if connected is not None and full != self._watched_for_room:
            if full:
                self._loop.add_writer(connected, self.write)
            else:
                self._loop.remove_writer(connected)
            self._watched_for_room = full

    def _look_after_it(self) -> None:
        self._client.loop_misc()
        if self._client.socket() is not None:
            self._look = self._loop.call_later(LOOK_S, self._look_after_it)

    def _closes(self, _client: Client, _data: object, closing: object) -> None:
        if isinstance(closing, socket.socket):
            self._loop.remove_reader(closing)
            self._loop.remove_writer(closing)
        if self._look is not None:
            self._look.cancel()


def _has_decrypted(connected: object) -> bool:
    """Whether TLS holds bytes that the socket does not show as readable any more."""
    pending = getattr(connected, "pending", None)
    return pending is not None and pending() > 0
