"""One connection: who is let in, what is said where nobody is, and how it ends. Real sockets, the real Mosquitto."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client

from gateway import futures, mqtt
from gateway.broker import (
    NO_MATCHING_SUBSCRIBERS,
    SUCCESS,
    UNSPECIFIED_ERROR,
    Address,
    BrokerAway,
    BrokerRefused,
    Ended,
    Inbox,
    Login,
    Message,
)
from gateway.mqtt import Connection, OnPubacks
from simulators.broker import free_port, own_broker

WILL = Message("vitals/v1/northside/exam-3/gateway", b'{"state":"offline"}')
READING = Message("vitals/v1/northside/exam-3/reading", b"{}", retain=False)
PATIENCE_S = 25.0

Acks = asyncio.Queue[tuple[int, int]]


@asynccontextmanager
async def opened(
    address: Address, login: Login | None = None, on_pubacks: OnPubacks = lambda _: None
) -> AsyncIterator[Connection]:
    login = login or Login("northside-exam-3")
    connection = await asyncio.wait_for(Connection.open(address, login, WILL, 50, on_pubacks), PATIENCE_S)
    try:
        yield connection
    finally:
        connection.close()
        await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)


def into(acks: Acks) -> OnPubacks:
    def put(pubacks: list[tuple[int, int]]) -> None:
        for puback in pubacks:
            acks.put_nowait(puback)

    return put


def plain(port: int, host: str = "127.0.0.1") -> Address:
    return Address(host, port, tls=False)


# ---- an open connection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "code"), [(5, NO_MATCHING_SUBSCRIBERS), (4, SUCCESS)])
async def test_each_message_has_its_puback(protocol: int, code: int) -> None:
    acks: Acks = asyncio.Queue()
    async with own_broker(server="mosquitto") as broker:
        login = Login("northside-exam-3", protocol)
        async with opened(plain(broker.port), login, into(acks)) as connection:
            mids = [connection.publish(READING) for _ in range(5)]
            assert [await asyncio.wait_for(acks.get(), PATIENCE_S) for _ in mids] == [(mid, code) for mid in mids]


async def test_what_is_flushed_is_sent_in_the_same_step_of_the_loop() -> None:
    async with own_broker(server="mosquitto") as broker, opened(plain(broker.port)) as connection:
        connection.publish(READING)
        waited = connection._client.want_write()
        connection.flush()
        assert (waited, connection._client.want_write()) == (True, False)


async def test_the_brokers_limits_are_known_once_it_is_open() -> None:
    async with own_broker(
        server="mosquitto", config=("max_inflight_messages 7", "max_packet_size 3000")
    ) as broker, opened(plain(broker.port)) as connection:  # fmt: skip
        assert (connection.receive_maximum, connection.maximum_packet_size) == (7, 3000)


async def test_who_is_pushed_out_by_another_of_its_name_hears_of_it() -> None:
    async with own_broker(server="mosquitto") as broker, opened(plain(broker.port)) as first:
        async with opened(plain(broker.port)):
            await asyncio.wait_for(asyncio.wait([first.ended]), PATIENCE_S)
        assert first.ended.result().code != SUCCESS


async def test_the_brokers_own_words_are_passed_on(scripted: Any) -> None:
    scripted.disconnect = lambda _message: 0x8E
    async with opened(plain(scripted.port)) as connection:
        connection.publish(READING)
        await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)
        ended = connection.ended.result()
        assert ended.code == 0x8E
        assert "another gateway uses the name northside-exam-3" in ended.reason


async def test_who_hangs_up_while_we_write_is_heard_out() -> None:
    """Its PUBACK and its last word lie in the socket when the next write finds that it has gone."""
    acks: list[tuple[int, int]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> socket.socket:
            client, _ = server.accept()
            client.recv(4096)  # CONNECT
            client.sendall(bytes.fromhex("20 03 00 00 00"))
            return client

        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        async with opened(plain(server.getsockname()[1]), None, acks.extend) as connection:
            client = await serving
            mid = connection.publish(READING)
            await asyncio.get_running_loop().run_in_executor(None, client.recv, 8)  # not all of it: it is reset
            client.sendall(bytes.fromhex("40 02") + mid.to_bytes(2) + bytes.fromhex("E0 01 95"))
            client.close()
            connection.publish(READING)  # in this step: written before the next that reads
            await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)
            assert connection.ended.result().code == 0x95
            assert acks == [(mid, SUCCESS)]


async def test_an_answer_to_a_subscription_that_says_nothing_harms_nobody() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    acks: Acks = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)  # CONNECT
                client.sendall(bytes.fromhex("20 03 00 00 00"))
                asked = client.recv(4096)
                client.sendall(bytes.fromhex("90 03") + asked[2:4] + bytes(1) + bytes.fromhex("40 02 00 07"))
                client.recv(4096)

        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        inbox = Inbox("in", lambda *_: None, lambda _: None)
        address, login = plain(server.getsockname()[1]), Login("northside-exam-3")
        connection = await Connection.open(address, login, WILL, 50, into(acks), inbox)
        for _ in range(7):
            connection.publish(READING)
        await asyncio.wait_for(acks.get(), PATIENCE_S)  # it came behind
        connection.close()
        await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)
        await serving
    assert not failures


async def test_what_else_a_broker_says_when_it_hangs_up_is_passed_on(scripted: Any) -> None:
    scripted.disconnect = lambda _message: 0x8B
    async with opened(plain(scripted.port)) as connection:
        connection.publish(READING)
        await asyncio.wait_for(asyncio.wait([connection.ended]), PATIENCE_S)
        said = f"127.0.0.1:{scripted.port} hung up: Server shutting down"
        assert connection.ended.result() == Ended(0x8B, said)


async def test_a_packet_over_which_paho_raises_ends_the_connection_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """paho 2.2 raises over none that we know: here over each PUBLISH."""

    def choke(_client: Client) -> None:
        raise struct.error

    monkeypatch.setattr(Client, "_handle_publish", choke)

    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(bytes.fromhex("2003000000") + bytes.fromhex("300400016100"))
        await reader.read()
        writer.close()

    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: defects.append(context))
    async with await asyncio.start_server(talk_nonsense, "127.0.0.1", 0) as server:
        async with opened(plain(server.sockets[0].getsockname()[1])) as connection:
            ended = await asyncio.wait_for(connection.ended, PATIENCE_S)
        assert ended.code == UNSPECIFIED_ERROR
        assert ended.reason.endswith("sends what is no MQTT (error)")
    assert defects == []


async def test_a_broker_that_dies_ends_the_connection() -> None:
    async with own_broker(server="mosquitto") as broker, opened(plain(broker.port)) as connection:
        await broker.kill()
        ended = await asyncio.wait_for(asyncio.shield(connection.ended), PATIENCE_S)
        assert ended.reason.startswith(f"the connection to 127.0.0.1:{broker.port} is lost")
        connection.publish(READING)  # nobody knew yet: no error
        connection.cut()


# ---- nobody there ----------------------------------------------------------------------------------------------------


async def refusal(address: Address, login: Login | None = None) -> str:
    with pytest.raises((BrokerAway, BrokerRefused)) as caught:
        async with opened(address, login):
            pass
    return f"{caught.typename}: {caught.value}"


async def test_a_port_where_nobody_listens() -> None:
    port = free_port()
    said = await refusal(plain(port))
    assert said == f"BrokerAway: 127.0.0.1:{port} refuses connections: is the broker running, is the port right?"


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70])
async def test_a_name_that_has_no_address(host: str) -> None:
    assert await refusal(plain(1883, host)) == (
        f"BrokerAway: {host} has no address: check the name in broker.url, and the DNS of this network"
    )


async def test_who_accepts_and_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "OPEN_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "does not answer: is it the broker's address" in await refusal(plain(port))
        left, _ = silent.accept()
        with left:
            left.settimeout(PATIENCE_S)
            while left.recv(1000):  # CONNECT, then its end: nothing stays open behind our back
                pass


async def test_who_is_no_broker_is_told_from_one_that_is_away() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await refusal(plain(port))
    assert said.startswith(f"BrokerAway: 127.0.0.1:{port} hung up before it let us in")
    assert "is it an MQTT port?" in said


async def test_a_connection_that_is_let_in_as_nobody_waits_any_more_is_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another way to the broker, or the stop, in the very step of its CONNACK."""
    opening: asyncio.Task[Connection]

    def settle(future: asyncio.Future[Any], result: object) -> None:
        futures.settle(future, result)
        opening.cancel()

    monkeypatch.setattr(mqtt, "settle", settle)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> bytes:
            client, _ = server.accept()
            with client:
                client.settimeout(3.0)
                client.recv(4096)  # CONNECT
                client.sendall(bytes.fromhex("20 03 00 00 00"))
                return client.recv(4096)

        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        login = Login("northside-exam-3")
        opening = asyncio.ensure_future(
            Connection.open(plain(server.getsockname()[1]), login, WILL, 50, lambda _: None)
        )
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert (await serving)[:1] == b"\xe0", "DISCONNECT"


