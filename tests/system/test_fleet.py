"""What stands in deploy/ for a site of forty rooms: each room's YAML, the broker's files, certificates, alerts.

Each is used as it stands: templates rendered as Ansible renders them, a real Mosquitto with the real ACL, gateways as
processes. Ansible itself runs in `make deb-test`.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from gateway import cli, config
from gateway.settings import Settings
from simulators.broker import free_ports, own_broker
from simulators.ports.pty import PtyPort

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ANSIBLE = DEPLOY / "ansible"
ALERTS = yaml.safe_load((DEPLOY / "prometheus/vitals-gateway.rules.yaml").read_text())["groups"][0]["rules"]
HOSTS = yaml.safe_load((ANSIBLE / "inventory.yaml").read_text())["rooms"]["hosts"]
GROUP = yaml.safe_load((ANSIBLE / "group_vars/rooms.yaml").read_text())
STEP = b"ST,+0083.700 kg\r\n"
PATIENCE_S = 30.0


def rendered(room: str, folder: Path, **more: Any) -> Path:
    """Write a room's two files, as Ansible's template module would; answer the room's own."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ANSIBLE / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    names = {"ansible_managed": "Ansible managed", "inventory_hostname": room, **GROUP, **HOSTS[room], **more}
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("site.yaml", "gateway.yaml"):
        (folder / name).write_text(environment.get_template(f"{name}.j2").render(names))
    return folder / "gateway.yaml"


def loaded(file: Path) -> Settings:
    found = config.load(file)
    assert found.settings is not None, [str(problem) for problem in found.problems]
    return found.settings


# ---- the rooms' YAML -------------------------------------------------------------------------------------------------


def test_check_takes_each_of_the_forty_rooms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(HOSTS) == 40
    for room in HOSTS:
        assert cli.main(["check", str(rendered(room, tmp_path / room))]) == 0, capsys.readouterr()


def test_a_room_has_what_the_inventory_says_of_it_and_no_address_stands_in_two(tmp_path: Path) -> None:
    rooms = {room: loaded(rendered(room, tmp_path / room)) for room in HOSTS}
    for room, settings in rooms.items():
        assert (settings.site, settings.room) == ("northside", room)
        assert [device.id for device in settings.devices] == [device["id"] for device in HOSTS[room]["devices"]]
        assert [str(url) for url in settings.broker.urls] == ["mqtts://broker.clinic.example:8883"]
    addresses = [device.address for settings in rooms.values() for device in settings.devices if device.address]
    assert len(set(addresses)) == len(addresses)
    assert rooms["exam-1"].devices[0].port == GROUP["sockets"]["A"]
    # What the room says is over what the site says.
    assert (rooms["exam-39"].timezone, rooms["exam-40"].timezone) == ("America/Chicago", "America/Denver")


def test_the_play_writes_the_files_that_the_rooms_yaml_names(tmp_path: Path) -> None:
    play = (ANSIBLE / "rooms.yaml").read_text()
    broker = loaded(rendered("exam-1", tmp_path)).broker
    for file in (broker.ca_file, broker.client_cert_file, broker.client_key_file):
        assert file is not None
        assert file.parent == Path("/etc/vitals-gateway")
        assert f"dest: {file.name}}}" in play


# ---- certificates, broker, rights ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for words in (["ca"], ["broker", "127.0.0.1"], ["client", "exam-1", "exam-2", "exam-99", "chart", "it"]):
        subprocess.run([DEPLOY / "certificates", *words], cwd=folder, check=True, capture_output=True, timeout=30)
    return folder


