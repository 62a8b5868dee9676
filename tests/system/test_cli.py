"""The command line as contract.md fixes it: what is printed where, and the exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store import Store
from simulators.ble.faults import BleFault
from simulators.faults import Fault

PROGRAM = Path(sys.executable).with_name("vitals-gateway")

CONFIGURATION = """\
site: northside
room: exam-3
timezone: America/Chicago
broker: {url: "mqtt://127.0.0.1:1"}
outbox: {path: outbox.db}
devices:
  - {id: scale, model: and-standard-scale, port: /dev/serial/by-path/none}
"""


def call(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", "--driver", "no_such", "--hex", "00"],
        ["decode", "--model", "no-such", "--hex", "00"],
        ["decode", "--driver", "mt_sics", "--hex", "0"],
        ["decode", "--driver", "mt_sics"],
        ["decode", "--hex", "00"],
        ["decode", "--driver", "mt_sics", "--characteristic", "2A35", "--hex", "00"],
        ["decode", "--driver", "mt_sics", "--file", "/nowhere/to/be/found"],
        ["simulate", "no-such"],
        ["simulate", "and-standard-scale", "--set", "nonsense"],
        ["simulate", "and-standard-scale", "--dongle", "usb:0"],
        ["simulate", "and-ua-651ble", "--set", "body_temperature=37"],
        ["simulate", "and-ua-651ble", "--story", "/nowhere/to/be/found"],
        ["simulate", "and-ua-651ble", "--every", "0"],
        ["run"],
        ["no-such-command"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_64_and_says_why_without_a_trace(arguments: list[str]) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_decode_takes_a_file_of_bytes_and_a_model_with_its_quirks(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(b"\x1bR\x1bI0000000000\x1bW184.5\x1bH##.#\x1bB0.0\x1bNc\x1bE")
    assert call("decode", "--model", "health-o-meter-600kl", "--file", capture).returncode == 3
    done = call("decode", "--model", "health-o-meter-600kl-3.2.02", "--file", capture)
    assert done.returncode == 0
    assert [m["kind"] for m in json.loads(done.stdout)["measurements"]] == ["body_weight"]


def test_check(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIGURATION.replace("/dev/serial/by-path/none", "/dev/null"))
    good = call("check", file)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    file.write_text(CONFIGURATION.replace("room:", "rom:").replace("and-standard-scale", "and-standart-scale"))
    bad = call("check", file)
    assert bad.returncode == 78
    lines = bad.stdout.splitlines()
    assert any(line.startswith(f"{file}:2:1: rom: ") and '"room"' in line for line in lines)
    assert any(line.startswith(f"{file}:7:24: devices[0].model: ") and "and-standard-scale" in line for line in lines)


def test_run_refuses_a_bad_configuration_with_78(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIGURATION.replace("site:", "sight:"))
    done = call("run", "--config", file)
    assert done.returncode == 78
    assert f"{file}:1:1: sight: " in done.stderr
    assert "Traceback" not in done.stderr
    assert call("run", "--config", tmp_path / "absent.yaml").returncode == 78


def test_run_with_an_outbox_that_cannot_be_used_is_1_with_words(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIGURATION)
    with closing(Store(tmp_path / "outbox.db")):
        done = call("run", "--config", file, env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)})
    assert done.returncode == 1
    assert "outbox.db is in use by another vitals-gateway" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_as_json_and_as_a_table() -> None:
    rows = json.loads(call("models", "--json").stdout)
    assert {"health-o-meter-500kl", "and-standard-scale", "mt-sics-scale"} <= {row["model"] for row in rows}
    assert all(row["evidence"] and "hardware" not in row["evidence"] for row in rows)
    assert call("models", "--markdown").stdout.startswith("# Devices\n")
    table = call("models").stdout.splitlines()
    assert len(table) == len(rows) + 1


def test_status_without_a_service_says_so(tmp_path: Path) -> None:
    done = call("status", env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)})
    assert done.returncode == 1
    assert "no service answers" in done.stderr


def test_simulate_prints_its_port_and_serves_it() -> None:
    with subprocess.Popen(
        [PROGRAM, "simulate", "and-standard-scale", "--set", "body_weight=83.7"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            with Path(port).open("rb", buffering=0) as line:
                heard = b""
                while b"ST,+00083.70 kg\r\n" not in heard:
                    heard += line.read(256)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulate_of_a_device_with_a_radio_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["simulate", "and-ua-651ble", "--set", "systolic=120", "--every", "0.5", "--fault", "vanish"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        name, _, bus = process.stdout.readline().strip().partition("=")
        assert (name, Path(bus.removeprefix("unix:path=")).is_socket()) == ("DBUS_SYSTEM_BUS_ADDRESS", True)
        assert process.stdout.readline() == "C8:1E:8E:00:00:01 A&D_UA-651BLE_000001\n"
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert b"dbus-daemon" in Path(f"/proc/{child}/cmdline").read_bytes()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert not Path(f"/proc/{child}").exists()
    assert list(tmp_path.iterdir()) == []


def test_simulate_without_bumble_says_what_to_install() -> None:
    program = "import sys; sys.modules['bumble'] = None; from gateway.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "simulate", "and-ua-651ble"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'vitals-gateway[demo]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_says_each_fault_and_each_option_in_its_help_and_in_the_readme() -> None:
    said = call("simulate", "--help").stdout
    readme = (Path(__file__).parents[2] / "simulators" / "README.md").read_text()
    for text in (said, readme):
        assert {str(fault) for fault in [*Fault, *BleFault]} <= set(re.findall(r"\w+", text))
        assert {"--set", "--fault", "--story", "--every", "--address", "--dongle"} <= set(re.findall(r"--\w+", text))


def test_a_simulated_scale_needs_no_radio() -> None:
    program = "import sys, simulators.serve, simulators.catalogue; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"bleak", "dbus_fast", "bumble"} & set(loaded)


def test_demo_prints_payloads_one_a_line_and_nothing_else(must_fit: Callable[[str], Any]) -> None:
    done = call("demo", "--seconds", "10", "--json")
    assert done.returncode == 0
    payloads = [must_fit(line) for line in done.stdout.splitlines()]
    assert payloads
    assert {payload["mode"] for payload in payloads} == {"demo"}
    assert {payload["schema"] for payload in payloads} == {"vitals.reading/1"}


def test_run_with_serial_devices_loads_neither_bluetooth_nor_simulators() -> None:
    program = "import sys, gateway.runner, drivers.serial.and_scale; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"serial", "sqlite3", "paho.mqtt.client"} <= set(loaded)
    assert not {"bleak", "dbus_fast", "simulators", "bumble"} & set(loaded)
