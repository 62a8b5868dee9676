"""A configuration with all that it names read in: passwords, consent codes, ranges, certificates. Nothing is touched.

Reads files: never on the event loop while the service runs.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway import tls
from gateway.broker import Address, Login
from gateway.catalogue import load_ranges
from gateway.config import ConfigError, read_password, with_consents
from gateway.ranges import Ranges
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the broker. `digests`: what its certificates' files hold; None: they cannot be read now."""

    addresses: tuple[Address, ...]
    login: Login
    digests: Mapping[Path, str | None] = field(repr=False)

    def check(self) -> None:
        """See that its certificates can be used. Raises ConfigError."""
        login = self.login
        if not any(address.tls for address in self.addresses):
            return
        try:
            tls.context(login.ca_file, login.client_cert_file, login.client_key_file)
        except OSError as error:
            why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(
                f"a certificate cannot be used ({why}): check broker.ca_file, broker.client_cert_file and"
                " broker.client_key_file"
            ) from None


@dataclass(frozen=True, slots=True)
class Prepared:
    """`settings` with the consent codes in it, and what else its files say."""

    settings: Settings
    ranges: Ranges
    route: Route


def prepare(settings: Settings) -> Prepared:
    """Read what the settings name. Raises ConfigError, CatalogueError."""
    broker = settings.broker
    login = Login(
        f"{settings.site}.{settings.room}",  # no dot can stand in either: no two rooms share a client id
        5 if broker.protocol == 5 else 4,
        broker.username,
        read_password(broker),
        broker.ca_file,
        broker.client_cert_file,
        broker.client_key_file,
    )
    files = (broker.ca_file, broker.client_cert_file, broker.client_key_file)
    return Prepared(
        with_consents(settings),
        settings.limits or load_ranges(),
        Route(
            tuple(Address(url.host, url.port, url.tls) for url in broker.urls),
            login,
            {file: _digest(file) for file in files if file is not None},
        ),
    )


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
