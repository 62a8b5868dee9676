"""The command line as contract.md fixes it: what is printed where, and the exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    file.write_text(CONFIGURATION)
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
    (tmp_path / "outbox.db").write_bytes(b"this is no database " * 100)
    done = call("run", "--config", file, env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)})
    assert done.returncode == 1
    assert "outbox.db" in done.stderr
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


def test_demo_prints_payloads_one_a_line_and_nothing_else() -> None:
    done = call("demo", "--seconds", "10", "--json")
    assert done.returncode == 0
    payloads = [json.loads(line) for line in done.stdout.splitlines()]
    assert payloads
    assert {payload["mode"] for payload in payloads} == {"demo"}
    assert {payload["schema"] for payload in payloads} == {"vitals.reading/1"}


def test_run_with_serial_devices_loads_neither_bluetooth_nor_simulators() -> None:
    program = "import sys, gateway.runner, drivers.serial.and_scale; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"serial", "sqlite3", "paho.mqtt.client"} <= set(loaded)
    assert not {"bleak", "dbus_fast", "simulators", "bumble"} & set(loaded)
