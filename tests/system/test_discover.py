"""`vitals-gateway discover` as a process: simulated devices on ptys are named, what it prints is a configuration."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.links.serial_port import SerialPort
from drivers.models import LineSettings
from gateway.config import load
from simulators import catalogue
from simulators.ports.pty import PtyPort, run_device
from simulators.story import clinic

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
PATIENCE_S = 40.0
NewPort = Callable[[str], PtyPort]


async def discover(*arguments: str, status: int = 0, environment: dict[str, str] | None = None) -> tuple[str, str]:
    """Run it to its end; answer stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "discover",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    async with asyncio.timeout(PATIENCE_S):
        said, progress = await process.communicate()
    assert process.returncode == status, progress.decode()
    assert b"Traceback" not in progress
    return said.decode(), progress.decode()


@asynccontextmanager
async def plugged_in(model: str, port: PtyPort) -> AsyncIterator[None]:
    """A simulated device at a port, on a clinic's day that goes ten times as fast."""
    device = catalogue.make(model)
    running = asyncio.create_task(run_device(device, port, story=clinic(1, device), speed=10.0))
    yield
    running.cancel()
    await asyncio.wait({running})


def models_of(folder: Path, said: str) -> dict[str, str]:
    """What `check` reads when it is pasted: port -> model."""
    file = folder / "pasted.yaml"
    head = 'site: northside\nroom: exam-3\nbroker: {url: "mqtt://127.0.0.1:1883"}\noutbox: {path: outbox.db}\n'
    file.write_text(head + said)
    loaded = load(file)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    return {str(device.port): device.model_name for device in loaded.settings.devices}


async def test_devices_are_named_by_what_they_say_and_the_rest_in_words(new_port: NewPort, tmp_path: Path) -> None:
    devices = {
        "scale": "health-o-meter-500kl",
        "oximeter": "masimo-rad-8",
        "bench": "and-standard-scale",
        "cuff": "terumo-br-500",
    }
    ports = {name: new_port(name) for name in (*devices, "silent", "held")}
    paths = {name: str(port.path) for name, port in ports.items()}
    held = os.open(paths["held"], os.O_RDWR | os.O_NOCTTY)
    holder = await asyncio.create_subprocess_exec("sleep", "60", stdin=held)
    os.close(held)
    async with AsyncExitStack() as stack:
        for name, model in devices.items():
            await stack.enter_async_context(plugged_in(model, ports[name]))
        named = [word for path in paths.values() for word in ("--port", path)]
        said, progress = await discover(*named, "--port", "/dev/no-such-port", "--seconds", "12")
    holder.kill()
    await holder.wait()
    found = models_of(tmp_path, said)
    drivers = {
        paths["scale"]: "health-o-meter",
        paths["oximeter"]: "masimo",
        paths["bench"]: "and-",
        paths["cuff"]: "terumo",
    }
    assert found.keys() == drivers.keys()
    assert all(found[path].startswith(maker) for path, maker in drivers.items()), found
    for words in (
        "silent. Step on the scale",
        f"held by sleep (process {holder.pid})",
        "/dev/no-such-port is not there",
    ):
        assert words in said.replace("\n#       ", " ")
    assert f"{paths['oximeter']}: masimo_ascii1" in progress.splitlines()
    assert f"{paths['silent']}: silent" in progress.splitlines()


async def test_for_programs_it_is_json(new_port: NewPort) -> None:
    port = new_port("thermometer")
    async with plugged_in("tanita-sc-240", port):
        said, _ = await discover("--json", "--port", str(port.path), "--seconds", "20")
    told = json.loads(said)
    (serial,) = told["serial"]
    assert (serial["state"], [p["driver"] for p in serial["protocols"]]) == ("recognized", ["tanita"])
    assert set(serial["models"]) >= {"tanita-sc-240", "tanita-pw-650ma"}
    (entry,) = told["entries"]
    assert (entry["port"], entry["ready"]) == (str(port.path), True)
    assert told["bluetooth"] is None


async def test_a_silent_device_is_asked_only_where_its_model_was_named(new_port: NewPort) -> None:
    port = new_port("scale")
    path = str(port.path)
    async with plugged_in("mt-sics-scale", port):
        said, _ = await discover("--json", "--port", path, "--seconds", "1")
        assert json.loads(said)["serial"][0]["state"] == "silent"
        said, _ = await discover("--json", "--port", path, "--ask", "mt-sics-scale", "--seconds", "30")
    (serial,) = json.loads(said)["serial"]
    assert (serial["state"], serial["asked"]) == ("recognized", "mt-sics-scale")


async def test_what_the_running_service_has_is_not_opened(gateway: Any, new_port: NewPort) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-500kl", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    service = {"RUNTIME_DIRECTORY": str(gateway.folder)}
    said, _ = await discover("--port", str(port.path), "--seconds", "20", environment=service)
    assert "it is scale of the running service. unknown: not_heard_yet" in said
    assert "nothing to paste" in said
    await gateway.device("scale", "unknown", "not_heard_yet")


async def test_a_port_that_another_gateway_holds_is_busy(new_port: NewPort) -> None:
    port = new_port("scale")
    ours = await SerialPort.open(str(port.path), LineSettings())
    said, _ = await discover("--json", "--port", str(port.path), "--seconds", "20")
    ours.close()
    (serial,) = json.loads(said)["serial"]
    assert (serial["state"], os.getpid() in [holder["pid"] for holder in serial["holders"]]) == ("held", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_it_with_what_was_found_so_far(
    new_port: NewPort, tmp_path: Path, number: signal.Signals
) -> None:
    speaking, silent = new_port("speaking"), new_port("silent")
    async with plugged_in("masimo-rad-8", speaking):
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "discover", "--port", str(speaking.path), "--port", str(silent.path), "--seconds", "600",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while b"masimo_ascii1" not in await process.stderr.readline():
                pass
            process.send_signal(number)
            said, progress = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in progress
    assert list(models_of(tmp_path, said.decode())) == [str(speaking.path)]
    assert "interrupted" in said.decode().splitlines()[0]


async def test_a_port_alone_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    said, _ = await discover("--port", str(tmp_path / "none"), status=1)
    assert "is not there" in said
