"""What the tests against brokers stand on: the outbox and the publisher together, a broker that obeys, a small CA."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import pace, refusals
from gateway.broker import Address, Login, Message
from gateway.outbox import Outbox
from gateway.publisher import Publisher, PublisherState
from gateway.store import Draft, Row, Store
from simulators.broker import OwnBroker, own_broker
from simulators.chart import Chart

BASE = "vitals/v1/northside/exam-3"
STATE_TOPIC = f"{BASE}/gateway"
WILL = Message(STATE_TOPIC, b'{"state":"offline","reason":"connection_lost"}')
FAREWELL = Message(STATE_TOPIC, b'{"state":"offline","reason":"stopped"}')
PATIENCE_S = 25.0


async def until(holds: Callable[[], bool], told: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - what is waited for sets no Event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S:g} s; by then: {told()}") from None


@dataclass
class Sender:
    """The outbox and the publisher, joined as service.py joins them."""

    outbox: Outbox
    publisher: Publisher
    running: asyncio.Task[None] | None = None

    @property
    def farewell(self) -> Message:
        return FAREWELL

    @property
    def state(self) -> PublisherState:
        return self.publisher.state

    def start(self) -> None:
        self.running = asyncio.create_task(self.publisher.run())

    async def keep(self, count: int = 1, leaf: str = "reading", size: int = 0) -> list[str]:
        """Keep readings, on disk when this returns; answer their ids. `size` is more than the payload would need."""
        idents = [uuid4() for _ in range(count)]
        stream = str(self.outbox.stream)

        def encoder(ident: str) -> Callable[[UUID, int], bytes]:
            reading = {"id": ident, "revision": 1, "stream": stream, "filler": "x" * size}
            return lambda _, sequence: json.dumps({**reading, "sequence": sequence}).encode()

        await self.outbox.keep([Draft(ident, 1, "cuff", f"{BASE}/{leaf}", encoder(str(ident))) for ident in idents])
        return [str(ident) for ident in idents]

    async def until(self, holds: Callable[[PublisherState], bool]) -> None:
        await until(lambda: holds(self.state), lambda: self.state)

    async def until_in_flight(self, count: int) -> None:
        """Wait until so many rows are with the network thread and not acknowledged."""
        await until(lambda: self.rows_in_flight >= count, lambda: self.rows_in_flight)

    @property
    def rows_in_flight(self) -> int:
        return sum(isinstance(sent, Row) for sent in self.publisher._in_flight.values())

    async def depth(self) -> tuple[int, int]:
        """(rows waiting, rows parked), after every mark that was handed in before."""
        waiting, _, parked = await self.outbox.ask(Store.depth)
        return waiting, parked

    async def until_depth(self, waiting: int, parked: int = 0) -> None:
        """Wait until so many rows wait, and so many are parked."""
        depth = await self.depth()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while depth != (waiting, parked):
                    await asyncio.sleep(0.01)
                    depth = await self.depth()
        except TimeoutError:
            raise AssertionError(f"(waiting, parked) is {depth}, not {(waiting, parked)}; {self.state}") from None

    def cut(self) -> None:
        """The network is gone, from one moment to the next."""
        connection = self.publisher._connection
        assert connection is not None
        connection._client.socket().shutdown(2)  # type: ignore[union-attr]

    async def stop(self, grace_s: float = 5.0) -> None:
        """As service.py stops it, but nothing is cancelled: `run` must end by itself."""
        await asyncio.wait_for(self.publisher.stop(FAREWELL, grace_s), PATIENCE_S)
        if self.running is not None:
            await asyncio.wait_for(self.running, PATIENCE_S)

    async def close(self) -> None:
        if self.running is not None and not self.running.done():
            await self.publisher.stop(FAREWELL, 0.0)
            self.running.cancel()
            with suppress(asyncio.CancelledError):
                await self.running
        await asyncio.wait_for(self.outbox.close(), PATIENCE_S)


NewSender = Callable[..., Sender]


@pytest.fixture
async def new_sender(tmp_path: Path) -> AsyncIterator[NewSender]:
    """Make a sender for brokers (by port) with one outbox a name; it starts at once, or at `start()`."""
    senders: list[Sender] = []

    def make(
        *ports: int, name: str = "outbox", start: bool = True, protocol: int = 5, password: str | None = None
    ) -> Sender:
        outbox = Outbox(tmp_path / f"{name}.db", lambda rows: sender.publisher.offer(rows))
        publisher = Publisher(
            [Address("127.0.0.1", port, tls=False) for port in ports],
            Login("northside-exam-3", protocol, None if password is None else "exam-3", password),
            WILL,
            outbox,
            lambda: None,
        )
        sender = Sender(outbox, publisher)
        senders.append(sender)
        if start:
            sender.start()
        return sender

    yield make
    for sender in senders:
        await sender.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is offered again after a moment, and so is a broker that is away."""
    reasons = {code: (reason, 0.05) for code, (reason, _) in refusals._REASONS.items()}
    monkeypatch.setattr(refusals, "_REASONS", reasons)
    monkeypatch.setattr(pace, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(pace, "RETRY_CAP_S", 0.1)
    monkeypatch.setattr(pace, "RIVAL_FIRST_S", 0.1)
    monkeypatch.setattr(pace, "RETRY_CAP_LATER_S", 0.3)


# ---- the real broker -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _broker_and_chart(*config: str) -> AsyncIterator[tuple[OwnBroker, Chart]]:
    queue = () if any(line.startswith("max_queued_messages") for line in config) else ("max_queued_messages 100000",)
    async with (
        own_broker(server="mosquitto", config=(*queue, *config)) as broker,
        Chart(broker.host, broker.port, f"{BASE}/#") as chart,
    ):
        yield broker, chart


@pytest.fixture
def broker_and_chart() -> Callable[..., AbstractAsyncContextManager[tuple[OwnBroker, Chart]]]:
    """Mosquitto, with these lines in its configuration, and a chart that has subscribed to all there is."""
    return _broker_and_chart


@contextmanager
def _paused(broker: OwnBroker) -> Iterator[None]:
    assert broker._process is not None
    broker._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if broker._process is not None:
            broker._process.send_signal(signal.SIGCONT)


@pytest.fixture
def paused() -> Callable[[OwnBroker], AbstractContextManager[None]]:
    """The broker's process stands still: connections stay open, the kernel accepts more, nothing is answered."""
    return _paused


@pytest.fixture
def reload() -> Callable[[OwnBroker], None]:
    """mosquitto(8): at SIGHUP it reads the files of its configuration again."""

    def send(broker: OwnBroker) -> None:
        assert broker._process is not None
        broker._process.send_signal(signal.SIGHUP)

    return send


# ---- a broker that says what it is told to say -----------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    topic: str
    payload: bytes = field(repr=False)

    @property
    def sequence(self) -> int:
        return int(json.loads(self.payload)["sequence"])


@dataclass
class ScriptedBroker:
    """MQTT 5 (OASIS mqtt-v5.0), as far as a publisher of QoS 1 sees it; for codes that Mosquitto never sends.

    `puback` answers a message's reason code, `disconnect` the one to hang up with, or None. Each message is
    acknowledged after everything that came with it was read: `most_in_flight` is what the publisher dared.
    """

    port: int = 0
    connack: int = 0
    receive_maximum: int | None = None
    puback: Callable[[Published], int] = lambda _message: 0
    disconnect: Callable[[Published], int | None] = lambda _message: None
    seen: list[Published] = field(default_factory=list)
    taken: list[Published] = field(default_factory=list)
    connects: int = 0
    most_in_flight: int = 0
    silent: bool = False  # acknowledges nothing
    farewells: list[bool] = field(default_factory=list)  # of each connection that ended: whether DISCONNECT was said

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unanswered: list[tuple[int, Published]] = []
        try:
            while True:
                kind, body = await _read_packet(reader)
                if kind == 0x10:
                    self.connects += 1
                    writer.write(self._connack())
                elif kind == 0x30:
                    mid, message = _parse_publish(body)
                    self.seen.append(message)
                    code = self.disconnect(message)
                    if code is not None:
                        writer.write(bytes([0xE0, 1, code]))
                        return
                    unanswered.append((mid, message))
                    self.most_in_flight = max(self.most_in_flight, len(unanswered))
                    asyncio.get_running_loop().call_later(0.001, self._acknowledge, writer, unanswered)
                elif kind == 0xE0:
                    self.farewells.append(True)
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.farewells.append(False)
        finally:
            writer.close()

    def _acknowledge(self, writer: asyncio.StreamWriter, unanswered: list[tuple[int, Published]]) -> None:
        if self.silent:
            return
        for mid, message in unanswered:
            code = self.puback(message)
            if code == 0:
                self.taken.append(message)
            writer.write(b"\x40\x04" + mid.to_bytes(2, "big") + bytes([code, 0]))
        unanswered.clear()

    def _connack(self) -> bytes:
        properties = b"" if self.receive_maximum is None else b"\x21" + self.receive_maximum.to_bytes(2, "big")
        body = bytes([0, self.connack, len(properties)]) + properties
        return bytes([0x20, len(body)]) + body


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0] & 0xF0
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return kind, await reader.readexactly(length)


