"""A broker of our own on loopback, for `demo` and for tests: Mosquitto, or iotcore's where there is no Mosquitto.

It is a child process with its files in a temporary directory, and open to anyone on this machine: never a clinic's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Server = Literal["mosquitto", "iotcore"]

_HOST = "127.0.0.1"
_START_S = 15.0
_STOP_S = 5.0
_RETRY_S = 0.02
# MQTT 5 CONNECT: protocol name and level, clean start, keep alive 10 s, no properties, client id "probe".
_CONNECT = bytes.fromhex("10 12 0004 4d515454 05 02 000a 00 0005 70726f6265")
_CONNACK = 0x20
# One listener, MQTT 5: in rumqttd, which iotcore carries, each version of MQTT has a port of its own.
_IOTCORE_CONFIG = """\
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "own"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 262144
max_inflight_count = 100
"""


@asynccontextmanager
async def own_broker(
    *,
    port: int | None = None,
    config: Sequence[str] = (),
    persistence_dir: Path | None = None,
    server: Server | None = None,
) -> AsyncIterator[OwnBroker]:
    """Start a broker and stop it at the end; it accepts CONNECT (MQTT 5) when this is entered.

    `config`: further lines of mosquitto.conf. `persistence_dir`: where sessions outlive the process.
    RuntimeError says what is missing or what the broker said.
    """
    async with OwnBroker(port, config, persistence_dir, server) as broker:
        await broker.start()
        yield broker


def free_port() -> int:
    """A TCP port of loopback that nobody has now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many TCP ports of loopback that nobody has now, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((_HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class OwnBroker:
    """A broker's process; `host` and `port` stay the same when it is killed and started again."""

    def __init__(
        self, port: int | None, config: Sequence[str], persistence_dir: Path | None, server: Server | None
    ) -> None:
        self.host = _HOST
        self.port = free_port() if port is None else port
        self._may_move = port is None  # until it has started: somebody else may have taken the port meanwhile
        self._config = tuple(config)
        self._persistence_dir = persistence_dir
        self._files = tempfile.TemporaryDirectory(prefix="vitals-broker-")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.server = server or _found()
        except RuntimeError:
            self._files.cleanup()
            raise
        if self.server == "iotcore" and (config or persistence_dir):
            self._files.cleanup()
            raise RuntimeError("iotcore's broker takes no mosquitto.conf lines and keeps nothing: install Mosquitto")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            self._files.cleanup()

    async def start(self) -> None:
        """Start the process, if it does not run, and wait until it accepts a CONNECT; RuntimeError if it does not."""
        if self._process is not None:
            return
        self._process = self._spawn()
        deadline = time.monotonic() + _START_S
        while not await self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                await self.kill()
                said = self._log_path.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
                if self._may_move and "Address already in use" in said and time.monotonic() < deadline:
                    self.port = free_port()
                    self._process = self._spawn()
                    continue
                raise RuntimeError(
                    f"{self.server} did not start on {self.host}:{self.port}: {said or 'it said nothing'}"
                )
            await asyncio.sleep(_RETRY_S)
        self._may_move = False

    async def stop(self) -> None:
        """SIGTERM: the broker may write down what it keeps."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            pass
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL: the broker can write down nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    @property
    def _log_path(self) -> Path:
        return Path(self._files.name) / "log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        config_path = Path(self._files.name) / "broker.conf"
        if self.server == "mosquitto":
            config_path.write_text("\n".join(self._mosquitto_lines()) + "\n", encoding="utf-8")
            command = [str(_mosquitto()), "-c", str(config_path)]
        else:
            # rumqttd tells TOML by the name.
            config_path = config_path.with_suffix(".toml")
            config_path.write_text(_IOTCORE_CONFIG.format(host=self.host, port=self.port), encoding="utf-8")
            command = [sys.executable, "-I", "-m", "iotcore", "--config", str(config_path), "--log-level", "CRITICAL"]
        with self._log_path.open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _mosquitto_lines(self) -> list[str]:
        lines = [f"listener {self.port} {self.host}", "allow_anonymous true", "log_dest stderr"]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it becomes the user mosquitto, who may not enter our directory
        if self._persistence_dir is not None:
            lines += ["persistence true", f"persistence_location {self._persistence_dir}/"]
        return lines + list(self._config)

    async def _accepts(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        try:
            writer.write(_CONNECT)
            answer = await asyncio.wait_for(reader.read(1), _START_S)
            # Any CONNACK will do: with a password file we are refused, and it is up.
            return answer == bytes([_CONNACK])
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()


def _mosquitto() -> Path | None:
    # Debian puts it in /usr/sbin, which is not on every user's PATH.
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _found() -> Server:
    if _mosquitto() is not None:
        return "mosquitto"
    if importlib.util.find_spec("iotcore") is not None:
        return "iotcore"
    raise RuntimeError(
        "no MQTT broker on this machine: install Mosquitto (apt install mosquitto)"
        " or this package with its extra: pip install 'vitals-gateway[demo]'"
    )
