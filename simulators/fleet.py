"""Hundreds of rooms at one broker, and a chart's workers that read them with a shared subscription.

    python -m simulators.fleet --rooms 500 --seconds 20

Every reading is marked `test` and goes to the test topics: it is never a patient's. The account is of all workers
together, by stream: one worker alone sees gaps in every stream, since the broker deals the readings out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from simulators.broker import own_broker
from simulators.chart import Chart
from simulators.fleet_room import Room

SITE = "fleet"
# Mosquitto's own 1,000 a client are too few for hundreds of rooms: what is beyond is dropped, and acknowledged.
BROKER_CONFIG = ("max_queued_messages 200000",)
_START_AT_ONCE = 20  # rooms that connect at the same time
_ARRIVAL_S = 60.0
_KEEP_SESSION_S = 60  # a worker that is gone is dealt readings as long as its session lives


@dataclass(frozen=True, slots=True)
class Account:
    """What was sent and what came. `workers`: deliveries by worker; `online`: rooms whose retained state says so."""

    rooms: int
    published: int
    received: int
    gaps: int
    doubles: int
    overtaken: int
    online: int
    workers: tuple[int, ...]

    @property
    def adds_up(self) -> bool:
        """Whether all that was acknowledged came, and every room was seen."""
        return self.gaps == 0 and self.received == self.published and self.online == self.rooms

    def lines(self) -> list[str]:
        """Answer the table."""
        told = [
            ("rooms", self.rooms),
            ("rooms seen online", self.online),
            ("published, acknowledged", self.published),
            ("received", self.received),
            ("gaps", self.gaps),
            ("doubles", self.doubles),
            ("overtaken by a later one", self.overtaken),
            *((f"worker {number}", count) for number, count in enumerate(self.workers, 1)),
        ]
        return [f"{name:<25}{count:>10,}" for name, count in told]


async def run_fleet(host: str, port: int, *, rooms: int, workers: int, interval_s: float, seconds: float) -> Account:
    """Let the rooms publish so long, each about every `interval_s`; wait for what was acknowledged; answer the account.

    OSError, TimeoutError: the broker is not there, or no longer.
    """
    run = random.Random(os.urandom(8))
    group = f"$share/fleet-{run.getrandbits(32):08x}/vitals/v1/{SITE}/+/test/reading"
    async with AsyncExitStack() as stack:
        watcher, *charts = [
            await stack.enter_async_context(
                Chart(host, port, topic, client_id=f"{run.getrandbits(64):x}", keep_session_s=_KEEP_SESSION_S)
            )
            for topic in (f"vitals/v1/{SITE}/+/gateway", *(group for _ in range(workers)))
        ]
        fleet = [Room(host, port, SITE, f"room-{number}", run.getrandbits(64)) for number in range(1, rooms + 1)]
        async with _opened(fleet):
            await asyncio.gather(*(_publish(room, interval_s, seconds) for room in fleet))
            await _arrived(charts, watcher, fleet)
            return _account(charts, watcher, fleet)


@asynccontextmanager
async def _opened(fleet: Sequence[Room]) -> AsyncIterator[None]:
    door = asyncio.Semaphore(_START_AT_ONCE)

    async def enter(room: Room) -> None:
        async with door:
            await room.open()

    try:
        await asyncio.gather(*(enter(room) for room in fleet))
        yield
    finally:
        await asyncio.gather(*(room.close() for room in fleet))


async def _publish(room: Room, interval_s: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    await asyncio.sleep(room.chance.uniform(0, min(interval_s, seconds)))
    while loop.time() < until:
        await room.publish()
        await asyncio.sleep(room.chance.uniform(interval_s / 2, interval_s * 3 / 2))


async def _arrived(charts: Sequence[Chart], watcher: Chart, fleet: Sequence[Room]) -> None:
    """Wait until all has come, or nothing more has for a second; what is missing is told by the account."""
    before = -1
    loop = asyncio.get_running_loop()
    until = loop.time() + _ARRIVAL_S
    sent = sum(room.acknowledged for room in fleet)
    while loop.time() < until:
        came = sum(len(chart.deliveries) for chart in charts) + len(watcher.states)
        if came == before and came >= sent + len(fleet):
            return
        before = came
        await asyncio.sleep(0.2)


def _account(charts: Sequence[Chart], watcher: Chart, fleet: Sequence[Room]) -> Account:
    sent = {(room.stream, sequence) for room in fleet for sequence in range(1, room.acknowledged + 1)}
    streams = {room.stream for room in fleet}
    came = Counter(key for chart in charts for key in _keys(chart) if key[0] in streams)
    latest = {str((state.payload or {}).get("stream")): (state.payload or {}).get("state") for state in watcher.states}
    return Account(
        rooms=len(fleet),
        published=len(sent),
        received=len(came),
        gaps=len(sent - came.keys()),
        doubles=came.total() - len(came),
        overtaken=sum(len(chart.disordered) for chart in charts),
        online=sum(latest.get(stream) == "online" for stream in streams),
        workers=tuple(len(chart.deliveries) for chart in charts),
    )


def _keys(chart: Chart) -> list[tuple[str, int]]:
    payloads = [delivery.payload or {} for delivery in chart.deliveries]
    return [(str(payload["stream"]), int(payload["sequence"])) for payload in payloads]


async def _main(given: argparse.Namespace) -> Account:
    async with AsyncExitStack() as stack:
        if given.broker is None:
            broker = await stack.enter_async_context(own_broker(server="mosquitto", config=BROKER_CONFIG))
            host, port = broker.host, broker.port
        else:
            host, port = given.broker
        return await run_fleet(
            host, port, rooms=given.rooms, workers=given.workers, interval_s=given.interval, seconds=given.seconds
        )


def _address(text: str) -> tuple[str, int]:
    url = urlsplit(text)
    if url.scheme != "mqtt" or not url.hostname or url.username:
        raise argparse.ArgumentTypeError("a broker is mqtt://HOST[:PORT]: this simulation has neither TLS nor password")
    return url.hostname, url.port or 1883


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a fleet and print its account; 0 if it adds up."""
    parser = argparse.ArgumentParser(prog="python -m simulators.fleet", description=__doc__.split("\n")[0])
    parser.add_argument("--rooms", type=int, default=500)
    parser.add_argument("--workers", type=int, default=4, help="of the shared subscription")
    parser.add_argument("--seconds", type=float, default=20.0, help="of publishing")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two readings of a room, about")
    parser.add_argument(
        "--broker", type=_address, metavar="URL", help="mqtt://HOST[:PORT]; else a Mosquitto of its own"
    )
    given = parser.parse_args(arguments)
    try:
        account = asyncio.run(_main(given))
    except (OSError, EOFError, RuntimeError) as error:
        sys.stderr.write(f"fleet: {error}\n")
        return 1
    sys.stdout.write("\n".join(account.lines()) + "\n")
    return 0 if account.adds_up else 1


if __name__ == "__main__":
    sys.exit(main())
