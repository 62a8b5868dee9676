"""TLS to the broker: always verified, 1.2 or newer; until when the certificates hold, and what IT can do."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

EXPIRING_DAYS = 30

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# ASN.1 tags (X.690): what stands before the validity in a certificate (RFC 5280, 4.1), and the two forms of a time.
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_TIME_FORMATS = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}

# Results of verification (X509_STORE_CTX_get_error(3)).
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_SIGNER = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)


def context(ca_file: Path | None, client_cert_file: Path | None, client_key_file: Path | None) -> ssl.SSLContext:
    """Answer how to connect; `ca_file` None: the system's list. Raises OSError for files that cannot be used."""
    settings = ssl.create_default_context(cafile=ca_file)
    settings.minimum_version = ssl.TLSVersion.TLSv1_2
    settings.sslsocket_class = _TlsSocket
    if client_cert_file is not None:
        settings.load_cert_chain(client_cert_file, client_key_file, password="")  # else it would ask at a terminal
    return settings


class _TlsSocket(ssl.SSLSocket):
    """Closes when the handshake fails: paho would leave it to the garbage collector, one with each try."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def cure(error: ssl.SSLCertVerificationError) -> str:
    """Answer what to do about a broker's certificate that was not believed."""
    if error.verify_code == _EXPIRED:
        return "it has to be renewed at the broker, unless this machine's clock is wrong"
    if error.verify_code == _NOT_YET_VALID:
        return "check this machine's clock: by it, the certificate is not valid yet"
    if error.verify_code in _UNKNOWN_SIGNER:
        return "check broker.ca_file: nobody in it has signed this certificate"
    if error.verify_code in _OTHER_NAME:
        return "check the name in broker.url: the certificate must bear it (subjectAltName)"
    return "check broker.ca_file, the name in broker.url and this machine's clock"


def expiring(ends: datetime, now: datetime) -> bool:
    """Answer whether a certificate ends within EXPIRING_DAYS, or has ended."""
    return (ends - now).days < EXPIRING_DAYS


def end_of_file(client_cert_file: Path) -> datetime | None:
    """Answer until when the first certificate of a PEM file holds, None where that cannot be read. Raises OSError."""
    ends = ends_in_file(client_cert_file)
    return ends[0] if ends else None


def ends_in_file(file: Path) -> list[datetime | None]:
    """Answer until when each certificate of a PEM file holds, None for one that cannot be read. Raises OSError."""
    return [_end(text) for text in _PEM.findall(file.read_text(encoding="ascii", errors="replace"))]


def _end(pem: str) -> datetime | None:
    try:
        return end_of(ssl.PEM_cert_to_DER_cert(pem))
    except ValueError:
        return None


def end_of(certificate: bytes) -> datetime:
    """Answer notAfter of a certificate in DER (RFC 5280, 4.1.2.5). ValueError if it is none."""
    _, outer, _ = _element(certificate)
    _, members, _ = _element(outer)
    tag, _, after_version = _element(members)
    rest = after_version if tag == _VERSION else members
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    _, _, rest = _element(validity)  # notBefore
    kind, text, _ = _element(rest)
    if tag != _SEQUENCE or kind not in _TIME_FORMATS:
        raise ValueError("no certificate: no validity where it should stand")
    ends = datetime.strptime(text.decode("ascii"), _TIME_FORMATS[kind]).replace(tzinfo=UTC)
    # strptime reads 69 to 99 as 19xx, RFC 5280 50 to 99.
    return ends.replace(year=ends.year - 100) if kind == _UTC_TIME and ends.year >= 2050 else ends


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Answer tag, content and what follows. ValueError if it is cut."""
    if len(data) < 2:
        raise ValueError("no certificate: it is cut")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("no certificate: it is cut")
    return data[0], data[start : start + length], data[start + length :]
