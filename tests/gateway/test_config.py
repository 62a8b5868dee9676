"""The configuration: what a good one becomes, and where and how a bad one is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers import registry
from drivers.contract import Rejected, Sample
from drivers.models import LineSettings
from gateway import catalogue, config
from gateway.settings import BrokerUrl

GOOD = """\
site: northside
room: exam-3
timezone: America/Chicago
broker:
  url: mqtts://broker.clinic.example
  username: exam-3
outbox:
  path: outbox.db
devices:
  - id: scale
    model: a-scale
    port: /dev/pts/7
models_dir: models
"""
SCALE = """\
maker: Example
model: S1
kind: scale
link: serial
driver: mt_sics
evidence: [manual]
sources: [a manual]
line: {baud: 4800, parity: even}
steps: {body_weight: {kg: 0.10}}
"""
UNITLESS = SCALE.replace("driver: mt_sics", "driver: sma\nunit: pinned")
CUFF = SCALE.replace("mt_sics", "ble_blood_pressure").replace("kind: scale", "kind: blood_pressure")
CUFF = CUFF.replace("serial", "ble").replace("S1", "C1")
Load = Callable[[str | bytes], config.Loaded]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    models = tmp_path / "models"
    models.mkdir()
    (models / "a-scale.yaml").write_text(SCALE)
    (models / "a-cuff.yaml").write_text(CUFF)
    (models / "unitless.yaml").write_text(UNITLESS)
    return tmp_path


@pytest.fixture
def load(room: Path) -> Load:
    file = room / "gateway.yaml"

    def answer(text: str | bytes) -> config.Loaded:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return config.load(file)

    return answer


# one replacement in GOOD, and all that is then said: LINE:COLUMN: PATH: and the words that matter
WRONG: list[tuple[str, str, list[tuple[str, ...]]]] = [
    ("room:", "rooom:", [("1:1: room: ", "missing"), ("2:1: rooom: ", 'did you mean "room"?', "allowed: site, room")]),
    ("exam-3\nt", "3\nt", [("2:7: room: ", "as a number", 'quote it: "3"')]),
    ("northside", "no", [("1:7: site: ", "as yes or no", 'quote it: "no"')]),
    ("exam-3\nt", "1e3\nt", [("2:7: room: ", "as a number", 'quote it: "1e3"')]),
    ("exam-3\nt", "2026-11-22\nt", [("2:7: room: ", "as a date", 'quote it: "2026-11-22"')]),
    ("id: scale", "id: 0x1F", [("10:9: devices[0].id: ", "as a number", 'quote it: "0x1F"')]),
    ("id: scale", "id: 007", [("10:9: devices[0].id: ", 'quote it: "007"')]),
    ("northside", "", [("1:6: site: ", "empty")]),
    ("northside", "north/side", [("1:7: site: ", "letters", "digits", "topic level")]),
    ("northside", "a" * 65, [("1:7: site: ", "1 to 64")]),
    ("northside", "[a]", [("1:7: site: ", "a list stands here", "must be text")]),
    ("America/Chicago", "America/Chicgo", [("3:11: timezone: ", 'did you mean "America/Chicago"?')]),
    ("  url: mqtts://broker.clinic.example\n", "", [("5:3: broker.url: ", "missing", "urls")]),
    ("mqtts://", "mqtt://", [("5:8: broker.url: ", "mqtts://", "allow_plaintext: true")]),
    ("mqtts://", "mqtt://127.", [("5:8: broker.url: ", "allow_plaintext: true")]),  # a host's name, no address
    ("mqtts://", "https://", [("5:8: broker.url: ", "mqtts://host", "mqtt://host")]),
    ("mqtts://", "mqtts://me:hunter2@", [("5:8: broker.url: ", "username", "password_file")]),
    ("example\n", "example:70000\n", [("5:8: broker.url: ", "1 to 65535")]),
    ("  user", "  urls: [mqtts://x]\n  user", [("6:3: broker.urls: ", "keep one of them")]),
    ("url: mqtts://broker.clinic.example", "urls: []", [("5:9: broker.urls: ", "at least one")]),
    ("url: mqtts://broker.clinic.example", "urls: [mqtts://a, mqtt://b]", [("5:21: broker.urls[1]: ", "allow_plain")]),
    ("  user", "  protocol: 4\n  user", [("6:13: broker.protocol: ", "allowed: 5, 3.1.1")]),
    ("  user", "  password: hunter2\n  user", [("6:3: broker.password: ", "secrets never stand", "password_file")]),
    ("site:", "token: hunter2\nsite:", [("1:1: token: ", "secrets never stand", "take it out")]),
    (
        "username: exam-3",
        "password_file: p",
        [("6:3: broker.password_file: ", "username: …"), ("6:18: broker.password_file: warn",)],
    ),
    ("  user", "  password_file: 12345\n  user", [("6:18: broker.password_file: ", "quote it")]),
    (
        "  user",
        "  ca_file:\n  client_cert_file: models/a-cuff.yaml\n  user",
        [("6:11: broker.ca_file: ", "empty"), ("7:3: broker.client_cert_file: ", "client_key_file")],
    ),
    ("  user", "  allow_plaintext: maybe\n  user", [("6:20: broker.allow_plaintext: ", "true or false")]),
    ("path: outbox.db", "keep_days: 7", [("8:3: outbox.path: ", "missing")]),
    ("outbox.db", "outbox.db\n  keep_days: 0", [("9:14: outbox.keep_days: ", "1 to 3650 days")]),
    ("outbox.db", "outbox.db\n  keep_days: seven", [("9:14: outbox.keep_days: ", "whole number")]),
    ("outbox:\n  path: outbox.db", "outbox: outbox.db", [("7:9: outbox: ", "keys and values")]),
    ("site:", "version: 2\nsite:", [("1:10: version: ", "allowed: 1")]),
    ("site:", 'version: "1"\nsite:', [("1:10: version: ", "without quotes")]),
    ("model: a-scale", "model: a-scael", [("11:12: devices[0].model: ", "models", 'did you mean "a-scale"?')]),
    ("model: a-scale", "model: ../a-scale", [("11:12: devices[0].model: ", "allowed")]),
    ("model: a-scale", "model: unitless", [("10:5: devices[0].unit: ", "missing", "does not send its unit", "kg")]),
    ("port: /dev/pts/7", "stored: quarantine", [("10:5: devices[0].port: ", "missing", "serial device")]),
    (
        "port: /dev/pts/7",
        'address: "C8:1E:8E:00:00:01"',
        [("10:5: devices[0].port: ", "missing"), ("12:5: devices[0].address: ", "it has port, not address")],
    ),
    (
        "model: a-scale",
        "model: a-cuff\n    serial: {baud: 300}",
        [
            ("10:5: devices[0].address: ", "Bluetooth"),
            ("12:5: devices[0].serial: ", "not serial"),
            ("13:5: devices[0].port: ", "not port"),
        ],
    ),
    (
        "model: a-scale\n    port: /dev/pts/7",
        "model: a-cuff\n    address: 11:22:33:44:55:06",  # base 60 in YAML 1.1
        [("12:14: devices[0].address: ", 'quote it: "11:22:33:44:55:06"')],
    ),
    (
        "model: a-scale\n    port: /dev/pts/7",
        'model: a-cuff\n    address: "C8:1E"',
        [("12:14: devices[0].address: ", "six pairs")],
    ),
    ("/dev/pts/7", "ttyUSB0", [("12:11: devices[0].port: ", "whole path", "/dev/serial/by-path")]),
    ("/7", "/7\n    stored: publsh", [("13:13: devices[0].stored: ", "allowed: quarantine, publish", '"publish"?')]),
    ("/7", "/7\n    unit: lbs", [("13:11: devices[0].unit: ", "[lb_av]", 'did you mean "lb"?')]),
    ("/7", "/7\n    unit: mmHg", [("13:11: devices[0].unit: ", "mm[Hg] is no unit of Example S1", "kg")]),
    (
        "/7",
        '/7\n    serial: {baud: 2401, parity: evn, stop_bits: "2", speed: 1}',
        [
            ("13:20: devices[0].serial.baud: ", '"2401"', 'did you mean "2400"?'),
            ("13:34: devices[0].serial.parity: ", 'did you mean "even"?'),
            ("13:50: devices[0].serial.stop_bits: ", "without quotes"),
            ("13:55: devices[0].serial.speed: ", "allowed: baud, data_bits"),
        ],
    ),
    (
        "/7",
        "/7\n  - {id: scale, model: a-scale, port: /dev/pts/7}",
        [("13:10: devices[1].id: ", "devices[0] has the same id"), ("13:39: devices[1].port: ", "the same port")],
    ),
    ("  - id: scale\n    model: a-scale\n    port: /dev/pts/7\n", "", [("9:9: devices: ", "empty")]),
    ("  - id", "    id", [("10:5: devices: ", "must be a list")]),
    ("room:", "site: south\nroom:", [("2:1: site: ", "a second time", "line 1")]),
    ("room:", "room", [("2:1: (file): ", "not valid YAML", "without its colon")]),
    ("  url:", "\turl:", [("5:1: (file): ", "tab", "spaces")]),
    ("northside", "'northside", [("1:7: (file): ", "never closed")]),
    ("northside", "!!python/name:os.system x", [("1:7: site: ", "tags")]),
    ("path: outbox.db", "path: *b", [("8:9: outbox.path: ", "without an anchor")]),
    ("outbox:\n", "outbox:\n  <<: {path: x}\n", [("8:3: outbox.<<: ", "merge keys")]),
    (
        "models_dir: models",
        "models_dir: nowhere",
        [("11:12: devices[0].model: ", "no model"), ("13:13: models_dir: ", "no such folder")],
    ),
    ("models_dir: models", "---\n", [("13:1: (file): ", "second YAML document")]),
    ("models_dir: models", "models_dir: models\nranges: nowhere.yaml", []),  # told at the file's own place, below
    ("northside", "n\x07", [("1:8: (file): ", "U+0007")]),
    ("northside", '"a\\nb\\e{words}"', [("1:7: site: ", '"a\\nb\\x1b{words}"')]),
]


@pytest.mark.parametrize(("old", "new", "told"), WRONG, ids=[new[:24] or old[:24] for old, new, _ in WRONG])
def test_a_wrong_value_is_told_at_its_place(
    load: Load, room: Path, old: str, new: str, told: list[tuple[str, ...]]
) -> None:
    assert GOOD.count(old) >= 1
    loaded = load(GOOD.replace(old, new, 1))
    assert loaded.settings is None
    file = room / "gateway.yaml"
    lines = [str(problem) for problem in loaded.problems if problem.file == str(file)]
    assert len(lines) == len(told), lines
    for line, (place, *words) in zip(lines, told, strict=True):
        assert line.startswith(f"{file}:{place}"), line
        assert all(word in line for word in words), line
        assert "hunter2" not in line
        assert "12345" not in line
        assert not any(alien in line for alien in ("pydantic", "http", "Input should", "Literal", "tuple", "str ")), (
            line
        )


def test_all_that_is_wrong_is_told_in_one_run_in_the_order_of_lines(load: Load) -> None:
    text = GOOD
    for old, new in (("site:", "sit:"), ("Chicago", "Nowhere"), ("mqtts", "mqtt"), ("a-scale", "b-scale")):
        text = text.replace(old, new, 1)
    paths = [problem.path for problem in load(text).problems]
    assert paths == ["sit", "site", "timezone", "broker.url", "devices[0].model"]


def test_a_good_file_becomes_settings(load: Load, room: Path) -> None:
    text = GOOD.replace("/7", "/7\n    unit: lb\n    serial: {baud: 2400}")
    text = text.replace("outbox.db", "/var/lib/x.db\n  keep_days: 30")
    loaded = load(text + "  \n")
    assert loaded.problems == ()
    said = loaded.settings
    assert said is not None
    assert (said.site, said.room, said.timezone) == ("northside", "exam-3", "America/Chicago")
    assert said.broker.urls == (BrokerUrl("broker.clinic.example", 8883, tls=True),)
    assert (said.broker.protocol, said.broker.username, said.broker.password_file) == (5, "exam-3", None)
    assert (said.outbox.path, said.outbox.keep_days) == (Path("/var/lib/x.db"), 30)
    assert (said.publish_raw, said.ranges, said.models_dir) == (False, None, room / "models")
    (device,) = said.devices
    assert (device.id, device.model_name, device.model.maker) == ("scale", "a-scale", "Example")
    assert (device.port, device.address, device.stored, device.unit) == ("/dev/pts/7", None, "quarantine", "[lb_av]")
    assert device.line == LineSettings(baud=2400, parity="even")  # the model's parity, the site's baud
    assert str(device.model.steps["body_weight"]["kg"]) == "0.10"  # the digits as they were written


def test_the_hash_follows_the_bytes(load: Load) -> None:
    one, other = load(GOOD).settings, load(GOOD + "# a comment\n").settings
    assert one is not None
    assert other is not None
    assert one.config_hash != other.config_hash
    assert len(one.config_hash) == 12


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mqtt://localhost", [BrokerUrl("localhost", 1883, tls=False)]),
        ("mqtt://127.0.0.2:1884", [BrokerUrl("127.0.0.2", 1884, tls=False)]),
        ('"mqtt://[::1]"', [BrokerUrl("::1", 1883, tls=False)]),
    ],
)
def test_plaintext_goes_to_this_machine(load: Load, written: str, meant: list[BrokerUrl]) -> None:
    loaded = load(GOOD.replace("mqtts://broker.clinic.example", written))
    assert loaded.problems == ()
    assert loaded.settings is not None
    assert list(loaded.settings.broker.urls) == meant


@pytest.mark.parametrize(("written", "meant"), [("5", 5), ('"5"', 5), ("3.1.1", "3.1.1"), ('"3.1.1"', "3.1.1")])
def test_the_protocol_may_be_written_in_two_ways(load: Load, written: str, meant: object) -> None:
    said = load(GOOD.replace("  user", f"  protocol: {written}\n  user")).settings
    assert said is not None
    assert said.broker.protocol == meant


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("timezone: America/Chicago\n", "", ("1:1: timezone: warning: ", "UTC")),
        ("/dev/pts/7", "/dev/ttyUSB0", ("12:11: devices[0].port: warning: ", "/dev/serial/by-path")),
        ("/7", "/7\n    stored: publish", ("13:13: devices[0].stored: warning: ", "another patient")),
        ("  user", "  ca_file: ca.pem\n  user", ("6:12: broker.ca_file: warning: ", "no such file")),
        ("  user", "  password_file: pw\n  user", ("6:18: broker.password_file: warning: ", "no such file")),
        ("mqtts:", "allow_plaintext: true\n  url: mqtt:", ("6:8: broker.url: warning: ", "unencrypted")),
        (
            "/dev/pts/7",
            "/dev/serial/by-id/usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0",
            ("devices[0].port: warning: ", "serial number 0001"),
        ),
    ],
)
def test_what_is_unwise_is_a_warning(load: Load, old: str, new: str, told: tuple[str, str]) -> None:
    text = GOOD.replace(old, new, 1).replace("url: allow", "allow")
    loaded = load(text)
    assert loaded.settings is not None
    (problem,) = loaded.problems
    assert problem.severity == "warning"
    assert told[0] in str(problem)
    assert told[1] in str(problem)


@pytest.mark.parametrize(
    ("address", "is_private"),
    [
        ("5B:10:22:33:44:55", True),  # resolvable: it begins with the bits 01
        ("7e:10:22:33:44:55", True),
        ("2A:10:22:33:44:55", True),  # not resolvable: 00
        ("C8:1E:8E:00:00:01", False),  # random static: 11
        ("C9:1E:8E:00:00:01", False),
        ("60:77:71:00:00:01", False),  # public: a maker's, as IEEE gives them out
        ("00:1E:8E:00:00:01", False),
    ],
)
def test_an_address_that_changes_earns_a_warning(load: Load, address: str, is_private: bool) -> None:
    loaded = load(GOOD.replace("model: a-scale\n    port: /dev/pts/7", f'model: a-cuff\n    address: "{address}"'))
    assert loaded.settings is not None
    assert ["identity address" in str(problem) for problem in loaded.problems] == [True] * is_private
    assert all(problem.severity == "warning" for problem in loaded.problems)


def test_an_alias_has_the_place_of_its_anchor(load: Load) -> None:
    text = GOOD.replace("/7", "/7\n    serial: &line {baud: 1}\n  - id: b\n    model: a-scale\n    port: /dev/b\n")
    lines = [str(problem) for problem in load(text.replace("/dev/b\n", "/dev/b\n    serial: *line")).problems]
    assert [line.split(": ")[0].rpartition("yaml:")[2] for line in lines] == ["13:26", "13:26"]
    assert [line.split(": ")[1] for line in lines] == ["devices[0].serial.baud", "devices[1].serial.baud"]


def test_addresses_are_compared_without_regard_to_case(load: Load) -> None:
    cuff = '  - {id: x, model: a-cuff, address: "aa:00:00:00:00:0a"}\n'
    cuffs = cuff + cuff.replace("aa", "AA").replace("x", "y")
    (problem,) = load(GOOD.replace("  - id: scale\n    model: a-scale\n    port: /dev/pts/7\n", cuffs)).problems
    assert problem.path == "devices[1].address"


def test_a_file_that_cannot_be_read_is_a_problem_at_its_first_place(room: Path, load: Load) -> None:
    absent = str(config.load(room / "no.yaml").problems[0])
    assert absent.startswith(f"{room}/no.yaml:1:1: (file): the file cannot be read")
    assert "directory" in config.load(room).problems[0].message
    assert "empty" in load("# nothing\n").problems[0].message
    assert "bytes" in load("#" * ((1 << 20) + 1)).problems[0].message
    (latin,) = load(GOOD.replace("# ", "").encode() + b"# M\xfcller\n").problems
    assert (latin.line, latin.column) == (14, 4)
    assert "UTF-8" in latin.message


def test_a_wrong_data_file_is_told_at_its_own_place(room: Path, load: Load) -> None:
    (room / "models" / "a-scale.yaml").write_text(SCALE.replace("kind: scale", "kind: scael").replace("4800", "48"))
    (room / "limits.yaml").write_text("kinds: {}\n")
    lines = [str(problem) for problem in load(GOOD + "ranges: limits.yaml\n").problems]
    model = room / "models" / "a-scale.yaml"
    assert lines[0].startswith(f"{model}:3:7: kind: ")
    assert 'did you mean "scale"?' in lines[0]
    assert lines[1].startswith(f"{model}:8:14: line.baud: ")
    assert lines[2].startswith(f"{room}/limits.yaml:1:1: cross: ")


def test_a_sites_own_model_wins_over_the_packaged_one(room: Path) -> None:
    name = catalogue.model_names()[0]
    (room / "models" / f"{name}.yaml").write_text(SCALE)
    assert catalogue.load_model(name, room / "models").maker == "Example"
    assert catalogue.load_model(name).maker != "Example"
    assert {"a-scale", "a-cuff", name} <= set(catalogue.model_names(room / "models"))
    with pytest.raises(catalogue.CatalogueError, match='did you mean "a-scale"'):
        catalogue.load_model("a-scal", room / "models")


def test_the_password_comes_from_systemd_or_from_beside_the_file(
    room: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GOOD.replace("  user", "  password_file: pw\n  user")
    (room / "pw").write_bytes(b"beside it\r\n")
    beside = load(text).settings
    assert beside is not None
    assert config.read_password(beside.broker) == "beside it"
    (room / "models" / "pw").write_text(" from systemd ")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(room / "models"))
    credential = load(text).settings
    assert credential is not None
    assert config.read_password(credential.broker) == " from systemd "
    for content in (b"", b"\n", b"\xff", b"x" * 70_000):
        (room / "pw").write_bytes(content)
        with pytest.raises(config.ConfigError, match="password_file"):
            config.read_password(beside.broker)
    (room / "pw").unlink()
    with pytest.raises(config.ConfigError, match="No such file"):
        config.read_password(beside.broker)


_WORDS = """
version site room timezone broker outbox devices ranges models_dir publish_raw url urls protocol username path
include on_device_error run_others gateway.yaml models models/a-scale.yaml
id model port address stored unit serial baud parity keep_days password_file << [a] ?
a-scale a-cuff 1 0x1F 1e3 1e99 007 no ~ .nan "" /dev/ttyUSB0 mqtt://x 5 2026-11-22 !t &a *a kg UTC America . /
"""
_KEYS = st.sampled_from(_WORDS.split()) | st.text(max_size=4)
_SCALARS = st.sampled_from(_WORDS.split()) | st.text(max_size=6)
_VALUES: st.SearchStrategy[str] = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(_KEYS, inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=12,
)
ALWAYS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _answers(load: Load, text: str | bytes) -> None:
    loaded = load(text)
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    assert (loaded.settings is None) == bool(errors)
    for problem in loaded.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert str(problem).isprintable()


@ALWAYS
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_answered(load: Load, data: bytes) -> None:
    _answers(load, data)


@ALWAYS
@given(entries=st.dictionaries(_KEYS, _VALUES, max_size=8))
def test_any_mapping_is_answered(load: Load, entries: dict[str, str]) -> None:
    _answers(load, "".join(f"{key}: {value}\n" for key, value in entries.items()))


@ALWAYS
@given(line=st.integers(0, 12), value=_VALUES)
def test_any_value_in_a_good_file_is_answered(load: Load, line: int, value: str) -> None:
    lines = GOOD.splitlines()
    key, _, _ = lines[line].partition(":")
    lines[line] = f"{key}: {value}"
    _answers(load, "\n".join(lines))


def test_a_unit_that_is_not_sent_reaches_the_driver_and_no_other_does(load: Load) -> None:
    for model, said in (("unitless", "[lb_av]"), ("a-scale", None)):
        loaded = load(GOOD.replace("model: a-scale", f"model: {model}").replace("/7", "/7\n    unit: lb"))
        assert loaded.settings is not None
        (device,) = loaded.settings.devices
        assert (device.unit, device.model.quirks.unit) == ("[lb_av]", said)
        codec = registry.codec("sma", device.model.quirks)
        (event,) = codec.feed(b"\n 1G       184.6   \r")
        assert isinstance(event, Sample) == (said is not None)
        assert isinstance(event, Sample) or event == Rejected("no_unit", b"\n 1G       184.6   \r")


CONSENTING = CUFF.replace("ble_blood_pressure", "ble_weight_scale").replace("blood_pressure", "scale")
CONSENTING += "session: {steps: [consent, subscribe]}\n"
A_SCALE = GOOD.replace("a-scale", "consenting").replace("port: /dev/pts/7", 'address: "C8:1E:8E:00:07:01"')


def with_scale(room: Path, more: str, row: str = CONSENTING) -> str:
    (room / "models" / "consenting.yaml").write_text(row)
    return A_SCALE.replace("models_dir:", more + "models_dir:")


def test_a_consent_code_comes_from_its_file(room: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "code").write_text("2520\n")
    loaded = load(with_scale(room, "    user: 3\n    consent_file: code\n"))
    assert loaded.problems == ()
    assert loaded.settings is not None
    (device,) = loaded.settings.devices
    consent = config.with_consent(device).model.session.consent
    assert consent is not None
    assert (consent.user, consent.code) == (3, 2520)
    assert "2520" not in repr(config.with_consent(device))
    credentials = room / "credentials"
    credentials.mkdir()
    (credentials / "code").write_text("17")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    again = load(with_scale(room, "    consent_file: code\n"))
    assert again.settings is not None
    consent = config.with_consent(again.settings.devices[0]).model.session.consent
    assert consent is not None
    assert (consent.user, consent.code) == (1, 17)


@pytest.mark.parametrize("code", ["", "12345", "0x12", "-1", "1 2", "9" * 40])
def test_what_is_no_consent_code_is_told_and_not_shown(room: Path, load: Load, code: str) -> None:
    (room / "code").write_text(code)
    loaded = load(with_scale(room, "    consent_file: code\n"))
    assert loaded.settings is not None
    with pytest.raises(config.ConfigError, match="0 to 9999") as told:
        config.with_consent(loaded.settings.devices[0])
    assert not code or code not in str(told.value).replace("0 to 9999", "")


def test_a_consent_file_that_is_not_there_is_a_warning_and_then_an_error(room: Path, load: Load) -> None:
    loaded = load(with_scale(room, "    consent_file: code\n"))
    (problem,) = loaded.problems
    assert (problem.path, problem.severity) == ("devices[0].consent_file", "warning")
    assert loaded.settings is not None
    with pytest.raises(config.ConfigError, match="must be able to read it"):
        config.with_consent(loaded.settings.devices[0])


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ("", "devices[0].consent_file", "tells nothing without the consent code"),
        ("    user: 2\n", "devices[0].consent_file", "missing"),
        ("    user: 255\n    consent_file: code\n", "devices[0].user", "from 0 to 254"),
    ],
)
def test_what_a_scale_with_users_needs(room: Path, load: Load, more: str, path: str, words: str) -> None:
    (room / "code").write_text("1")
    (problem,) = load(with_scale(room, more)).problems
    assert problem.path == path
    assert words in problem.message


def test_a_row_may_say_the_consent_and_a_user_alone_takes_no_place_of_it(room: Path, load: Load) -> None:
    row = CONSENTING.replace("subscribe]}", "subscribe], consent: {user: 170, code: 9999}}")
    loaded = load(with_scale(room, "", row))
    assert loaded.problems == ()
    assert loaded.settings is not None
    consent = config.with_consent(loaded.settings.devices[0]).model.session.consent
    assert consent is not None
    assert (consent.user, consent.code) == (170, 9999)
    (problem,) = load(with_scale(room, "    user: 2\n", row)).problems
    assert problem.path == "devices[0].user"


def test_a_device_without_consent_has_no_use_for_a_code(room: Path, load: Load) -> None:
    (room / "code").write_text("1")
    (problem,) = load(GOOD.replace("models_dir:", "    consent_file: code\nmodels_dir:")).problems
    assert problem.path == "devices[0].consent_file"
    assert "asks for no consent" in problem.message
