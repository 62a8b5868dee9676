"""The real process with a bad YAML: the last good configuration, a device left out, and what is said of both."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.catalogue import data_folder
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]
PROGRAM = Path(sys.executable).with_name("vitals-gateway")
PATIENCE_S = 30.0
FRAME = b"ST,+0083.700 kg\r\n"


async def ask(gateway: Any, *arguments: str) -> str:
    """What a command of the command line prints, asked of the running service."""
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)}
    command = [str(PROGRAM), *arguments]
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    )
    return str(done.stdout)


def last_state(chart: Chart, leaf: str) -> dict[str, Any]:
    bodies = [state.body for state in chart.states if state.topic.endswith(f"/{leaf}") and state.body]
    answer: dict[str, Any] = json.loads(bodies[-1]) if bodies else {}
    return answer


async def remembered(gateway: Any, config_hash: str) -> None:
    """Wait until this configuration is on disk as the last good one."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(  # noqa: ASYNC110 - a file sets no Event
            config_hash in kept.read_text() for kept in gateway.folder.glob("last-good-*.json")
        ):
            await asyncio.sleep(0.01)


async def test_with_a_bad_yaml_the_last_good_one_runs_and_says_so(
    gateway: Any, chart: Chart, new_port: NewPort
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    gateway.more = "include: site.yaml\nranges: limits.yaml"
    (gateway.folder / "limits.yaml").write_bytes((data_folder() / "ranges.yaml").read_bytes())
    (gateway.folder / "site.yaml").write_text("publish_raw: false\n")
    await gateway.start()
    good = (await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet"))["gateway"]
    assert good["config"] == {
        "hash": good["config_hash"],
        "in_force": "file",
        "problems": 0,
        "first_problem": None,
        "left_out": [],
    }
    await remembered(gateway, good["config_hash"])
    assert await gateway.stop() == 0

    (gateway.folder / "site.yaml").write_text("publish_raww: false\n")
    (gateway.folder / "limits.yaml").write_text("kinds: [\n")
    gateway.devices[0] = gateway.devices[0].replace("and-standard-scale", "and-standart-scale")
    await gateway.start()
    status = await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet", PATIENCE_S)
    config = status["gateway"]["config"]
    assert (config["in_force"], config["problems"]) == ("last_good", 3)
    assert f"{gateway.folder}/gateway.yaml:9:" in config["first_problem"]
    assert config["hash"] == status["gateway"]["config_hash"] == good["config_hash"]
    port.write(FRAME)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=PATIENCE_S)
    await chart.wait_for(
        lambda chart: (last_state(chart, "gateway").get("config") or {}).get("in_force") == "last_good", PATIENCE_S
    )
    assert last_state(chart, "gateway")["reason"] == "last_good_configuration"
    lines = (await ask(gateway, "status")).splitlines()
    assert lines[1] == f"config  THE LAST GOOD ONE RUNS (hash {good['config_hash']}): the YAML is bad, 3 problems"
    assert config["first_problem"] in lines[2]
    log = (gateway.folder / "gateway.log").read_text()
    assert "THE LAST GOOD CONFIGURATION RUNS" in log
    assert "site.yaml:1:1: publish_raww: " in log
    assert await gateway.stop() == 0

    (gateway.folder / "gateway.yaml").unlink()
    gone = await asyncio.create_subprocess_exec(
        PROGRAM,
        "run",
        "--config",
        str(gateway.folder / "gateway.yaml"),
        env={**os.environ, "STATE_DIRECTORY": str(gateway.folder), "RUNTIME_DIRECTORY": str(gateway.folder)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(gone.communicate(), PATIENCE_S)
    assert gone.returncode == 78
    assert b"nothing is started" in said
    assert b"Traceback" not in said


async def test_what_a_reload_took_is_the_last_good_one(gateway: Any, new_port: NewPort) -> None:
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    await gateway.start()
    before = (await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet"))["gateway"]
    yaml = gateway.folder / "gateway.yaml"
    yaml.write_text(yaml.read_text() + "publish_raw: true\n")
    await ask(gateway, "reload")
    after = (await gateway.status())["gateway"]
    await remembered(gateway, after["config_hash"])
    assert await gateway.stop() == 0
    gateway.devices[0] = "{"
    await gateway.start()
    status = await gateway.until(lambda status: "scale" in status["devices"], PATIENCE_S)
    assert status["gateway"]["config"]["in_force"] == "last_good"
    assert status["gateway"]["config_hash"] == after["config_hash"] != before["config_hash"]


async def test_a_device_that_is_wrong_is_left_out_and_the_other_is_read(
    gateway: Any, chart: Chart, new_port: NewPort
) -> None:
    port = new_port("scale")
    gateway.more = "on_device_error: run_others"
    gateway.add_device("scale", "and-standard-scale", port.path)
    gateway.add_device("bench", "and-standart-scale", new_port("bench").path)
    await gateway.start()
    status = await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet", PATIENCE_S)
    bench = status["devices"]["bench"]
    assert (bench["state"], bench["reason"], bench["model"]) == ("offline", "misconfigured", "and-standart-scale")
    assert 'did you mean "and-standard-scale"?' in bench["detail"]
    config = status["gateway"]["config"]
    assert (config["in_force"], config["problems"], config["left_out"]) == ("file", 1, ["bench"])
    await chart.wait_for(lambda chart: last_state(chart, "device/bench") != {}, PATIENCE_S)
    told = last_state(chart, "device/bench")
    assert (told["state"], told["reason"], told["detail"]) == ("offline", "misconfigured", bench["detail"])
    port.write(FRAME)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=PATIENCE_S)
    assert "left out, because the YAML is wrong about them: bench" in await ask(gateway, "status")
    assert await gateway.stop() == 0
    await chart.wait_for(lambda chart: last_state(chart, "device/bench")["reason"] == "gateway_stopped", PATIENCE_S)
    gateway.devices.pop()
    await gateway.start()
    await chart.wait_for(
        lambda chart: [state.body for state in chart.states if state.topic.endswith("/device/bench")][-1] == b"",
        PATIENCE_S,
    )
