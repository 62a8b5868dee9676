"""`on_device_error: run_others`: which entries are left out, and what still stops the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import catalogue, cli, config

TEXT = """\
on_device_error: run_others
site: northside
room: exam-3
timezone: America/Chicago
broker: {url: "mqtt://127.0.0.1"}
outbox: {path: outbox.db}
models_dir: models
devices:
  - id: scale
    model: a-scale
    port: /dev/serial/by-path/x
  - id: cuff
    model: and-ua-651ble
    address: "C8:1E:8E:00:00:01"
"""
CUFF = TEXT[TEXT.index("    model: and-ua-651ble") :]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "models").mkdir()
    row = (catalogue.data_folder() / "devices" / "and-standard-scale.yaml").read_text(encoding="utf-8")
    (tmp_path / "models" / "a-scale.yaml").write_text(row, encoding="utf-8")
    (tmp_path / "models" / "bad-row.yaml").write_text(row.replace("kind: scale", "kind: scael"), encoding="utf-8")
    return tmp_path


def load(room: Path, *changes: tuple[str, str]) -> config.Loaded:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (room / "gateway.yaml").write_text(text)
    return config.load(room / "gateway.yaml")


WRONG = [
    (("a-scale", "a-scael"), "10:12: devices[0].model: ", 'did you mean "a-scale"?'),
    (("    port: /dev/serial/by-path/x\n", ""), "9:5: devices[0].port: ", "missing"),
    (("/dev/serial/by-path/x", "COM1"), "11:11: devices[0].port: ", "whole path"),
    (("by-path/x", "by-path/x\n    serial: {baud: 1}"), "12:20: devices[0].serial.baud: ", "allowed: 300"),
    (("by-path/x", "by-path/x\n    untt: kg"), "12:5: devices[0].untt: ", 'did you mean "unit"?'),
    (("by-path/x", "by-path/x\n    port: /dev/y"), "12:5: devices[0].port: ", "a second time"),
    (("by-path/x", "by-path/x\n    unit: mmHg"), "12:11: devices[0].unit: ", "no unit of"),
    (("    port: /dev", "    address: /dev"), "11:14: devices[0].address: ", "six pairs"),
]


@pytest.mark.parametrize(("change", "place", "words"), WRONG, ids=[place for _, place, _ in WRONG])
def test_an_entry_that_is_wrong_is_left_out(
    room: Path, change: tuple[str, str], place: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load(room, change)
    assert loaded.settings is not None
    (cuff,) = loaded.settings.devices
    assert (cuff.id, cuff.entry) == ("cuff", 1)
    (left_out,) = loaded.settings.left_out
    assert left_out.id == "scale"
    assert cli.main(["check", str(room / "gateway.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(": warning: this device is left out: " in line for line in lines)
    assert any(f"gateway.yaml:{place}" in line and words in line for line in lines)
    assert left_out.problem == lines[0].replace("warning: this device is left out: ", "")


@pytest.mark.parametrize(("change", "place", "words"), WRONG, ids=[place for _, place, _ in WRONG])
def test_by_default_it_stops(room: Path, change: tuple[str, str], place: str, words: str) -> None:
    for first in (("on_device_error: run_others\n", "# none\n"), ("run_others", "stop")):
        loaded = load(room, first, change)
        assert loaded.settings is None
        assert all("left out" not in problem.message for problem in loaded.problems)


def test_a_models_row_that_is_wrong_leaves_out_who_names_it(room: Path) -> None:
    loaded = load(room, ("model: a-scale", "model: bad-row"))
    assert loaded.settings is not None
    assert [(device.id, device.model_name) for device in loaded.settings.left_out] == [("scale", "bad-row")]
    at_device, at_row = map(str, loaded.problems)
    assert "gateway.yaml:10:12: devices[0].model: warning: this device is left out: what " in at_device
    assert "models/bad-row.yaml:" in at_row
    assert ": kind: warning: " in at_row


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("id: cuff", "id: scale")], "the same id"),
        ([(CUFF, "    model: a-scale\n    port: /dev/serial/by-path/x\n")], "the same port"),
        ([("id: scale", "id: the scale")], "topic level"),
        ([("  - id: scale\n", "  - unit: kg\n")], '"id" is missing'),
        ([("a-scale", "no-scale"), ("and-ua-651ble", "no-cuff")], "each device is wrong"),
        ([("a-scale", "no-scale"), ("mqtt://127.0.0.1", "http://x")], "mqtts://host"),
        ([("  - id: scale\n    model: a-scale\n    port: /dev/serial/by-path/x\n", "  - scale\n")], "keys and values"),
        ([("run_others", "run_other")], 'did you mean "run_others"?'),
    ],
)
def test_what_is_not_one_entrys_alone_still_stops(room: Path, changes: list[tuple[str, str]], words: str) -> None:
    loaded = load(room, *changes)
    assert loaded.settings is None
    assert any(words in problem.message and problem.severity == "error" for problem in loaded.problems)


def test_a_consent_code_that_cannot_be_read_leaves_its_scale_out_at_the_start(room: Path) -> None:
    scale = '  - {id: fat, model: beurer-bf720, address: "C8:1E:8E:00:00:02", consent_file: code}\n'
    loaded = load(room, ("devices:\n", "devices:\n" + scale))
    assert loaded.settings is not None
    assert len(loaded.settings.devices) == 3
    started = config.with_consents(loaded.settings)
    assert [device.id for device in started.devices] == ["scale", "cuff"]
    (left_out,) = started.left_out
    assert (left_out.id, left_out.model_name) == ("fat", "beurer-bf720")
    assert "consent_file" in left_out.problem
    stopping = load(room, ("run_others", "stop"), ("devices:\n", "devices:\n" + scale)).settings
    assert stopping is not None
    with pytest.raises(config.ConfigError, match="consent_file"):
        config.with_consents(stopping)
    alone = load(room, (TEXT[TEXT.index("  - id") :], scale)).settings
    assert alone is not None
    with pytest.raises(config.ConfigError, match="consent_file"):
        config.with_consents(alone)
