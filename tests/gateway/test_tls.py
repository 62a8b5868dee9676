"""Until when a certificate holds, read from its bytes: RFC 5280, 4.1."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import tls

_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker.clinic.example")])


def certificate(ends: datetime) -> bytes:
    made = x509.CertificateBuilder(_NAME, _NAME, _KEY.public_key(), 7)
    made = made.not_valid_before(datetime(1970, 1, 2, tzinfo=UTC)).not_valid_after(ends)
    return made.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "ends",
    [
        datetime(1975, 1, 1, tzinfo=UTC),  # UTCTime, which has two digits for the year: 50 to 99 is 19xx
        datetime(2027, 3, 1, 12, 30, 59, tzinfo=UTC),
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2050, 1, 1, tzinfo=UTC),  # GeneralizedTime
        datetime(2099, 1, 1, tzinfo=UTC),
    ],
)
def test_the_end_is_read_in_both_forms_of_a_time(ends: datetime) -> None:
    assert tls.end_of(certificate(ends)) == ends


def test_a_certificate_that_is_cut_is_none() -> None:
    whole = certificate(datetime(2027, 3, 1, tzinfo=UTC))
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"no certificate|time data"):
            tls.end_of(whole[:length])


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_other_bytes_are_told_as_such(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        tls.end_of(data)


def test_the_first_certificate_of_a_file_is_ours(tmp_path: Path) -> None:
    ours, signer = datetime(2027, 3, 1, tzinfo=UTC), datetime(2031, 3, 1, tzinfo=UTC)
    file = tmp_path / "client.pem"
    file.write_text("Bag Attributes\n" + "".join(ssl.DER_cert_to_PEM_cert(certificate(end)) for end in (ours, signer)))
    assert tls.end_of_file(file) == ours
    file.write_text("no certificate")
    assert tls.end_of_file(file) is None
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert tls.end_of_file(file) is None


def test_thirty_days_before_the_end_it_is_said() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert not tls.expiring(now + timedelta(days=30), now)
    assert tls.expiring(now + timedelta(days=29, hours=23), now)
    assert tls.expiring(now - timedelta(days=1), now)
