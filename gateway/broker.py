"""The broker as the rest of the gateway sees it: where it listens, what is said to it, and why it is not reached.

What is sent and heard on a connection is mqtt.py's business; nothing here opens one.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway import tls

# Reason codes: OASIS mqtt-v5.0, 2.4.
SUCCESS = 0x00
NO_MATCHING_SUBSCRIBERS = 0x10
SESSION_TAKEN_OVER = 0x8E
UNSPECIFIED_ERROR = 0x80


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the broker. `protocol` is 5 or 4 (3.1.1)."""

    client_id: str
    protocol: int = 5
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What is published, at QoS 1."""

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = True
    replayed: bool = False  # says so in MQTT 5's user property; 3.1.1 has none


@dataclass(frozen=True, slots=True)
class Inbox:
    """A topic that is subscribed at each connection of MQTT 5. On the loop, `take` hears of each message.

    `take` gets its bytes, and how many came before it that were thrown away because too many came. What is retained is
    nobody's request of now, and ignored. `refused` hears why the broker does not let us subscribe, None when it does.
    `watch`: beside it, what is retained under other topics.
    """

    topic: str
    take: Callable[[bytes, int], None]
    refused: Callable[[str | None], None]
    watch: Watch | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Retained messages that are looked at: topic filters; `take` hears (topic, bytes), `refused` as an Inbox's."""

    filters: tuple[str, ...]
    take: Callable[[str, bytes], None]
    refused: Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class Echo:
    """Topics of our own that we listen to for a while, to see that what we publish comes back; `take`: their bytes."""

    topics: tuple[str, ...]
    take: Callable[[bytes], None]


class BrokerAway(Exception):
    """No broker answers there, or not as one: try again later. `str()` says what to look at."""


class BrokerRefused(Exception):
    """The broker answers and does not let us in: IT has to change something. `str()` says what."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended: the reason code, if the broker said one, and words."""

    code: int
    reason: str


def tls_context(login: Login) -> ssl.SSLContext:
    """Answer how to speak TLS as `login` says. Raises BrokerRefused for files that cannot be used."""
    try:
        return tls.context(login.ca_file, login.client_cert_file, login.client_key_file)
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise BrokerRefused(
            f"a certificate cannot be used ({why}): check broker.ca_file, broker.client_cert_file and"
            " broker.client_key_file"
        ) from error


def why_away(address: Address, error: OSError | UnicodeError) -> BrokerAway:
    """Answer why nobody was reached there, by what connecting raised."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return BrokerAway(f"{address.host} has no address: check the name in broker.url, and the DNS of this network")
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerAway(
            f"{address} shows a certificate that is not trusted ({error.verify_message}): {tls.cure(error)}"
        )
    if isinstance(error, ssl.SSLError) or (address.tls and isinstance(error, ConnectionResetError)):
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return BrokerAway(
            f"{address} and this gateway find no common TLS ({why}): is it the TLS port, does it speak TLS 1.2?"
        )
    if isinstance(error, ConnectionRefusedError):
        return BrokerAway(f"{address} refuses connections: is the broker running, is the port right?")
    if isinstance(error, TimeoutError):
        return BrokerAway(f"{address} does not answer: is it the broker's address, does a firewall drop it?")
    return BrokerAway(f"{address} cannot be reached ({error.strerror or error}): check the network")


def why_refused(address: Address, code: int, name: str) -> BrokerRefused:
    """Answer why we are not let in, by CONNACK's reason code (OASIS mqtt-v5.0, 3.2.2.2) and its name."""
    cures = {
        0x84: "set broker.protocol to 3.1.1",
        0x85: "it does not take our client id",
        0x86: "check broker.username and the password file",
        0x87: "check broker.username, the password file and the broker's access rules",
        0x88: "it is not ready; we try again",
        0x89: "it is busy; we try again",
        0x8A: "it has banned this client",
    }
    return BrokerRefused(f"{address} does not let us in ({name}): {cures.get(code, 'ask its operator')}")
