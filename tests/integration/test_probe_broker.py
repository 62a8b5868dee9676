"""A look at a broker from beside the service: real Mosquitto with rules, TLS with certificates that do not hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import config, doctor_broker, practice, probe_broker
from gateway.broker import Address, Login, Message
from gateway.findings import Finding
from gateway.mqtt import Connection
from gateway.probe_broker import Look
from gateway.settings import Settings
from simulators.broker import free_port, own_broker
from simulators.chart import Chart

B = "vitals/v1/northside/exam-3"
CLAIM = "vitals/v1/northside/claim/c81e8e000001"
CUFF = '  - {id: cuff, model: and-ua-651ble, address: "C8:1E:8E:00:00:01"}'
ALL = f"topic write {B}/#\ntopic read {B}/in/#\ntopic read {B}/gateway\ntopic read vitals/v1/northside/claim/+/+\n"
PATIENCE_S = 25.0
# An acl_file refuses no subscription (eclipse-mosquitto/mosquitto issue 2042); the plugin that comes with it does.
ALLOW_IN = {"acltype": "subscribePattern", "topic": f"{B}/in/#", "priority": 0, "allow": True}
SUBSCRIBES_TO_IN_ALONE = {
    "clients": [],
    "groups": [{"groupname": "all", "roles": [{"rolename": "room"}], "clients": []}],
    "roles": [{"rolename": "room", "acls": [ALLOW_IN]}],
    "anonymousGroup": "all",
    "defaultACLAccess": {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    },
}

Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def settings(url: str, more: str = "", device: str = CUFF, *, urls: str = "") -> Settings:
        where = f"urls: [{urls}]" if urls else f'url: "{url}"'
        file = tmp_path / "gateway.yaml"
        file.write_text(
            f"site: northside\nroom: exam-3\ntimezone: UTC\nbroker: {{{where}{more}}}\n"
            f"outbox: {{path: outbox.db}}\ndevices:\n{device}\n"
        )
        loaded = config.load(file).settings
        assert loaded is not None
        return loaded

    return settings


@asynccontextmanager
async def ruled(tmp_path: Path, rules: str) -> AsyncIterator[int]:
    acl = tmp_path / "acl"
    acl.write_text(rules)
    acl.chmod(0o600)
    async with own_broker(server="mosquitto", config=(f"acl_file {acl}",)) as broker:
        yield broker.port


def plugin_with_rules(folder: Path) -> tuple[str, str]:
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    (folder / "rules.json").write_text(json.dumps(SUBSCRIBES_TO_IN_ALONE))
    return f"plugin {plugin}", f"plugin_opt_config_file {folder / 'rules.json'}"


async def retain(port: int, topic: str, payload: dict[str, Any]) -> None:
    """Publish as anybody might, and wait until the broker has it."""
    taken: asyncio.Queue[list[tuple[int, int]]] = asyncio.Queue()
    login = Login("somebody-else")
    address = Address("127.0.0.1", port, tls=False)
    other = await Connection.open(address, login, None, 1, taken.put_nowait)
    other.publish(Message(topic, json.dumps(payload).encode()))
    await asyncio.wait_for(taken.get(), PATIENCE_S)
    other.close()
    await asyncio.wait_for(asyncio.wait([other.ended]), PATIENCE_S)


async def look(settings: Settings) -> Look:
    (address,) = probe_broker.addresses(settings)
    return await probe_broker.look(settings, address)


async def page(settings: Settings, status: dict[str, Any] | None = None) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(doctor_broker.broker(settings, status, denied=False)))


async def test_a_room_that_may_read_all_it_should_sees_nobody_else(make: Make, tmp_path: Path) -> None:
    async with ruled(tmp_path, ALL) as port:
        settings = make(f"mqtt://127.0.0.1:{port}")
        seen = await look(settings)
    assert seen == Look(f"127.0.0.1:{port}")
    assert practice.doubts_online(tmp_path / "gateway.yaml", settings, [seen], None) == []


async def test_another_gateway_of_this_name_and_another_room_with_our_cuff_are_seen(make: Make, tmp_path: Path) -> None:
    async with own_broker(server="mosquitto") as broker:
        settings = make(f"mqtt://127.0.0.1:{broker.port}")
        state = {"state": "online", "stream": "theirs", "started_at": "2026-11-24T07:00:00.000Z", "filler": "x" * 4000}
        await retain(broker.port, f"{B}/gateway", state)
        await retain(broker.port, f"{CLAIM}/exam-4", {"schema": "vitals.claim/1"})
        await retain(broker.port, f"{CLAIM}/exam-3", {"schema": "vitals.claim/1"})  # our own
        seen = await look(settings)
        findings = await page(settings)
    assert seen.claimed_by == {"cuff": ("exam-4",)}
    said = [str(p) for p in practice.doubts_online(tmp_path / "gateway.yaml", settings, [seen], None)]
    assert len(said) == 2
    assert any(
        "another gateway is online as northside/exam-3 (since 2026-11-24T07:00:00.000Z)" in line for line in said
    )
    assert any(": devices[0].address: warning: room exam-4 has it in its configuration" in line for line in said)
    codes = [finding.code for finding in findings]
    assert codes == ["", "name_in_use", "claimed_twice", "publish_not_known"]


async def test_what_we_may_not_read_is_said_topic_by_topic(make: Make, tmp_path: Path) -> None:
    async with own_broker(server="mosquitto", config=plugin_with_rules(tmp_path)) as broker:
        settings = make(f"mqtt://127.0.0.1:{broker.port}")
        seen = await look(settings)
        findings = await page(settings)
    refused = {f"{B}/gateway": "Not authorized", "vitals/v1/northside/claim/#": "Not authorized"}
    assert seen.not_readable == refused
    (said,) = map(str, practice.doubts_online(tmp_path / "gateway.yaml", settings, [seen], None))
    assert "room: warning: whether another gateway has this name is not known: let it read" in said
    assert [f.code for f in findings] == ["", "name_not_known", "subscribe_refused", "publish_not_known"]


async def test_where_our_own_state_is_not_shown_nobody_knows_of_another(make: Make, tmp_path: Path) -> None:
    async with ruled(tmp_path, f"topic write {B}/#\ntopic read {B}/in/#\n") as port:
        settings = make(f"mqtt://127.0.0.1:{port}")
        await retain(port, f"{B}/gateway", {"state": "online", "stream": "theirs"})
        seen = await look(settings)
    file = tmp_path / "gateway.yaml"
    assert practice.doubts_online(file, settings, [seen], None) == []
    status = {"broker": {"connected_to": f"127.0.0.1:{port}"}, "gateway": {"stream": "ours"}}
    (said,) = map(str, practice.doubts_online(file, settings, [seen], status))
    assert "room: warning: whether another gateway has this name is not known: let it read" in said


async def test_the_service_keeps_its_session_and_nothing_is_published(make: Make) -> None:
    """Law 1 and 2: the service's client id is another's, and a chart that hears all hears nothing."""
    async with (
        own_broker(server="mosquitto") as broker,
        Chart(broker.host, broker.port, "#") as chart,
    ):
        address = Address("127.0.0.1", broker.port, tls=False)
        service = await Connection.open(address, Login("northside.exam-3"), None, 1, lambda _: None)
        seen = await look(make(f"mqtt://127.0.0.1:{broker.port}"))
        assert seen.trouble is None
        assert not service.ended.done()
        service.publish(Message("marker", b"{}", retain=False))
        await chart.wait_for(lambda chart: bool(chart.unreadable), timeout=20)
        assert (len(chart.unreadable), chart.deliveries, chart.states, chart.events) == (1, [], [], [])
        service.close()
        await asyncio.wait_for(asyncio.wait([service.ended]), PATIENCE_S)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_login_that_is_refused_and_a_password_that_is_not_there(
    protocol: str, make: Make, tmp_path: Path
) -> None:
    async with own_broker(server="mosquitto", config=("allow_anonymous false",)) as broker:
        (tmp_path / "password").write_text("not it\n")
        more = f", username: exam-3, password_file: password, protocol: '{protocol}'"
        settings = make(f"mqtt://127.0.0.1:{broker.port}", more)
        seen = await look(settings)
        assert seen.trouble is not None
        assert "does not let us in" in seen.trouble
        (finding,) = await page(settings)
        assert (finding.state, finding.code, finding.detail) == ("bad", "broker_refused", seen.trouble)
        (tmp_path / "password").unlink()
        seen = await look(settings)
        assert seen.trouble is not None
        assert "password_file" in seen.trouble


async def test_with_3_1_1_nothing_is_looked_at_behind_the_login(make: Make) -> None:
    async with own_broker(server="mosquitto") as broker:
        settings = make(f"mqtt://127.0.0.1:{broker.port}", ", protocol: '3.1.1'")
        await retain(broker.port, f"{B}/gateway", {"state": "online", "stream": "theirs"})
        assert await look(settings) == Look(f"127.0.0.1:{broker.port}")


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("expired", "certificate has expired"),
        ("early", "check this machine's clock"),
        ("elsewhere", "check the name in broker.url"),
    ],
)
async def test_certificates_are_told_in_the_services_words(
    certificate: str, words: str, make: Make, certificates: Path, tmp_path: Path
) -> None:
    port = free_port()
    files = (f"certfile {certificates / certificate}.crt", f"keyfile {certificates / certificate}.key")
    async with own_broker(server="mosquitto", config=(f"listener {port} 127.0.0.1", *files)):
        settings = make(f"mqtts://127.0.0.1:{port}", f", ca_file: {certificates / 'ca.crt'}")
        seen = await look(settings)
    (said,) = map(str, practice.doubts_online(tmp_path / "gateway.yaml", settings, [seen], None))
    assert said.startswith(
        f"{tmp_path / 'gateway.yaml'}:4:15: broker.url: warning: 127.0.0.1:{port} shows a certificate"
    )
    assert words in said


async def test_a_brokers_certificate_that_ends_soon_is_told(make: Make, certificates: Path, tmp_path: Path) -> None:
    port = free_port()
    files = (f"certfile {certificates / 'server'}.crt", f"keyfile {certificates / 'server'}.key")
    async with own_broker(server="mosquitto", config=(f"listener {port} 127.0.0.1", *files)):
        settings = make(f"mqtts://127.0.0.1:{port}", f", ca_file: {certificates / 'ca.crt'}")
        seen = await look(settings)
        findings = await page(settings)
    (said,) = map(str, practice.doubts_online(tmp_path / "gateway.yaml", settings, [seen], None))
    assert "broker.url: warning: the broker's certificate ends on" in said
    assert [finding.code for finding in findings] == ["", "certificate_ending", "publish_not_known"]


async def test_names_and_ports_that_lead_nowhere(make: Make) -> None:
    seen = await look(make(f"mqtt://127.0.0.1:{free_port()}"))
    assert "refuses connections: is the broker running" in str(seen.trouble)
    seen = await look(make("mqtts://no-such-name.invalid"))
    assert "has no address: check the name in broker.url" in str(seen.trouble)


async def test_one_of_several_brokers_that_is_away_is_a_warning_with_its_place(make: Make, tmp_path: Path) -> None:
    async with own_broker(server="mosquitto") as broker:
        nowhere = free_port()
        settings = make("", urls=f'"mqtt://127.0.0.1:{broker.port}", "mqtt://127.0.0.1:{nowhere}"')
        findings = await page(settings)
        looks = [await probe_broker.look(settings, address) for address in probe_broker.addresses(settings)]
    assert [(finding.state, finding.code) for finding in findings if finding.code != "publish_not_known"] == [
        ("good", ""),
        ("warning", "broker_one_away"),
    ]
    (said,) = map(str, practice.doubts_online(tmp_path / "gateway.yaml", settings, looks, None))
    assert f"broker.urls[1]: warning: 127.0.0.1:{nowhere} refuses" in said


async def test_where_the_service_is_connected_nobody_logs_in_and_its_word_counts(make: Make) -> None:
    port = free_port()  # nobody listens: a look would say so
    settings = make(f"mqtt://127.0.0.1:{port}")
    told = {
        "connected_to": f"127.0.0.1:{port}",
        "rival": None,
        "certificates": {"client": {"not_after": "", "days_left": 3}},
        "blocked": {f"{B}/event": "not_authorized", f"{B}/reading": "no_matching_subscribers"},
        "taken": [f"{B}/gateway"],
    }
    status = {"broker": told, "replays": {"refused": "Not authorized"}, "claims": {"refused": None}}
    said = [(finding.state, finding.code) for finding in await page(settings, status)]
    assert said == [
        ("good", ""),
        ("warning", "certificate_ending"),
        ("bad", "publish_refused"),
        ("bad", "nobody_subscribed"),
        ("warning", "subscribe_refused"),
        ("good", ""),
    ]
    told |= {"blocked": {}, "rival": "another gateway uses the name", "certificates": {}}
    status["replays"] = {"refused": None}
    said = [(finding.state, finding.code) for finding in await page(settings, status)]
    assert said == [("bad", "name_in_use"), ("good", ""), ("good", ""), ("warning", "publish_not_known")]
