"""The configuration is read again while the service runs: the real process, the real broker, real ptys.

What changed alone is exchanged: no other device, and no connection, may notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from simulators.broker import OwnBroker, own_broker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
RANGES = Path(__file__).parents[2] / "config/ranges.yaml"
TOPIC = "vitals/v1/northside/exam-3"
ZERO = b"ST,+0000.000 kg\r\n"


def stable(kg: float) -> bytes:
    """One frame of the A&D standard format: EK-L manual 9-2."""
    return f"ST,{kg:+09.3f} kg\r\n".encode()


def weights(chart: Chart, device: str = "scale") -> list[float]:
    return [
        float(vital["value"])
        for delivery in chart.deliveries
        for vital in (delivery.payload or {})["vitals"]
        if (delivery.payload or {})["device"]["id"] == device
    ]


def connects(broker: OwnBroker) -> int:
    return broker._log_path.read_text().count("as northside.exam-3 ")


def last_state(chart: Chart, leaf: str) -> Mapping[str, Any]:
    return next((state.payload or {} for state in reversed(chart.states) if state.topic == f"{TOPIC}/{leaf}"), {})


async def said(*words: str, folder: Path) -> tuple[int, str, str]:
    """Run the command line beside the gateway of this folder; answer status, stdout, stderr."""
    pipe, environment = asyncio.subprocess.PIPE, {**os.environ, "RUNTIME_DIRECTORY": str(folder)}
    process = await asyncio.create_subprocess_exec(PROGRAM, *words, stdout=pipe, stderr=pipe, env=environment)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def someone_stands_there(port: PtyPort, kg: float) -> AsyncIterator[None]:
    """A scale that says its weight ten times a second. Who opens its port anew cannot tell whether this is a repeat."""

    async def stream() -> None:
        while True:
            port.write(stable(kg))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(stream())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_device_more_speaks_and_nobody_else_notices(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    scale, other = new_port("scale"), new_port("other")
    gateway.add_device("scale", "and-standard-scale", scale.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
    await say(scale, ZERO)
    async with someone_stands_there(scale, 70.0):
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
        gateway.add_device("other", "and-standard-scale", other.path)
        answer = await gateway.reload()
        assert (answer["changed"], answer["problems"]) == (["device other: added"], [])
        await gateway.device("other", "unknown", "not_heard_yet")
        await say(other, stable(61.5))
        frames = (await gateway.status())["devices"]["scale"]["counts"]["frames"]
        await gateway.until(lambda status: status["devices"]["scale"]["counts"]["frames"] > frames + 5)
    await say(scale, ZERO + stable(81.5))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 3, timeout=20)
    assert weights(chart) == [70.0, 81.5], "the port was opened anew"
    assert weights(chart, "other") == [61.5]
    assert {(delivery.payload or {})["disposition"] for delivery in chart.deliveries} == {"usable"}
    await chart.wait_for(lambda chart: last_state(chart, "device/other").get("state") == "online", timeout=20)
    assert not [state for state in chart.states if (state.payload or {}).get("state") == "offline"]
    status = await gateway.status()
    assert (connects(broker), status["account"]["unbalanced"]) == (1, [])
    assert status["gateway"]["config"]["hash"] == status["gateway"]["config_hash"] == answer["config_hash"]
    assert await gateway.stop() == 0
    assert not chart.gaps


async def test_a_device_less_is_gone_from_broker_and_status_and_stays_counted(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    scale, other = new_port("scale"), new_port("other")
    gateway.add_device("scale", "and-standard-scale", scale.path)
    gateway.add_device("other", "and-standard-scale", other.path)
    await gateway.start()
    for device in ("scale", "other"):
        await gateway.device(device, "unknown", "not_heard_yet")
    await say(other, stable(61.5))
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
    whole = list(gateway.devices)
    del gateway.devices[1]
    assert (await gateway.reload())["changed"] == ["device other: removed"]
    status = await gateway.status()
    assert list(status["devices"]) == ["scale"]
    assert (status["account"]["usable"], status["account"]["unbalanced"]) == (1, [])
    topic = f"{TOPIC}/device/other"
    await chart.wait_for(lambda chart: [s.body for s in chart.states if s.topic == topic][-1] == b"", timeout=20)
    assert other.write(stable(1.0)) == 0, "nobody reads the port any more"
    gateway.devices[:] = whole
    assert (await gateway.reload())["changed"] == ["device other: added"]
    await gateway.device("other", "unknown", "not_heard_yet")
    await say(other, stable(61.5))  # whoever stands there still: it must not be a second reading
    await say(other, ZERO + stable(62.5))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 3, timeout=20)
    first, doubtful, _ = (delivery.payload or {} for delivery in chart.deliveries)
    assert (doubtful["disposition"], doubtful["possible_repeat_of"]) == ("hold", first["id"])
    await chart.wait_for(lambda chart: last_state(chart, "device/other").get("state") == "online", timeout=20)
    status = await gateway.until(lambda status: status["devices"]["other"]["readings"] == 3)
    assert status["account"]["unbalanced"] == []
    assert await gateway.stop() == 0
    assert (connects(broker), chart.gaps) == (1, {})


async def test_a_weighing_in_its_middle_is_not_lost_while_another_device_changes(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    scale, other = new_port("scale"), new_port("other")
    gateway.add_device("scale", "health-o-meter-500kl", scale.path)
    gateway.add_device("other", "and-standard-scale", other.path, ", unit: kg")
    await gateway.start()
    for device in ("scale", "other"):
        await gateway.device(device, "unknown", "not_heard_yet")
    packet = b"\x1bR\x1bI1234567890\x1bW184.5\x1bH84.0\x1bB24.1\x1bT12.0\x1bNc\x1bE"
    await say(other, stable(61.5))
    await gateway.device("other", "online")
    await say(scale, packet + packet[:20])  # two equal packets make a reading: one and a half are here
    gateway.devices[1] = gateway.devices[1].replace("unit: kg", "unit: lb")
    assert (await gateway.reload())["changed"] == ["device other: unit"]
    await say(scale, packet[20:])
    await gateway.until(lambda status: status["devices"]["scale"]["readings"] == 1)
    await gateway.device("other", "unknown", "not_heard_yet")
    await say(other, ZERO + stable(62.5))
    status = await gateway.until(lambda status: status["devices"]["other"]["readings"] == 2)
    scale_counts, other_counts = (status["devices"][device]["counts"] for device in ("scale", "other"))
    assert (scale_counts["usable"], scale_counts["rejected"]) == (1, {})
    assert (other_counts["usable"], other_counts["held"]) == (1, {"unit_conflict": 1}), "counted on, by the new unit"
    assert status["account"]["unbalanced"] == []
    assert await gateway.stop() == 0


async def test_a_changed_device_doubles_nothing_and_its_repeats_are_known(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, stable(70.0))
    async with someone_stands_there(port, 70.0):
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
        gateway.devices[0] = gateway.devices[0].replace("}", ", serial: {baud: 4800}}")
        assert (await gateway.reload())["changed"] == ["device scale: serial"]
        await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    first, again = (delivery.payload or {} for delivery in chart.deliveries)
    assert (again["disposition"], again["reasons"], again["possible_repeat_of"]) == (
        "hold",
        ["possible_repeat"],
        first["id"],
    )
    assert (await gateway.status())["account"]["unbalanced"] == []


async def test_what_readings_are_made_by_changes_in_place(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    """Ranges, publish_raw, timezone, stored: nobody's port is opened anew for them."""
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, ZERO)
    async with someone_stands_there(port, 70.0):
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
        ranges = RANGES.read_text()
        (gateway.folder / "ranges.yaml").write_text(ranges)
        gateway.more = "publish_raw: true\nranges: ranges.yaml\nmetrics: {textfile: gateway.prom}"
        gateway.outbox_more = ", keep_days: 3, max_mb: 32"
        gateway.devices[0] = gateway.devices[0].replace("}", ", stored: publish}")
        answer = await gateway.reload()
        assert answer["changed"] == [
            "device scale: stored",
            "publish_raw: true",
            "outbox: keep_days 3, max_mb 32",
            "metrics: started anew",
        ]
        assert len(answer["warnings"]) == 2
        await gateway.until(lambda status: (gateway.folder / "gateway.prom").exists())
        status = await gateway.until(lambda status: status["outbox"]["max_mb"] == 32)
    assert status["devices"]["scale"]["state"] == "online"
    await say(port, ZERO + stable(81.5))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 2, timeout=20)
    one, other = (delivery.payload or {} for delivery in chart.deliveries)
    assert (one["raw"], other["raw"] is not None) == (None, True)
    (gateway.folder / "ranges.yaml").write_text(_narrower(ranges))
    assert (await gateway.reload())["changed"] == ["ranges: for readings from now on"]
    await say(port, ZERO + stable(90.0))
    await chart.wait_for(lambda chart: len(chart.deliveries) == 3, timeout=20)
    assert (chart.deliveries[2].payload or {})["disposition"] == "hold"
    assert weights(chart) == [70.0, 81.5, 90.0]
    gateway.more = ""
    assert "metrics: off" in (await gateway.reload())["changed"]
    assert not (gateway.folder / "gateway.prom").exists()
    assert await gateway.stop() == 0
    assert connects(broker) == 1