async def test_a_connection_that_nobody_waits_for_any_more_is_hung_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = plain(silent.getsockname()[1])
        opening = asyncio.create_task(Connection.open(address, Login("x"), WILL, 50, lambda _: None))
        accepted, _ = await asyncio.to_thread(silent.accept)
        with accepted:
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
            accepted.settimeout(PATIENCE_S)
            while await asyncio.to_thread(accepted.recv, 1000):
                pass


# ---- not let in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (0x84, "set broker.protocol to 3.1.1"),
        (0x85, "it does not take our client id"),
        (0x86, "check broker.username and the password file"),
        (0x87, "the broker's access rules"),
        (0x88, "it is not ready; we try again"),
        (0x89, "it is busy; we try again"),
        (0x8A, "it has banned this client"),
        (0x97, "ask its operator"),
    ],
)
async def test_a_refusal_says_what_to_do(scripted: Any, code: int, cure: str) -> None:
    scripted.connack = code
    said = await refusal(plain(scripted.port))
    assert said.startswith(f"BrokerRefused: 127.0.0.1:{scripted.port} does not let us in (")
    assert cure in said


@pytest.mark.parametrize("protocol", [5, 4])
async def test_mosquitto_refuses_who_has_no_password(tmp_path: Path, protocol: int) -> None:
    async with own_broker(server="mosquitto", config=("allow_anonymous false",)) as broker:
        said = await refusal(plain(broker.port), Login("northside-exam-3", protocol))
        assert "does not let us in (Not authorized): check broker.username, the password file" in said