def test_the_certificates_hold_by_the_strictest_reading_and_no_key_is_written_over(pki: Path) -> None:
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", "clinic-ca.pem"]
    for purpose, names in (("sslserver", ["broker.pem"]), ("sslclient", ["exam-1.pem", "chart.pem"])):
        subprocess.run([*verify, "-purpose", purpose, *names], cwd=pki, check=True, capture_output=True)
    assert {f"{file.stat().st_mode & 0o777:o}" for file in pki.glob("*.key")} == {"600"}
    before = (pki / "exam-1.key").read_bytes()
    again = subprocess.run([DEPLOY / "certificates", "client", "exam-1"], cwd=pki, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (1, "certificates: exam-1.key is there already\n")
    assert (pki / "exam-1.key").read_bytes() == before


@asynccontextmanager
async def clinic_broker(pki: Path, folder: Path) -> AsyncIterator[int]:
    """Mosquitto with deploy/mosquitto, but for the port and where files lie; its place is told it, as Debian does."""
    (port, own), acl = free_ports(2), folder / "vitals.acl"
    acl.write_text((DEPLOY / "mosquitto/vitals.acl").read_text())
    acl.chmod(0o600)
    (folder / "persistence").mkdir()
    text = (DEPLOY / "mosquitto/vitals.conf").read_text()
    for there, here in (
        ("listener 8883", f"listener {port} 127.0.0.1"),
        ("/etc/mosquitto/vitals/vitals.acl", str(acl)),
        ("/etc/mosquitto/vitals", str(pki)),
    ):
        assert there in text
        text = text.replace(there, here)
    async with own_broker(
        port=own, server="mosquitto", config=text.splitlines(), persistence_dir=folder / "persistence"
    ):
        yield port


@asynccontextmanager
async def client(pki: Path, port: int, name: str, *topics: str) -> AsyncIterator[tuple[Client, asyncio.Queue[Any]]]:
    """Connect with a certificate; what comes, and each word of the broker, is queued."""
    loop, said = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def tell(word: Any) -> None:
        loop.call_soon_threadsafe(said.put_nowait, word)

    def heard(_client: Client, _data: object, message: MQTTMessage) -> None:
        tell((message.topic, json.loads(message.payload)))

    mqtt = Client(CallbackAPIVersion.VERSION2, f"test-{name}", protocol=MQTTv5)
    mqtt.tls_set(str(pki / "clinic-ca.pem"), str(pki / f"{name}.pem"), str(pki / f"{name}.key"))
    mqtt.on_message = heard
    mqtt.on_publish = lambda _client, _data, _mid, reason, _properties: tell(reason.value)
    mqtt.on_subscribe = lambda _client, _data, _mid, reasons, _properties: tell([one.value for one in reasons])
    mqtt.on_connect = lambda _client, _data, _flags, reason, _properties: tell(reason.value)
    mqtt.connect("127.0.0.1", port)  # on loopback: at once
    mqtt.loop_start()
    try:
        assert await asyncio.wait_for(said.get(), PATIENCE_S) == 0
        for topic in topics:
            mqtt.subscribe(topic, qos=1)
            assert await asyncio.wait_for(said.get(), PATIENCE_S) == [1]
        yield mqtt, said
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()


def room_with(gateway: Any, pki: Path, port: int, scale: Path, room: str, certificate: str) -> Any:
    """Let that gateway be a room of the inventory with its scale alone, and a certificate."""
    device = {"id": "scale", "model": "and-standard-scale", "socket": "A"}
    file = rendered(
        room,
        gateway.folder,
        devices=[device],
        sockets={"A": str(scale)},
        broker_url=f"mqtts://127.0.0.1:{port}",
    )
    site = file.with_name("site.yaml")
    text = site.read_text()
    for there, here in (
        ("/etc/vitals-gateway/clinic-ca.pem", pki / "clinic-ca.pem"),
        ("/etc/vitals-gateway/room.pem", pki / f"{certificate}.pem"),
        ("/etc/vitals-gateway/room.key", pki / f"{certificate}.key"),
        ("/var/lib/vitals-gateway", gateway.folder),
        ("/var/lib/prometheus/node-exporter", gateway.folder),
    ):
        assert there in text
        text = text.replace(there, str(here))
    site.write_text(text)
    gateway.yaml = file.read_text()
    return gateway


async def test_each_room_gets_its_readings_to_the_chart_and_none_under_anothers_name(
    gateway: Any, pki: Path, tmp_path: Path, new_port: Callable[[str], PtyPort]
) -> None:
    """`gateway` has its own certificate. The other has the first one's YAML, and the certificate of exam-2."""
    (tmp_path / "broker").mkdir()
    (tmp_path / "second").mkdir()
    ports = [new_port("first"), new_port("second")]
    other = type(gateway)(tmp_path / "second", 0)
    try:
        async with (
            clinic_broker(pki, tmp_path / "broker") as port,
            client(pki, port, "chart", "vitals/v1/northside/+/gateway") as (_, seen),
            client(pki, port, "it", "vitals/v1/northside/+/test/reading") as (_, tested),
        ):
            await room_with(gateway, pki, port, ports[0].path, "exam-1", "exam-1").start()
            await gateway.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet")
            await gateway.until(lambda status: status["broker"]["connected_to"] is not None)
            ports[0].write(STEP * 5)
            await gateway.until(lambda status: status["account"]["delivered"] == 1)
            topic, state = await asyncio.wait_for(seen.get(), PATIENCE_S)
            assert (topic, state["state"]) == ("vitals/v1/northside/exam-1/gateway", "online")
            topic, reading = await asyncio.wait_for(tested.get(), PATIENCE_S)
            assert (topic, reading["mode"]) == ("vitals/v1/northside/exam-1/test/reading", "test")
            assert await gateway.stop() == 0

            await room_with(other, pki, port, ports[1].path, "exam-1", "exam-2").start()
            await other.until(lambda status: status["devices"]["scale"]["reason"] == "not_heard_yet")
            ports[1].write(STEP * 5)
            status = await other.until(lambda status: status["account"]["usable"] == 1)
            status = await other.until(
                lambda status: "vitals/v1/northside/exam-1/test/reading" in status["broker"]["blocked"]
            )
            assert (status["account"]["delivered"], status["account"]["waiting"]) == (0, 1)  # kept, and it says so
            assert tested.empty()
            assert await other.stop() == 0
    finally:
        if other.process is not None and other.process.returncode is None:
            await other.kill()


@pytest.mark.parametrize(
    ("name", "topic", "word"),
    [
        ("exam-1", "vitals/v1/northside/exam-1/reading", 0x10),
        ("exam-1", "vitals/v1/northside/exam-1/device/scale", 0x10),
        ("exam-1", "vitals/v1/northside/claim/c81e8e000101/exam-1", 0x10),
        ("exam-1", "vitals/v1/northside/exam-2/reading", 0x87),
        ("exam-1", "vitals/v1/northside/exam-2/in/replay", 0x87),
        ("exam-1", "vitals/v1/northside/claim/c81e8e000101/exam-2", 0x87),
        ("exam-1", "vitals/v1/southside/exam-1/reading", 0x87),
        ("chart", "vitals/v1/northside/exam-2/in/replay", 0x10),
        ("chart", "vitals/v1/northside/exam-2/reading", 0x87),
        ("it", "vitals/v1/northside/exam-2/reading", 0x87),
        ("it", "vitals/v1/northside/exam-2/in/replay", 0x87),
        ("exam-99", "vitals/v1/northside/exam-99/reading", 0x87),
    ],
)
async def test_who_may_write_where(pki: Path, tmp_path: Path, name: str, topic: str, word: int) -> None:
    async with clinic_broker(pki, tmp_path) as port, client(pki, port, name) as (mqtt, said):
        mqtt.publish(topic, b"{}", qos=1)
        assert await asyncio.wait_for(said.get(), PATIENCE_S) == word  # 0x10: let in, and nobody has subscribed


@pytest.mark.parametrize(
    ("name", "arrives"), [("chart", True), ("exam-1", True), ("exam-2", False), ("exam-99", False)]
)
async def test_who_hears_what_a_room_is_asked(pki: Path, tmp_path: Path, name: str, arrives: bool) -> None:
    """A subscription is granted to all; what comes of it is not. The chart is not asked, and hears the room's state."""
    topic = "vitals/v1/northside/exam-1/gateway" if name == "chart" else "vitals/v1/northside/exam-1/in/replay"
    writer = "exam-1" if name == "chart" else "chart"
    async with (
        clinic_broker(pki, tmp_path) as port,
        client(pki, port, name) as (reads, heard),
        client(pki, port, writer) as (writes, said),
    ):
        reads.subscribe(topic, qos=1)
        await asyncio.wait_for(heard.get(), PATIENCE_S)
        writes.publish(topic, b"{}", qos=1)
        await asyncio.wait_for(said.get(), PATIENCE_S)
        # Its own word comes after what was sent to it before.
        reads.publish(f"vitals/v1/northside/{name}/x", b"{}", qos=1)
        first = await asyncio.wait_for(heard.get(), PATIENCE_S)
        assert (first == (topic, {})) == arrives


# ---- alerts ----------------------------------------------------------------------------------------------------------


async def test_each_alert_asks_for_counts_that_are_there(
    gateway: Any, broker: Any, new_port: Callable[[str], PtyPort]
) -> None:
    gateway.more = "metrics: {textfile: vitals_gateway.prom}"
    gateway.add_device("scale", "and-standard-scale", new_port("scale").path)
    await gateway.start()
    page = gateway.folder / "vitals_gateway.prom"
    async with asyncio.timeout(PATIENCE_S):
        while not page.exists():  # noqa: ASYNC110 - a file sets no Event
            await asyncio.sleep(0.02)
    told = set(re.findall(r"^# TYPE (\w+) ", page.read_text(), re.MULTILINE))
    asked = {name for alert in ALERTS for name in re.findall(r"\bvitals_gateway_\w+(?!\.prom)\b", alert["expr"])}
    assert asked - told == set()
    assert len(asked) >= 12
    for alert in ALERTS:
        of_device = "$labels.device" in alert["annotations"]["summary"]
        assert not of_device or re.search("readings_not_kept|device_online|rejected_frames", alert["expr"]), alert
    assert await gateway.stop() == 0
