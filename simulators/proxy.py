"""A wire between a client and a broker that goes bad: slow, deaf, cut. It forwards TCP, and knows nothing of MQTT.

It is also the load balancer before a cluster: a new connection goes to the first target that accepts it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_HOST = "127.0.0.1"
_CHUNK = 65_536


class Proxy:
    """Forwards from `port` to the first of `targets` (ports of loopback) that accepts.

    `deaf`: what arrives from either side vanishes, and nobody is told: a peer that lost its power, or its cable.
    `delay_s`: how much later each piece from the broker arrives. Both may change at any time.
    """

    def __init__(self, *targets: int) -> None:
        self.port = 0
        self.deaf = False
        self.delay_s = 0.0
        self.connections = 0
        self._targets = targets
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Hang up on both sides, whoever is connected now."""
        pumps = tuple(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker = await self._connect()
        if broker is None:
            writer.close()
            return
        self.connections += 1
        ways = ((reader, broker[1], False), (broker[0], writer, True))
        pumps = [asyncio.create_task(self._pump(*way)) for way in ways]
        self._pumps.update(pumps)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, broker[1]):
                end.close()
            self._pumps.difference_update(pumps)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for target in self._targets:
            with suppress(OSError):
                return await asyncio.open_connection(_HOST, target)
        return None

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, from_broker: bool) -> None:
        with suppress(OSError):
            while piece := await source.read(_CHUNK):
                if from_broker and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if not self.deaf:
                    sink.write(piece)
                    await sink.drain()