def _parse_publish(body: bytes) -> tuple[int, Published]:
    end = 2 + int.from_bytes(body[:2], "big")
    mid = int.from_bytes(body[end : end + 2], "big")
    properties = body[end + 2]  # one byte will do: ours are short
    return mid, Published(body[2:end].decode(), body[end + 3 + properties :])


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(broker.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    yield broker
    server.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)


# ---- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ca, other-ca; server, expired, early (for 127.0.0.1), elsewhere (not for it), client."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    for ca in ("ca", "other-ca"):
        openssl("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-days", "2", "-subj", f"/CN={ca}")
    for name, alternative in (
        ("server", "IP:127.0.0.1"),
        ("expired", "IP:127.0.0.1"),
        ("early", "IP:127.0.0.1"),
        ("elsewhere", "DNS:elsewhere.example"),
        ("client", "DNS:exam-3"),
    ):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    _date(folder, "expired", -3, -1)
    _date(folder, "early", 1, 3)
    return folder


def _date(folder: Path, name: str, begins: int, ends: int) -> None:
    """Sign a certificate again, valid from and to so many days from now: openssl(1) of Debian 12 has no word for it."""
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    given = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(given.issuer, given.subject, given.public_key(), given.serial_number)
    made = made.not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=ends))
    for extension in given.extensions:
        made = made.add_extension(extension.value, extension.critical)
    (folder / f"{name}.crt").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
