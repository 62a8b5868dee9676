"""Who performs: the scripts a technician would write, Node-RED, and ourselves by an ordinary YAML."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.frames import MODEL

SCRIPT, SQLITE, NODE_RED, OURS = "script", "script with SQLite queue", "Node-RED", "vitals-gateway"
SQLITE_ONE = f"{SQLITE}, one connection"

Command = Callable[[Path, int, Sequence[Path]], list[str]]


@dataclass(frozen=True)
class Contender:
    """One of them. `command` writes what it needs into the folder; `burst` is how many readings show its rate.

    `keeps`: each reading is on disk before it is sent.
    """

    name: str
    keeps: bool
    command: Command
    burst: int
    burst_slow_disk: int = 0


def script() -> Contender:
    """Answer pyserial and paho, nothing kept."""
    return Contender(
        SCRIPT,
        keeps=False,
        command=lambda _, broker, ports: [
            sys.executable,
            str(Path(__file__).with_name("script.py")),
            str(broker),
            *map(str, ports),
        ],
        burst=50_000,
    )


def script_with_queue(*, one_connection: bool = False) -> Contender:
    """Answer the same with a SQLite queue: a commit a reading, another for its PUBACK."""
    return Contender(
        SQLITE_ONE if one_connection else SQLITE,
        keeps=True,
        command=lambda folder, broker, ports: [
            *(["env", "ONE_CONNECTION=1"] if one_connection else []),
            sys.executable,
            str(Path(__file__).with_name("script_sqlite.py")),
            str(folder / "queue.db"),
            str(broker),
            *map(str, ports),
        ],
        burst=4_000,
        burst_slow_disk=200,
    )


def ourselves(*, name: str = OURS, further_devices: str = "", max_mb: int = 512) -> Contender:
    """Answer `vitals-gateway run`; `max_mb`: a million readings are more than the default keeps."""

    def command(folder: Path, broker: int, ports: Sequence[Path]) -> list[str]:
        file = folder / "gateway.yaml"
        file.write_text(configuration(broker, ports, further_devices, max_mb))
        return [str(Path(sys.executable).with_name("vitals-gateway")), "run", "--config", str(file)]

    return Contender(name, keeps=True, command=command, burst=100_000, burst_slow_disk=20_000)


def with_bluetooth() -> Contender:
    """Answer ourselves with a cuff and a thermometer by radio beside the scale."""
    return ourselves(
        name=f"{OURS} with Bluetooth",
        further_devices="""\
  - {id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}
  - {id: thermometer, model: and-ut-201ble, address: "C8:1E:8E:00:02:01"}
""",
    )


def configuration(broker_port: int, ports: Sequence[Path], further_devices: str, max_mb: int) -> str:
    """Answer an ordinary YAML."""
    scales = "".join(f'  - {{id: scale-{n}, model: {MODEL}, port: "{port}"}}\n' for n, port in enumerate(ports))
    return f"""\
site: bench
room: gateway
timezone: UTC
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
outbox: {{path: outbox.db, max_mb: {max_mb}}}
devices:
{scales}{further_devices}"""
