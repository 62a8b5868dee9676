"""A clustered broker on loopback, for tests: three nats-servers, MQTT 3.1.1, each message on all three (JetStream, R3).

What it acknowledged is with two of the three at least; sessions and retained messages too. A node that is killed comes
back with what it had, and catches up. NATS has neither MQTT 5 nor shared subscriptions of MQTT in this version.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from simulators.broker import free_port

_HOST = "127.0.0.1"
_NODES = 3
_START_S = 30.0
_LOOK_S = 0.05
_CONFIG = """\
server_name: node{index}
listen: "{host}:{client_port}"
http: "{host}:{http_port}"
jetstream {{ store_dir: "{folder}/node{index}", max_mem: 64M, max_file: 1G }}
cluster {{ name: clinic, listen: "{host}:{route_port}", routes: [{routes}] }}
mqtt {{ listen: "{host}:{mqtt_port}", stream_replicas: 3, ack_wait: "2s" }}
"""


class OwnCluster:
    """Three nodes; `ports` are their MQTT ports, which stay the same when one is killed and started again."""

    def __init__(self) -> None:
        """Raise RuntimeError where there is no nats-server."""
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("no nats-server on this machine: apt install nats-server")
        self._program = program
        self._files = tempfile.TemporaryDirectory(prefix="vitals-cluster-")
        self.ports = [free_port() for _ in range(_NODES)]
        self._http_ports = [free_port() for _ in range(_NODES)]
        route_ports = [free_port() for _ in range(_NODES)]
        routes = ", ".join(f'"nats://{_HOST}:{port}"' for port in route_ports)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * _NODES
        for index in range(_NODES):
            config = _CONFIG.format(
                index=index,
                host=_HOST,
                folder=self._files.name,
                client_port=free_port(),
                http_port=self._http_ports[index],
                route_port=route_ports[index],
                routes=routes,
                mqtt_port=self.ports[index],
            )
            self._path(index, "conf").write_text(config, encoding="utf-8")

    async def __aenter__(self) -> Self:
        try:
            for index in range(_NODES):
                self._spawn(index)
            await self.until_whole()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def kill(self, index: int) -> None:
        """SIGKILL to one node."""
        process, self._processes[index] = self._processes[index], None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def start(self, index: int) -> None:
        """Start a node that was killed, and wait until the cluster is whole."""
        self._spawn(index)
        await self.until_whole()

    async def until_whole(self) -> None:
        """Wait until every node has its place in the cluster; RuntimeError with their logs if not.

        What it missed it gets from the two others, of which one may be killed meanwhile. Version 2.9.10 says of a
        consumer long after that it "is not current": that is not waited for.
        """
        deadline = time.monotonic() + _START_S
        while not all([await asyncio.to_thread(self._healthy, index) for index in range(_NODES)]):
            if time.monotonic() > deadline:
                logs = "\n".join(
                    self._path(index, "log").read_text(encoding="utf-8", errors="replace")[-1500:]
                    for index in range(_NODES)
                )
                raise RuntimeError(f"the cluster is not whole after {_START_S:g} s: {logs}")
            await asyncio.sleep(_LOOK_S)

    def _healthy(self, index: int) -> bool:
        try:
            with urlopen(f"http://{_HOST}:{self._http_ports[index]}/healthz?js-server-only=true", timeout=5) as answer:
                return bool(json.load(answer).get("status") == "ok")
        except (OSError, ValueError):
            return False

    def _spawn(self, index: int) -> None:
        with self._path(index, "log").open("ab") as log:
            self._processes[index] = subprocess.Popen(
                [self._program, "-c", str(self._path(index, "conf"))], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _path(self, index: int, kind: str) -> Path:
        return Path(self._files.name) / f"node{index}.{kind}"

    async def _end(self) -> None:
        for index in range(_NODES):
            await self.kill(index)
        self._files.cleanup()
