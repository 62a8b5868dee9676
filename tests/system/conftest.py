"""The real process, the real Mosquitto, real ptys: what the system tests stand on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import control
from simulators.broker import OwnBroker, own_broker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
TOPIC = "vitals/v1/northside/exam-3"


@dataclass
class Gateway:
    """`vitals-gateway run` as a process, with a folder of its own."""

    folder: Path
    broker_port: int
    process: asyncio.subprocess.Process | None = None
    devices: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)  # more than our own
    outbox_more: str = ""
    broker_more: str = ""
    more: str = ""  # lines of the YAML
    room: str = "exam-3"
    zone: str = "America/Chicago"
    yaml: str = ""  # the whole YAML, where it is not ours

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox.db"

    def add_device(self, name: str, model: str, port: Path, more: str = "") -> None:
        self.devices.append(f'{{id: {name}, model: {model}, port: "{port}"{more}}}')

    @property
    def config(self) -> Path:
        return self.folder / "gateway.yaml"

    def write(self) -> None:
        """Write the YAML."""
        lines = [
            "site: northside",
            f"room: {self.room}",
            f"timezone: {self.zone}",
            f'broker: {{url: "mqtt://127.0.0.1:{self.broker_port}"{self.broker_more}}}',
            f"outbox: {{path: outbox.db{self.outbox_more}}}",
            self.more,
            "devices:",
            *(f"  - {device}" for device in self.devices),
        ]
        self.config.write_text(self.yaml or "\n".join(lines) + "\n")

    async def start(self) -> None:
        self.write()
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                PROGRAM,
                "run",
                "--config",
                str(self.config),
                env={
                    **os.environ,
                    "RUNTIME_DIRECTORY": str(self.folder),
                    "STATE_DIRECTORY": str(self.folder),
                    **self.environment,
                },
                stderr=log,
            )

    async def stop(self) -> int:
        """SIGTERM; contract.md gives it 5 s."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 5.0)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(control.ask, self.folder / "control.sock", "status")

    async def reload(self) -> dict[str, Any]:
        """Write the YAML and have it read again; answer what came of it."""
        self.write()
        return await asyncio.to_thread(control.ask, self.folder / "control.sock", "reload", 20.0)

    async def until(self, holds: Callable[[dict[str, Any]], bool], timeout: float = 20.0) -> dict[str, Any]:  # noqa: ASYNC109
        """Wait until the service's own status is as it should be."""
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        last = await self.status()
                        if holds(last):
                            return last
                    except control.ControlError:
                        assert self.process is not None
                        assert self.process.returncode is None, (self.folder / "gateway.log").read_text()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log = (self.folder / "gateway.log").read_text()
            raise AssertionError(f"not within {timeout} s; status: {last}\n{log}") from None

    async def device(self, name: str, state: str, reason: str | None = None) -> dict[str, Any]:
        """Wait until a device is shown in this state."""
        status = await self.until(
            lambda status: (status["devices"][name]["state"], status["devices"][name]["reason"]) == (state, reason)
        )
        answer: dict[str, Any] = status["devices"][name]
        return answer


@pytest.fixture
async def broker() -> AsyncIterator[OwnBroker]:
    async with own_broker(config=("max_queued_messages 0",)) as broker:
        yield broker


@pytest.fixture
async def chart(broker: OwnBroker, all_fit: Callable[[Chart], None]) -> AsyncIterator[Chart]:
    """A chart that hears all of the broker. Whatever came, by whichever test, is as docs/schemas say."""
    async with Chart(broker.host, broker.port, "vitals/v1/#") as chart:
        yield chart
    all_fit(chart)


@pytest.fixture
async def gateway(tmp_path: Path, broker: OwnBroker) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path, broker.port)
    yield gateway
    if gateway.process is not None and gateway.process.returncode is None:
        await gateway.kill()


@pytest.fixture
def new_port(tmp_path: Path) -> Iterator[Callable[[str], PtyPort]]:
    """Ports with a stable path each, as /dev/serial/by-path would give."""
    ports: list[PtyPort] = []

    def make(name: str) -> PtyPort:
        ports.append(PtyPort(tmp_path / f"{name}-port"))
        return ports[-1]

    yield make
    for port in ports:
        port.close()


@pytest.fixture
def say() -> Callable[[PtyPort, bytes], Awaitable[None]]:
    """Write bytes to a port, whole, as fast as its reader takes them."""

    async def write(port: PtyPort, data: bytes) -> None:
        while data:
            taken = port.write(data)
            data = data[taken:]
            if data:
                await asyncio.sleep(0.001)

    return write


@pytest.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A simulated air and bus, which every gateway that is started from here on finds."""
    async with Room() as room:
        for name, value in room.environment.items():
            monkeypatch.setenv(name, value)
        yield room


@pytest.fixture
def chance() -> random.Random:
    return random.Random(20261123)


class Hands:
    """What the machine's clock shows, from one moment to the next."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(timedelta(0), synced=True)

    def set(self, off: timedelta, *, synced: bool) -> None:
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=qq", off // timedelta(microseconds=1) * 1000, synced))


@pytest.fixture
def hands(tmp_path: Path, gateway: Gateway) -> Hands:
    """The clock of the machine on which `gateway` runs."""
    shim = tmp_path / "clock_shim.so"
    source = Path(__file__).with_name("clock_shim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, source, "-ldl"], check=True)
    made = Hands(tmp_path / "hands")
    gateway.environment = {"LD_PRELOAD": str(shim), "CLOCK_SHIM": str(tmp_path / "hands"), "BOOT_ID": "0" * 32}
    return made