def _narrower(ranges: str) -> str:
    """Nobody weighs more than 85 kg."""
    head, kind, rest = ranges.partition("body_weight:")
    narrowed, count = re.subn(r"high: [0-9.]+", "high: 85", rest, count=2)
    assert count == 2
    return head + kind + narrowed


async def test_a_bad_file_changes_nothing_and_the_state_says_so_until_it_is_mended(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    good = gateway.config.read_text()
    running = (await gateway.status())["gateway"]["config_hash"]
    gateway.config.write_text(good.replace("timezone: America/Chicago", "timezone: America/Chikago"))
    status, out, err = await said("reload", folder=gateway.folder)
    assert (status, out) == (78, "")
    problem = f"{gateway.config}:3:11: timezone: "
    assert err.startswith(problem)
    assert "not reloaded" in err
    _, room, _ = await said("status", folder=gateway.folder)
    assert room.splitlines()[1].startswith("config  the file on disk is not what runs: 1 problems")
    assert room.splitlines()[2].startswith(f"        {problem}")
    config = (await gateway.status())["gateway"]["config"]
    first = config["first_problem"]
    assert first.startswith(problem)
    assert config == {"hash": running, "in_force": "previous", "problems": 1, "first_problem": first, "left_out": []}
    await chart.wait_for(lambda chart: last_state(chart, "gateway").get("config") == config, timeout=20)
    await say(port, stable(70.0))
    await chart.wait_for(lambda chart: weights(chart) == [70.0], timeout=20)
    assert problem in (gateway.folder / "gateway.log").read_text()
    gateway.config.write_text(good + "# mended\n")
    status, out, err = await said("reload", folder=gateway.folder)
    assert (status, out) == (0, "nothing that matters has changed\n"), err
    status = await gateway.status()
    assert status["gateway"]["config_hash"] != running
    config = status["gateway"]["config"]
    assert (config["in_force"], config["problems"], config["first_problem"]) == ("file", 0, None)
    assert config["hash"] == status["gateway"]["config_hash"]
    await chart.wait_for(lambda chart: last_state(chart, "gateway").get("config") == config, timeout=20)
    assert connects(broker) == 1


async def test_what_only_a_restart_can_change_is_refused_whole(gateway: Any, new_port: NewPort) -> None:
    port, other = new_port("scale"), new_port("other")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    gateway.room = "exam-4"
    gateway.add_device("other", "and-standard-scale", other.path)
    answer = await gateway.reload()
    (problem,) = answer["problems"]
    assert problem.startswith("room: is exam-3 in the service that runs and exam-4 in the file")
    assert "systemctl restart vitals-gateway" in problem
    assert list((await gateway.status())["devices"]) == ["scale"], "no half of it"
    gateway.room = "exam-3"
    gateway.more = "ranges: nowhere.yaml"
    assert "nowhere.yaml" in (await gateway.reload())["problems"][0]
    gateway.more = ""
    assert (await gateway.reload())["changed"] == ["device other: added"]


async def test_a_broker_that_moved_gets_the_backlog_and_nothing_twice(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    """Forty readings come while it moves, twenty while the address is wrong, ten more at the second."""
    port = new_port("scale")
    gateway.add_device("scale", "and-standard-scale", port.path)
    await gateway.start()
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
    await gateway.device("scale", "unknown", "not_heard_yet")

    async def weigh(*kilograms: int) -> None:
        for kg in kilograms:
            await say(port, ZERO + stable(kg))

    async with own_broker(config=("max_queued_messages 0",)) as second, Chart(second.host, second.port, "#") as moved:
        first_port, gateway.broker_port = gateway.broker_port, 9  # discard: nobody is there
        weighing = asyncio.create_task(weigh(*range(40, 80)))
        await chart.wait_for(lambda chart: len(chart.deliveries) >= 5, timeout=20)
        assert (await gateway.reload())["changed"] == ["broker: connects anew"]
        await weighing
        await weigh(*range(80, 100))
        await gateway.until(lambda status: status["account"]["usable"] == 60)
        await chart.wait_for(lambda chart: last_state(chart, "gateway").get("state") == "offline", timeout=20)
        await gateway.until(lambda status: "refuses connections" in status["broker"]["trouble"])
        gateway.broker_port = second.port
        await gateway.reload()
        await gateway.until(lambda status: status["outbox"]["depth"] == 0)
        await weigh(*range(100, 110))
        await moved.wait_for(lambda moved: 109 in weights(moved), timeout=20)
        assert weights(chart) + weights(moved) == list(range(40, 110))
        gateway.broker_port = first_port
        await gateway.reload()
        await chart.wait_for(lambda chart: last_state(chart, "gateway").get("state") == "online", timeout=20)
        assert await gateway.stop() == 0
        assert last_state(moved, "gateway")["state"] == "offline"
        assert (connects(second), connects(broker)) == (1, 2)
        assert not [*chart.duplicates, *moved.duplicates]


async def test_a_password_that_changed_is_used(gateway: Any, new_port: NewPort, tmp_path: Path) -> None:
    """The YAML is the same: what it names has changed."""
    passwords = tmp_path / "passwords"
    passwords.write_text("gateway:right\n")
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)  # noqa: ASYNC221 - before anything runs
    passwords.chmod(0o644)
    secret = gateway.folder / "secret"
    secret.write_text("wrong\n")
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    async with own_broker(config=("allow_anonymous false", f"password_file {passwords}")) as broker:
        gateway.broker_port = broker.port
        gateway.broker_more = ", username: gateway, password_file: secret"
        await gateway.start()
        await gateway.until(lambda status: "does not let us in" in status["broker"]["trouble"])
        secret.write_text("right\n")
        assert (await gateway.reload())["changed"] == ["broker: connects anew"]
        await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
        assert (await gateway.reload())["changed"] == []
        assert connects(broker) == 1


async def test_twenty_hangups_under_load_lose_and_double_nothing(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say
) -> None:
    """Each with another device's settings, every third with a bad file; in the end five at once."""
    scale, other = new_port("scale"), new_port("other")
    gateway.add_device("scale", "and-standard-scale", scale.path)
    gateway.add_device("other", "and-standard-scale", other.path)
    await gateway.start()
    await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
    await gateway.device("scale", "unknown", "not_heard_yet")
    kilograms = [40 + number / 10 for number in range(400)]

    async def weigh() -> None:
        for kg in kilograms:
            await say(scale, ZERO + stable(kg))
            await asyncio.sleep(0.005)

    weighing = asyncio.create_task(weigh())
    for turn in range(20):
        gateway.devices[1] = (
            f"{{id: other, model: and-standard-scale, port: {other.path}, unit: {['kg', 'lb'][turn % 2]}}}"
        )
        gateway.write()
        if turn % 3 == 2:
            gateway.config.write_text("site: [\n")
        gateway.process.send_signal(signal.SIGHUP)
        came = len(chart.deliveries)
        await chart.wait_for(lambda chart, came=came: len(chart.deliveries) > came + 10, timeout=20)  # type: ignore[misc]
    gateway.write()
    for _ in range(5):
        gateway.process.send_signal(signal.SIGHUP)
    await weighing
    await chart.wait_for(lambda chart: len(chart.deliveries) >= len(kilograms), timeout=30)
    status = await gateway.until(lambda status: status["gateway"]["config"]["in_force"] == "file")
    assert await gateway.stop() == 0
    assert weights(chart) == kilograms
    assert (chart.gaps, chart.duplicates, status["account"]["unbalanced"]) == ({}, [], [])
    assert connects(broker) == 1
    log = (gateway.folder / "gateway.log").read_text()
    assert log.count("the configuration is not reloaded") >= 1


async def test_a_stop_in_the_midst_of_a_reload_stops(gateway: Any, new_port: NewPort) -> None:
    """A file that nobody writes to keeps its reader waiting for ever: a stop does not wait with it."""
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    gateway.config.unlink()
    os.mkfifo(gateway.config)
    asked = asyncio.create_task(said("reload", folder=gateway.folder))
    opened = await asyncio.to_thread(gateway.config.open, "w")  # returns when somebody reads it
    assert await gateway.stop() == 0
    opened.close()
    status, _, err = await asyncio.wait_for(asked, 20)
    assert (status, err) == (1, "vitals-gateway: the service did not answer: it hung up\n")


async def test_a_terminal_that_closes_ends_what_was_started_by_hand(gateway: Any, new_port: NewPort) -> None:
    """The same signal as for a reload: nobody would know of a gateway that lives on without its terminal."""
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    gateway.write()
    master, slave = os.openpty()
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)}
    by_hand = ("setsid", "--ctty", PROGRAM, "run", "--config", gateway.config)
    gateway.process = await asyncio.create_subprocess_exec(
        *by_hand, stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    await gateway.device("scale", "unknown", "not_heard_yet")
    gateway.process.send_signal(signal.SIGHUP)
    await gateway.until(lambda status: b"configuration is reloaded" in os.read(master, 65536))
    os.close(master)
    assert await asyncio.wait_for(gateway.process.wait(), 20) == 0


async def test_systemd_hears_when_it_begins_and_is_over(gateway: Any, new_port: NewPort, tmp_path: Path) -> None:
    """sd_notify(3): RELOADING=1 with the monotonic time of now, then READY=1; before whoever asked has the answer."""
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    gateway.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        await gateway.start()
        assert (await asyncio.to_thread(manager.recv, 4096)).startswith(b"READY=1\nSTATUS=1 devices")
        gateway.add_device("other", "and-standard-scale", new_port("other").path)
        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await gateway.reload()
        manager.setblocking(False)
        reloading, microseconds = manager.recv(4096).split(b"\nMONOTONIC_USEC=")
        assert reloading == b"RELOADING=1"
        assert began <= int(microseconds) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=2 devices")
        gateway.config.write_text("site: [\n")
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.until(lambda status: status["gateway"]["config"]["in_force"] == "previous")
        assert manager.recv(4096).startswith(b"RELOADING=1")
        manager.settimeout(20)
        assert (await asyncio.to_thread(manager.recv, 4096)).startswith(b"READY=1\nSTATUS=2 devices"), "it serves on"


async def test_a_hangup_while_it_starts_does_not_end_it(gateway: Any, new_port: NewPort) -> None:
    """systemd takes an end by SIGHUP for one that was asked for, and would not start it again (systemd.service(5))."""
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    gateway.write()
    before = gateway.config.read_text()
    gateway.add_device("other", "and-standard-scale", new_port("other").path)
    gateway.config.unlink()
    os.mkfifo(gateway.config)
    gateway.process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", "--config", gateway.config, env={**os.environ, "RUNTIME_DIRECTORY": str(gateway.folder)}
    )
    opened = await asyncio.to_thread(gateway.config.open, "w")  # returns when it reads its configuration
    gateway.process.send_signal(signal.SIGHUP)
    gateway.config.unlink()
    gateway.write()
    opened.write(before)
    opened.close()
    await gateway.until(lambda status: list(status["devices"]) == ["scale", "other"])
