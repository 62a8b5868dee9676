"""What is wrong in practice with a good configuration: each doubt with its place, and none where all is well."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import accounts, config, practice, tls
from gateway.accounts import Account
from gateway.probe_broker import Look

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "exam-3")])
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOBODY = Account(65_534, frozenset({65_534}))
ROOM = """\
site: northside
room: exam-3
timezone: America/Chicago
broker:
  url: mqtts://broker.clinic.example
  username: exam-3
  password_file: password
  ca_file: ca.pem
  client_cert_file: client.pem
  client_key_file: client.key
outbox:
  path: outbox.db
devices:
  - id: scale
    model: and-standard-scale
    port: {port}
"""
Doubts = Callable[..., list[str]]


def certified(key: ec.EllipticCurvePrivateKey, days: float) -> bytes:
    made = x509.CertificateBuilder(NAME, NAME, key.public_key(), 7).not_valid_before(NOW - timedelta(days=400))
    made = made.not_valid_after(NOW + timedelta(days=days))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def written(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    secret = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, secret)


KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter: pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def room(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all is as it should be; /dev/null stands for a port."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (open_folder / "gateway.yaml").write_text(ROOM.format(port="/dev/null"))
    (open_folder / "password").write_text("secret\n")
    (open_folder / "ca.pem").write_bytes(certified(KEY, 400))
    (open_folder / "client.pem").write_bytes(certified(KEY, 400))
    (open_folder / "client.key").write_bytes(written(KEY))
    for name in ("password", "client.key"):
        (open_folder / name).chmod(0o600)
    return open_folder


@pytest.fixture
def doubts(room: Path) -> Doubts:
    """Answer the doubts as `LINE: PATH: message`."""

    def look(account: Account | None = None) -> list[str]:
        file = room / "gateway.yaml"
        loaded = config.load(file)
        assert loaded.settings is not None, loaded.problems
        from gateway.problems import Report

        report = Report(file)
        report.read()
        practice.look(loaded.settings, report.warning, NOW, account)
        return [str(problem).removeprefix(f"{file}:") for problem in report.problems]

    return look


def test_a_room_in_which_all_is_well_has_no_doubts(doubts: Doubts) -> None:
    assert doubts() == []
    assert doubts(Account(0, frozenset())) == []


def test_a_port_that_is_not_there_and_a_file_that_is_no_port(room: Path, doubts: Doubts) -> None:
    file = room / "gateway.yaml"
    file.write_text(ROOM.format(port="/dev/serial/by-path/nothing-here"))
    (said,) = doubts()
    assert said.startswith("16:11: devices[0].port: warning: there is no such port now: plug the adapter in")
    file.write_text(ROOM.format(port=file))
    (said,) = doubts()
    assert "this is no port: name one of /dev/serial/by-path" in said


def test_two_names_of_one_port(room: Path, doubts: Doubts) -> None:
    link = room / "by-path"
    link.symlink_to("/dev/null")
    second = f"  - {{id: second, model: and-standard-scale, port: {link}}}\n"
    (room / "gateway.yaml").write_text(ROOM.format(port="/dev/null") + second)
    (said,) = doubts()
    assert said.startswith(
        "17:51: devices[1].port: warning: it is the port of devices[0] under another name (/dev/null)"
    )


@pytest.mark.parametrize("name", ["password", "client.key"])
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_secret_that_others_can_read_or_write(name: str, mode: int, room: Path, doubts: Doubts) -> None:
    (room / name).chmod(mode)
    (said,) = doubts()
    assert f"others can read {room / name}: chmod o= {room / name}" in said
    (room / name).chmod(0o640)
    assert doubts() == []


def test_files_that_the_service_cannot_use(room: Path, doubts: Doubts) -> None:
    (room / "ca.pem").chmod(0o600)
    said = "\n".join(doubts(NOBODY))
    assert f"broker.password_file: warning: the service cannot read {room / 'password'}: mode 640" in said
    assert f"broker.ca_file: warning: the service cannot read {room / 'ca.pem'}: mode 644" in said
    assert f"outbox.path: warning: the service may not write {room}: chown vitals-gateway: {room}" in said
    (room / "ca.pem").chmod(0o644)
    assert "ca.pem" not in "\n".join(doubts(NOBODY))


def test_the_folder_of_the_outbox_is_made_by_systemd_or_has_to_be_there(room: Path, doubts: Doubts) -> None:
    file = room / "gateway.yaml"
    file.write_text(ROOM.format(port="/dev/null").replace("outbox.db", "/nowhere/at/all/outbox.db"))
    (said,) = doubts(Account(NOBODY.uid, frozenset({0})))[-1:]
    assert "outbox.path: warning: there is no folder /nowhere/at/all: make it" in said
    file.write_text(ROOM.format(port="/dev/null").replace("outbox.db", "/var/lib/vitals-gateway/outbox.db"))
    assert not [line for line in doubts(NOBODY) if "there is no folder" in line]


def test_the_folder_of_the_metrics_file_has_to_be_there(room: Path, doubts: Doubts) -> None:
    file = room / "gateway.yaml"
    file.write_text(ROOM.format(port="/dev/null") + "metrics: {textfile: collector/gateway.prom}\n")
    (said,) = [line for line in doubts() if "metrics" in line]
    assert f"metrics.textfile: warning: there is no folder {room}/collector" in said
    (room / "collector").mkdir()
    assert not [line for line in doubts() if "metrics" in line]


@pytest.mark.parametrize(("name", "key"), [("ca.pem", "ca_file"), ("client.pem", "client_cert_file")])
def test_certificates_that_end(name: str, key: str, room: Path, doubts: Doubts) -> None:
    for days, words in (
        (tls.EXPIRING_DAYS - 1, "the certificate ends on 2026-12-23, in 29 days: renew it"),
        (-1, "the certificate has expired on 2026-11-23: renew it, or set this machine's clock"),
    ):
        (room / name).write_bytes(certified(KEY, days))
        (said,) = doubts()
        assert f"broker.{key}: warning: {words}" in said
    (room / name).write_bytes(certified(KEY, tls.EXPIRING_DAYS))
    assert doubts() == []


def test_of_several_signers_one_that_holds_is_enough_and_of_ours_the_first_counts(room: Path, doubts: Doubts) -> None:
    (room / "ca.pem").write_bytes(certified(KEY, -1) + certified(KEY, 400))
    assert doubts() == []
    (room / "client.pem").write_bytes(certified(KEY, -1) + certified(KEY, 400))
    (said,) = doubts()
    assert "client_cert_file: warning: the certificate has expired" in said


def test_a_file_without_a_certificate(room: Path, doubts: Doubts) -> None:
    (room / "ca.pem").write_text("certificate, to be had from the network team\n")
    (said,) = doubts()
    assert f"broker.ca_file: warning: no certificate stands in {room / 'ca.pem'}: it must be PEM" in said


def test_a_key_that_does_not_fit_or_has_a_passphrase(room: Path, doubts: Doubts) -> None:
    (room / "client.key").write_bytes(written(OTHER_KEY))
    (said,) = doubts()
    assert said.startswith(f"10:20: broker.client_key_file: warning: this is not the key of {room / 'client.pem'}")
    (room / "client.key").write_bytes(written(KEY, b"a passphrase"))
    (said,) = doubts()
    assert "the key has a passphrase, which nobody enters here: take it off" in said


def test_a_key_with_a_passphrase_is_asked_of_nobody_at_a_terminal(room: Path) -> None:
    (room / "client.key").write_bytes(written(KEY, b"a passphrase"))
    with pytest.raises(ssl.SSLError):
        tls.context(None, room / "client.pem", room / "client.key")
    program = (
        "import sys; from pathlib import Path; from gateway import tls; tls.context(None, *map(Path, sys.argv[1:]))"
    )
    command: list[str | Path] = [
        "setsid",
        "-w",
        sys.executable,
        "-c",
        program,
        room / "client.pem",
        room / "client.key",
    ]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert b"PEM pass phrase" not in done.stderr + done.stdout


def test_the_password_in_the_units_credential_store_is_found(
    room: Path, doubts: Doubts, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = room / "credstore"
    store.mkdir(mode=0o700)
    monkeypatch.setattr(config, "CREDSTORE", store)
    file = room / "gateway.yaml"
    file.write_text(ROOM.format(port="/dev/null").replace("password_file: password", "password_file: mqtt-password"))
    assert "broker.password_file" in str(config.load(file).problems)
    (store / "mqtt-password").write_text("secret\n")
    (store / "mqtt-password").chmod(0o600)
    loaded = config.load(file)
    assert loaded.problems == ()
    assert loaded.settings is not None
    assert config.read_password(loaded.settings.broker) == "secret"
    assert not [line for line in doubts(NOBODY) if "password_file" in line], "systemd reads it as root"


def test_what_a_mode_lets_an_account_do(open_folder: Path) -> None:
    file = open_folder / "file"
    file.touch()
    uid, gid = file.stat().st_uid, file.stat().st_gid
    owner, member, other = Account(uid or 1, frozenset()), Account(7, frozenset({gid})), Account(7, frozenset({7}))
    if uid == 0:
        os.chown(file, 1, gid)
    for mode, expected in ((0o400, (True, False, False)), (0o040, (False, True, False)), (0o004, (False, False, True))):
        file.chmod(mode)
        assert tuple(account.may(file, os.R_OK) for account in (owner, member, other)) == expected
        assert not any(account.may(file, os.R_OK | os.W_OK) for account in (owner, member, other))
    open_folder.chmod(0o700)
    assert not other.may(file, os.R_OK), "its folder is closed"
    assert Account(0, frozenset()).may(file, os.R_OK | os.W_OK)


def test_the_account_of_the_service_is_none_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "NAME", "nobody-of-this-name")
    assert accounts.service_account() is None
    monkeypatch.setattr(accounts, "NAME", "root")
    assert accounts.service_account() == Account(0, frozenset({0}) | {0})


# ---- what the brokers say --------------------------------------------------------------------------------------------

STATUS = {"gateway": {"stream": "ours"}}


@pytest.mark.parametrize(
    ("retained", "status", "doubted"),
    [
        ({"state": "online", "stream": "ours", "started_at": "2026-11-24T07:00:00.000Z"}, STATUS, False),
        ({"state": "online", "stream": "theirs", "started_at": "2026-11-24T07:00:00.000Z"}, STATUS, True),
        ({"state": "online", "stream": "ours", "started_at": "2026-11-24T07:00:00.000Z"}, None, True),
        ({"state": "offline", "stream": "theirs"}, None, False),
    ],
)
def test_whose_the_name_is(retained: dict[str, str], status: dict[str, object], doubted: bool, room: Path) -> None:
    file = room / "gateway.yaml"
    settings = config.load(file).settings
    assert settings is not None
    said = [str(p) for p in practice.doubts_online(file, settings, [Look("a:1", gateway=dict(retained))], status)]
    assert len(said) == doubted
    if doubted:
        words = "another gateway is online as northside/exam-3 (since 2026-11-24T07:00:00.000Z)"
        assert said[0].startswith(f"{file}:2:7: room: warning: {words}: give one of the two another room")


def test_what_somebody_wrote_into_our_state_is_not_shown(room: Path) -> None:
    file = room / "gateway.yaml"
    settings = config.load(file).settings
    assert settings is not None
    look = Look("a:1", gateway={"state": "online", "started_at": "Mrs. Example, 1949"})
    (said,) = map(str, practice.doubts_online(file, settings, [look], None))
    assert "since an unknown time" in said
    assert "Example" not in said
