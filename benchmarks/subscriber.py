"""The subscriber: who has which frame, and since when. It must cost the contenders as little as can be.

A thread with a plain socket that speaks just enough MQTT 3.1.1 (OASIS, mqtt-v3.1.1); paho would take as much of the
processor as some of the contenders do. QoS 0, so that the broker waits for nothing; with `lasting` QoS 1 and a session
that the broker keeps, so that nothing is missed while the connection is down.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

from benchmarks.frames import number_in

TOPICS = ("vitals/v1/+/+/test/reading", "vitals/v1/+/+/test/quarantine")

_CONNACK, _PUBLISH = 2, 3
_POLL_S = 0.01
_RETRY_S = 0.02


class Subscriber:
    """`first`: by number of the frame, the monotonic instant at which it was there first."""

    def __init__(self, port: int, *, lasting: bool = False) -> None:
        self.first: dict[int, float] = {}
        self.doubles = 0
        self._port = port
        self._lasting = lasting
        self._socket: socket.socket | None = None
        self._ready = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._live, name="subscriber", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        if not await asyncio.to_thread(self._ready.wait, 20.0):
            raise RuntimeError("the broker does not let the subscriber in")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(self._thread.join)

    def forget(self) -> None:
        """Begin anew: another contender, the same numbers."""
        self.first, self.doubles = {}, 0

    async def has(self, count: int, timeout_s: float) -> bool:
        """Wait until so many frames are there; answer whether they came. What counts is `first`, not when this ends."""
        ends = time.monotonic() + timeout_s
        while len(self.first) < count:
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    async def settled(self, count: int, quiet_s: float) -> None:
        """Wait until so many frames are there, or until nothing has come for so long."""
        before = -1
        while len(self.first) < count and len(self.first) > before:
            before = len(self.first)
            await self.has(count, quiet_s)

    def _live(self) -> None:
        while not self._stopping:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=20.0) as connected:
                    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._socket = connected
                    self._listen(connected)
            except OSError:
                pass  # the broker is away, or we are asked to stop
            self._socket = None
            time.sleep(_RETRY_S)

    def _listen(self, connected: socket.socket) -> None:
        connected.sendall(_connect(clean=not self._lasting))
        connected.sendall(_subscribe(TOPICS, qos=1 if self._lasting else 0))
        connected.settimeout(None)
        kept = b""
        while piece := connected.recv(1 << 18):
            now = time.monotonic()
            kept, answers = self._take(kept + piece, now)
            if answers:
                connected.sendall(answers)

    def _take(self, data: bytes, now: float) -> tuple[bytes, bytes]:
        """Take whole packets; answer what is left over, and what is to be said."""
        at, answers = 0, b""
        while True:
            head, length, body = at, 0, at + 1
            for shift in range(0, 28, 7):
                if body >= len(data):
                    return data[head:], answers
                length |= (data[body] & 0x7F) << shift
                body += 1
                if data[body - 1] < 0x80:
                    break
            at = body + length
            if at > len(data):
                return data[head:], answers
            kind, qos = data[head] >> 4, data[head] >> 1 & 3
            if kind == _PUBLISH:
                topic = int.from_bytes(data[body : body + 2])
                content = body + 2 + topic
                if qos:
                    answers += b"\x40\x02" + data[content : content + 2]
                    content += 2
                self._note(number_in(data[content:at]), now)
            elif kind != _CONNACK:
                self._ready.set()  # SUBACK

    def _note(self, number: int | None, now: float) -> None:
        if number is None:  # a payload without a weight
            return
        if number in self.first:
            self.doubles += 1
        else:
            self.first[number] = now


def _connect(*, clean: bool) -> bytes:
    name = b"bench-subscriber"
    body = b"\0\4MQTT\4" + (b"\2" if clean else b"\0") + struct.pack(">HH", 0, len(name)) + name
    return b"\x10" + bytes([len(body)]) + body


def _subscribe(topics: tuple[str, ...], qos: int) -> bytes:
    filters = b"".join(struct.pack(">H", len(topic)) + topic.encode() + bytes([qos]) for topic in topics)
    body = b"\0\1" + filters
    return b"\x82" + bytes([len(body)]) + body
