"""`doctor`, its support file, and `check --online`, beside the real service, broker, pty and a simulated radio."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.bundle import status_of
from simulators.ble.and_ua_651ble import AndUa651ble
from simulators.broker import OwnBroker
from simulators.chart import Chart
from simulators.ports.pty import PtyPort
from simulators.ports.room import Room

PROGRAM = Path(sys.executable).with_name("vitals-gateway")
CUFF = "C8:1E:8E:00:00:01"
FRAME = b"\x1bR\x1bI7391846205\x1bW187.3\x1bH84.0\x1bB24.1\x1bT12.0\x1bNc\x1bE"  # an ID that somebody keyed in

NewPort = Callable[[str], PtyPort]
Say = Callable[[PtyPort, bytes], Awaitable[None]]


async def call(*arguments: str | Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the service whose control socket is in `folder`."""
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(folder), **more}
    done = await asyncio.to_thread(
        subprocess.run,
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        cwd=folder,
    )
    assert "Traceback" not in done.stderr
    return done


async def page(gateway: Any, *, socket: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Answer doctor's findings: (state, code) by check. Without power, clock, disk: this machine's own."""
    file = gateway.folder / "gateway.yaml"
    done = await call("doctor", "--config", file, "--json", folder=socket or gateway.folder)
    findings = json.loads(done.stdout)
    assert all(set(finding) == {"check", "state", "code", "detail", "do"} for finding in findings)
    assert all((finding["state"] == "good") == (finding["do"] == "") for finding in findings)
    assert done.returncode == any(finding["state"] == "bad" for finding in findings)
    answer: dict[str, list[tuple[str, str]]] = {}
    for finding in findings:
        answer.setdefault(finding["check"], []).append((finding["state"], finding["code"]))
    return answer


async def test_a_room_that_runs_and_one_that_was_stopped(
    gateway: Any, chart: Chart, new_port: NewPort, say: Say, tmp_path: Path
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-500kl", port.path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    assert (await page(gateway))["device scale"] == [("warning", "device_not_heard")]
    await say(port, FRAME + FRAME)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
    await gateway.until(lambda status: f"{gateway_topic}/test/reading" in status["broker"]["taken"])
    said = await page(gateway)
    assert list(said)[:5] == ["configuration", "service", "power", "clock", "serial"]
    assert said["service"] == [("good", "")]
    assert said["outbox"] == [("good", "")]
    assert said["device scale"] == [("good", "")]
    assert said["broker"] == [("good", ""), ("good", ""), ("warning", "publish_not_known")], "a pty's go to test/ alone"
    with (gateway.folder / "gateway.yaml").open("a") as file:
        file.write("# changed\n")
    assert (await page(gateway))["service"] == [("warning", "config_changed")]
    assert await gateway.stop() == 0
    said = await page(gateway)
    assert said["service"] == [("bad", "service_down")]
    assert said["outbox"] == [("good", "")]
    assert said["device scale"] == [("good", "")]
    assert said["broker"] == [("good", ""), ("warning", "publish_not_known")]
    port.unplug()
    assert (await page(gateway))["device scale"] == [("bad", "port_absent")]


gateway_topic = "vitals/v1/northside/exam-3"


async def test_the_page_for_people_says_what_to_do(gateway: Any, new_port: NewPort) -> None:
    gateway.add_device("scale", "health-o-meter-500kl", new_port("scale").path)
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    done = await call("doctor", "--config", gateway.folder / "gateway.yaml", folder=gateway.folder)
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "device scale" in line)
    assert lines[at].startswith("warning  device scale   device_not_heard: not_heard_yet")
    assert lines[at + 1].strip().startswith("do: measure once")
    assert await gateway.stop() == 0


async def test_without_a_configuration_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    done = await call("doctor", "--config", tmp_path / "absent.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert "bad      configuration  config_bad: 1 errors, the first: " in done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines() if "do:" not in line} >= {"service", "power", "clock"}


async def test_bluetooth_and_the_bond_of_a_cuff(gateway: Any, room: Room, chart: Chart) -> None:
    gateway.devices.append(f'{{id: cuff, model: and-ua-651ble, address: "{CUFF}"}}')
    async with AndUa651ble(room.air.radio("cuff"), CUFF, pace_s=0.03, advertising_interval_ms=20) as cuff:
        await gateway.start()
        await gateway.device("cuff", "unknown", "not_heard_yet")
        said = await page(gateway)
        assert said["bluetooth"] == [("good", "")]
        assert ("warning", "not_bonded") in said["device cuff"]
        await cuff.measure(128, 82, 66)
        await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=30)
        said = await page(gateway)
        assert ("warning", "not_bonded") not in said["device cuff"]
        await room.bluez.power(on=False)
        await gateway.until(lambda status: status["devices"]["cuff"]["reason"] == "adapter_off")
        said = await page(gateway)
        assert said["bluetooth"] == [("bad", "adapter_off")]
        assert said["device cuff"] == [("bad", "device_offline")]
        await room.bluez.die()
        said = await page(gateway)
        assert said["bluetooth"] == [("bad", "no_bluetooth")]
        assert await gateway.stop() == 0


# ---- check --online --------------------------------------------------------------------------------------------------


async def test_check_online_knows_this_machines_service_from_another(
    gateway: Any, new_port: NewPort, tmp_path: Path
) -> None:
    gateway.add_device("scale", "health-o-meter-500kl", new_port("scale").path)
    await gateway.start()
    await gateway.until(lambda status: f"{gateway_topic}/gateway" in status["broker"]["taken"])
    file = gateway.folder / "gateway.yaml"
    done = await call("check", "--online", "--strict", file, folder=gateway.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = await call("check", "--online", file, folder=elsewhere)
    assert done.returncode == 0
    assert f"{file}:2:7: room: warning: another gateway is online as northside/exam-3 (since 20" in done.stdout
    done = await call("check", "--online", "--strict", file, folder=elsewhere)
    assert done.returncode == 78
    assert f"{file}:2:7: room: another gateway is online" in done.stdout
    status = await gateway.status()
    assert status["broker"]["connected_to"] is not None, "its session is its own"
    assert await gateway.stop() == 0
    done = await call("check", "--online", "--strict", file, folder=elsewhere)
    assert (done.returncode, done.stdout) == (0, "")


async def test_check_offline_says_doubts_and_strict_makes_them_errors(gateway: Any, tmp_path: Path) -> None:
    gateway.add_device("scale", "health-o-meter-500kl", Path("/dev/serial/by-path/none"))
    await gateway.start()  # it runs all the same, and says it in its own words
    await gateway.device("scale", "offline", "port_absent")
    file = gateway.folder / "gateway.yaml"
    log = (gateway.folder / "gateway.log").read_text()
    assert "there is no such port now" not in log
    done = await call("check", file, folder=tmp_path)
    line = (
        "devices[0].port: {}there is no such port now: plug the adapter in, or compare with ls -l /dev/serial/by-path\n"
    )
    assert (done.returncode, done.stdout.split(": ", 1)[1]) == (0, line.format("warning: "))
    done = await call("check", "--strict", file, folder=tmp_path)
    assert (done.returncode, done.stdout.split(": ", 1)[1]) == (78, line.format(""))
    assert await gateway.stop() == 0


# ---- the support file ------------------------------------------------------------------------------------------------

PASSWORD, COMMENT, USER = "Correct-Horse-Battery-91", "Mrs. Palomarez, born 1949-03-02", "exam-user-Zw8"
JOURNALS = [
    "gateway.standing: scale: not_heard_yet",
    "Mrs. Palomarez, born 1949-03-02 is on the scale",
    "gateway.service: loop ended\\nTraceback (most recent call last):\\n"
    '  File "/x/gateway/intake.py", line 7, in take\\n'
    "ValueError: 7391846205 weighs 187.3",
]
TOOLS = {
    "journalctl": "".join(
        f"printf '%s\\n' '{json.dumps({'MESSAGE': line, '__REALTIME_TIMESTAMP': '1795000000000000'})}'\n"
        for line in JOURNALS
    ),
    "systemctl": "echo ActiveState=active\necho Result=success\n",
    "bluetoothctl": "echo bluetoothctl: 5.66\n",
}


def hidden(secret: bytes) -> set[bytes]:
    """The ways in which a secret might stand in a file: as it is, in hex, in UTF-16, in base64 at any offset."""
    ways = {secret, secret.decode("latin-1").encode("utf-16-le")}
    if len(secret) >= 6:  # shorter ones are found in anything
        ways |= {secret.hex().encode(), secret.hex().upper().encode(), secret.hex(" ").encode()}
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + secret)
            ways.add(coded[4 if offset else 0 : -4])  # without what depends on its neighbors
    return ways


async def test_a_support_file_holds_neither_patient_nor_secret(
    gateway: Any, broker: OwnBroker, chart: Chart, new_port: NewPort, say: Say, certificate_key: bytes, tmp_path: Path
) -> None:
    port = new_port("scale")
    gateway.add_device("scale", "health-o-meter-500kl", port.path)
    gateway.more = "publish_raw: true"
    await gateway.start()
    await gateway.device("scale", "unknown", "not_heard_yet")
    await say(port, FRAME + FRAME)
    await chart.wait_for(lambda chart: bool(chart.deliveries), timeout=20)
    body = chart.deliveries[0].body
    assert FRAME.hex().encode() in body, "what is planted is there to be found"
    planted = [b"187.3", b"84.96", b"7391846205", FRAME, body[:200], PASSWORD.encode(), COMMENT.encode(), USER.encode()]
    planted += [line for line in certificate_key.splitlines() if b"-----" not in line]
    planted += [b"Palomarez", json.loads(body)["id"].encode()]

    told = await gateway.status()
    for section, key in (("broker", "trouble"), ("broker", "rival"), ("outbox", "trouble"), ("replays", "said")):
        assert key in told[section]
        told[section][key] = COMMENT
    told["devices"]["scale"] |= {"detail": COMMENT, "last_held_reason": COMMENT, "of a later version": COMMENT}
    told["account"]["unbalanced"] = [COMMENT]
    told["of a later version"] = COMMENT
    assert COMMENT not in json.dumps(status_of(told)), "what is free text, or new, is not taken"

    file = gateway.folder / "gateway.yaml"
    (gateway.folder / "password").write_text(PASSWORD)
    (gateway.folder / "client.key").write_bytes(certificate_key)
    (gateway.folder / "client.pem").write_bytes(certificate_key)
    more = f', username: "{USER}", password_file: password, client_cert_file: client.pem, client_key_file: client.key}}'
    text = file.read_text().replace(f'{broker.port}"}}', f'{broker.port}"{more}  # {COMMENT}')
    assert PASSWORD not in text
    assert USER in text
    file.write_text(text)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}")
        (tools / name).chmod(0o755)
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    bundle = tmp_path / "support.tar.gz"
    done = await call("doctor", "--config", file, "--bundle", bundle, folder=gateway.folder, **path)
    assert f"written: {bundle}" in done.stdout
    members = _members(bundle)
    everything = b"\0".join([name.encode() + b"\0" + data for name, data in members.items()])
    for secret in planted:
        for way in hidden(secret):
            assert way not in everything, secret
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600

    status = json.loads(members["status.json"])
    assert status["devices"]["scale"]["readings"] == 1, "and what support needs is there"
    assert status["account"]["frames"] >= 2
    assert json.loads(members["configuration.json"])["broker"]["password_file"]["bytes"] == len(PASSWORD)
    assert json.loads(members["machine.json"])["bluetoothctl"] == "bluetoothctl: 5.66"
    assert json.loads(members["outbox.json"])["schema"] >= 1
    assert json.loads(members["models.json"])[0]["driver"] == "health_o_meter"
    journal = members["journal.txt"].decode().splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in journal] == ["gateway.standing", "gateway.service"]
    assert "intake.py:7 take" in journal[1]

    again = await call("doctor", "--config", file, "--bundle", bundle, folder=gateway.folder, **path)
    assert again.returncode == 1
    assert "the support file cannot be written: " in again.stderr
    assert _members(bundle) == members
    assert await gateway.stop() == 0


def _members(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        answer = {}
        for entry in archive.getmembers():
            data = archive.extractfile(entry)
            assert data is not None
            answer[entry.name.removeprefix("vitals-gateway-support/")] = data.read()
        return answer


@pytest.fixture
def certificate_key(tmp_path: Path) -> bytes:
    key = tmp_path / "made.key"
    made: list[str | Path] = [
        "openssl",
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-out",
        key,
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    return key.read_bytes()
