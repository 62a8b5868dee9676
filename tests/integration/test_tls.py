"""TLS: always verified, 1.2 or newer; certificates that ended or will; the password from a credential."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import config, tls
from gateway.broker import Address, BrokerAway, BrokerRefused, Login, Message
from gateway.connecting import open_unless
from gateway.mqtt import Connection
from simulators.broker import free_port, own_broker

WILL = Message("vitals/v1/northside/exam-3/gateway", b'{"state":"offline"}')
PATIENCE_S = 25.0


@asynccontextmanager
async def tls_broker(folder: Path, *more: str, certificate: str = "server") -> AsyncIterator[Address]:
    port = free_port()
    files = (f"certfile {folder / certificate}.crt", f"keyfile {folder / certificate}.key")
    async with own_broker(server="mosquitto", config=(f"listener {port} 127.0.0.1", *files, *more)):
        yield Address("127.0.0.1", port, tls=True)


def login(folder: Path, *, protocol: int = 5, client: str | None = None) -> Login:
    files = () if client is None else (folder / f"{client}.crt", folder / f"{client}.key")
    return Login("northside.exam-3", protocol, None, None, folder / "ca.crt", *files)


async def opened(address: Address, login: Login) -> Connection:
    connection = await open_unless(asyncio.Event(), Connection.open(address, login, WILL, 50, lambda _: None))
    assert connection is not None
    return connection


async def closed(connection: Connection) -> None:
    connection.close()
    await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)


async def refusal(address: Address, login: Login) -> str:
    with pytest.raises((BrokerAway, BrokerRefused)) as caught:
        await closed(await opened(address, login))
    return str(caught.value)


@pytest.mark.parametrize("protocol", [5, 4])
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("expired", "(certificate has expired): it has to be renewed at the broker, unless this machine's clock is"),
        ("early", "(certificate is not yet valid): check this machine's clock"),
        ("elsewhere", "not valid for '127.0.0.1'.): check the name in broker.url: the certificate must bear it"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_refused_with_what_to_do(
    certificates: Path, certificate: str, words: str, protocol: int
) -> None:
    async with tls_broker(certificates, certificate=certificate) as address:
        said = await refusal(address, login(certificates, protocol=protocol))
    assert f"{address} shows a certificate that is not trusted" in said
    assert words in said


async def test_a_server_of_tls_1_1_is_refused_in_words(certificates: Path) -> None:
    port, old = free_port(), ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    files = ("-cert", certificates / "server.crt", "-key", certificates / "server.key")
    command = ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files, *old)
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=nowhere)  # it ends with its stdin
    try:
        async with asyncio.timeout(PATIENCE_S):  # a client that still speaks it is let in: the server is well
            while await asyncio.to_thread(_s_client, port, old):  # noqa: ASYNC110 - each time it is asked
                await asyncio.sleep(0.02)
        said = await refusal(Address("127.0.0.1", port, tls=True), login(certificates))
    finally:
        server.kill()
        await server.wait()
    assert "find no common TLS" in said
    assert "does it speak TLS 1.2?" in said


def _s_client(port: int, more: tuple[str, ...]) -> int:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S).returncode


def test_no_context_verifies_nothing_or_goes_below_1_2(certificates: Path) -> None:
    context = tls.context(certificates / "ca.crt", None, None)
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")
    assert context.minimum_version.name == "TLSv1_2"


@pytest.mark.parametrize("protocol", [5, 4])
async def test_until_when_both_certificates_hold_is_known_and_the_end_is_warned_of(
    certificates: Path, protocol: int, caplog: pytest.LogCaptureFixture
) -> None:
    asks = (f"cafile {certificates / 'ca.crt'}", "require_certificate true")
    async with tls_broker(certificates, *asks) as address:
        connection = await opened(address, login(certificates, protocol=protocol, client="client"))
        await closed(connection)
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    assert set(connection.certificates) == {"broker", "client"}
    for ends in connection.certificates.values():
        assert abs(ends - in_two_days) < timedelta(hours=1)
    assert "the certificate of the broker ends at" in caplog.text
    assert "the certificate of the client ends at" in caplog.text


async def test_a_client_certificate_that_has_expired_is_named(certificates: Path) -> None:
    asks = (f"cafile {certificates / 'ca.crt'}", "require_certificate true")
    async with tls_broker(certificates, *asks) as address:
        said = await refusal(address, login(certificates, client="expired"))
    assert "broker.client_cert_file has expired on" in said


async def test_the_password_comes_from_a_systemd_credential(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords, credentials = tmp_path / "passwords", tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt-password").write_text("of the credential\n")
    (tmp_path / "mqtt-password").write_text("of the file beside the YAML\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    made = ["mosquitto_passwd", "-b", "-c", str(passwords), "exam-3", "of the credential"]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    passwords.chmod(0o600)
    async with tls_broker(certificates, "allow_anonymous false", f"password_file {passwords}") as address:
        yaml = tmp_path / "gateway.yaml"
        yaml.write_text(
            "site: northside\nroom: exam-3\noutbox: {path: outbox.db}\n"
            f'broker: {{url: "mqtts://{address}", username: exam-3, password_file: mqtt-password,'
            f' ca_file: "{certificates / "ca.crt"}"}}\n'
            'devices: [{id: scale, model: health-o-meter-500kl, port: "/dev/pts/7"}]\n'
        )
        settings = config.load(yaml).settings
        assert settings is not None
        broker = settings.broker
        password = config.read_password(broker)
        await closed(await opened(address, Login("northside.exam-3", 5, broker.username, password, broker.ca_file)))


async def test_the_mosquitto_of_the_docs_lets_a_room_write_under_its_own_name_and_nowhere_else(
    tmp_path: Path, certificates: Path
) -> None:
    """docs/it.md, as it stands there, but for names of files, the port, and the certificate's CN."""
    page = (Path(__file__).parents[2] / "docs" / "it.md").read_text(encoding="utf-8")
    settings = page.split("# /etc/mosquitto/conf.d/vitals.conf\n")[1].split("```")[0]
    rules = page.split("# /etc/mosquitto/vitals.acl:")[1].split("\n", 1)[1].split("```")[0]
    acl, port = tmp_path / "vitals.acl", free_port()
    acl.write_text(rules.replace("user northside.exam-3", "user client"))
    acl.chmod(0o600)
    places = {
        "listener 8883": f"listener {port} 127.0.0.1",
        "/etc/mosquitto/clinic-ca.pem": str(certificates / "ca.crt"),
        "/etc/mosquitto/broker.pem": str(certificates / "server.crt"),
        "/etc/mosquitto/broker.key": str(certificates / "server.key"),
        "/etc/mosquitto/vitals.acl": str(acl),
    }
    for there, here in places.items():
        assert there in settings
        settings = settings.replace(there, here)
    acks: asyncio.Queue[list[tuple[int, int]]] = asyncio.Queue()
    lines = settings.splitlines()
    async with own_broker(server="mosquitto", config=lines, persistence_dir=tmp_path):  # a place, as Debian's own says
        address = Address("127.0.0.1", port, tls=True)
        connection = await Connection.open(address, login(certificates, client="client"), WILL, 50, acks.put_nowait)
        for room, code in (("exam-3", 0x10), ("exam-4", 0x87)):  # nobody has subscribed; not authorized
            mid = connection.publish(Message(f"vitals/v1/northside/{room}/reading", b"{}", retain=False))
            assert await asyncio.wait_for(acks.get(), PATIENCE_S) == [(mid, code)]
        await closed(connection)