# ---- TLS -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def tls_broker(folder: Path, *more: str, certificate: str = "server") -> AsyncIterator[Address]:
    port = free_port()
    lines = (
        f"listener {port} 127.0.0.1",
        f"certfile {folder / certificate}.crt",
        f"keyfile {folder / certificate}.key",
        *more,
    )
    async with own_broker(server="mosquitto", config=lines):
        yield Address("127.0.0.1", port, tls=True)


def login(folder: Path, ca: str = "ca.crt", certificate: str | None = None, key: str | None = None) -> Login:
    return Login(
        "northside-exam-3",
        ca_file=folder / ca,
        client_cert_file=None if certificate is None else folder / certificate,
        client_key_file=None if key is None else folder / key,
    )


async def test_a_broker_with_a_certificate_of_our_ca_is_believed(certificates: Path) -> None:
    acks: Acks = asyncio.Queue()
    async with (
        tls_broker(certificates) as address,
        opened(address, login(certificates), into(acks)) as connection,
    ):
        mid = connection.publish(Message(READING.topic, b"x" * 100_000, retain=False))
        assert (await asyncio.wait_for(acks.get(), PATIENCE_S))[0] == mid


async def test_a_certificate_of_another_ca_is_refused_in_words(certificates: Path) -> None:
    async with tls_broker(certificates) as address:
        said = await refusal(address, login(certificates, ca="other-ca.crt"))
    assert f"{address} shows a certificate that is not trusted (unable to get local issuer certificate)" in said
    assert "check broker.ca_file: nobody in it has signed this certificate" in said


async def test_without_a_ca_file_a_private_ca_is_not_believed(certificates: Path) -> None:
    async with tls_broker(certificates) as address:
        assert "shows a certificate that is not trusted" in await refusal(address)


async def test_a_certificate_for_another_name_is_refused_in_words(certificates: Path) -> None:
    async with tls_broker(certificates, certificate="elsewhere") as address:
        said = await refusal(address, login(certificates))
    assert "not trusted (IP address mismatch, certificate is not valid for '127.0.0.1'" in said


async def test_a_client_certificate_opens_the_door(certificates: Path) -> None:
    asks = (f"cafile {certificates / 'ca.crt'}", "require_certificate true")
    async with tls_broker(certificates, *asks) as address:
        said = await refusal(address, login(certificates))
        assert f"{address} hung up before it let us in: does it ask for a client certificate" in said
        async with opened(address, login(certificates, certificate="client.crt", key="client.key")) as connection:
            assert not connection.ended.done()


@pytest.mark.parametrize(
    ("ca", "certificate", "key", "why"),
    [
        ("none.crt", None, None, "No such file or directory"),
        ("ca.crt", "none.crt", "client.key", "No such file or directory"),
        ("ca.crt", "client.crt", "server.key", "KEY_VALUES_MISMATCH"),
        ("client.key", None, None, "NO_CERTIFICATE_OR_CRL_FOUND"),
    ],
)
async def test_files_that_cannot_be_used_are_not_taken_for_a_network_that_is_down(
    certificates: Path, ca: str, certificate: str | None, key: str | None, why: str
) -> None:
    said = await refusal(Address("127.0.0.1", free_port(), tls=True), login(certificates, ca, certificate, key))
    assert said == (
        f"BrokerRefused: a certificate cannot be used ({why}): check broker.ca_file, broker.client_cert_file and"
        " broker.client_key_file"
    )


async def test_tls_to_a_plain_port_is_told(certificates: Path) -> None:
    async with own_broker(server="mosquitto") as broker:
        said = await refusal(Address("127.0.0.1", broker.port, tls=True), login(certificates))
    assert f"127.0.0.1:{broker.port} and this gateway find no common TLS" in said
    assert "is it the TLS port, does it speak TLS 1.2?" in said


async def test_a_plain_connection_to_a_tls_port_is_told(certificates: Path) -> None:
    async with tls_broker(certificates) as address:
        assert "hung up before it let us in" in await refusal(plain(address.port))
