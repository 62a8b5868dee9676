"""`vitals-gateway discover`: what is plugged in and in range, as YAML to paste. The work is gateway/discovery.py's."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands import BAD_CONFIG, FAILED, OK, USAGE
from gateway.commands.arguments import seconds
from gateway.terminal import printable

if TYPE_CHECKING:
    from drivers.models import DeviceModel
    from gateway.discovery_report import Discovery

_DISCOVER = """\
Tell what is plugged into the serial ports and what Bluetooth devices are in range, matched with the catalogue; print
YAML to paste under `devices:`. Meanwhile use the devices: step on the scale, take a measurement, put a finger in.

It only listens: nothing is sent, connected or bonded. Ports that a program holds, or that the running service has, are
not opened. With --ask MODEL it sends, on the one port named by --port, the requests that the service would send to
that model, once the port was silent: only where you know what is plugged in there.
"""


def add(commands: Any) -> None:
    """Add `discover` to the command line."""
    discover = commands.add_parser(
        "discover",
        help="tell what is plugged in and in range, as YAML to paste",
        description=_DISCOVER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = discover.add_mutually_exclusive_group()
    which.add_argument("--serial-only", action="store_true")
    which.add_argument("--bluetooth-only", action="store_true")
    discover.add_argument(
        "--port", action="append", default=[], dest="ports", metavar="PATH", help="only this one; may be given again"
    )
    discover.add_argument("--ask", metavar="MODEL", help="ask as this model, on the one --port, if it is silent")
    discover.add_argument("--seconds", type=seconds, default=30.0, metavar="N", help="how long to listen (30)")
    discover.add_argument("--all", action="store_true", help="Bluetooth devices that are not medical, too")
    discover.add_argument("--json", action="store_true")
    discover.add_argument("--models-dir", type=Path, metavar="DIR", help="a site's own models")
    discover.set_defaults(act=_discover)


def _discover(given: argparse.Namespace) -> int:
    try:
        return _tell(given)
    except KeyboardInterrupt:  # before anything was looked at, or for the second time
        return OK


def _tell(given: argparse.Namespace) -> int:
    from gateway.catalogue import CatalogueError, load_model, model_names
    from gateway.discovery import could_look
    from gateway.discovery_report import Discovery

    try:
        models = {name: load_model(name, given.models_dir) for name in model_names(given.models_dir)}
    except CatalogueError as error:
        print(f"vitals-gateway discover: {error}", file=sys.stderr)
        return BAD_CONFIG
    if (wrong := _misuse(given, models)) is not None:
        print(f"vitals-gateway discover: {wrong}", file=sys.stderr)
        return USAGE
    found = Discovery(models)
    try:
        asyncio.run(_look(given, found))
    except (KeyboardInterrupt, asyncio.CancelledError):
        found.interrupted = True
    if given.json:
        print(json.dumps(found.members(everybody=given.all), ensure_ascii=False, indent=2))
    else:
        for line in found.lines(everybody=given.all):
            print(line)
    return OK if could_look(found) else FAILED


def _misuse(given: argparse.Namespace, models: Mapping[str, DeviceModel]) -> str | None:
    from gateway.discovery_serial import asks
    from gateway.problems import unknown_model

    if given.ports and given.bluetooth_only:
        return "--port names a serial port: leave --bluetooth-only away"
    if given.ask is None:
        return None
    if len(given.ports) != 1:
        return "--ask sends something: name the one port that this model is on, with --port"
    if given.ask not in models:
        return unknown_model(given.ask, models)
    row = models[given.ask]
    if row.link != "serial" or not asks(row):
        return f"{given.ask} is never asked: leave --ask away, and use the device"
    return None


async def _look(given: argparse.Namespace, found: Discovery) -> None:
    """Look until all is told, the time is over or somebody ends it; `found` has what is known at any moment."""
    from gateway import discovery

    if (task := asyncio.current_task()) is not None:  # by itself, asyncio.run does so for Ctrl-C alone
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    progress = _Progress()
    devices = await discovery.ask_service(found, progress.tell)
    work: list[Coroutine[Any, Any, None]] = []
    if not given.bluetooth_only:
        work += discovery.ports(found, given.ports, devices, seconds=given.seconds, ask=given.ask, tell=progress.tell)
    if not given.serial_only and not given.ports:
        work.append(discovery.air(found, devices, seconds=given.seconds, tell=progress.tell))
    if work:
        progress.tell("listening: step on the scale, take a measurement, put a finger in, wake a device up")
        await progress.through(work, given.seconds)


class _Progress:
    """Steps on stderr, a line each; on a terminal the seconds that are left, too."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()

    def tell(self, text: str) -> None:
        print(f"{self._clear()}{printable(text)}", file=sys.stderr, flush=True)

    async def through(self, work: Sequence[Coroutine[Any, Any, None]], seconds: float) -> None:
        """Do all of it at once; what is still done when somebody ends it is cancelled."""
        tasks = [asyncio.create_task(one) for one in work]
        until = time.monotonic() + seconds
        pending = {*tasks}
        try:
            while pending:
                if self._is_terminal:
                    print(f"\r{max(0, round(until - time.monotonic()))} s ", end="", file=sys.stderr, flush=True)
                _, pending = await asyncio.wait(pending, timeout=1.0)
        finally:
            print(self._clear(), end="", file=sys.stderr, flush=True)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            task.result()

    def _clear(self) -> str:
        return "\r\x1b[K" if self._is_terminal else ""
