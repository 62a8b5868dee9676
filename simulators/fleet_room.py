"""A room of the fleet: stands in for a gateway at a broker, by the contract, on one connection of MQTT 5.

It has a will, a retained state, and a stream whose readings go out one after the other, each until its PUBACK. Written
from docs/chart.md and OASIS mqtt-v5.0 (3.1 CONNECT, 3.3 PUBLISH, 3.4 PUBACK); it shares no code with the gateway.
"""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from uuid import UUID

_CONNECT, _PUBLISH, _PUBACK, _DISCONNECT = 0x10, 0x30, 0x40, 0xE0
_QOS_1, _RETAIN = 0x02, 0x01
_CLEAN_START, _WILL, _WILL_QOS_1, _WILL_RETAIN = 0x02, 0x04, 0x08, 0x20
_PATIENCE_S = 60.0


class Room:
    """`site`/`name` at the broker; what it sends follows from `seed`. `acknowledged`: its last sequence that is."""

    def __init__(self, host: str, port: int, site: str, name: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.stream = str(UUID(int=self.chance.getrandbits(128), version=4))
        self.acknowledged = 0
        self._address = (host, port)
        self._site, self._name = site, name
        self._base = f"vitals/v1/{site}/{name}"
        self._mid = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect and tell that we are online. ConnectionError if the broker does not let us in."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        flags = _CLEAN_START | _WILL | _WILL_QOS_1 | _WILL_RETAIN
        will = b"\0" + _text(f"{self._base}/gateway") + _binary(self._state("offline", "connection_lost"))
        self._send(_CONNECT, _text("MQTT") + bytes([5, flags, 0, 0, 0]) + _text(f"{self._site}.{self._name}") + will)
        _, answer = await self._read()
        if answer[1]:
            raise ConnectionError(f"{self._name}: the broker does not let us in (reason code {answer[1]:#04x})")
        await self._deliver("gateway", self._state("online", None), _RETAIN)

    async def publish(self) -> None:
        """Send the stream's next reading, until the broker has acknowledged it."""
        reading = self._reading(self.acknowledged + 1)
        while await self._deliver("test/reading", reading, 0) != 0:  # noqa: ASYNC110 - each time it is asked
            await asyncio.sleep(1.0)  # nobody has subscribed, or it has no room: the same row again
        self.acknowledged += 1

    async def close(self) -> None:
        """Tell that we are offline, and go."""
        if self._writer is None:
            return
        try:
            await self._deliver("gateway", self._state("offline", "stopped"), _RETAIN)
            self._send(_DISCONNECT, b"")
            await self._writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # the broker is gone: then there is nobody to tell
        finally:
            self._writer.close()

    async def _deliver(self, leaf: str, payload: bytes, retain: int) -> int:
        """Answer the reason code of the PUBACK."""
        self._mid = self._mid % 0xFFFF + 1
        head = _text(f"{self._base}/{leaf}") + self._mid.to_bytes(2, "big") + b"\0"
        self._send(_PUBLISH | _QOS_1 | retain, head + payload)
        kind, answer = await self._read()
        if kind != _PUBACK:
            raise ConnectionError(f"{self._name}: the broker hung up")
        return answer[2] if len(answer) > 2 else 0

    def _send(self, kind: int, body: bytes) -> None:
        if self._writer is not None:
            self._writer.write(bytes([kind]) + _length(len(body)) + body)

    async def _read(self) -> tuple[int, bytes]:
        if self._reader is None:
            raise ConnectionError(f"{self._name} is not connected")
        async with asyncio.timeout(_PATIENCE_S):
            kind, length = await self._reader.readexactly(2)  # what answers us is shorter than 128 bytes
            return kind & 0xF0, await self._reader.readexactly(length)

    def _state(self, state: str, reason: str | None) -> bytes:
        at = None if reason == "connection_lost" else _now()
        told = {"schema": "vitals.gateway/1", "stream": self.stream, "state": state, "reason": reason, "at": at}
        return json.dumps({"gateway": self._gateway, "site": self._site, "room": self._name, **told}).encode()

    def _reading(self, sequence: int) -> bytes:
        kilograms = f"{self.chance.uniform(45, 120):.1f}"
        weight = {
            "kind": "body_weight",
            "value": float(kilograms),
            "unit": "kg",
            "absent": None,
            "codes": [{"system": "http://loinc.org", "code": "29463-7"}],
            "measured": {"value": kilograms, "unit": "kg"},
            "status": "valid",
            "reasons": [],
        }
        return json.dumps(
            {
                "schema": "vitals.reading/1",
                "id": str(UUID(int=self.chance.getrandbits(128), version=4)),
                "revision": 1,
                "state": "final",
                "stream": self.stream,
                "sequence": sequence,
                "disposition": "usable",
                "mode": "test",
                "gateway": self._gateway,
                "site": self._site,
                "room": self._name,
                "session": None,
                "operator": None,
                "device": {"id": "scale", "model": "simulated", "serial": "SIM-000001"},
                "taken_at": _now(),
                "received_at": _now(),
                "status": "valid",
                "codes": [],
                "vitals": [weight],
                "flags": [],
                "reasons": [],
                "possible_repeat_of": None,
                "raw": None,
            }
        ).encode()

    @property
    def _gateway(self) -> dict[str, str]:
        return {"id": f"{self._site}-{self._name}", "version": "0"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _length(number: int) -> bytes:
    """Variable byte integer (mqtt-v5.0, 1.5.5)."""
    coded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        coded.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(coded)
